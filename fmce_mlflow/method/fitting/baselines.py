"""What FMCE-Net has to beat: simpler predictors of FMCS, fitted and scored on the same bags."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from fmce_mlflow.method.fitting.bags import SCALARS, Bags
from fmce_mlflow.method.fitting.spectral_alpha import _monotone
from fmce_mlflow.method.fmce_net.belief import Prediction

MOST_TREE_BAGS = 50_000
"""Bags to which extra-trees are fitted at most; a forest of more takes gigabytes."""

Baseline = Callable[[Bags, NDArray[np.int64], NDArray[np.int64], int], NDArray[np.float64]]


def majority_level(bags: Bags, train: NDArray[np.int64], test: NDArray[np.int64], levels: int) -> NDArray[np.float64]:
    """The most frequent level of the training bags, the lowest of several."""
    known = bags.table["level"].to_numpy(dtype="float64", na_value=np.nan)[bags.row[train]]
    counts = np.bincount(known[~np.isnan(known)].astype(int), minlength=levels)
    return np.full(len(test), counts.argmax() / (levels - 1))


def activation_deviation(
    bags: Bags, train: NDArray[np.int64], test: NDArray[np.int64], levels: int
) -> NDArray[np.float64]:
    """Mean deviation of the activations between images (after arXiv 2403.02473), mapped to FMCS monotonically."""
    return _monotone(bags.scalars[:, SCALARS.index("activation deviation")], bags.fmcs, train, test)


def effective_rank(bags: Bags, train: NDArray[np.int64], test: NDArray[np.int64], levels: int) -> NDArray[np.float64]:
    """Effective rank (Roy and Vetterli 2007) of the bag's maps, mapped to FMCS monotonically."""
    return _monotone(bags.scalars[:, SCALARS.index("effective rank")], bags.fmcs, train, test)


def extra_trees(bags: Bags, train: NDArray[np.int64], test: NDArray[np.int64], levels: int) -> NDArray[np.float64]:
    """Extra-trees (Geurts et al. 2006) on the features that the ``set`` net sees, of every k-th bag where many are."""
    train = train[:: -(-len(train) // MOST_TREE_BAGS)]
    model = ExtraTreesRegressor(200, min_samples_leaf=2, max_features=0.3, random_state=0, n_jobs=1)
    model.fit(bags.features[train], bags.fmcs[train])
    found: NDArray[np.float64] = model.predict(bags.features[test])
    return found


BASELINES: Mapping[str, Baseline] = {
    "majority_level": majority_level,
    "activation_deviation": activation_deviation,
    "effective_rank": effective_rank,
    "extra_trees": extra_trees,
}
"""Baselines that need bags only, by the name under which their figures are logged."""


def run_baselines(
    bags: Bags, train: NDArray[np.int64], test: NDArray[np.int64], levels: int
) -> dict[str, list[Prediction]]:
    """Fit every baseline and predict.

    Args:
        bags: Statistics of N bags.
        train: Positions of the bags to fit, int64.
        test: Positions of the bags to predict, int64.
        levels: K.

    Returns:
        Predictions by baseline, in the order of ``test``; their level is the nearest to their FMCS, and they give no
        interval.
    """
    return {name: as_predictions(fit(bags, train, test, levels), levels) for name, fit in BASELINES.items()}


def as_predictions(fmcs: NDArray[np.float64], levels: int) -> list[Prediction]:
    """Bare scores as predictions: the nearest level for certain, and no interval."""
    return [
        Prediction(value, 0.0, value, value, np.eye(levels)[nearest], nearest)
        for value in np.clip(fmcs, 0, 1).tolist()
        for nearest in [round(value * (levels - 1))]
    ]
