"""Images, a network and what a recording of it left, for the tests of every training loop."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mlflow import MlflowClient
from torch import nn
from torch.nn import functional as F

from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.runs.feature_maps import FeatureMapReader

SOON = ConvergenceConfig(levels=3, threshold=0.2, smoothing=0, window=1)
LABELS, HELD_OUT_LABELS, PROBE_LABELS = torch.arange(48) % 3, torch.arange(16) % 3, torch.arange(10) % 3


def images_of(labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Noise, brighter in the channel of its class."""
    noise = torch.rand(len(labels), 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return noise + F.one_hot(labels, 3)[:, :, None, None]


IMAGES, HELD_OUT, PROBE = images_of(LABELS, 0), images_of(HELD_OUT_LABELS, 1), images_of(PROBE_LABELS, 2)


def net() -> nn.Sequential:
    """A batch norm that trains and one that is frozen in eval mode, and dropout; `stem` and `frozen` have maps."""
    torch.manual_seed(1)
    model = nn.Sequential(
        OrderedDict(
            stem=nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
            frozen=nn.BatchNorm2d(6),
            drop=nn.Dropout(0.1),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            head=nn.Linear(6, 3),
        )
    )
    model.frozen.eval().requires_grad_(False)
    return model


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, tell: Callable[[torch.Tensor], Any]) -> None:
    """A pass over `IMAGES` in three batches, in an order that torch's random state decides; each loss is told."""
    for batch in torch.randperm(len(IMAGES)).split(16):
        loss = F.cross_entropy(model(IMAGES[batch]), LABELS[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tell(loss)


def history(client: MlflowClient, run_id: str, name: str) -> dict[int, float]:
    """A metric's values by step; that a step comes once is checked."""
    rows = client.get_metric_history(run_id, name)
    assert len({m.step for m in rows}) == len(rows), name
    return {m.step: m.value for m in sorted(rows, key=lambda m: m.step)}


def maps_of(model: nn.Module, module: str, images: torch.Tensor = PROBE) -> np.ndarray:
    """A module's maps in eval mode, as they are stored."""
    found = []
    modes = {part: part.training for part in model.modules()}
    hook = model.get_submodule(module).register_forward_hook(lambda _m, _a, output: found.append(output))
    with torch.no_grad():
        model.eval()(images)
    hook.remove()
    for part, mode in modes.items():
        part.training = mode
    return found[0].half().numpy()


def recorded_maps(client: MlflowClient, run_id: str, module: str) -> list[np.ndarray]:
    """A module's maps in a run, snapshot by snapshot."""
    reader = FeatureMapReader(client, run_id)
    return [reader.read(module, snapshot)[0] for snapshot in reader.index.snapshots(module)]
