"""A training and what one sees of it, without MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from fmce_mlflow.method.images.split import ImageData
from fmce_mlflow.method.images.training_batches import loader
from fmce_mlflow.method.networks.take_maps import take_maps
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.method.training.loop import train
from fmce_mlflow.method.training.observe import validate
from fmce_mlflow.method.training.steps import memory_format


def watched(
    model: nn.Module,
    data: ImageData,
    config: TrainingConfig,
    modules: Sequence[str],
    *,
    map_size: int | None = None,
    probe_batch: int = 256,
    **more: Any,
) -> Iterator[SimpleNamespace]:
    """The snapshots of `train`, each with the maps and losses of that moment; on the main process alone."""
    n = len(data.probe)
    chunks = [list(range(start, min(start + probe_batch, n))) for start in range(0, n, probe_batch)]
    for snapshot in train(model, data, config, **more):
        if snapshot.state is None:  # another process looks
            continue
        batches = (
            x.to(memory_format=memory_format(config))
            for x, _ in loader(data.probe, preprocessing=data.preprocessing, batches=chunks)
        )
        taken = take_maps(model, modules, batches, n, map_size=map_size, keep_outputs=True)
        val_loss, val_accuracy = validate(model, data, taken.outputs, config, batch=probe_batch)
        yield SimpleNamespace(
            **{name: getattr(snapshot, name) for name in snapshot.__slots__},
            maps={name: torch.from_numpy(value) for name, value in taken.maps.items()},
            clipped=taken.clipped,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
        )
