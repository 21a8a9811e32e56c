"""Feature drift: how much a module's feature maps change from one snapshot to the next.

Similarity is linear CKA, centred kernel alignment with a linear kernel (Kornblith et al. 2019, arXiv 1905.00414); drift
is one minus it. CQI over a module's drift gives that module a convergence point of its own. NumPy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmce_mlflow.errors import ConvergenceError
from fmce_mlflow.method.convergence.config import SIGNAL_NAMES
from fmce_mlflow.method.convergence.labels import Floats, finite_sequence


def centered_gram(maps: ArrayLike) -> Floats:
    """Inner products of the maps (n, ...) of n ≥ 2 images, less the mean map: float64 (n, n), its rows summing to 0.

    Keeping this matrix from one snapshot to the next makes drift cost one product of maps per snapshot. float16 and
    float32 are multiplied in float32 and summed in float64, a block of features at a time.

    Raises:
        ConvergenceError: Fewer than two images, or NaN or infinite values.

    Example:
        >>> centered_gram(np.array([[1.0], [3.0]], dtype=np.float16)).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    array = np.asarray(maps)
    if array.ndim < 2 or len(array) < 2:
        raise ConvergenceError(
            f"CKA compares feature maps of at least 2 images, shape (n, ...); got shape {array.shape}. "
            "Use more probe images."
        )
    flat = array.reshape(len(array), -1)  # (n, C·H·W)
    compute = np.float64 if array.dtype == np.float64 else np.float32
    gram = np.zeros((len(flat), len(flat)))
    block = 16384
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, flat.shape[1], block):
            part: NDArray[np.floating[Any]] = _as(compute, flat[:, start : start + block])  # (n, block)
            part -= part[0].copy()  # exact zeros for a constant feature, whatever its size
            part -= part.mean(axis=0, dtype=np.float64).astype(compute)
            gram += part @ part.T
    if not np.isfinite(gram).all():
        raise ConvergenceError(
            "Feature maps hold NaN or infinite values, or ones too large for float32: CKA is not defined. Look at the "
            "training for divergence, and at the maps for values above float16's largest, 65504."
        )
    return gram


def gram_cka(a: ArrayLike, b: ArrayLike) -> float:
    """Linear CKA from two centred Gram matrices (n, n) of the same images: ⟨a, b⟩ / (‖a‖·‖b‖), in [0, 1].

    Maps that are the same for every image have no variance and no CKA; two such sets count as alike (1), one against
    a set that varies as unlike (0).

    Raises:
        ConvergenceError: Different numbers of images.

    Example:
        >>> gram_cka([[1, -1], [-1, 1]], [[5, -5], [-5, 5]])
        1.0
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ConvergenceError(
            f"CKA compares maps of the same images, got {len(first)} and {len(second)} of them. "
            "Use the same probe images."
        )
    norm_first, norm_second = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    if norm_first == 0 or norm_second == 0:
        return float(norm_first == norm_second)
    return float(np.clip(np.vdot(first / norm_first, second / norm_second), 0.0, 1.0))


def linear_cka(x: ArrayLike, y: ArrayLike) -> float:
    """Linear CKA of two sets of feature maps of the same n images, shapes (n, ...) that may differ, in [0, 1].

    It does not change when channels are permuted, features are rotated or maps are scaled. Drift is one minus it.

    Raises:
        ConvergenceError: As :func:`centered_gram` and :func:`gram_cka`.

    Example:
        >>> x = np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0]])
        >>> round(linear_cka(x, 3 * x[:, ::-1]), 6)
        1.0
    """
    return gram_cka(centered_gram(x), centered_gram(y))


def _as(dtype: type[np.floating[Any]], values: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """A copy in another type, exact: from float16 by its bits, for NumPy takes ten times as long where many are 0."""
    if values.dtype != np.float16 or dtype is not np.float32:
        return values.astype(dtype)
    bits = values.view(np.int16).astype(np.int32) << 13  # exponent and fraction in place, the sign in the topmost four
    bits &= np.int32(-0x70000001)
    found: NDArray[np.floating[Any]] = bits.view(np.float32)
    found *= np.float32(2.0**112)  # what float32's exponent of 1 counts more than float16's
    beyond = found.size and max(found.max(), -found.min()) >= 2**16  # NaN and infinite values land there
    return values.astype(dtype) if beyond else found


def drift_sequence(drifts: ArrayLike) -> Floats:
    """A module's drifts from snapshot t−1 to t, t = 1 … E, as a sequence (E+1,) for :func:`assess`.

    Snapshot 0, the untrained network, has no drift and repeats that of snapshot 1.

    Raises:
        NonFiniteLossError: A NaN or infinite drift.
        ConvergenceError: No drift at all.

    Example:
        >>> drift_sequence([0.5, 0.2]).tolist()
        [0.5, 0.5, 0.2]
    """
    values = np.asarray(drifts, dtype=np.float64)
    return finite_sequence(np.concatenate([values[:1], values]), SIGNAL_NAMES["drift"])
