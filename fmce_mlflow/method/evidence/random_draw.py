"""Is a matrix of weights still what a random draw left, entries independent of each other? Its figures say how far not.

Training moves weights in few directions, alike over neighbouring pixels, some outputs more than others. A draw has
none of that, whichever of the usual distributions it came from: its spectrum ends where Marchenko and Pastur say, norms
of rows and of columns spread as chance spreads them, and a uniform or cut-off distribution has a sharp edge.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fmce_mlflow.method.evidence.spectral_alpha import tail_exponent
from fmce_mlflow.method.evidence.uniform_draw import is_moved

SMALLEST_SIDE = 8
MOST_ROWS, MOST_COLUMNS = 384, 1152
_UNIFORM = math.log(1 - 1 / 3)  # a little above the figure of kurtosis of a uniform distribution
CHANCE = 6.0  # standard deviations that chance does not reach
DRAW_FIGURES = (
    "top", "second", "outside", "rank", "alpha", "kurtosis", "edge", "row_norms", "column_norms", "channel_norms",
    "row_sums", "column_sums", "taps", "neighbours", "row_correlation", "column_correlation", "bound", "size",
    "grid",
)  # fmt: skip
"""Of one matrix, most as logarithms of a ratio to what a draw would give: 0, up to chance. ``grid`` is 1
where all entries are numbers that PyTorch draws, 0 where they were and are no more, NaN where that cannot be told."""


def draw_figures(weight: Tensor) -> tuple[dict[str, float], bool] | None:
    """Figures of a weight, (outputs, inputs, …), and whether all of it looks like a draw; None where it is too small.

    Example:
        >>> draw_figures(torch.randn(64, 64, generator=torch.Generator().manual_seed(0)))[1]
        True
        >>> draw_figures(torch.ones(64, 64) + torch.eye(64))[1]  # a pattern that somebody wrote
        True
        >>> draw_figures(torch.arange(4096.0).view(64, 64))[1]
        False
    """
    kernels = _sample(weight)  # (m, channels, taps)
    m, n = len(kernels), kernels[0].numel()
    if min(m, n) < SMALLEST_SIDE:
        return None
    matrix = _without_accidents(kernels.reshape(m, n))
    scale = float(matrix.square().mean().sqrt())
    fan_in = weight[0].numel()
    sizes = {
        "size": math.log(max(scale, 1e-12) * math.sqrt(fan_in)),
        "bound": math.log(max(float(matrix.abs().max()), 1e-12) * math.sqrt(fan_in)),
    }
    if scale == 0 or is_pattern(matrix):
        return dict.fromkeys(DRAW_FIGURES, float("nan")) | sizes, True
    if matrix.min() >= 0 or matrix.max() <= 0:  # drawn on one side of 0
        matrix = matrix - matrix.mean()
    centred = (matrix / matrix.square().mean().sqrt()).view_as(kernels)
    spectrum = _eigenvalues(centred.reshape(m, n))
    found: dict[str, float] = {}
    surprise: dict[str, float] = {}
    for figures, against_chance in (_of_spectrum(spectrum, centred), _of_entries(centred), _of_sums(centred)):
        found |= figures
        surprise |= against_chance
    orthogonal = spectrum[0] > 0 and spectrum[-1] / spectrum[0] < 1.01
    fan_out = len(weight) * kernels.shape[2]
    flat = weight.dtype == torch.float32 and found["kurtosis"] < _UNIFORM
    moved = is_moved(kernels, fan_in, fan_out) if flat else None
    found["grid"] = math.nan if moved is None else float(not moved)
    drawn = orthogonal or (max(surprise.values()) < CHANCE and not moved)
    known = {name: float(value) for name, value in (found | sizes).items()}
    return known, bool(drawn or _is_drawn_in_halves(weight))


def _is_drawn_in_halves(weight: Tensor) -> bool:
    """Whether a layer that makes values and their gates began with weights of two sizes."""
    if len(weight) < 2 * SMALLEST_SIDE:
        return False
    halves = weight.detach().tensor_split(2)
    sizes = [float(half.square().mean().sqrt()) for half in halves]
    if max(sizes) < 10 * min(sizes):
        return False
    found = [draw_figures(half) for half in halves]
    return all(one is not None and one[1] for one in found)


def is_pattern(values: Tensor) -> bool:
    """Whether values are constants or a pattern: of those that are not 0, most equal others."""
    some = values[values != 0][:4096]
    return len(some) < 2 or len(some.unique()) <= min(16, len(some) // 2)


def _without_accidents(matrix: Tensor) -> Tensor:
    """Without those single entries that ``trunc_normal_`` leaves at its far bound, one in 17 million."""
    wild = matrix.abs() > 20 * matrix.abs().median()
    return matrix.masked_fill(wild, 0) if 0 < wild.sum() <= 1 + 1e-6 * matrix.numel() else matrix


def _sample(weight: Tensor) -> Tensor:
    """A part of a weight as (outputs, channels, taps), float32 on the CPU; kernels stay whole."""
    value = weight.detach()
    while value.dim() > 2 and len(value) == 1:
        value = value[0]
    taps = value[0, 0].numel()
    value = value.reshape(len(value), -1, taps)
    rows = _evenly(len(value), MOST_ROWS)
    channels = _evenly(value.shape[1], max(1, MOST_COLUMNS // taps))
    return value[rows][:, channels].to("cpu", torch.float32)


def _evenly(size: int, most: int) -> Tensor:
    return torch.linspace(0, size - 1, min(size, most)).round().long()


def _eigenvalues(matrix: Tensor) -> NDArray[np.float64]:
    """Of the smaller of XXᵀ and XᵀX, ascending."""
    small = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    values: NDArray[np.float64] = torch.linalg.eigvalsh(small @ small.T).clamp_min(0).double().numpy()
    return values


def _of_spectrum(values: NDArray[np.float64], kernels: Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """Against Marchenko and Pastur's edge, whose chance is Tracy and Widom's (Johnstone 2001)."""
    m, n = len(kernels), kernels[0].numel()
    a, b = math.sqrt(m - 0.5), math.sqrt(n - 0.5)
    edge, unit = (a + b) ** 2, (a + b) * (1 / a + 1 / b) ** (1 / 3)
    squares = kernels.square().reshape(m, n)
    energy = float((values**2).sum())
    of_rows = (energy - float(squares.sum(1).square().sum())) / (m * (m - 1) * n)
    of_columns = (energy - float(squares.sum(0).square().sum())) / (n * (n - 1) * m)
    shares = values[values > 0] / values.sum()
    short, long = sorted((m, n))
    entropy = -float((shares * np.log(shares)).sum())
    figures = {
        "top": math.log(values[-1] / edge),
        "second": math.log(max(values[-2] / edge, 1e-6)),
        "outside": float(values[values > edge + 3 * unit].sum() / values.sum()),
        "rank": entropy - (math.log(short) - short / (2 * long)),  # Page's mean entropy
        "alpha": min(tail_exponent(values, starts=64), 100.0) if short >= 10 else float("nan"),
        "row_correlation": math.log(max(of_rows, 1e-3)),
        "column_correlation": math.log(max(of_columns, 1e-3)),
    }
    return figures, {
        "top": (values[-1] - edge) / unit * 0.6,  # its tail is longer than a normal one's
        "row_correlation": (of_rows - 1) * math.sqrt(m * (m - 1)) / 2,
        "column_correlation": (of_columns - 1) * math.sqrt(n * (n - 1)) / 2,
    }


def _of_entries(kernels: Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """Their distribution: heavier than normal, or lighter without the edge that a cut-off one has."""
    count = kernels.numel()
    kurtosis = float(kernels.square().square().mean()) - 3
    figures = {"kurtosis": math.log(1 + kurtosis / 3), "edge": float("nan")}
    surprise = {"kurtosis": kurtosis / math.sqrt(24 / count)}
    if kurtosis < -0.25:
        sizes = kernels.abs()
        expected = count * float(np.interp(kurtosis, *_CUT_OFF))
        seen = int((sizes > 0.98 * sizes.max()).sum())
        surprise["edge"] = (expected - seen) / math.sqrt(expected)
        figures["edge"] = math.log((expected + 1) / (seen + 1))
    return figures, surprise


def _cut_off_normal() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Excess kurtosis of a normal distribution cut off, and the share that lies in the outer 2 % of its range."""
    ends = np.linspace(0.05, 3, 60)
    area = np.array([math.erf(end / math.sqrt(2)) for end in ends])
    inner = np.array([math.erf(0.98 * end / math.sqrt(2)) for end in ends])
    density = 2 * np.exp(-(ends**2) / 2) / math.sqrt(2 * math.pi) / area
    second, fourth = 1 - ends * density, 3 - (ends**3 + 3 * ends) * density
    return np.maximum.accumulate(fourth / second**2 - 3), (area - inner) / area


_CUT_OFF = _cut_off_normal()


def _of_sums(kernels: Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """Norms and sums of rows, columns, channels and kernels, as sums of squares with their degrees of freedom."""
    m, channels, taps = kernels.shape
    squares = kernels.square()
    spread = max(float(squares.var()), 0.1)  # of a squared entry: 2 if normal, 0.8 if uniform
    found: dict[str, tuple[float, int]] = {}

    def norms(name: str, sums: Tensor, size: int) -> None:
        if sums.numel() >= SMALLEST_SIDE:
            found[name] = float((sums - size).square().sum()) / (size * spread), sums.numel() - 1

    def sums(name: str, sums: Tensor, size: int) -> None:
        found[name] = float(sums.square().sum()) / size, sums.numel()

    norms("row_norms", squares.sum((1, 2)), channels * taps)
    norms("column_norms", squares.sum(0).flatten(), m)
    norms("channel_norms", squares.sum((0, 2)), m * taps)
    sums("row_sums", kernels.sum((1, 2)), channels * taps)
    sums("column_sums", kernels.sum(0).flatten(), m)
    figures = dict.fromkeys(("row_norms", "column_norms", "channel_norms", "taps", "neighbours"), float("nan"))
    if taps > 1:
        norms("taps", squares.sum((0, 1)), m * channels)
        sums("neighbours", kernels.sum(2).flatten(), taps)
    figures |= {name: math.log(max(value / freedom, 1e-3)) for name, (value, freedom) in found.items()}
    return figures, {name: _as_normal(*one) for name, one in found.items()}


def _as_normal(value: float, freedom: int) -> float:
    """A sum of squares as a standard normal deviate (Wilson and Hilferty)."""
    unit = 2 / (9 * freedom)
    return float((np.cbrt(value / freedom) - (1 - unit)) / math.sqrt(unit))
