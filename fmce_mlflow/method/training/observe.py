"""Losses of a network outside its training steps: before the first one, and on held-out images in eval mode."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmce_mlflow.errors import BackboneError
from fmce_mlflow.method.images.split import ImageData
from fmce_mlflow.method.images.training_batches import loader
from fmce_mlflow.method.networks.model_forms import probing
from fmce_mlflow.method.networks.take_maps import device_of, random_state_kept
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.method.training.steps import epoch_order, memory_format, private_rng, seed_generators

FIRST_LOSS_IMAGES = 512
"""Training images over which the loss of the untrained network, L_0, is taken."""


@torch.no_grad()
def validate(
    model: nn.Module, data: ImageData, probe_outputs: Sequence[Tensor], config: TrainingConfig, *, batch: int = 256
) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy in [0, 1] over the validation images, in eval mode.

    The network is not wrapped; its modes and torch's random state are left as they are. ``probe_outputs`` are its
    logits (b, classes) for batches of the probe images, which are the first validation images.
    """
    n_probe, n, device = len(data.probe), len(data.validation), device_of(model)
    chunks = [list(range(start, min(start + batch, n))) for start in range(n_probe, n, batch)]
    labels = torch.tensor(data.validation.labels[:n_probe]).to(device)
    losses, correct = [], []

    def add(output: Tensor, y: Tensor) -> None:
        losses.append(F.cross_entropy(output.float(), y, reduction="sum"))
        correct.append((output.argmax(1) == y).sum())

    for output, y in zip(probe_outputs, labels.split([len(output) for output in probe_outputs]), strict=True):
        add(output, y)
    with random_state_kept(model), probing(model):
        for x, y in loader(data.validation, preprocessing=data.preprocessing, batches=chunks):
            add(model(x.to(device, non_blocking=True, memory_format=memory_format(config))), y.to(device))
    return sum(map(float, losses)) / n, sum(map(int, correct)) / n


def untrained_loss(
    model: nn.Module, data: ImageData, config: TrainingConfig, device: torch.device, batch: int
) -> float:
    """Training-mode loss of the untrained network, on a copy, so that running statistics stay as they are."""
    try:
        twin = copy.deepcopy(model).train()
    except Exception as error:  # as its parts raise
        raise BackboneError(
            f"The network cannot be copied, as its first loss needs ({type(error).__name__}: {error!s:.300}). Keep no "
            "open files, locks or generators in it, or give it a __deepcopy__."
        ) from None
    order = epoch_order(len(data.train), config.seed, 0)
    n = max(1, min(len(order), FIRST_LOSS_IMAGES) // batch)
    images = loader(
        data.train,
        preprocessing=data.preprocessing,
        batches=order[: n * batch].reshape(n, batch).tolist(),
        augmentation=config.augmentation,
        seed=config.seed,
    )
    with private_rng(device), torch.no_grad():
        seed_generators(device, config.seed, 0, 0)
        losses = [
            float(F.cross_entropy(twin(x.to(device)).float(), y.to(device), label_smoothing=config.label_smoothing))
            for x, y in images
        ]
    return float(np.mean(losses))
