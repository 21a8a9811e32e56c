"""Grad-CAM of a few probe images at every snapshot, while the network is live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from fmce_mlflow.errors import CaptureError
from fmce_mlflow.method.images.preprocessing import Preprocessing
from fmce_mlflow.method.networks.layout import TokenGrid
from fmce_mlflow.method.saliency.grad_cam import Maps, cams, focus, resized

IMAGES = 6
"""Probe images that are looked at; the probe takes classes in turn, so they are of as many classes as there can be."""
LARGEST = 56  # larger maps are pooled to this height and width before they are kept

Kept: TypeAlias = NDArray[np.uint8]


@dataclass(slots=True)
class SaliencyHistory:
    """Attention of a network over its training, in a few kilobytes per snapshot."""

    inputs: Tensor  # the network's input, float (n, 3, H, W)
    labels: list[int]  # true classes: what each image is asked about
    modules: tuple[str, ...]
    kept: dict[str, Kept] = field(default_factory=dict)  # by module, of the last S snapshots, (S, n, h, w)
    problem: str | None = None  # why there is none, where there is none
    token_grid: TokenGrid | None = None

    def take(self, model: nn.Module) -> dict[str, float]:
        """Look at the network as it is now: mean focus by module; empty where there is a problem.

        Nothing of it changes: mode, gradients, running statistics, random state. Where a module has no Grad-CAM, or
        the network takes no such backward pass, the history says so in ``problem`` and takes no more.
        """
        if self.problem is not None:
            return {}
        devices = list({p.device for p in model.parameters() if p.device.type == "cuda"})
        try:
            with torch.random.fork_rng(devices=devices):
                found = cams(model, self.modules, self.inputs, self.labels, self.token_grid)
        except Exception as error:  # a backward pass through anybody's network; no figure is worth a snapshot
            reason = " ".join(str(error).split())[:300]
            self.problem = str(error) if isinstance(error, CaptureError) else f"{type(error).__name__}: {reason}"
            self.kept.clear()
            return {}
        for module, maps in found.items():
            new = _small(maps)[None]
            self.kept[module] = np.concatenate([self.kept[module], new]) if module in self.kept else new
        size = self.inputs.shape[2:]
        return {module: float(focus(resized(maps, size)).mean()) for module, maps in found.items()}

    def at(self, snapshots: Sequence[int], last: int) -> dict[str, dict[int, Maps]]:
        """What was kept of some snapshots, where ``last`` was taken last; those that were not kept are left out.

        By module and snapshot, float32 (n, H, W) in [0, 1] of the input's size.
        """
        found: dict[str, dict[int, Maps]] = {}
        for module, kept in self.kept.items():
            first = last + 1 - len(kept)
            found[module] = {
                s: resized(kept[s - first].astype(np.float32), self.inputs.shape[2:])
                for s in snapshots
                if first <= s <= last
            }
        return found


def input_images(inputs: Tensor, preprocessing: Preprocessing | None) -> NDArray[np.uint8]:
    """A network's input (n, C, H, W) as pictures, uint8 (n, H, W, 3); of fewer than three channels, one as gray.

    ``preprocessing`` is undone; where None, each picture is stretched from its least to its greatest value.

    Example:
        >>> input_images(torch.zeros(2, 3, 4, 4), None).shape
        (2, 4, 4, 3)
    """
    x = inputs.detach().float().cpu()
    x = x[:, :3] if x.shape[1] >= 3 else x[:, :1].expand(-1, 3, -1, -1)
    if inputs.dtype == torch.uint8:
        x = x / 255
    elif preprocessing is not None:
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (preprocessing.mean, preprocessing.std))
        x = x * std + mean
    elif len(x):
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
        x = (x - low) / (high - low).clamp_min(1e-12)
    pictures: NDArray[np.uint8] = (x.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return pictures


def spread_snapshots(last: int, count: int) -> tuple[int, ...]:
    """Snapshots 0 … last, evenly spaced, at most ``count``, the first and the last among them.

    Example:
        >>> spread_snapshots(10, 5)
        (0, 2, 5, 8, 10)
    """
    return tuple(int(s) for s in np.unique(np.linspace(0, last, count).round().astype(int)))


def _small(maps: Maps) -> Kept:
    """(n, h, w) in [0, 1] as bytes, pooled where it is large."""
    height, width = maps.shape[1:]
    if max(height, width) > LARGEST:
        pooled = F.adaptive_avg_pool2d(torch.from_numpy(maps), (min(height, LARGEST), min(width, LARGEST)))
        maps = pooled.numpy()
    found: Kept = (maps * 255).round().astype(np.uint8)
    return found
