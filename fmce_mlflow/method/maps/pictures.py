"""The pictures of one module: its maps in colour over snapshots and images, and its strongest channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from fmce_mlflow.method.maps.components import Bytes, Maps, extent, fit_components, scaled_bytes

CHANNELS, CHANNEL_SIDE = 6, 16  # channels that are shown one by one, and the height and width they are pooled to


@dataclass(frozen=True, slots=True, eq=False)
class ModulePictures:
    """One module at S snapshots, for n images.

    Attributes:
        colours: uint8 (S, n, h, w, 3), as of :class:`~fmce_mlflow.method.maps.components.Components`.
        shares: float64 (k,), the share of the variance that each of the k ≤ 3 components has.
        channels: Which channels ``tiles`` are of, the strongest first.
        tiles: uint8 (S, n, K, h', w'), each channel between its least and its greatest value over all of them.
    """

    colours: Bytes
    shares: NDArray[np.float64]
    channels: tuple[int, ...]
    tiles: Bytes


def module_pictures(maps: Sequence[Maps], *, channels: int = CHANNELS) -> ModulePictures:
    """The pictures of a module from its maps at S ≥ 1 snapshots, (n, C, h, w) each.

    Components and scales are those of all snapshots and images together.

    Example:
        >>> maps = [np.random.default_rng(t).normal(size=(2, 8, 5, 5)) for t in range(3)]
        >>> found = module_pictures(maps, channels=4)
        >>> found.colours.shape, found.tiles.shape, len(found.channels)
        ((3, 2, 5, 5, 3), (3, 2, 4, 5, 5), 4)
    """
    components = fit_components(maps)
    strongest = strongest_channels(maps[-1], channels)
    tiles = np.stack([pooled(one[:, strongest], CHANNEL_SIDE) for one in maps])  # (S, n, K, h', w')
    last = np.moveaxis(tiles, 2, -1).astype(np.float32)  # (S, n, h', w', K)
    low, high = extent(last.reshape(-1, len(strongest)))
    shown = np.moveaxis(scaled_bytes(last, low, high), -1, 2)
    colours = np.stack([components.colours(one) for one in maps])
    return ModulePictures(colours, components.shares, tuple(strongest), np.ascontiguousarray(shown))


def strongest_channels(maps: Maps, count: int) -> list[int]:
    """The channels of maps (n, C, h, w) that vary most over images and positions, the strongest first.

    A channel that is large and the same everywhere shows nothing, so its size does not count.

    Example:
        >>> maps = np.zeros((2, 3, 4, 4))
        >>> maps[:, 0] = 9
        >>> maps[0, 2, 1, 1] = 1
        >>> strongest_channels(maps, 1)
        [2]
    """
    spread = maps.astype(np.float32).std(axis=(0, 2, 3))
    return [int(channel) for channel in np.argsort(-spread, kind="stable")[:count]]


def pooled(maps: Maps, side: int) -> Maps:
    """Maps (n, C, H, W) with at most ``side`` rows and columns, each the mean of those that it stands for.

    Height and width keep their ratio, as far as whole numbers can.

    Example:
        >>> pooled(np.zeros((2, 3, 40, 80), np.float16), 32).shape
        (2, 3, 16, 32)
    """
    height, width = maps.shape[2:]
    if max(height, width) <= side:
        return maps
    size = pooled_size(height, width, side)
    small: Maps = F.adaptive_avg_pool2d(torch.from_numpy(maps.astype(np.float32)), size).numpy().astype(maps.dtype)
    return small


def pooled_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width after :func:`pooled`."""
    larger = max(height, width, side)
    return max(1, round(height * side / larger)), max(1, round(width * side / larger))
