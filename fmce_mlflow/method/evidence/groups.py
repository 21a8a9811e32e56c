"""All evidence beside the statistics of a module's maps: groups of figures, and their places in a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from fmce_mlflow.method.evidence.dropped import DROP_FIGURES
from fmce_mlflow.method.evidence.fresh import FRESH_FIGURES
from fmce_mlflow.method.evidence.labels import LABEL_FIGURES
from fmce_mlflow.method.evidence.outputs import OUTPUT_FIGURES
from fmce_mlflow.method.evidence.place import PLACE_FIGURES
from fmce_mlflow.method.evidence.settle import GAP_FIGURES
from fmce_mlflow.method.evidence.views import VIEW_FIGURES
from fmce_mlflow.method.evidence.weights import EXACT, WEIGHT_FIGURES

UNTOUCHED = "untouched"
"""Share of a module's weights that look as an initialisation left them, in [0, 1]."""

NEVER = "never trained"
"""1 where the module's weights are as an initialisation left them beyond doubt, else 0; NaN where there are none."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "weights": (*WEIGHT_FIGURES, UNTOUCHED, NEVER),
    "fresh": FRESH_FIGURES,
    "gap": GAP_FIGURES,
    "place": PLACE_FIGURES,
    "outputs": OUTPUT_FIGURES,
    "views": VIEW_FIGURES,
    "dropped": DROP_FIGURES,
    "labels": LABEL_FIGURES,
}
"""Groups of evidence, in the order in which they stand in a row."""

NAMES: tuple[str, ...] = tuple(name for figures in GROUPS.values() for name in figures)
"""Figures in a row."""


def never_trained(figures: Mapping[str, float]) -> float:
    """:data:`NEVER`, from the other figures of a module's weights.

    Example:
        >>> never_trained({UNTOUCHED: 1.0, "gain_constant": 1.0}), never_trained({UNTOUCHED: 1.0})
        (1.0, 0.0)
    """
    if not figures.get(UNTOUCHED, math.nan) <= 1:
        return math.nan
    return float(figures[UNTOUCHED] == 1 and any(figures.get(name) == 1 for name in EXACT))


def as_row(figures: Mapping[str, float]) -> Tensor:
    """Figures by name as a row, float32 (len(NAMES),); NaN where one is not known.

    Example:
        >>> int(as_row({UNTOUCHED: 1.0}).isfinite().sum())
        1
    """
    return torch.tensor([figures.get(name, float("nan")) for name in NAMES], dtype=torch.float32)


def columns(groups: Iterable[str]) -> list[int]:
    """Places in a row of the figures of some groups.

    Example:
        >>> columns(["weights"])[0], len(columns(GROUPS)) == len(NAMES)
        (0, True)
    """
    wanted = {name for group in groups for name in GROUPS[group]}
    return [place for place, name in enumerate(NAMES) if name in wanted]
