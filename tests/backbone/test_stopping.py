"""Trainings that stop once they have converged and freeze modules on the way, also if they are killed and resumed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mlflow import MlflowClient

from fmce_mlflow.backbone import models
from fmce_mlflow.backbone import resume as checkpoint
from fmce_mlflow.backbone.resume import stored_options
from fmce_mlflow.backbone.stopping import STOPPED_TAG
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.method.convergence.causal import verdicts
from fmce_mlflow.method.convergence.config import SIGNAL_NAMES, ConvergenceConfig
from fmce_mlflow.runs.recordings import FROZEN_TAG
from fmce_mlflow.runs.run import Run
from tests.conftest import fast_options, new_client, new_run
from tests.helpers.faults import dying, everything, experiment_run

SOON = ConvergenceConfig(levels=3, threshold=0.2, smoothing=0, window=1)
EPOCHS, SNAPSHOTS = 8, 16
METRICS = ("train_loss", "val_loss", "val_accuracy", "drift/stem", "drift/stage")


def options(**more):
    given = {"modules": ("stage", "stem"), "convergence": SOON, "patience": 1, "training": {"epochs": EPOCHS}}
    return fast_options(**{**given, **more})


def run(client, chosen, data, run_id=None):
    said = []
    run_id = run_id or new_run(client)
    return train_backbone(Run(client, run_id, said.append), chosen, data=data), said


def history(client, run_id, name):
    return [m.value for m in sorted(client.get_metric_history(run_id, name), key=lambda m: m.step)]


def tags(client, run_id):
    found = client.get_run(run_id).data.tags
    return {name: found.get(name) for name in (STOPPED_TAG, FROZEN_TAG, "fmce.converged", "fmce.convergence_point")}


@pytest.fixture(scope="module")
def store(tmp_path_factory, _empty_store):
    return new_client(tmp_path_factory.mktemp("store"), _empty_store)


@pytest.fixture(scope="module")
def full(store, data):
    """The metrics of a training that neither stops nor freezes."""
    run_id = run(store, options(), data)[0].run_id
    return {name: history(store, run_id, name) for name in METRICS}


@pytest.mark.parametrize("signal", ["train", "val"])
def test_it_ends_as_the_beginning_of_the_whole_training_where_the_signal_has_converged(store, data, full, signal):
    values = full[f"{signal}_loss"]
    stop = int(verdicts(np.minimum.accumulate(values) if signal == "val" else values, SOON, patience=1).argmax())
    assert 2 < stop < SNAPSHOTS
    result, said = run(store, options(stop_when_converged=True, signal=signal), data)
    logged = store.get_run(result.run_id)
    for name in METRICS:
        assert history(store, result.run_id, name) == full[name][: stop + 1 - name.startswith("drift")]
    assert logged.info.status == "FINISHED" and tags(store, result.run_id)[STOPPED_TAG] == str(stop)
    (output,) = logged.outputs.model_outputs
    assert output.step == stop and result.val_accuracy == full["val_accuracy"][stop]
    assert logged.data.params["stop_when_converged"] == "True" and logged.data.params["patience"] == "1"
    (line,) = [line for line in said if "stopped" in line]
    assert f"stopped at snapshot {stop} of {SNAPSHOTS}, because the {SIGNAL_NAMES[signal]} has converged" in line
    assert f"{(SNAPSHOTS - stop) / 2:.3g} of {EPOCHS} epochs were left out; the learning rate was at" in line


def test_what_has_converged_at_the_end_alone_was_not_stopped(store, data, full):
    (first,) = np.flatnonzero(verdicts(full["train_loss"], SOON, patience=0))[:1]
    result, said = run(store, options(stop_when_converged=True, patience=int(SNAPSHOTS - first)), data)
    assert history(store, result.run_id, "train_loss") == full["train_loss"]
    assert tags(store, result.run_id)[STOPPED_TAG] is None and not any("stopped" in line for line in said)


def test_modules_freeze_from_the_input_on_and_the_rest_trains_to_the_end(store, data, full):
    result, said = run(store, options(freeze_converged=True), data)
    frozen = json.loads(tags(store, result.run_id)[FROZEN_TAG])
    assert list(frozen) == ["stem", "stage"]  # recorded the other way round
    for name, since in frozen.items():
        drifts = history(store, result.run_id, f"drift/{name}")  # from snapshot 1 on
        assert max(drifts[since:]) < 1e-9 < drifts[since - 1] and any(
            f"frozen after snapshot {since}" in s for s in said
        )
    assert history(store, result.run_id, "train_loss")[: frozen["stem"] + 1] == full["train_loss"][: frozen["stem"] + 1]
    assert len(history(store, result.run_id, "train_loss")) == SNAPSHOTS + 1


def test_it_is_the_same_with_a_server(store, data, both, server):
    """There, snapshots wait on disk for a thread that uploads them."""
    client = MlflowClient(server)
    run_id = run(client, both[0], data, experiment_run(client))[0].run_id
    assert everything(client, run_id) == both[1] and tags(client, run_id) == both[2]


@pytest.fixture(scope="module")
def both(store, data):
    """A training that freezes and stops, and all of its run."""
    chosen = options(freeze_converged=True, stop_when_converged=True, patience=2)
    run_id = run(store, chosen, data)[0].run_id
    found = tags(store, run_id)
    assert found[STOPPED_TAG] and len(json.loads(found[FROZEN_TAG])) == 2
    return chosen, everything(store, run_id), found


@pytest.mark.parametrize("last", ["stem", "stage", "stopped", "models"])
def test_one_that_is_killed_right_after_it_froze_or_stopped_ends_the_same(store, data, both, last):
    """Its checkpoint is of before that: what was decided after it is decided again."""
    chosen, whole, told = both
    saved = {"stopped": int(told[STOPPED_TAG]), **{name: at + 1 for name, at in json.loads(told[FROZEN_TAG]).items()}}
    module, place, call = (models, "log_models", 1) if last == "models" else (checkpoint, "save", saved[last] + 1)
    run_id = new_run(store)
    with dying(f"{module.__name__}.{place}", call):
        run(store, chosen, data, run_id)
    run(store, stored_options(Run(store, run_id)), data, run_id)
    assert everything(store, run_id) == whole and tags(store, run_id) == told
