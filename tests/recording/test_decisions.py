"""What snapshots so far decide, from metrics alone."""

from __future__ import annotations

import math

import pytest

from fmce_mlflow.errors import BackboneError, ConfigError
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.recording.decisions import Decisions, is_still
from fmce_mlflow.recording.record import Record

SOON = ConvergenceConfig(smoothing=0, window=1, threshold=0.1)
FALLS = [0.5, 0.1, 0.1, 0.1, 0.1]  # converged, with a patience of 1, from snapshot 4 on
MOVES = [0.5, 0.1, 0.4, 0.1, 0.5]
STILL = [0.0] * 5


def decisions(*modules, signal="train", patience=1):
    return Decisions(SOON, patience, signal, modules)


def record(frozen=(), first=None, **drifts):
    """Metrics of six snapshots, each module's drift from the second on."""
    losses = {name: drifts.pop(name) for name in ("train_loss", "val_loss") if name in drifts}
    rows = [{f"drift/{name}": values[t - 1] for name, values in drifts.items() if t} for t in range(6)]
    for name, values in losses.items():
        for row, value in zip(rows, values, strict=True):
            row |= {} if value is None else {name: value}
    return Record(metrics=rows, frozen=dict.fromkeys(frozen, 3))


def test_a_module_is_judged_by_its_own_drift():
    by = decisions("a", "b")
    assert by.converged(record(a=FALLS, b=MOVES), "a") and not by.converged(record(a=FALLS, b=MOVES), "b")
    early = Record(metrics=record(a=FALLS, b=MOVES).metrics[:4])
    assert not by.converged(early, "a")


def test_the_network_is_judged_by_the_signal_and_by_drift_in_all_modules():
    losses = {"train_loss": [3, 1, 1, 1, 1, 1], "val_loss": [3, 1, 2, 1, 2, 1]}
    for signal, expected in (("train", True), ("drift", False)):
        assert decisions("a", "b", signal=signal).converged(record(a=FALLS, b=MOVES, **losses)) is expected
    assert decisions("a", "b").converged(record(a=FALLS, b=FALLS), by="drift")
    assert decisions("a").converged(record(a=MOVES, **losses), "a", "train")  # the loss is the whole network's


def test_of_the_validation_loss_the_least_so_far_counts():
    by = decisions("a", signal="val")
    overfits = [3, 1, 1.5, 2, 2.5, 3]
    assert by.converged(record(a=MOVES, val_loss=overfits))
    assert not by.converged(record(a=MOVES, train_loss=overfits), by="train")
    assert not by.converged(record(a=MOVES, val_loss=[3, 2.5, 2, 1.5, 1, 0.5]))


def test_a_loss_that_the_untrained_network_alone_lacks_is_known_all_the_same():
    losses = [None, 3, 1, 1, 1, 1]
    assert decisions("a").converged(record(a=MOVES, train_loss=losses))
    assert not decisions("a").converged(record(a=MOVES, train_loss=[3, 1, None, 1, 1, 1]))
    assert not decisions("a").converged(record(a=MOVES, train_loss=[3, 1, math.nan, 1, 1, 1]))
    assert not decisions("a").converged(record(a=MOVES))
    assert not decisions("a").converged(Record())


def test_modules_are_due_from_the_input_on_up_to_the_first_that_has_not_converged():
    by = decisions("a", "b", "c")
    order = ("a", "b", "c")
    assert by.due(record(a=FALLS, b=FALLS, c=FALLS), order) == ["a", "b", "c"]
    assert by.due(record(a=FALLS, b=MOVES, c=FALLS), order) == ["a"]
    assert by.due(record(a=MOVES, b=FALLS, c=FALLS), order) == []
    assert by.due(record(a=MOVES, b=FALLS, c=FALLS), ("b", "c", "a")) == ["b", "c"]
    assert by.due(record(a=MOVES, b=FALLS, c=MOVES, frozen=["a"]), order) == ["b"]


def test_what_its_owner_froze_is_no_obstacle_and_no_reason():
    by = decisions("a", "b", signal="drift")
    assert is_still(record(a=STILL).metrics, "a") and not is_still(record(a=FALLS).metrics, "a")
    assert by.due(record(a=STILL, b=FALLS), ("a", "b")) == ["b"]
    assert by.converged(record(a=STILL, b=FALLS)) and not by.converged(record(a=STILL, b=MOVES))
    assert not by.converged(record(a=STILL, b=STILL))  # nothing moved: nothing says when to stop
    assert by.converged(record(a=MOVES, b=MOVES, frozen=["a", "b"]))


def test_what_is_not_recorded_is_named():
    with pytest.raises(BackboneError, match=r"no module 'layer3'\. .*Recorded are layer4"):
        decisions("layer4").converged(Record(), "layer3")
    with pytest.raises(ConfigError, match="by must be one of train, val, drift, got 'loss'"):
        decisions("a").converged(Record(), by="loss")
