"""How a backbone is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.method.images.config import AUGMENTATIONS

Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["constant", "cosine"]
Precision = Literal["no", "bf16", "fp16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How a backbone is trained and how often it is looked at.

    Attributes:
        epochs: Passes over the training images, at least 1.
        snapshots_per_epoch: Snapshots in each pass, evenly spaced; at least 1.
        batch_size: Images per optimizer step, over all processes and accumulation steps.
        gradient_accumulation: Forward and backward passes per optimizer step.
        optimizer: ``sgd`` (with ``momentum``) or ``adamw``.
        lr: Peak learning rate.
        momentum: Momentum of SGD; AdamW uses its own moments.
        weight_decay: Weight decay of either optimizer.
        schedule: ``constant``, or ``cosine`` towards zero, which a step behind the last would have.
        warmup_epochs: Epochs of linear warm-up from zero.
        label_smoothing: Label smoothing of the training loss, in [0, 1).
        augmentation: One of :data:`fmce_mlflow.method.images.config.AUGMENTATIONS`.
        precision: ``no`` (float32), ``bf16`` or ``fp16`` automatic mixed precision.
        channels_last: Keep images and convolutions with their channels last in memory, which GPUs with mixed precision
            are faster with; for networks that do not look at the layout of their input.
        seed: Seeds the initial weights, the order of images, augmentation and dropout; below 2**63.
        num_workers: Processes that read images.
        cpu: Stay on the CPU even where a GPU is there.

    Raises:
        ConfigError: If any value is out of range; names every such value.

    Example:
        >>> TrainingConfig(epochs=3, snapshots_per_epoch=2).snapshots
        6
    """

    epochs: int = 8
    snapshots_per_epoch: int = 3
    batch_size: int = 64
    gradient_accumulation: int = 1
    optimizer: Optimizer = "adamw"
    lr: float = 0.002
    momentum: float = 0.9
    weight_decay: float = 0.01
    schedule: Schedule = "cosine"
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    augmentation: str = "none"
    precision: Precision = "no"
    channels_last: bool = False
    seed: int = 0
    num_workers: int = 0
    cpu: bool = False

    def __post_init__(self) -> None:
        problems = [
            f"{name.replace('_', '-')} must be at least 1, got {value}"
            for name in ("epochs", "snapshots_per_epoch", "batch_size", "gradient_accumulation")
            if (value := getattr(self, name)) < 1
        ]
        problems += [
            f"{name.replace('_', '-')} must not be negative, got {value}"
            for name in ("weight_decay", "warmup_epochs", "seed", "num_workers")
            if not (value := getattr(self, name)) >= 0
        ]
        if self.seed >= 2**63:
            problems.append(f"seed must be below 2**63, got {self.seed}")
        if not (self.lr > 0 and math.isfinite(self.lr)):
            problems.append(f"lr must be a positive number, got {self.lr}")
        problems += [
            f"{name.replace('_', '-')} must be in [0, 1), got {value}"
            for name in ("momentum", "label_smoothing")
            if not 0 <= (value := getattr(self, name)) < 1
        ]
        choices: tuple[tuple[str, Sequence[str]], ...] = (
            ("optimizer", get_args(Optimizer)),
            ("schedule", get_args(Schedule)),
            ("precision", get_args(Precision)),
            ("augmentation", AUGMENTATIONS),
        )
        problems += [
            f"{name} must be one of {', '.join(valid)}; got {value!r}"
            for name, valid in choices
            if (value := getattr(self, name)) not in valid
        ]
        if self.batch_size >= 1 and self.gradient_accumulation >= 1 and self.batch_size % self.gradient_accumulation:
            problems.append(
                f"batch-size ({self.batch_size}) must be a multiple of gradient-accumulation "
                f"({self.gradient_accumulation})"
            )
        if self.warmup_epochs > self.epochs:
            problems.append(f"warmup-epochs ({self.warmup_epochs}) must not exceed epochs ({self.epochs})")
        if problems:
            raise ConfigError(problems)

    @property
    def snapshots(self) -> int:
        """Index of the last snapshot; there is one more, snapshot 0, of the untrained network."""
        return self.epochs * self.snapshots_per_epoch

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)
