"""A gate of a whole registry on a real server, killed and called again."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.helpers.evaluations import pixels, write_files
from tests.helpers.forks import Forked
from tests.helpers.progress import ended, line_of
from tests.helpers.registries import call_gate, end_of, experiment_of, log_network, new_predictor, written
from tests.helpers.servers import tracking_server

MODELS, VERSIONS, KILLS = 5, 10, 10
POLICY = "alias: champion\nrequire: [fmcs_predicted>=0.1, val_accuracy>=0.55]\nnot_worse_by: 0.01\n"


def fill(client: MlflowClient, draw: random.Random) -> None:
    """Models with versions, each of a run of its own; the networks are of two kinds, for they take time to log."""
    networks = [log_network(client, seed)[1] for seed in range(2)]
    for i in range(MODELS):
        client.create_registered_model(f"model-{i}")
        for version in range(VERSIONS):
            run_id = client.create_run(experiment_of(client)).info.run_id
            client.log_metric(run_id, "val_accuracy", 0.5 + 0.04 * version + draw.choice([0, 0.1]))
            client.set_terminated(run_id)
            model_id = networks[version % 2]
            client.create_model_version(f"model-{i}", f"models:/{model_id}", run_id=run_id, model_id=model_id)


def moves(log: Path) -> int:
    """How often an alias was set, by the server's log."""
    return len(re.findall(r'"POST /api/2\.0/mlflow/registered-models/alias HTTP[^"]*" 200', log.read_text()))


def kill_and_call_again(uri: str, words: list[str], draw: random.Random) -> int:
    """Gates, each killed at a random moment of its work, until KILLS were and then one was not; how many were."""
    killed = 0
    while killed < KILLS:
        gate = Forked(call_gate, uri, *words)
        lines = draw.randrange(1, 40)
        while lines and line_of(gate):
            lines -= 1
        time.sleep(draw.uniform(0, 0.3))
        gate.kill()
        gate.wait()
        killed += gate.returncode == -9
        if gate.returncode == 0:
            break
    gate = Forked(call_gate, uri, *words)
    said, _ = ended(gate)
    assert gate.returncode in (0, 3), said
    return killed


@pytest.mark.slow
def test_a_gate_that_is_killed_ten_times_comes_to_the_same_end(tmp_path, _empty_store):
    draw = random.Random(20)
    places = [tmp_path / name for name in ("undisturbed", "killed")]
    for place in places:
        place.mkdir()
    write_files(tmp_path / "photos", pixels(6))
    (tmp_path / "gate.yaml").write_text(POLICY)
    with tracking_server(places[0], _empty_store) as uri:
        client = MlflowClient(uri)
        fill(client, draw)
        words = ["--all", "--policy", str(tmp_path / "gate.yaml"), "--dataset", f"folder:{tmp_path}/photos"]
        words += ["--predictor", new_predictor(client), "--saliency", "false"]
        shutil.copytree(places[0] / "kept", places[1] / "kept")
        with (
            closing(sqlite3.connect(places[0] / "mlflow.db")) as one,
            closing(sqlite3.connect(places[1] / "mlflow.db")) as other,
        ):
            one.backup(other)
        started = time.monotonic()
        gate = Forked(call_gate, uri, *words)
        said, _ = ended(gate)
        assert gate.returncode in (0, 3), said
        print(f"\nThe whole registry, undisturbed: {time.monotonic() - started:.0f} s.")
        undisturbed, moved = end_of(client), moves(places[0] / "log")
        assert (
            moved == sum(one["fmce.promotion.decision"] == "promoted" for one in undisturbed["tags"].values()) > MODELS
        )
    with tracking_server(places[1]) as uri:
        client = MlflowClient(uri)
        killed = kill_and_call_again(uri, words, draw)
        assert killed == KILLS
        assert end_of(client) == undisturbed and undisturbed["tickets"] == []
        runs = written(client)["runs"].values()
        finished = Counter(
            tags["fmce.model_uri"]
            for status, tags, _ in runs
            if tags.get("fmce.role") == "evaluation" and status == "FINISHED"
        )
        assert len(finished) == MODELS * VERSIONS and set(finished.values()) == {1}
        assert moves(places[1] / "log") == moved
        assert {status for status, _, _ in runs} == {"FINISHED", "KILLED"}
        before, started = written(client), time.monotonic()
        gate = Forked(call_gate, uri, *words)
        ended(gate)
        print(f"A call with nothing to do: {time.monotonic() - started:.1f} s, without the start of Python.")
        assert written(client) == before
