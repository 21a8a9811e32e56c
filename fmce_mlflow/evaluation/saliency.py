"""Grad-CAM of the modules that are evaluated: focus over some images, and a panel of a few."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fmce_mlflow.method.images.input_batches import Batch
from fmce_mlflow.method.images.preprocessing import Preprocessing
from fmce_mlflow.method.networks.forward import padded
from fmce_mlflow.method.saliency.grad_cam import Target, cams, focus, resized
from fmce_mlflow.report.saliency_figure import saliency_figure
from fmce_mlflow.runs.torch_models import TorchModel

SHOWN = 8
"""Images in the panel at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Saliency:
    """What Grad-CAM shows of a model's modules.

    Attributes:
        indices: The images that were asked about, int64 (m,).
        focus: By module, each image's focus, float64 (m,).
        panel: The first images as they are seen by the model, uint8 (k, H, W, 3).
        maps: By module, Grad-CAM of those, float32 (k, H, W).
    """

    indices: NDArray[np.int64]
    focus: dict[str, NDArray[np.float64]]
    panel: NDArray[np.uint8]
    maps: dict[str, NDArray[np.float32]]

    def png(self, label: Callable[[int], str], title: str) -> bytes:
        """The panel as an image file.

        Args:
            label: From an image's index to what stands above it.
            title: Stands above all.
        """
        labels = [label(int(index)) for index in self.indices[: len(self.panel)]]
        buffer = io.BytesIO()
        saliency_figure(self.panel, self.maps, labels, title=title).savefig(buffer, format="png", dpi=200)
        return buffer.getvalue()


def take_saliency(
    model: TorchModel,
    modules: Sequence[str],
    batches: Iterable[Batch],
    *,
    target: Callable[[int], int | Target] | None,
    preprocessing: Preprocessing | None,
) -> Saliency:
    """Grad-CAM of modules over batches of images, in the memory that one batch takes.

    Args:
        model: The model.
        modules: Names of maps.
        batches: The model's input.
        target: From an image's index to what it is asked about; None for the most probable class.
        preprocessing: What made the input; it is undone for the panel.

    Returns:
        Focus and panel.

    Raises:
        CaptureError: Where a target is needed, or no gradient reaches a module.
    """
    indices: list[NDArray[np.int64]] = []
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in modules}
    maps: dict[str, list[NDArray[np.float32]]] = {name: [] for name in modules}
    panel: list[NDArray[np.uint8]] = []
    for batch in batches:
        size = model.fixed_batch or len(batch.pixels)
        for chunk, members in zip(batch.pixels.split(size), np.split(batch.indices, _cuts(batch, size)), strict=True):
            targets = None if target is None else [target(int(i)) for i in members]
            if targets and model.fixed_batch:
                targets = [targets[i % len(targets)] for i in range(size)]
            asked = cams(model.network, modules, padded(chunk, model.fixed_batch), targets)
            room = SHOWN - sum(map(len, panel))
            for name, cam in asked.items():
                full = resized(cam[: len(chunk)], chunk.shape[2:])
                found[name].append(focus(full))
                maps[name].append(full[: max(0, room)])
            indices.append(np.asarray(members))
            panel.append(as_pictures(chunk[: max(0, room)], preprocessing))
    return Saliency(
        np.concatenate(indices) if indices else np.zeros(0, np.int64),
        {name: np.concatenate(values) for name, values in found.items() if values},
        np.concatenate(panel) if panel else np.zeros((0, 1, 1, 3), np.uint8),
        {name: np.concatenate(values) for name, values in maps.items() if values},
    )


def as_pictures(pixels: Tensor, preprocessing: Preprocessing | None) -> NDArray[np.uint8]:
    """A network's input as pictures to look at.

    Args:
        pixels: (n, C, H, W).
        preprocessing: What made them; where None, each is stretched from its least to its greatest value.

    Returns:
        uint8 (n, H, W, 3); of more than three channels the first three, of fewer the first one as gray.

    Example:
        >>> as_pictures(torch.zeros(2, 3, 4, 4), None).shape
        (2, 4, 4, 3)
    """
    x = pixels.detach().float().cpu()
    x = x[:, :3] if x.shape[1] >= 3 else x[:, :1].expand(-1, 3, -1, -1)
    if preprocessing is not None:
        x = x * _channels(preprocessing.std) + _channels(preprocessing.mean)
    elif len(x):
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
        x = (x - low) / (high - low).clamp_min(1e-12)
    pictures: NDArray[np.uint8] = (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return pictures


def _channels(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)


def _cuts(batch: Batch, size: int) -> list[int]:
    return list(range(size, len(batch.indices), size))
