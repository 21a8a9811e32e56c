"""Spectral alpha: how heavy-tailed the weights of a module are. A baseline maps it to FMCS."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray


def mean_alpha(weights: Iterable[torch.Tensor]) -> float:
    """Exponent of the power law in the tail of weight spectra, mean over matrices.

    WeightWatcher's measure (Martin, Peng and Mahoney 2021): the eigenvalues of WᵀW of each linear or convolution
    weight, as a matrix of outputs by inputs, are fitted above the lower end whose fit has the smallest
    Kolmogorov–Smirnov distance (Clauset, Shalizi and Newman 2009).

    Args:
        weights: Floating point, (outputs, inputs, …); others than of two or four dimensions are left out.

    Returns:
        α > 1, about 2 to 6 for trained networks; NaN where no weight has 10 eigenvalues.

    Example:
        >>> mean_alpha([torch.zeros(64), torch.eye(4)])
        nan
    """
    matrices = [weight.detach().flatten(1).double() for weight in weights if weight.dim() in (2, 4)]
    found = [tail_exponent(_eigenvalues(matrix)) for matrix in matrices if min(matrix.shape) >= 10]
    return float(np.mean(found)) if found else float("nan")


def _eigenvalues(matrix: torch.Tensor) -> NDArray[np.float64]:
    """Eigenvalues of the smaller of WWᵀ and WᵀW, float64; several times faster than singular values."""
    small = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    values: NDArray[np.float64] = torch.linalg.eigvalsh(small @ small.T).clamp_min(0).numpy()
    return values


def tail_exponent(values: NDArray[np.float64], *, starts: int | None = None) -> float:
    """Maximum-likelihood exponent of a power law above the lower end that fits best; of a few ends or of all."""
    ordered = np.sort(values[values > 1e-12 * values.max()])
    best, exponent = np.inf, float("nan")
    ends = max(0, len(ordered) - 4)
    for start in range(ends) if starts is None else np.unique(np.linspace(0, ends, starts, endpoint=False, dtype=int)):
        tail = ordered[start:]
        logs = np.log(tail / tail[0])
        if logs.sum() <= 0:
            continue
        alpha = 1 + len(tail) / logs.sum()
        fitted = 1 - (tail / tail[0]) ** (1 - alpha)
        distance = float(np.abs(np.arange(len(tail)) / len(tail) - fitted).max())
        if distance < best:
            best, exponent = distance, float(alpha)
    return exponent
