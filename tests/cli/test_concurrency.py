"""Several processes at once: on one MLflow server, on one SQLite file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fmce_mlflow.fmcs_dataset.table import load_fmcs_dataset
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from tests.helpers.progress import ended
from tests.helpers.servers import tracking_server

ROOT = Path(__file__).parents[2]
SNAPSHOTS = 7
TINY = (
    "--backbone tests.helpers.nets:tiny --modules stem,stage --image-size 8 --train-size 96 --validation-size 40 "
    "--probe-size 16 --model-format pickle --epochs 3 --snapshots-per-epoch 2 --batch-size 16 --lr 0.1 --cpu true "
    "--levels 3 --threshold 0.25 --smoothing 0 --window 1"
).split()


def environment(folder: Path, uri: str) -> dict[str, str]:
    """Of a command that works in a folder and logs to a server."""
    return {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_EXPERIMENT_NAME": "many", "FMCE_SPOOL": str(folder / "spool"),
    }  # fmt: skip


def begin(
    folder: Path, name: str, uri: str, command: str, *words: str, python: Sequence[str] = (sys.executable, "-m")
) -> subprocess.Popen:
    """A command of fmce as a process of its own; what it says is in folder/name.log."""
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [*python, "fmce_mlflow.cli.main", command, *TINY, *words],
            cwd=folder, env=environment(folder, uri), stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip


def wait(folder: Path, processes: dict[str, subprocess.Popen]) -> None:
    for name, process in processes.items():
        ended(process)
        assert process.returncode == 0, (folder / f"{name}.log").read_text()


def figures(client: MlflowClient, run) -> dict[str, list[tuple[int, float]]]:
    """Everything that was logged of a run over snapshots, but for what depends on the clock."""
    names = [name for name in run.data.metrics if name != "images_per_second"]
    history = {name: client.get_metric_history(run.info.run_id, name) for name in names}
    return {name: [(m.step, m.value) for m in values] for name, values in history.items()}


def check_run(client: MlflowClient, run, modules: Sequence[str] = ("stem", "stage")) -> None:
    """Each metric and each map of a backbone run is there once, and each map is what was written."""
    assert run.info.status == "FINISHED"
    for name, values in figures(client, run).items():
        steps = [step for step, _ in values]
        first = 1 if name.startswith(("drift/", "weight_change/")) or name == "cqi" else 0
        assert steps == list(range(first, SNAPSHOTS)), (name, steps)
    reader = FeatureMapReader(client, run.info.run_id)
    assert set(reader.index.entries) == {(m, s) for m in modules for s in range(SNAPSHOTS)}
    for module, snapshot in reader.index.entries:
        reader.read(module, snapshot)  # checks its sha256
    for module in modules:
        assert len(client.list_artifacts(run.info.run_id, f"feature_maps/{module}")) == SNAPSHOTS


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_eight_processes_on_one_server_lose_nothing_and_do_nothing_twice(tmp_path, _empty_store):
    with tracking_server(tmp_path, _empty_store) as uri:
        processes = {f"seed{i}": begin(tmp_path, f"seed{i}", uri, "train-backbone", "--seed", str(i)) for i in range(8)}
        wait(tmp_path, processes)
        client = MlflowClient(uri)
        assert [e.name for e in client.search_experiments()].count("many") == 1
        experiment = client.get_experiment_by_name("many").experiment_id
        runs = client.search_runs([experiment])
        assert sorted(int(run.data.params["seed"]) for run in runs) == list(range(8))
        for run in runs:
            check_run(client, run)
        assert len({tuple(figures(client, run)["train_loss"]) for run in runs}) == 8
        models = client.search_logged_models(experiment_ids=[experiment])
        assert Counter(m.source_run_id for m in models) == Counter(run.info.run_id for run in runs)
        # Alone, a seed gives the same figures and maps.
        wait(tmp_path, {"alone": begin(tmp_path, "alone", uri, "train-backbone", "--seed", "5")})
        crowd, alone = (
            next(r for r in runs if r.data.params["seed"] == "5"),
            client.search_runs([experiment], order_by=["attributes.start_time DESC"], max_results=1)[0],
        )
        assert crowd.info.run_id != alone.info.run_id and figures(client, crowd) == figures(client, alone)
        hashes = [
            {key: e.sha256 for key, e in FeatureMapReader(client, run.info.run_id).index.entries.items()}
            for run in (crowd, alone)
        ]
        assert hashes[0] == hashes[1]
    assert not list((tmp_path / "spool").glob("*/*")), "nothing waits any more"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_builds_begin_at_once_on_an_sqlite_file_that_is_not_there_yet(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    seeds = {"one": "0,1", "two": "2,3"}
    processes = {name: begin(tmp_path, name, uri, "build-fmcs", "--seeds", value) for name, value in seeds.items()}
    wait(tmp_path, processes)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("many").experiment_id
    runs = client.search_runs([experiment])
    roles = Counter(run.data.tags["fmce.role"] for run in runs)
    assert roles == {"fmcs_dataset": 2, "backbone": 4}
    for run in runs:
        if run.data.tags["fmce.role"] == "backbone":
            check_run(client, run)
    found = set()
    for run in (run for run in runs if run.data.tags["fmce.role"] == "fmcs_dataset"):
        table = load_fmcs_dataset(client, run.info.run_id)
        children = {r.info.run_id for r in runs if r.data.tags.get("mlflow.parentRunId") == run.info.run_id}
        assert run.info.status == "FINISHED" and len(run.inputs.dataset_inputs) == 1
        assert set(table["run_id"]) == children and len(table) == 2 * 2 * SNAPSHOTS
        assert not table.duplicated(["run_id", "module", "snapshot"]).any()
        found.add(",".join(map(str, sorted(set(table["seed"])))))
    assert found == set(seeds.values())
