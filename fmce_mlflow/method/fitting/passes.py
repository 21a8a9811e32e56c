"""What fitting has in common whatever the net: its result, its optimiser and the report after each pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from fmce_mlflow.method.fitting.config import FitConfig

AfterPass = Callable[[int, dict[str, float]], Any]
"""Called after each pass with its number and figures; may raise to stop the fit."""

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Fitted(Generic[N]):
    """A fitted net in eval mode, and how it came about."""

    net: N
    epochs: int  # passes over the training data that its weights come from
    validation: list[float] = field(default_factory=list)  # mean absolute error after each pass, mean over folds
    calibrated: bool = False  # its interval was set on held-out groups


def optimizer(weights: Iterable[Tensor], config: FitConfig, steps: int) -> tuple[Optimizer, LambdaLR]:
    """AdamW on a cosine schedule with a tenth of warm-up, for so many steps a pass."""
    total = steps * config.epochs
    warmup = max(1, total // 10)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    weights = list(weights)
    fused = all(weight.device.type == "cpu" for weight in weights)  # one call in place of ten for each
    made = AdamW(weights, lr=config.lr, weight_decay=config.weight_decay, fused=fused)
    return made, LambdaLR(made, factor)
