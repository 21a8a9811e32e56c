"""Feature maps in colour: their first three principal components as red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

Floats = NDArray[np.float32]
Maps = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]

MOST_ROWS, MOST_VALUES = 20_000, 2**24  # positions that components are fitted to, and values in them
CLIPPED = 1.0  # percent of the values that are darker or brighter than a picture shows, at either end
NOISE = 1e-4  # of a column's whole range: what varies by less is one value
FAINT = 0.02  # of the widest component's range: a component with less is not stretched to full contrast


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """Principal components of one module's maps, with the scale on which they become colours.

    Attributes:
        mean: float32 (C,), subtracted from each position's channels.
        axes: float32 (k, C), k ≤ 3, orthonormal, by falling variance; k is 0 for maps that are the same everywhere.
        shares: float64 (k,), each component's share of the variance.
        low: float32 (k,), the value that becomes 0.
        high: float32 (k,), the value that becomes 255.
    """

    mean: Floats
    axes: Floats
    shares: NDArray[np.float64]
    low: Floats
    high: Floats

    def project(self, maps: Maps) -> Floats:
        """The components of maps (n, C, h, w): float32 (n, h, w, k)."""
        return _project(_rows(maps), self.mean, self.axes).reshape(len(maps), *maps.shape[2:], len(self.axes))

    def colours(self, maps: Maps) -> Bytes:
        """Maps (n, C, h, w) as pictures, uint8 (n, h, w, 3).

        A single component is grey; what has no component, or no second or third one, is in the middle of the scale.
        """
        scaled = scaled_bytes(self.project(maps), self.low, self.high)
        if len(self.axes) == 1:
            return np.repeat(scaled, 3, axis=-1)
        missing = 3 - len(self.axes)
        return np.pad(scaled, [(0, 0)] * 3 + [(0, missing)], constant_values=128)


def fit_components(maps: Sequence[Maps], *, seed: int = 0) -> Components:
    """Principal components of a module's maps at several snapshots, fitted to all of them together.

    A position of an image at a snapshot is a row, its channels are the columns; no snapshot is rescaled, so the same
    colour means the same features wherever it stands. The sign of each axis makes its largest weight positive.

    Args:
        maps: By snapshot, (n, C, h, w) each, n, h and w at least 1.
        seed: Draws positions where there are more than are needed; they are the same at every snapshot.

    Example:
        >>> maps = [np.random.default_rng(0).normal(size=(2, 5, 4, 4)) * t for t in range(3)]
        >>> found = fit_components(maps)
        >>> found.axes.shape, found.colours(maps[2]).shape
        ((3, 5), (2, 4, 4, 3))
        >>> bool((found.colours(maps[0]) == found.colours(maps[0])[0, 0, 0]).all())  # all zeros: one colour
        True
    """
    rows = _drawn(maps, seed)  # (N, C)
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    count = min(3, rows.shape[1], len(rows) - 1)
    if count < 1 or not np.ptp(rows, axis=0).any():
        nothing = np.zeros(0, np.float32)
        return Components(mean, np.zeros((0, rows.shape[1]), np.float32), np.zeros(0), nothing, nothing)
    fitted = PCA(count, random_state=seed).fit(rows)
    kept = fitted.explained_variance_ratio_ > 1e-9
    axes = fitted.components_[kept].astype(np.float32)
    low, high = extent(_project(rows, mean, axes), FAINT)
    return Components(mean, axes, fitted.explained_variance_ratio_[kept], low, high)


def extent(values: Floats, faint: float = 0.0) -> tuple[Floats, Floats]:
    """Between which values (N, k) columns lie, but for the outermost percent at either end: float32 (k,) each.

    Where nearly all of a column is one value, its extremes. A range narrower than ``faint`` of the widest is widened.

    Example:
        >>> low, high = extent(np.stack([np.arange(101), np.arange(101) / 1000], 1).astype(np.float32), 0.02)
        >>> [round(float(v), 3) for v in high - low]
        [98.0, 1.96]
    """
    low, high = np.percentile(values, [CLIPPED, 100 - CLIPPED], axis=0)
    least, greatest = values.min(axis=0), values.max(axis=0)
    narrow = high - low < NOISE * (greatest - least)
    lows, highs = np.where(narrow, least, low), np.where(narrow, greatest, high)
    lacking = np.maximum(faint * (highs - lows).max() - (highs - lows), 0)
    return (lows - lacking / 2).astype(np.float32), (highs + lacking / 2).astype(np.float32)


def scaled_bytes(values: Floats, low: Floats, high: Floats) -> Bytes:
    """Values (…, k) as bytes (…, k): ``low`` (k,) becomes 0, ``high`` (k,) 255, and where they are equal all is 128."""
    width = high - low
    flat = width <= 0
    shares = np.where(flat, 0.5, (values - low) / np.where(flat, 1, width))
    found: Bytes = np.rint(shares.clip(0, 1) * 255).astype(np.uint8)
    return found


def _rows(maps: Maps) -> Floats:
    """Maps (n, C, h, w) with a row for each position, float32 (n·h·w, C)."""
    rows: Floats = np.moveaxis(maps, 1, -1).reshape(-1, maps.shape[1]).astype(np.float32)
    return rows


def _project(rows: Floats, mean: Floats, axes: Floats) -> Floats:
    found: Floats = ((rows - mean) @ axes.T).astype(np.float32)
    return found


def _drawn(maps: Sequence[Maps], seed: int) -> Floats:
    """Rows of all snapshots; of many, those of some positions, the same ones at each snapshot."""
    n, channels, height, width = maps[0].shape
    positions = n * height * width
    most = max(2, min(MOST_ROWS, MOST_VALUES // channels) // len(maps))
    if positions <= most:
        return np.concatenate([_rows(one) for one in maps])
    chosen = np.sort(np.random.default_rng(seed).choice(positions, most, replace=False))
    return np.concatenate([_rows(one)[chosen] for one in maps])
