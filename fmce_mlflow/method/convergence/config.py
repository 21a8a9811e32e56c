"""The constants of the method: smoothing, window, threshold, rule, levels, spacing.

The outline is that of Feature Map Convergence Evaluation (arXiv 2405.04041). It leaves its constants open: each one
here is a field of :class:`ConvergenceConfig` with a default of ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.wording import did_you_mean

Signal = Literal["train", "val", "drift"]
Aggregation = Literal["mean", "mean-abs"]
Rule = Literal["settled", "first"]
Spacing = Literal["time", "loss"]

SIGNAL_NAMES: Mapping[Signal, str] = {"train": "training loss", "val": "validation loss", "drift": "feature drift"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvergenceConfig:
    """Every constant of the method. The paper names none of them: the defaults are ours.

    Args:
        smoothing: β in [0, 1), the weight of the past in the smoothed loss; 0 turns smoothing off.
        window: w ≥ 1, how many differences of the smoothed loss CQI averages.
        threshold: μ > 0, the CQI under which a run counts as converged; a fraction of the loss range per snapshot.
        aggregation: ``mean`` averages the differences, ``mean-abs`` their absolute values.
        rule: ``settled`` takes the snapshot from which CQI stays under μ, ``first`` the first one under μ.
        levels: K ≥ 2, the number of epoch markers.
        spacing: ``time`` spaces the markers evenly in snapshots, ``loss`` evenly in smoothed loss.

    Raises:
        ConfigError: Values that cannot be used, all of them at once.

    Example:
        >>> ConvergenceConfig(levels=1, window=0)
        Traceback (most recent call last):
        ...
        fmce_mlflow.errors.ConfigError: 2 options cannot be used:
          - window must be a whole number of at least 1, got 0.
          - levels must be a whole number of at least 2, got 1.
    """

    smoothing: float = 0.5
    window: int = 3
    threshold: float = 0.02
    aggregation: Aggregation = "mean"
    rule: Rule = "settled"
    levels: int = 5
    spacing: Spacing = "time"

    def __post_init__(self) -> None:
        problems = []
        if not (_is_number(self.smoothing) and 0 <= self.smoothing < 1):
            problems.append(f"smoothing must be a number of at least 0 and below 1, got {self.smoothing!r}.")
        if not (_is_whole(self.window) and self.window >= 1):
            problems.append(f"window must be a whole number of at least 1, got {self.window!r}.")
        if not (_is_number(self.threshold) and 0 < self.threshold < math.inf):
            problems.append(f"threshold must be a number above 0, got {self.threshold!r}.")
        if not (_is_whole(self.levels) and self.levels >= 2):
            problems.append(f"levels must be a whole number of at least 2, got {self.levels!r}.")
        for name, choice, valid in (
            ("aggregation", self.aggregation, get_args(Aggregation)),
            ("rule", self.rule, get_args(Rule)),
            ("spacing", self.spacing, get_args(Spacing)),
        ):
            if choice not in valid:
                near = did_you_mean(str(choice), valid)
                problems.append(f"{name} must be {' or '.join(valid)}, got {choice!r}.{near}")
        if problems:
            raise ConfigError(problems)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_whole(value) or isinstance(value, float | np.floating)
