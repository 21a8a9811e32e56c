"""The constants of convergence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from fmce_mlflow.safety.options import Option, Options

Signal = Literal["train", "val", "drift"]
Aggregation = Literal["mean", "mean-abs"]
Rule = Literal["settled", "first"]
Spacing = Literal["time", "loss"]

SIGNAL_NAMES: Mapping[Signal, str] = {"train": "training loss", "val": "validation loss", "drift": "feature drift"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvergenceConfig(Options):
    """Every constant of the method. The paper names none of them: the defaults are ours.

    Raises:
        ConfigError: Values that cannot be used, all of them at once.

    Example:
        >>> ConvergenceConfig(levels=1, window=0)
        Traceback (most recent call last):
        ...
        fmce_mlflow.errors.ConfigError: 2 options cannot be used:
          - window must be at least 1, got 0
          - levels must be at least 2, got 1
    """

    smoothing: Annotated[float, Option("β of the loss's moving average; 0 turns it off.", ge=0, lt=1)] = 0.5
    window: Annotated[int, Option("w, how many differences of the smoothed loss CQI averages.", ge=1)] = 3
    threshold: Annotated[
        float, Option("μ, below which CQI counts as converged; a share of the loss's range per snapshot.", gt=0)
    ] = 0.02
    aggregation: Annotated[Aggregation, Option("Average the differences, or their absolute values.")] = "mean"
    rule: Annotated[Rule, Option("From where CQI stays below μ, or the first CQI below μ.")] = "settled"
    levels: Annotated[int, Option("K, levels of FMCS and epoch markers.", ge=2)] = 5
    spacing: Annotated[Spacing, Option("Space the markers evenly in snapshots or in smoothed loss.")] = "time"
