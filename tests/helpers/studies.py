"""What studies in tests minimise; light to import, for worker processes import it too."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from mlflow import MlflowClient

from fmce_mlflow.tuning.storage import open_storage
from fmce_mlflow.tuning.worker import Job, run_trials
from tests.helpers import disk

disk.do_not_wait()
LONG = 600.0  # seconds of a step that nobody is to wait for
SETTINGS = {"search space": {"x": "[0, 1]"}, "setting": {"fmcs_run": "abc"}}


@dataclass(frozen=True)
class Parabola:
    """(x − 0.3)², with steps that fall to it."""

    steps: int = 3

    def __call__(self, trial, report) -> float:
        x = trial.suggest_float("x", 0, 1)
        for step in range(1, self.steps + 1):
            report(step, (x - 0.3) ** 2 + 1 / step)
        return (x - 0.3) ** 2


@dataclass(frozen=True)
class Scripted:
    """Trial number i does the i-th of some things: a value, or an error."""

    script: tuple[Any, ...]

    def __call__(self, trial, report) -> float:
        trial.suggest_float("x", 0, 1)
        found = self.script[trial.number]
        if isinstance(found, BaseException):
            raise found
        for step in range(1, 21):
            report(step, found)
        return found


@dataclass(frozen=True)
class Sleeps:
    """Sleeps, and keeps who did; the first attempt named in ``hangs`` begins, says so, and never ends."""

    folder: str
    seconds: float = 0.05
    hangs: bool = False

    def __call__(self, trial, report) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.set_user_attr("pid", os.getpid())
        report(1, x + 1)
        mark = Path(self.folder, "hung")
        if self.hangs and not mark.exists():
            report(2, x + 0.5)
            mark.write_text(str(os.getpid()))
            time.sleep(LONG)
        time.sleep(self.seconds)
        report(2, x + 0.5)
        report(3, x)
        return x


def first_worker(job: Job) -> None:
    run_trials(job, MlflowClient(job.tracking_uri))


def claim(url: str, name: str, ready: Any, out: Any) -> None:
    storage = open_storage(url, heartbeat=60, grace=120)
    study = optuna.load_study(study_name=name, storage=storage)
    ready.wait()
    got = [study.ask().number for _ in range(20)]
    out.put(got)


def opens(url: str, ready: Any, out: Any) -> None:
    ready.wait()
    try:
        open_storage(url, heartbeat=60, grace=120)
        out.put("opened")
    except Exception as error:
        out.put(str(error))
