"""Losses of a network outside its training steps: before the first one, and on held-out images in eval mode."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmce_mlflow.method.images.split import ImageData
from fmce_mlflow.method.images.training_batches import loader
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.method.training.state import TrainingState
from fmce_mlflow.method.training.steps import _private_rng, _seed, epoch_order

FIRST_LOSS_IMAGES = 512
"""Training images over which the loss of the untrained network, L_0, is taken."""

FLOAT16_MAX = float(torch.finfo(torch.float16).max)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment of training.

    Attributes:
        index: 0 for the untrained network, then 1, 2, ….
        epoch: Epochs trained so far.
        train_loss: Mean cross-entropy of the training steps since the last snapshot, in nats; at snapshot 0 that of
            the untrained network on the first training images.
        val_loss: Mean cross-entropy in eval mode over the validation images, in nats.
        val_accuracy: Accuracy over the validation images, in [0, 1].
        maps: Feature maps of the probe images by module, float16 (n, C, H, W), on the CPU. Values beyond float16 are
            set to its largest.
        clipped: Number of such values, by module.
        train_seconds: Wall time of the training steps since the last snapshot.
        probe_seconds: Wall time of the pass over probe and validation images.
        images_per_second: Training images per second since the last snapshot; 0 at snapshot 0.
        state: What is needed to go on from here; present on the main process only.
    """

    index: int
    epoch: float
    train_loss: float
    val_loss: float
    val_accuracy: float
    maps: dict[str, Tensor]
    clipped: dict[str, int]
    train_seconds: float
    probe_seconds: float
    images_per_second: float
    state: TrainingState | None


def _observe(
    model: nn.Module,
    data: ImageData,
    modules: Sequence[str],
    map_size: int | None,
    batch: int,
    device: torch.device,
    layout: torch.memory_format,
) -> tuple[float, float, dict[str, Tensor], dict[str, int]]:
    """One pass over the validation images in eval mode; the maps of the probe images, which come first."""
    n_probe, n = len(data.probe), len(data.validation)
    edges = [*range(0, n_probe, batch), *range(n_probe, n, batch), n]
    chunks = [list(range(a, b)) for a, b in itertools.pairwise(edges)]
    pinned = device.type == "cuda"  # copies then run beside the next batch
    maps: dict[str, Tensor] = {}
    over: dict[str, list[Tensor]] = {}
    losses: list[Tensor] = []
    correct: list[Tensor] = []
    with capture(model, modules, map_size=map_size) as forward:
        for chunk, (x, y) in zip(
            chunks, loader(data.validation, preprocessing=data.preprocessing, batches=chunks), strict=True
        ):
            x, y = x.to(device, non_blocking=True, memory_format=layout), y.to(device)
            if chunk[0] < n_probe:
                output, captured = forward(x)
                for name, value in captured.items():  # (b, C, H, W)
                    value = value.float()  # bfloat16 has no number between 65280 and 65536 to compare with
                    if name not in maps:
                        shape = (n_probe, *value.shape[1:])
                        maps[name] = torch.empty(shape, dtype=torch.float16, pin_memory=pinned)
                    over.setdefault(name, []).append((value.abs() > FLOAT16_MAX).sum())
                    value = value.clamp(-FLOAT16_MAX, FLOAT16_MAX).half()
                    maps[name][chunk[0] : chunk[-1] + 1].copy_(value, non_blocking=pinned)
            else:
                with torch.no_grad():
                    output = model(x)
            losses.append(F.cross_entropy(output.float(), y, reduction="sum"))
            correct.append((output.argmax(1) == y).sum())
    # Only here the GPU is waited for, and with it the copies that were queued before.
    loss, right = sum(map(float, losses)), sum(map(int, correct))
    return loss / n, right / n, maps, {name: sum(map(int, counts)) for name, counts in over.items()}


def _untrained_loss(
    model: nn.Module, data: ImageData, config: TrainingConfig, device: torch.device, batch: int
) -> float:
    """Training-mode loss of the untrained network, on a copy, so that running statistics stay as they are."""
    twin = copy.deepcopy(model).train()
    order = epoch_order(len(data.train), config.seed, 0)
    n = max(1, min(len(order), FIRST_LOSS_IMAGES) // batch)
    images = loader(
        data.train,
        preprocessing=data.preprocessing,
        batches=order[: n * batch].reshape(n, batch).tolist(),
        augmentation=config.augmentation,
        seed=config.seed,
    )
    with _private_rng(device), torch.no_grad():
        _seed(device, config.seed, 0, 0)
        losses = [
            float(F.cross_entropy(twin(x.to(device)).float(), y.to(device), label_smoothing=config.label_smoothing))
            for x, y in images
        ]
    return float(np.mean(losses))
