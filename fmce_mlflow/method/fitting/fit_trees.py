"""Fit the boosted trees of a ``SetNet``: where FMCS lies, and how far it may lie from there.

Each bag is shown twice, once as it is and once without some groups of its evidence, so that the trees know what to do
where one is missing. The spread is fitted to the errors of groups that were held out, and so is the interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import GroupKFold

from fmce_mlflow.method.evidence.groups import GROUPS, columns
from fmce_mlflow.method.fitting.config import FitConfig
from fmce_mlflow.method.fmce_net.belief import normal_belief
from fmce_mlflow.method.fmce_net.set_net import SPREADS, SetNet

HIDDEN: Mapping[str, float] = {"labels": 0.5, "outputs": 0.4, "dropped": 0.4}
"""How often a group of evidence is hidden in a bag that is shown without some; 0.15 of the others."""
_HIDDEN_ELSE = 0.15
_OF_FULL = {"labels": 0.5}  # hidden in a bag as it is, too: most models are scored without labels
_MEAN_TO_DEVIATION = 1.2533  # of a normal distribution: its deviation over its mean absolute value

Floats = NDArray[np.float64]


def fit_trees(
    net: SetNet, rows: NDArray[np.float32], fmcs: Floats, groups: NDArray[Any], config: FitConfig
) -> NDArray[np.float64]:
    """Fit both forests of a net.

    Args:
        net: Whose :meth:`~fmce_mlflow.method.fmce_net.set_net.SetNet.raw` gives the rows.
        rows: Of the bags, (N, F); NaN where a value is missing.
        fmcs: Their labels, (N,).
        groups: Group of each, (N,); where there are several, the spread is fitted to groups that were left out. Those
            of group "" never are.
        config: ``folds`` and ``seed`` count; with fewer than two folds all bags have one spread.

    Returns:
        Errors of the bags that were left out, in units of their deviation, (N,), NaN of those that were not; empty
        where there was one group or fold only.
    """
    shown, labels = _shown(net, rows, fmcs, config.seed)
    net.location.take(_location(net, shown, labels, config.seed))
    named = np.flatnonzero(groups != "")
    count = min(config.folds, len(np.unique(groups[named])))
    if count < 2:
        net.spread.base.fill_(0.15)
        return np.zeros(0)
    where, apart = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    folds = [named[held] for _, held in GroupKFold(count).split(named, groups=groups[named])]
    everything = np.arange(len(rows))
    for held in folds:
        rest = np.setdiff1d(everything, held)
        some, known = _shown(net, rows[rest], fmcs[rest], config.seed)
        found = _location(net, some, known, config.seed).predict(_without_labels(net, rows[held]))
        where[held] = found.clip(0, 1)
        apart[held] = np.abs(where[held] - fmcs[held])
    seen = _without_labels(net, rows)
    net.spread.take(_spread(net, seen[named], apart[named], config.seed))
    width = np.full(len(rows), 0.1)
    for held in folds:
        rest = np.setdiff1d(named, held)
        width[held] = _spread(net, seen[rest], apart[rest], config.seed).predict(seen[held]).clip(*SPREADS)
    belief = normal_belief(torch.from_numpy(np.nan_to_num(where)).float(), torch.from_numpy(width).float())
    found, deviation, _ = net.summarize(belief)
    ratios = ((found - torch.from_numpy(fmcs)).abs() / deviation).double().numpy()
    return np.where(np.isnan(where), np.nan, ratios)


def group_quantile(values: Floats, groups: NDArray[Any], share: float) -> float:
    """A quantile of values in which each group counts the same, however many bags it has.

    For conformal prediction over groups (after Dunn, Wasserman and Ramdas 2022), as the next model is of a new one.

    Example:
        >>> group_quantile(np.array([1.0, 1.0, 1.0, 9.0]), np.array(["a", "a", "a", "b"]), 0.5)
        1.0
    """
    _, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(values)
    total = np.cumsum((1 / counts[place] / len(counts))[order])
    place_of_share = min(int(np.searchsorted(total, share - 1e-9)), len(values) - 1)
    return float(values[order[place_of_share]])


def _location(net: SetNet, rows: NDArray[np.float32], fmcs: Floats, seed: int) -> HistGradientBoostingRegressor:
    return _fitted(_model(net.config.trees, net.config.leaves, seed, "absolute_error"), rows, fmcs)


def _spread(net: SetNet, rows: NDArray[np.float32], apart: Floats, seed: int) -> HistGradientBoostingRegressor:
    model = _model(net.config.trees // 2, net.config.leaves, seed, "squared_error", smallest=80)
    return _fitted(model, rows, _MEAN_TO_DEVIATION * apart)


def _fitted(
    model: HistGradientBoostingRegressor, rows: NDArray[np.float32], labels: Floats
) -> HistGradientBoostingRegressor:
    """A model fitted to rows, of which it does not take columns without a value."""
    return model.fit(np.where(np.isnan(rows).all(0), 0.0, rows), labels)


def _model(trees: int, leaves: int, seed: int, loss: str, smallest: int = 20) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(
        loss=loss, max_iter=max(1, trees), max_leaf_nodes=leaves, learning_rate=0.07, max_features=0.6,
        l2_regularization=1.0, min_samples_leaf=smallest, early_stopping=False, random_state=seed,
    )  # fmt: skip


def _places(net: SetNet, group: str, width: int) -> NDArray[np.int64]:
    """Columns of a group in rows of a width, in which the evidence stands last."""
    known = columns(net.config.evidence)
    start = width - len(known)
    return np.array([start + known.index(place) for place in columns([group])])


def _without_labels(net: SetNet, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    if "labels" not in net.config.evidence:
        return rows
    rows = rows.copy()
    rows[:, _places(net, "labels", rows.shape[1])] = np.nan
    return rows


def _shown(net: SetNet, rows: NDArray[np.float32], fmcs: Floats, seed: int) -> tuple[NDArray[np.float32], Floats]:
    """Bags as trees are fitted to them, twice each, and their labels."""
    draw = np.random.default_rng(seed)
    parts = []
    for often in (_OF_FULL, {group: HIDDEN.get(group, _HIDDEN_ELSE) for group in GROUPS}):
        part = rows.copy()
        for group in net.config.evidence:
            hidden = draw.random(len(part)) < often.get(group, 0.0)
            part[np.ix_(hidden, _places(net, group, part.shape[1]))] = np.nan
        parts.append(part)
    return np.concatenate(parts), np.concatenate([fmcs, fmcs])
