"""Steps, orders, learning rates and seeds as functions of seed, epoch and step alone."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.method.training.config import TrainingConfig


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The order in which an epoch visits n images, int64 (n,): a function of seed and epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Optimizer steps in an epoch; images that do not fill a batch wait for another epoch's order."""
    return max(1, images // batch_size)


def snapshot_steps(steps: int, snapshots: int) -> list[int]:
    """Steps of an epoch, counted from 1, after which a snapshot is taken.

    Raises:
        ConfigError: If there are fewer steps than snapshots.

    Example:
        >>> snapshot_steps(24, 3)
        [8, 16, 24]
    """
    if snapshots > steps:
        raise ConfigError(
            f"snapshots-per-epoch ({snapshots}) exceeds the {steps} optimizer steps of an epoch; "
            "use a smaller batch-size or fewer snapshots"
        )
    return [round(steps * (i + 1) / snapshots) for i in range(snapshots)]


def learning_rate(config: TrainingConfig, step: int, steps: int) -> float:
    """Learning rate of optimizer step ``step`` (from 0) in epochs of ``steps`` steps.

    Warm-up rises linearly to ``lr`` at its last step; after it starts the cosine (Loshchilov and Hutter,
    arXiv 1608.03983, eq. 5, without restarts).

    Example:
        >>> config = TrainingConfig(epochs=2, lr=1.0, schedule="cosine", warmup_epochs=1)
        >>> [round(learning_rate(config, step, 2), 3) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
    """
    total, warmup = config.epochs * steps, config.warmup_epochs * steps
    if step < warmup:
        return config.lr * min(1.0, (step + 1) / warmup)
    if config.schedule == "constant":
        return config.lr
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


def seed_generators(device: torch.device, *numbers: int) -> None:
    """Seed dropout and the like from several numbers."""
    seed = int(np.random.SeedSequence(list(numbers)).generate_state(1, np.uint64)[0] >> np.uint64(1))
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too, which nobody puts back
    else:
        torch.manual_seed(seed)


def private_rng(device: torch.device) -> Any:
    """A context that gives torch's global generators back as they were."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def deterministic(device: torch.device) -> Any:
    """Reproducible cuDNN kernels while training on a GPU."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True)


def memory_format(config: TrainingConfig) -> torch.memory_format:
    """How images lie in memory when the network gets them."""
    return torch.channels_last if config.channels_last else torch.preserve_format
