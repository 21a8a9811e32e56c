"""One study from the command lines of several machines: a real MLflow server, a real PostgreSQL, processes killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from fmce_mlflow.tuning.mirror import RUN
from fmce_mlflow.tuning.storage import open_storage
from fmce_mlflow.tuning.trials import counted_trials, tally
from tests.helpers.progress import ended, until
from tests.helpers.servers import tracking_server
from tests.helpers.study_tools import children, curve
from tests.predictor.test_train import logged_dataset

ROOT = Path(__file__).parents[2]
SPACE = '{"bag_size": 8, "bags_per_map": 2, "width": [8, 16, 32], "depth": 1, "epochs": 200, "batch_size": 16}'


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_study_of_two_machines_outlives_the_one_that_leads_it(tmp_path, postgres_url, _empty_store):
    with tracking_server(tmp_path, _empty_store) as uri:
        client = MlflowClient(uri)
        client.create_experiment("tests")
        logged_dataset(client, runs=4)
        command = [sys.executable, "-m", "entrypoints.tune_fmce_net", "--storage", postgres_url, "--study-name", "maps"]
        command += [
            "--trials",
            "16",
            "--members",
            "1",
            "--folds",
            "2",
            "--heartbeat",
            "1",
            "--patience",
            "200",
            "--space",
            SPACE,
        ]
        environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": "tests"}

        def begin(name: str, *more: str) -> subprocess.Popen:
            out = (tmp_path / f"{name}.log").open("w")
            return subprocess.Popen([*command, *more], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)

        def said(name: str) -> str:
            return (tmp_path / f"{name}.log").read_text()

        storage = open_storage(postgres_url, heartbeat=1, grace=3)
        leader = begin("leader")
        # The helper begins as early as can be: a fast machine ends such trials while another process still starts.
        until(lambda: "maps" in optuna.get_all_study_names(storage) or leader.poll() is not None, leader)
        helper = begin("helper", "--workers", "2")
        until(lambda: "Joins study maps" in said("helper") or helper.poll() is not None, helper)
        os.kill(leader.pid, signal.SIGKILL)
        leader.wait()
        ended(helper)
        assert helper.returncode == 0, said("helper")
        study = optuna.load_study(study_name="maps", storage=storage)
        assert client.get_run(study.user_attrs[RUN]).info.status == "RUNNING" and tally(study.trials)["complete"] >= 1
        after = begin("after", "--resume", "--register-as", "maps")
        ended(after)
        assert after.returncode == 0, said("after")

        found = counted_trials(study.get_trials())
        assert len(found) == 16 and all(t.state.is_finished() for t in found)
        counts, runs = tally(study.get_trials()), children(client, study)
        assert counts["complete"] + counts["pruned"] == 16 and counts["failed"] == 0 and counts["retried"] <= 1
        assert len(runs) == 16 and {run.info.run_id for run in runs.values()} == {t.user_attrs[RUN] for t in found}
        for trial in found:
            steps = [step for step, _ in curve(client, trial.user_attrs[RUN])]
            assert steps == sorted(trial.intermediate_values)
        run = client.get_run(study.user_attrs[RUN])
        assert run.info.status == "FINISHED" and run.data.metrics["trials/complete"] == counts["complete"]
        assert client.get_model_version("maps", "1").source == run.data.tags["fmce.best_model"]
        for name in ("leader", "helper", "after"):
            assert "Traceback" not in said(name)
