"""What tests of studies share: a study that has begun, its MLflow runs, a worker that is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import optuna
from mlflow import MlflowClient

from fmce_mlflow.tuning.mirror import RUN
from fmce_mlflow.tuning.options import StudyOptions
from fmce_mlflow.tuning.study import open_study
from fmce_mlflow.tuning.worker import Job
from tests.conftest import new_run
from tests.helpers.forks import FORKS
from tests.helpers.progress import until
from tests.helpers.studies import SETTINGS, first_worker


def options(url: str, trials: int = 4, **more: Any) -> StudyOptions:
    return StudyOptions(storage=url, trials=trials, **{"heartbeat": 1, "grace": 2, **more})


def begin(client: MlflowClient, url: str, objective: Any, trials: int = 4, **more: Any) -> tuple[Job, optuna.Study]:
    """A study that has begun, and the job of its workers."""
    chosen = options(url, trials, **more)
    opened = open_study(client, chosen, SETTINGS, lambda: new_run(client), say=lambda _: None)
    return Job(tracking_uri=client.tracking_uri, options=chosen, objective=objective, seed=0), opened.study


def children(client: MlflowClient, study: optuna.Study) -> dict[int, Any]:
    """MLflow runs of a study's trials by trial; no trial may have two."""
    parent = study.user_attrs[RUN]
    experiment = client.get_run(parent).info.experiment_id
    runs = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}' and tags.`fmce.trial` != ''")
    found = {int(run.data.tags["fmce.trial"]): run for run in runs}
    assert len(found) == len(runs)
    return found


def curve(client: MlflowClient, run_id: str) -> list[tuple[int, float]]:
    return sorted((m.step, m.value) for m in client.get_metric_history(run_id, "validation_mae"))


def kill_a_worker(job: Job, folder: Path) -> None:
    """Begin a job in another process and kill it, with SIGKILL, within its first trial."""
    process = FORKS.Process(target=first_worker, args=(job,))
    process.start()
    until((folder / "hung").exists, process)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
