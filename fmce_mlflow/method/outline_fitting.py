"""Fit and score the ``outline`` FMCE-Net, which reads maps themselves and not statistics of bags.

It is fitted to single images at the marker snapshots, as published (arXiv 2405.04041), and scored on the same bags as
the ``set`` net. The training images' maps at the markers are held in memory, in float16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.method.bags import BagConfig, Read
from fmce_mlflow.method.fitting import FitConfig, Report, fit_outline
from fmce_mlflow.method.fmce_net import OutlineConfig, OutlineNet, Prediction
from fmce_mlflow.method.protocols import Split

VALIDATION_SHARE = 0.2
"""Share of the training images that early stopping looks at."""


@dataclass(frozen=True, slots=True)
class OutlineScores:
    """Predictions of an outline net.

    Attributes:
        rows: One row of the table per bag.
        predictions: One per bag.
        image_accuracy: Share of single test images at marker snapshots whose level is right, in [0, 1]; NaN without.
    """

    rows: pd.DataFrame
    predictions: list[Prediction]
    image_accuracy: float


def outline_shape(table: pd.DataFrame) -> tuple[int, int, int]:
    """The (C, H, W) that all maps of a table share.

    Raises:
        PredictorError: If they share none; the message names the shapes.
    """
    shapes = table[["channels", "height", "width"]].drop_duplicates()
    if len(shapes) != 1:
        listed = ", ".join("×".join(map(str, shape)) for shape in shapes.itertuples(index=False))
        raise PredictorError(
            f"An outline net reads maps of one shape, and this FMCS-dataset has {listed}. Use the kind `set`, or build "
            "a dataset of one backbone's module."
        )
    channels, height, width = (int(value) for value in shapes.iloc[0])
    return channels, height, width


def fit_outline_split(
    table: pd.DataFrame,
    read: Read,
    split: Split,
    bags: BagConfig,
    options: Mapping[str, Any],
    config: FitConfig,
    *,
    report: Report | None = None,
) -> tuple[OutlineNet, int]:
    """Fit an outline net to the training rows of a split.

    Args:
        table: Labelled rows of an FMCS-dataset.
        read: Gives the maps (n, C, H, W) of a row.
        split: Which rows are for training.
        bags: Which probe images are for training.
        options: Fields of :class:`OutlineConfig` besides the shape.
        config: How to fit.
        report: Called after each pass with its figures.

    Returns:
        The net in eval mode, and the pass whose weights it has.

    Raises:
        PredictorError: Maps of several shapes, or no marker snapshot to train on.
    """
    shape = outline_shape(table)
    parts: dict[str, list[tuple[Tensor, int]]] = {"train": [], "validation": []}
    row: Any
    for row in table[split.train & table["level"].notna().to_numpy()].itertuples(index=False):
        maps = torch.from_numpy(read(row))
        images, _ = bags.images(len(maps))
        order = np.random.default_rng(bags.seed + 1).permutation(images)
        cut = max(1, round(VALIDATION_SHARE * len(order)))
        parts["validation"].append((maps[np.sort(order[:cut])], int(row.level)))
        parts["train"].append((maps[np.sort(order[cut:])], int(row.level)))
    if not parts["train"]:
        raise PredictorError("There is no marker snapshot to train on. Build the FMCS-dataset from converged runs.")
    tensors = {
        name: (
            torch.cat([maps for maps, _ in items]),
            torch.cat([torch.full((len(maps),), level) for maps, level in items]),
        )
        for name, items in parts.items()
    }
    channels, height, width = shape
    net_config = OutlineConfig(channels=channels, height=height, width=width, **options)
    return fit_outline(*tensors["train"], net_config, config, validation=tensors["validation"], report=report)


def predict_outline(net: OutlineNet, table: pd.DataFrame, read: Read, split: Split, bags: BagConfig) -> OutlineScores:
    """Score the test rows of a split on bags of test images, those that ``collect_bags`` draws too.

    Args:
        net: The net, in eval mode.
        table: Labelled rows of an FMCS-dataset.
        read: Gives the maps (n, C, H, W) of a row.
        split: Which rows to score.
        bags: How bags are drawn.

    Returns:
        The predictions.
    """
    predictions: list[Prediction] = []
    positions: list[int] = []
    right: list[float] = []
    row: Any
    for position, row in enumerate(table.itertuples(index=False)):
        if not split.test[position]:
            continue
        maps = read(row)
        for number in range(bags.bags_per_map, 2 * bags.bags_per_map):
            predictions.append(net.predict(torch.from_numpy(maps[bags.bag(position, number, len(maps))])))
            positions.append(position)
        if not pd.isna(row.level):
            with torch.no_grad():
                logits = net(torch.from_numpy(maps[bags.images(len(maps))[1]]).float())  # (n, K)
            right.append(float((logits.argmax(1) == int(row.level)).float().mean()))
    rows = table.iloc[positions].reset_index(drop=True)
    return OutlineScores(rows, predictions, float(np.mean(right)) if right else float("nan"))
