"""Protocols: what a predictor has not seen when it is scored, and the figures it is scored by.

``images`` is the published one (arXiv 2405.04041): the runs it was trained on, other images. ``run``,
``architecture`` and ``dataset`` hold out whole training runs, backbones and data sets; they too are scored on images
that were in no training bag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from fmce_mlflow.errors import ConfigError, RunError
from fmce_mlflow.method.fitting.config import Protocol
from fmce_mlflow.method.fmce_net.belief import Prediction

PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

GROUP_COLUMN: Mapping[Protocol, str] = {
    "images": "run_id",
    "run": "run_id",
    "architecture": "backbone",
    "dataset": "dataset",
}
"""The column whose values are a protocol's groups; early stopping holds out such groups too."""

_NEEDS: Mapping[Protocol, str] = {
    "images": "1 run",
    "run": "2 runs: train another seed with `fmce build-fmcs --seeds 0,1`",
    "architecture": "2 backbones: name several with --backbone a,b",
    "dataset": "2 data sets: name several with --dataset a,b",
}


@dataclass(frozen=True, slots=True)
class Split:
    """What is trained on and what is scored."""

    protocol: Protocol
    held_out: str  # the group; empty under `images`
    train: NDArray[np.bool_]  # rows of the table, (rows,)
    test: NDArray[np.bool_]  # (rows,)


def splits(table: pd.DataFrame, protocol: Protocol, *, cross_validate: bool = True, seed: int = 0) -> list[Split]:
    """The splits of a protocol, at least one.

    Args:
        table: Rows with run_id, backbone and dataset.
        protocol: The protocol.
        cross_validate: Hold out each group in turn; else one, drawn by ``seed``.
        seed: Draws the group.

    Raises:
        ConfigError: An unknown protocol.
        RunError: Too few groups; the message says what is needed.

    Example:
        >>> table = pd.DataFrame({"run_id": ["a", "a", "b"], "backbone": "x", "dataset": "y"})
        >>> [split.held_out for split in splits(table, "run")]
        ['a', 'b']
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"protocol must be one of {', '.join(PROTOCOLS)}; got {protocol!r}")
    everything = np.ones(len(table), dtype=bool)
    if protocol == "images":
        return [Split(protocol, "", everything, everything)]
    column = GROUP_COLUMN[protocol]
    values = table[column].to_numpy()
    groups = list(dict.fromkeys(values))
    if len(groups) < 2:
        raise RunError(
            f"Protocol {protocol} holds out one {column} of the FMCS-dataset and trains on the others, but it has "
            f"{len(groups)} only ({', '.join(map(str, groups))}). It needs at least {_NEEDS[protocol]}."
        )
    if not cross_validate:
        groups = [groups[np.random.default_rng(seed).integers(len(groups))]]
    return [Split(protocol, str(group), values != group, values == group) for group in groups]


@dataclass(frozen=True, slots=True)
class Predicted:
    """Predictions of bags, before they are scored."""

    rows: pd.DataFrame  # of an FMCS-dataset, one per bag
    predictions: list[Prediction]
    metrics: Mapping[str, float] = field(default_factory=dict)  # figures that only the predictor itself can give


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of one protocol, over all bags scored.

    Attributes:
        metrics: accuracy, precision, recall, f1 (macro over the K levels) and within_one at the marker snapshots; mae
            over all snapshots; spearman, the median over runs and modules of Spearman's ρ over snapshots 0 … T (or the
            last one at which the label rose; NaN, and left out, for modules whose label is the same throughout);
            coverage and width of the 90 % interval. ``level_<k>/…`` has precision, recall and f1 by level.
        confusion: Bags by true (rows) and predicted level, int64 (K, K).
        by_run: mae and spearman of each run and module.
    """

    metrics: dict[str, float]
    confusion: NDArray[np.int64]
    by_run: pd.DataFrame


def score(rows: pd.DataFrame, predictions: Sequence[Prediction], levels: int) -> Scores:
    """Score predictions on bags.

    Args:
        rows: One row per bag with run_id, backbone, dataset, module, snapshot, fmcs and level (null off the markers).
        predictions: One per bag.
        levels: K.

    Returns:
        The figures, without accuracy and what follows from it where no marker snapshot was scored, and without coverage
        where the predictor gives no interval.
    """
    truth = rows["fmcs"].to_numpy(dtype=np.float64)
    found = np.array([p.fmcs for p in predictions])
    low, high = np.array([p.low for p in predictions]), np.array([p.high for p in predictions])
    marker = rows["level"].notna().to_numpy()
    true_level = rows["level"].to_numpy(dtype="float64", na_value=np.nan)[marker].astype(int)
    level = np.array([p.level for p in predictions])[marker]
    metrics: dict[str, float] = {"mae": float(np.abs(found - truth).mean())}
    if marker.any():
        metrics["accuracy"] = float((level == true_level).mean())
        metrics["within_one"] = float((np.abs(level - true_level) <= 1).mean())
        each = precision_recall_fscore_support(true_level, level, labels=range(levels), zero_division=0)
        for name, values in zip(("precision", "recall", "f1"), each[:3], strict=True):
            metrics[name] = float(np.mean(values))
            metrics |= {f"level_{k}/{name}": float(value) for k, value in enumerate(values)}
    by_run = _by_run(rows, found, truth)
    ordered = by_run["spearman"].dropna()
    metrics["spearman"] = float(ordered.median()) if len(ordered) else 0.0
    metrics["spearman_lowest"] = float(ordered.min()) if len(ordered) else 0.0
    if (high > low).any():
        metrics["coverage"] = float(((truth >= low - 1e-9) & (truth <= high + 1e-9)).mean())
        metrics["width"] = float((high - low).mean())
    confusion = (
        confusion_matrix(true_level, level, labels=range(levels)) if marker.any() else np.zeros((levels, levels))
    )
    return Scores(metrics, confusion.astype(np.int64), by_run)


def _by_run(rows: pd.DataFrame, found: NDArray[Any], truth: NDArray[Any]) -> pd.DataFrame:
    frame = rows[["run_id", "backbone", "dataset", "module", "snapshot"]].assign(found=found, truth=truth)
    records = []
    for keys, part in frame.groupby(["run_id", "backbone", "dataset", "module"], sort=False, observed=True):
        highest = part["truth"].max()
        until = part[part["snapshot"] <= part.loc[part["truth"] >= highest - 1e-9, "snapshot"].min()]
        rho = 0.0 if part["truth"].nunique() > 1 else np.nan
        if until["found"].nunique() > 1 and until["truth"].nunique() > 1:
            rho = float(spearmanr(until["found"], until["truth"]).statistic)
        mae = float((part["found"] - part["truth"]).abs().mean())
        records.append((*keys, mae, rho, len(part)))
    return pd.DataFrame(records, columns=["run_id", "backbone", "dataset", "module", "mae", "spearman", "bags"])
