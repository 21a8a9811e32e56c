"""Fit an ``OutlineNet`` to single images' maps, early stopping on some of the training images, and score it on bags."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.method.fitting.bags import Read
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fitting.passes import AfterPass, Fitted, optimizer
from fmce_mlflow.method.fitting.protocols import Predicted, Split
from fmce_mlflow.method.fmce_net.belief import Prediction
from fmce_mlflow.method.fmce_net.config import OutlineConfig
from fmce_mlflow.method.fmce_net.outline_net import OutlineNet

VALIDATION_SHARE = 0.2  # share of the training images that early stopping looks at


def fit_outline(
    maps: Tensor,
    levels: Tensor,
    net_config: OutlineConfig,
    config: FitConfig | None = None,
    *,
    validation: tuple[Tensor, Tensor] | None = None,
    report: AfterPass | None = None,
) -> Fitted[OutlineNet]:
    """Fit an ``OutlineNet`` to single images' maps; its interval is not calibrated.

    Args:
        maps: Of marker snapshots, float16 or float32 (n, C, H, W).
        levels: Their levels, int64 (n,).
        net_config: Shape of the net.
        config: How to fit.
        validation: Maps and levels of other images; the weights of the pass that is best on them are kept.
        report: Called after each pass with its figures; may raise to stop.
    """
    config = config or FitConfig()
    torch.manual_seed(config.seed)
    net = OutlineNet(net_config)
    steps = -(-len(maps) // config.batch_size)
    updates, schedule = optimizer(net.parameters(), config, steps)
    best, best_loss, best_pass = net.state_dict(), math.inf, config.epochs
    for number in range(1, config.epochs + 1):
        net.train()
        for batch in torch.randperm(len(maps)).split(config.batch_size):
            loss = F.cross_entropy(net(maps[batch].float()), levels[batch])
            updates.zero_grad()
            loss.backward()
            updates.step()
            schedule.step()
        if validation is None:
            continue
        value, accuracy = _outline_error(net, *validation)
        if report is not None:
            report(number, {"validation_loss": value, "validation_accuracy": accuracy})
        if value < best_loss:
            best, best_loss, best_pass = {k: v.clone() for k, v in net.state_dict().items()}, value, number
        if number - best_pass >= config.patience:
            break
    if validation is not None:
        net.load_state_dict(best)
    return Fitted(net.eval(), best_pass)


@torch.no_grad()
def _outline_error(net: OutlineNet, maps: Tensor, levels: Tensor) -> tuple[float, float]:
    net.eval()
    logits = torch.cat([net(part.float()) for part in maps.split(256)])
    return float(F.cross_entropy(logits, levels)), float((logits.argmax(1) == levels).float().mean())


def outline_shape(table: pd.DataFrame) -> tuple[int, int, int]:
    """The (C, H, W) that all maps of a table share; a ``PredictorError`` that names the shapes, if they share none."""
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
    table: pd.DataFrame, read: Read, split: Split, bags: BagConfig, options: Mapping[str, Any], config: FitConfig
) -> Fitted[OutlineNet]:
    """Fit an outline net to the training rows of a split.

    Args:
        table: Labelled rows of an FMCS-dataset.
        read: Gives the maps (n, C, H, W) of a row.
        split: Which rows are for training.
        bags: Which probe images are for training.
        options: Fields of the net's config besides the shape.
        config: How to fit.

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
    return fit_outline(*tensors["train"], net_config, config, validation=tensors["validation"])


def predict_outline(net: OutlineNet, table: pd.DataFrame, read: Read, split: Split, bags: BagConfig) -> Predicted:
    """Score the test rows of a split on bags of test images, those that ``collect_bags`` draws too.

    Returns:
        The predictions, and as ``image_accuracy`` the share of single test images at marker snapshots whose level is
        right, in [0, 1]; NaN without any.
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
    return Predicted(rows, predictions, {"image_accuracy": float(np.mean(right)) if right else float("nan")})
