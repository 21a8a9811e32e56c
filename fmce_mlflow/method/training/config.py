"""How a backbone is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from fmce_mlflow.method.images.config import Augmentation
from fmce_mlflow.safety.options import Option, Options

Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["constant", "cosine"]
Precision = Literal["no", "bf16", "fp16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig(Options):
    """How a backbone is trained and how often it is looked at.

    Example:
        >>> TrainingConfig(epochs=3, snapshots_per_epoch=2).snapshots
        6
    """

    epochs: Annotated[int, Option("Passes over the training images.", ge=1)] = 8
    snapshots_per_epoch: Annotated[int, Option("Snapshots in each pass, evenly spaced.", ge=1)] = 3
    batch_size: Annotated[
        int, Option("Images per optimizer step, over all processes and accumulation steps.", ge=1)
    ] = 64
    gradient_accumulation: Annotated[int, Option("Forward and backward passes per optimizer step.", ge=1)] = 1
    optimizer: Annotated[Optimizer, Option("Optimizer.")] = "adamw"
    lr: Annotated[float, Option("Peak learning rate.", gt=0)] = 0.002
    momentum: Annotated[float, Option("Momentum of SGD; AdamW uses its own moments.", ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Option("Weight decay of either optimizer.", ge=0)] = 0.01
    schedule: Annotated[Schedule, Option("Learning rate after warm-up: constant, or a cosine towards zero.")] = "cosine"
    warmup_epochs: Annotated[float, Option("Epochs of linear warm-up from zero.", ge=0)] = 1.0
    label_smoothing: Annotated[float, Option("Label smoothing of the training loss.", ge=0, lt=1)] = 0.0
    augmentation: Annotated[Augmentation, Option("Augmentation of training images.")] = "none"
    precision: Annotated[Precision, Option("Automatic mixed precision; no: float32.")] = "no"
    channels_last: Annotated[
        bool,
        Option(
            "Keep channels last in memory: faster on GPUs with mixed precision, for networks that do not look at the "
            "layout of their input."
        ),
    ] = False
    seed: Annotated[
        int, Option("Seeds the initial weights, the order of images, augmentation and dropout.", ge=0, lt=2**63)
    ] = 0
    num_workers: Annotated[int, Option("Processes that read images.", ge=0)] = 0
    cpu: Annotated[bool, Option("Stay on the CPU even if there is a GPU.")] = False

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What does not go together."""
        whole, parts = self.batch_size, self.gradient_accumulation
        if fine("batch_size", "gradient_accumulation") and whole % parts:
            yield f"batch-size ({whole}) must be a multiple of gradient-accumulation ({parts})"
        if fine("warmup_epochs", "epochs") and self.warmup_epochs > self.epochs:
            yield f"warmup-epochs ({self.warmup_epochs}) must not exceed epochs ({self.epochs})"

    @property
    def snapshots(self) -> int:
        """Index of the last snapshot; there is one more, snapshot 0, of the untrained network."""
        return self.epochs * self.snapshots_per_epoch
