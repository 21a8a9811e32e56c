"""What the baselines are worth: each figure mapped to FMCS on some architectures and scored on the others.

A figure of ``research/baseline_scores.py`` is one number for each module and snapshot, and is mapped by isotonic
regression; where there are several for each, as the features that FMCE-Net sees, extra-trees take them. What
:func:`scalar_baselines` gives stands in ``docs/results.md``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from fmce_mlflow.method.fitting.baselines import as_predictions, monotone
from fmce_mlflow.method.fitting.protocols import score

FIGURES = ("mae", "accuracy", "within_one", "spearman")
TREES = 200


def scalar_baselines(
    values: Mapping[str, NDArray[np.floating]],
    fmcs: NDArray[np.floating],
    level: NDArray[np.floating],
    groups: NDArray[np.str_],
    *,
    runs: NDArray[np.str_] | None = None,
    snapshots: NDArray[np.integer] | None = None,
    scored: NDArray[np.bool_] | None = None,
    levels: int = 5,
) -> pd.DataFrame:
    """Score baselines, each group held out in turn.

    Args:
        values: By baseline, a figure (N,) of each bag, or features (N, D); a row of NaN gets the mean of the labels,
            and to trees single features that are NaN are missing.
        fmcs: Labels (N,).
        level: The level of bags at marker snapshots, else NaN or −1 (N,).
        groups: What is held out together, as the architecture (N,); "" for bags that are fitted to, never scored.
        runs: Of which run and module each bag is, for Spearman's ρ; None: one for each group (N,).
        snapshots: Of the bags (N,), for ρ over 0 … T; None: they are in order within their run.
        scored: Which bags of a group are scored, the others being fitted to; None: all (N,).
        levels: K.

    Returns:
        A row for each baseline: the figures of ``protocols.score``, and the share of bags where it is known.
    """
    fmcs, groups = np.asarray(fmcs, dtype=np.float64), np.asarray(groups)
    marked = pd.array(np.where(np.asarray(level, dtype=np.float64) >= 0, level, np.nan)).astype("Int64")
    runs = groups if runs is None else np.asarray(runs)
    if snapshots is None:
        snapshots = pd.Series(runs).groupby(runs).cumcount().to_numpy()
    rows = pd.DataFrame({"run_id": runs, "backbone": groups, "dataset": "", "module": "", "snapshot": snapshots})
    rows = rows.assign(fmcs=fmcs, level=marked)
    place = np.flatnonzero(groups != "" if scored is None else scored & (groups != ""))
    table = {}
    for name, value in values.items():
        found = held_out(np.asarray(value, dtype=np.float64), fmcs, groups)[place]
        metrics = score(rows.iloc[place].reset_index(drop=True), as_predictions(found, levels), levels).metrics
        table[name] = {key: metrics.get(key, np.nan) for key in FIGURES} | {"known": _known(value)[place].mean()}
    return pd.DataFrame(table).T


def held_out(value: NDArray[np.float64], fmcs: NDArray[np.float64], groups: NDArray[np.str_]) -> NDArray[np.float64]:
    """FMCS of each bag by a map that was fitted to the other groups; NaN where the group is ""."""
    known = _known(value)
    found = np.full(len(value), np.nan)
    for group in np.unique(groups[groups != ""]):
        test, train = groups == group, groups != group
        found[test] = fmcs[train].mean()
        fit, ask = np.flatnonzero(train & known), np.flatnonzero(test & known)
        if len(fit) and len(ask):
            found[ask] = monotone(value, fmcs, fit, ask) if value.ndim == 1 else _trees(value, fmcs, fit, ask)
    return found


def _known(value: NDArray[np.float64]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.isfinite(value).reshape(len(value), -1).any(1)
    return found


def _trees(
    value: NDArray[np.float64], fmcs: NDArray[np.float64], fit: NDArray[np.int64], ask: NDArray[np.int64]
) -> NDArray[np.float64]:
    few = value.shape[1] < 10  # of which each split looks at all
    model = ExtraTreesRegressor(TREES, min_samples_leaf=2, max_features=1.0 if few else 0.3, random_state=0, n_jobs=1)
    found: NDArray[np.float64] = model.fit(value[fit].astype(np.float32), fmcs[fit]).predict(value[ask])
    return found
