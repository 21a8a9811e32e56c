"""One training in two processes, by the command that a user would give."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from fmce_mlflow.cli.main import main
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from tests.cli.test_concurrency import SNAPSHOTS, begin, check_run, figures, wait
from tests.helpers.servers import tracking_server

NET = ("--backbone", "tests.helpers.nets:plain", "--modules", "stage")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_processes_make_one_run_that_equals_that_of_one(tmp_path, _empty_store):
    with tracking_server(tmp_path, _empty_store) as uri:
        words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
        together = begin(tmp_path, "together", uri, "train-backbone", *NET, python=words)
        wait(tmp_path, {"together": together})
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("many").experiment_id
        (run,) = client.search_runs([experiment])
        assert run.data.params["processes"] == "2" and run.data.params["batch_size"] == "16"
        check_run(client, run, modules=("stage",))
        assert len(client.search_logged_models(experiment_ids=[experiment])) == 1
        said = (tmp_path / "together.log").read_text()
        assert said.count("Will write") == 1 and said.count(f"snapshot {SNAPSHOTS - 1}/") == 1

        wait(tmp_path, {"alone": begin(tmp_path, "alone", uri, "train-backbone", *NET)})
        (alone,) = (r for r in client.search_runs([experiment]) if r.info.run_id != run.info.run_id)
        assert alone.data.params["processes"] == "1"
        two, one = figures(client, run), figures(client, alone)
        assert two.keys() == one.keys()
        for name in two:
            np.testing.assert_allclose(two[name], one[name], rtol=1e-3, atol=2e-3, err_msg=name)
        for name in ("train_loss", "val_loss"):
            np.testing.assert_allclose(two[name], one[name], rtol=1e-4, err_msg=name)
        readers = [FeatureMapReader(client, r.info.run_id) for r in (run, alone)]
        for snapshot in range(SNAPSHOTS):
            (maps, labels), (expected, same) = (reader.read("stage", snapshot) for reader in readers)
            np.testing.assert_array_equal(labels, same)
            np.testing.assert_allclose(maps.astype(float), expected.astype(float), rtol=2e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_processes_freeze_and_stop_together(tmp_path, _empty_store):
    """They share gradients and ask the first one alike: one that went on alone would wait for ever."""
    with tracking_server(tmp_path, _empty_store) as uri:
        words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
        more = "--epochs 8 --threshold 0.2 --patience 1 --freeze-converged --stop-when-converged".split()
        wait(tmp_path, {"two": begin(tmp_path, "two", uri, "train-backbone", *more, python=words)})
        client = MlflowClient(uri)
        (run,) = client.search_runs([client.get_experiment_by_name("many").experiment_id])
        stopped, frozen = int(run.data.tags["fmce.stopped"]), json.loads(run.data.tags["fmce.frozen"])
        assert run.data.params["processes"] == "2" and run.info.status == "FINISHED" and frozen["stem"] < stopped < 16
        drifts = [m.value for m in client.get_metric_history(run.info.run_id, "drift/stem")]
        assert len(drifts) == stopped and max(drifts[frozen["stem"] :]) < 1e-9
        assert (tmp_path / "two.log").read_text().count("stopped at snapshot") == 1


def test_what_two_processes_cannot_do_is_told(client, own_mlflow):
    words = ["--tracking-uri", client.tracking_uri, "build-fmcs"]
    done = CliRunner().invoke(main, words, prog_name="fmce", env={"WORLD_SIZE": "2", "RANK": "0"})
    assert done.exit_code == 2 and "build-fmcs runs in one process" in done.stderr and "Traceback" not in done.output
