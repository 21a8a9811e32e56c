"""Fitting boosted trees to evidence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from fmce_mlflow.method.evidence.groups import GROUPS, NAMES, NEVER
from fmce_mlflow.method.fitting.bags import Bags
from fmce_mlflow.method.fitting.config import FitConfig
from fmce_mlflow.method.fitting.fit_set import fit_set, predict_bags
from fmce_mlflow.method.fitting.fit_trees import group_quantile
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.statistics import FEATURES

SHAPE = SetConfig(statistics="none", evidence=tuple(GROUPS), trees=40, leaves=6)
FIT = FitConfig(folds=3)


def bags(groups=6, each=60, noise=0.05, seed=0):
    """Bags whose label is told by two figures, one of them of the labels' group, in networks that differ by noise."""
    draw = np.random.default_rng(seed)
    n = groups * each
    fmcs = draw.random(n)
    evidence = draw.normal(size=(n, len(NAMES))).astype(np.float32)
    evidence[:, NAMES.index(NEVER)] = 0
    evidence[:, NAMES.index("output entropy")] = fmcs + noise * draw.normal(size=n)
    evidence[:, NAMES.index("label loss")] = 1 - fmcs + noise * draw.normal(size=n)
    table = pd.DataFrame({"fmcs": fmcs, "backbone": [f"net {i % groups}" for i in range(n)], "snapshot": 1})
    nothing = np.zeros((n, 2), np.float32)
    features = draw.normal(size=(n, FEATURES)).astype(np.float32)
    return Bags(table, np.arange(n), np.zeros(n, bool), features, nothing, evidence)


def fitted(data, groups=None):
    return fit_set(
        data, np.ones(len(data.row), bool), data.column("backbone") if groups is None else groups, SHAPE, FIT
    )


def errors(net, data):
    return np.abs([one.fmcs for one in predict_bags(net, data, np.arange(len(data.row)))] - data.fmcs)


def test_trees_read_evidence_and_do_without_a_group():
    net, new = fitted(bags()).net, bags(seed=1)
    assert errors(net, new).mean() < 0.06
    hidden = new.evidence.copy()
    hidden[:, [NAMES.index(name) for name in GROUPS["labels"]]] = np.nan
    without = Bags(new.table, new.row, new.test_images, new.features, new.scalars, hidden)
    assert errors(net, without).mean() < 0.1


def test_the_interval_holds_what_was_not_seen():
    net, new = fitted(bags(noise=0.15)).net, bags(noise=0.15, seed=2)
    found = predict_bags(net, new, np.arange(len(new.row)))
    held = np.mean([one.low - 1e-6 <= truth <= one.high + 1e-6 for one, truth in zip(found, new.fmcs, strict=True)])
    assert 0.85 <= held <= 0.99
    assert 0.1 < np.mean([one.high - one.low for one in found]) < 0.6


def test_what_was_never_trained_scores_nothing_whatever_its_maps_are():
    net, new = fitted(bags()).net, bags(seed=3)
    new.evidence[:, NAMES.index(NEVER)] = 1
    assert all(one.fmcs < 0.02 and one.high < 0.05 for one in predict_bags(net, new, np.arange(20)))


def test_a_net_of_trees_comes_back_and_predicts_the_same():
    net, new = fitted(bags()).net, bags(seed=4)
    other = type(net)(net.config).eval()
    other.load_state_dict(net.state_dict())
    index = np.arange(10)
    assert [one.fmcs for one in predict_bags(net, new, index)] == [one.fmcs for one in predict_bags(other, new, index)]


def test_a_group_without_a_name_is_fitted_to_and_never_held_out():
    data = bags()
    groups = np.where(data.table["backbone"] == "net 0", "", data.table["backbone"]).astype(str)
    assert fitted(data, groups).calibrated
    assert not fitted(data, np.full(len(data.row), "")).calibrated


def test_without_folds_nothing_is_held_out_and_all_bags_have_one_spread():
    data = bags()
    found = fit_set(data, np.ones(len(data.row), bool), data.column("backbone"), SHAPE, FitConfig(folds=0))
    assert not found.calibrated and not found.net.calibrated
    rows = found.net.raw(torch.from_numpy(np.hstack([data.features, data.features, data.evidence])))
    assert len(found.net.spread(rows).unique()) == 1 and errors(found.net, bags(seed=1)).mean() < 0.06


def test_maps_alone_are_enough_to_be_asked():
    net = fitted(bags()).net
    found = net.predict(torch.rand(8, 16, 4, 4))
    assert 0 <= found.low <= found.fmcs <= found.high <= 1


@pytest.mark.parametrize(("share", "wanted"), [(0.3, 1.0), (0.7, 9.0)])
def test_each_group_counts_the_same(share, wanted):
    values, groups = np.array([1.0] * 9 + [9.0]), np.array(["a"] * 9 + ["b"])
    assert group_quantile(values, groups, share) == wanted
