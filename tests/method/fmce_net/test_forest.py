"""Boosted trees as tensors, against scikit-learn's own."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor

from fmce_mlflow.method.fmce_net.forest import Forest


def fitted(rows, labels, **options):
    model = HistGradientBoostingRegressor(
        max_iter=12, max_leaf_nodes=6, min_samples_leaf=4, early_stopping=False, **options
    )
    return model.fit(rows, labels)


def test_trees_give_what_scikit_learn_gives_also_where_values_are_missing():
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(400, 5)).astype(np.float32)
    rows[draw.random(rows.shape) < 0.2] = np.nan
    labels = np.nan_to_num(rows[:, 0]) * np.isnan(rows[:, 1]) + 0.3 * np.nan_to_num(rows[:, 2])
    for loss in ("squared_error", "absolute_error"):
        model, forest = fitted(rows, labels, loss=loss), Forest(12, 6)
        forest.take(model)
        unseen = draw.normal(size=(100, 5)).astype(np.float32)
        unseen[draw.random(unseen.shape) < 0.3] = np.nan
        np.testing.assert_allclose(forest(torch.from_numpy(unseen)).numpy(), model.predict(unseen), atol=1e-5)


def test_a_tree_may_be_as_deep_as_its_leaves_allow():
    rows = (2.0 ** np.arange(64, dtype=np.float32))[:, None]
    labels = np.arange(64.0) ** 3
    model, forest = fitted(rows, labels, learning_rate=1.0), Forest(12, 6)
    forest.take(model)
    np.testing.assert_allclose(forest(torch.from_numpy(rows)).numpy(), model.predict(rows), atol=1.0)  # of 250,000


def test_trees_come_back_from_their_tensors():
    rows = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    forest, other = Forest(12, 6), Forest(12, 6)
    forest.take(fitted(rows, rows[:, 0]))
    other.load_state_dict(forest.state_dict())
    assert torch.equal(forest(torch.from_numpy(rows)), other(torch.from_numpy(rows)))
