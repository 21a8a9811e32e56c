"""The rules that are compared in docs/stopping.md, on sequences worked by hand, and a training of theirs in small."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.recording.decisions import Decisions
from fmce_mlflow.recording.record import Record
from research import random_nets

RESEARCH = Path(random_nets.__file__).parent


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(RESEARCH))
    import stopping
    import stopping_rules

    return stopping, stopping_rules


def rows(**columns):
    """Snapshots of a run, a column of values each; the first has no drift."""
    n = len(next(iter(columns.values())))
    plain = {
        "train_loss": [1.0] * n,
        "val_loss": [1.0] * n,
        "accuracy": [0.5] * n,
        "train_seconds": [0.0] + [2.0] * (n - 1),
    }
    plain |= {"frozen": [0] * n, **columns}
    return [
        {name: values[t] for name, values in plain.items() if name not in ("drift", "deviation")}
        | {"drift": {"a": columns["drift"][t]} if t and "drift" in columns else {}}
        | {"deviation": {"a": columns["deviation"][t]} if "deviation" in columns else {}}
        for t in range(n)
    ]


def test_patience_on_the_validation_loss_keeps_its_best(scripts):
    _, rules = scripts
    found = rows(val_loss=[5, 3, 2, 2.5, 2.2, 2.4, 1], accuracy=[0.1, 0.3, 0.6, 0.5, 0.5, 0.5, 0.7])
    assert rules.by_validation(found, 3) == (5, 2) and rules.by_validation(found, 4) is None
    result = rules.outcome(found, 5, 2)
    assert result == pytest.approx({"stop": 5, "passes": 1 / 6, "seconds": 1 / 6, "points": -10})


def test_activation_deviation_stops_where_no_rounded_mean_moves(scripts):
    """As its authors' code does: the mean of an epoch, rounded to two decimals, against the epoch before."""
    _, rules = scripts
    assert rules.by_deviation(rows(deviation=[0.5, 0.61, 0.624, 0.616, 0.7])) == 3
    assert rules.by_deviation(rows(deviation=[0.5, 0.5, 0.6, 0.7, 0.8])) is None  # the first is of no epoch


def test_a_rule_that_never_stops_saves_and_costs_nothing(scripts):
    _, rules = scripts
    assert rules.outcome(rows(accuracy=[0.1, 0.2, 0.3]), None) == {"stop": 2, "passes": 0, "seconds": 0, "points": 0}


def test_what_is_frozen_is_what_the_recorder_would_freeze(scripts):
    stopping, rules = scripts
    drifts = [None, 0.5, 0.3, 0.1, 0.02, *[0.01] * 9]
    found = rows(drift=drifts)
    decisions = Decisions(ConvergenceConfig(threshold=0.02), rules.DEFAULT[1], "drift", ("a",))
    for t in range(1, len(found) + 1):
        record = Record(metrics=[{f"drift/{name}": value for name, value in row["drift"].items()} for row in found[:t]])
        assert stopping.newly_converged(found[:t], ["a"], 0.02, 0) == len(decisions.due(record, ("a",)))
    assert stopping.newly_converged(found, ["a"], 0.02, 0) == 1


def test_a_run_freezes_and_the_tables_are_made_of_its_file(scripts, data, tmp_path, monkeypatch):
    stopping, rules = scripts
    monkeypatch.setitem(stopping.MODULES, "tests.helpers.nets:tiny", ("norm", "stage"))
    monkeypatch.setitem(stopping.EPOCHS, "cifar10", 8)
    for setting in ("VALIDATION", "PROBE"):
        monkeypatch.setattr(stopping, setting, 16)
    full = stopping.Plan("cifar10", "tests.helpers.nets:tiny", 0)
    for item in (full, replace(full, freeze=0.02), replace(full, dataset="mnist")):
        chosen = replace(item, dataset="cifar10") if item.dataset == "mnist" else item
        found = stopping.run(replace(chosen, freeze=0.3 if item.freeze else None), data)
        found["plan"] |= {"freeze": item.freeze, "dataset": item.dataset}
        (tmp_path / f"{item.key}.json").write_text(json.dumps(found))
        last = found["snapshots"][-1]
        assert len(found["snapshots"]) == 9 and (last["frozen"] > 0) is (item.freeze is not None)
    done = CliRunner().invoke(rules.main, ["table", "--out", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0 and "activation deviation" in done.output and "| drift of a module | 3 |" in done.output
