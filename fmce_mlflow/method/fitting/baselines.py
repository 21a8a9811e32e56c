"""What FMCE-Net has to beat: simpler predictors of FMCS, fitted and scored on the same bags."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.isotonic import IsotonicRegression

from fmce_mlflow.method.fitting.bags import SCALARS, Bags
from fmce_mlflow.method.fitting.row_store import in_parts, let_go, new_rows
from fmce_mlflow.method.fmce_net.belief import Prediction
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.set_net import seen_features

MOST_TREE_BAGS = 50_000  # bags to which extra-trees are fitted at most; a forest of more takes gigabytes
Baseline = Callable[[Bags, NDArray[np.int64], NDArray[np.int64], int], NDArray[np.float64]]


def majority_level(bags: Bags, train: NDArray[np.int64], test: NDArray[np.int64], levels: int) -> NDArray[np.float64]:
    """The most frequent level of the training bags, the lowest of several."""
    known = bags.table["level"].to_numpy(dtype="float64", na_value=np.nan)[bags.row[train]]
    counts = np.bincount(known[~np.isnan(known)].astype(int), minlength=levels)
    return np.full(len(test), counts.argmax() / (levels - 1))


def by_scalar(
    name: str, bags: Bags, train: NDArray[np.int64], test: NDArray[np.int64], levels: int
) -> NDArray[np.float64]:
    """One of :data:`SCALARS` of the bag's maps, mapped to FMCS monotonically."""
    return monotone(bags.scalars[:, SCALARS.index(name)], bags.fmcs, train, test)


def extra_trees(bags: Bags, train: NDArray[np.int64], test: NDArray[np.int64], levels: int) -> NDArray[np.float64]:
    """Extra-trees (Geurts et al. 2006) on the bags' features, of every k-th bag where there are many."""
    train = train[:: -(-len(train) // MOST_TREE_BAGS)]
    model = ExtraTreesRegressor(200, min_samples_leaf=2, max_features=0.3, random_state=0, n_jobs=1)
    model.fit(bags.features[train], bags.fmcs[train])
    found: NDArray[np.float64] = model.predict(bags.features[test])
    return found


BASELINES: Mapping[str, Baseline] = {
    "majority_level": majority_level,
    "activation_deviation": partial(by_scalar, "activation deviation"),  # after arXiv 2403.02473
    "effective_rank": partial(by_scalar, "effective rank"),
    "extra_trees": extra_trees,
}
"""Baselines that need bags only, by the name under which their figures are logged."""


def run_baselines(
    bags: Bags, train: NDArray[np.int64], test: NDArray[np.int64], levels: int
) -> dict[str, list[Prediction]]:
    """Predictions of some bags by every baseline, fitted to others; their level is the nearest, without an interval.

    Args:
        bags: Statistics of N bags.
        train: Positions of the bags to fit, int64.
        test: Positions of the bags to predict, int64.
        levels: K.
    """
    return {name: as_predictions(fit(bags, train, test, levels), levels) for name, fit in BASELINES.items()}


def as_predictions(fmcs: NDArray[np.float64], levels: int) -> list[Prediction]:
    """Bare scores as predictions: the nearest level for certain, and no interval."""
    return [
        Prediction(value, 0.0, value, value, np.eye(levels)[nearest], nearest)
        for value in np.clip(fmcs, 0, 1).tolist()
        for nearest in [round(value * (levels - 1))]
    ]


def monotone(
    values: NDArray[Any], fmcs: NDArray[np.float64], train: NDArray[np.int64], test: NDArray[np.int64]
) -> NDArray[np.float64]:
    """A figure of each bag mapped to FMCS by isotonic regression: fitted to some bags, predicted of others."""
    model = IsotonicRegression(increasing="auto", out_of_bounds="clip", y_min=0, y_max=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Confidence interval of the Spearman", UserWarning)
        model.fit(values[train], fmcs[train])
    found: NDArray[np.float64] = model.predict(values[test])
    return found


def seen_bags(bags: Bags, shape: SetConfig) -> Bags:
    """Bags with the features that a ``set`` net of some shape sees and no others."""
    rows, everything = bags.rows(reference=shape.reference, evidence=bool(shape.evidence)), np.arange(len(bags.row))
    width = seen_features(rows.take(everything[:1]), shape).shape[1]
    features = new_rows(len(rows), width)
    for part in in_parts(everything):
        features[part[0] : part[-1] + 1] = seen_features(rows.take(part), shape).numpy()
        let_go(features)
    return replace(bags, features=features)
