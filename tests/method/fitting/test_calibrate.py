"""A set net that goes on from a fitted one, on bags of runs that it does not know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.method.evidence.groups import GROUPS, NAMES, NEVER
from fmce_mlflow.method.fitting.bags import Bags
from fmce_mlflow.method.fitting.calibrate import calibrated
from fmce_mlflow.method.fitting.config import CalibrationConfig, FitConfig
from fmce_mlflow.method.fitting.fit_set import fit_set, predict_bags
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.statistics import FEATURES

SNAPSHOTS, PER_SNAPSHOT = 12, 3
FAST = CalibrationConfig(passes=25, most=25, lr=5e-3, batch_size=12)


def bags_of(runs: int, *, bend: float, seed: int = 0, evidence: bool = False) -> Bags:
    """Runs whose features tell FMCS, on an architecture that `bend` sets apart: 0 tells it straight."""
    draw = np.random.default_rng(seed)
    rows, features = [], []
    for run in range(runs):
        for snapshot in range(SNAPSHOTS):
            fmcs = snapshot / (SNAPSHOTS - 1)
            rows.append(
                (f"run{run}", "a", "x", "stage", snapshot, fmcs, round(4 * fmcs) if 4 * fmcs % 1 == 0 else None)
            )
            shown = fmcs ** (1 + bend)
            features += [shown + 0.05 * draw.normal(size=FEATURES) for _ in range(PER_SNAPSHOT)]
    columns = ["run_id", "backbone", "dataset", "module", "snapshot", "fmcs", "level"]
    table = pd.DataFrame(rows, columns=columns).astype({"level": "Int64"})
    n = len(rows) * PER_SNAPSHOT
    known = np.full((n, len(NAMES)), np.nan, np.float32)
    known[:, 1] = 0.5
    return Bags(
        table, np.repeat(np.arange(len(rows)), PER_SNAPSHOT), np.zeros(n, bool), np.array(features, np.float32),
        np.zeros((n, 2), np.float32), known if evidence else None,
    )  # fmt: skip


def fitted(evidence: tuple[str, ...] = ()):
    bags = bags_of(4, bend=0, evidence=bool(evidence))
    shape = SetConfig(members=2, width=16, evidence=evidence)
    every = np.ones(len(bags.row), bool)
    return fit_set(bags, every, bags.column("run_id"), shape, FitConfig(epochs=30, patience=30, folds=2)).net


@pytest.fixture(scope="module")
def start():
    return fitted()


def error(net, bags) -> float:
    found = predict_bags(net, bags, np.arange(len(bags.row)))
    return float(np.abs(np.array([one.fmcs for one in found]) - bags.fmcs).mean())


def test_one_run_makes_another_of_the_same_architecture_better(start):
    other = bags_of(1, bend=1, seed=5)
    found = calibrated(start, bags_of(1, bend=1), FAST)
    assert error(found.net, other) < 0.6 * error(start, other)
    assert found.held_out is None and not found.calibrated and found.epochs == FAST.passes
    assert found.net.std_scale >= start.std_scale  # what one run cannot show makes no interval narrower


def test_the_given_net_and_the_random_state_are_left_alone(start):
    before, state = {k: v.clone() for k, v in start.state_dict().items()}, torch.get_rng_state()
    one, two = (calibrated(start, bags_of(1, bend=1), FAST).net for _ in range(2))
    assert all(torch.equal(before[k], v) for k, v in start.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_of_several_runs_each_is_left_out_and_its_figures_are_honest(start):
    bags = bags_of(3, bend=1)
    found = calibrated(start, bags, FAST)
    held = found.held_out
    assert held is not None and found.calibrated
    assert sorted(held.index.tolist()) == list(range(len(bags.row)))
    truth = bags.fmcs[held.index]
    before, after = (np.abs(np.array([p.fmcs for p in part]) - truth).mean() for part in (held.before, held.after))
    assert after < 0.6 * before and found.validation[0] == pytest.approx(before, abs=1e-6)
    assert len(found.validation) == FAST.most + 1 and found.epochs == int(np.argmin(found.validation))
    inside = [one.low - 1e-6 <= true <= one.high + 1e-6 for one, true in zip(held.after, truth, strict=True)]
    assert np.mean(inside) >= 0.88
    # a run that was left out has no part in what is said of it: others with its labels turned round change nothing
    turned = bags.table.copy()
    turned.loc[turned["run_id"] == "run2", "fmcs"] = 1 - turned.loc[turned["run_id"] == "run2", "fmcs"]
    others = calibrated(start, replace(bags, table=turned), FAST).held_out
    last = bags.column("run_id")[held.index] == "run2"
    assert others is not None
    same = [a.fmcs == b.fmcs for a, b, mine in zip(held.after, others.after, last, strict=True) if mine]
    assert same and all(same)


def test_a_predictor_that_fits_already_is_left_as_it_is_by_several_runs(start):
    bags = bags_of(3, bend=0, seed=9)
    found = calibrated(start, bags, FAST)
    assert found.validation[found.epochs] <= found.validation[0]
    assert error(found.net, bags_of(2, bend=0, seed=11)) < 1.3 * error(start, bags_of(2, bend=0, seed=11))


def test_evidence_is_used_and_bags_without_it_are_scored_too():
    start = fitted(("weights", "place"))
    bags = bags_of(1, bend=1, evidence=True)
    found = calibrated(start, bags, FAST)
    other = bags_of(1, bend=1, seed=5, evidence=True)
    assert error(found.net, other) < 0.7 * error(start, other)
    assert error(found.net, replace(other, evidence=None)) < error(start, replace(other, evidence=None))


def test_pull_holds_it_near_to_where_it_began(start):
    def moved(pull: float) -> float:
        net = calibrated(start, bags_of(1, bend=1), replace(FAST, pull=pull)).net
        pairs = zip(net.members.parameters(), start.members.parameters(), strict=True)
        return sum(float((a - b).square().sum()) for a, b in pairs)

    assert moved(400.0) < 0.3 * moved(0.0)


def test_no_bag_is_an_error(start):
    bags = bags_of(1, bend=0)
    nothing = replace(bags, row=bags.row[:0])
    with pytest.raises(PredictorError, match="no bag to calibrate"):
        calibrated(start, nothing)


def test_a_net_of_trees_goes_on_with_trees_of_one_architecture():
    start = fit_set(*of_trees(shift=0.0), SetConfig(statistics="none", evidence=tuple(GROUPS), trees=40, leaves=6)).net
    own, _, _ = of_trees(shift=0.3, seed=1)
    new, _, _ = of_trees(shift=0.3, seed=2)
    index = np.arange(len(new.row))

    def error(net):
        return np.abs([one.fmcs for one in predict_bags(net, new, index)] - new.fmcs).mean()

    made = calibrated(start, own, CalibrationConfig(passes=30)).net
    assert error(made) < 0.6 * error(start)
    assert made.config.trees == 70 and start.config.trees == 40
    other = type(made)(made.config).eval()
    other.load_state_dict(made.state_dict())
    assert error(other) == error(made)


def of_trees(shift, seed=0, n=360):
    """Bags whose label an output figure tells, less a shift that an architecture has; all of them, and their groups."""
    draw = np.random.default_rng(seed)
    fmcs = draw.random(n)
    evidence = draw.normal(size=(n, len(NAMES))).astype(np.float32)
    evidence[:, NAMES.index(NEVER)] = 0
    evidence[:, NAMES.index("output entropy")] = fmcs + shift + 0.03 * draw.normal(size=n)
    table = pd.DataFrame(
        {"fmcs": fmcs, "backbone": [f"net {i % 6}" for i in range(n)], "run_id": f"run {seed}", "snapshot": range(n)}
    )
    features = draw.normal(size=(n, FEATURES)).astype(np.float32)
    made = Bags(table, np.arange(n), np.zeros(n, bool), features, np.zeros((n, 2), np.float32), evidence)
    return made, np.ones(n, bool), table["backbone"].to_numpy()
