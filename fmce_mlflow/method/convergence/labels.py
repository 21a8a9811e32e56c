"""From a loss sequence to CQI, the convergence point, epoch markers and FMCS labels.

Sequences are indexed by snapshot. ``losses[0]`` belongs to the untrained network, ``losses[E]`` to the last snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmce_mlflow.errors import ConvergenceError, NonFiniteLossError, TooFewSnapshotsError
from fmce_mlflow.method.convergence.config import Aggregation, ConvergenceConfig, Rule

Floats: TypeAlias = NDArray[np.float64]

_MORE_SNAPSHOTS = (
    "Record more snapshots before convergence (--snapshots-per-epoch, or a smaller learning rate), "
    "or use fewer --levels."
)


def smooth(losses: ArrayLike, smoothing: float) -> Floats:
    """Exponentially smoothed losses (E+1,): s_0 = L_0, s_t = β·s_{t−1} + (1−β)·L_t, with β in [0, 1).

    Raises:
        NonFiniteLossError: A NaN or infinite loss.
        ConvergenceError: Not a one-dimensional, non-empty sequence of numbers.

    Example:
        >>> smooth([4, 2, 0], 0.5).tolist()
        [4.0, 3.0, 1.5]
    """
    ConvergenceConfig(smoothing=smoothing)
    smoothed = finite_sequence(losses)
    for t in range(1, len(smoothed)):
        smoothed[t] = smoothing * smoothed[t - 1] + (1 - smoothing) * smoothed[t]
    return smoothed


def cqi(losses: ArrayLike, *, smoothing: float, window: int, aggregation: Aggregation = "mean") -> Floats:
    """Convergence Quantification Indicator: how fast the smoothed loss still moves.

    With the smoothed loss s and its differences d_t = s_t − s_{t−1}::

        CQI_t = |mean(d_{t−w+1}, …, d_t)| / (max L − min L)

    Before snapshot w the mean is over the t differences there are. ``mean-abs`` averages |d| instead: the plain sum
    telescopes to s_t − s_{t−w}, so a loss that swings with a period near w looks still.

    Returns:
        float64 of shape (E+1,) in [0, 1], without unit: a fraction of the loss range per snapshot. Snapshot 0 has no
        difference yet and is NaN. Losses that are all equal give 0 from snapshot 1 on.

    Raises:
        ConvergenceError: As :func:`smooth`.

    Example:
        >>> cqi([4, 2, 0], smoothing=0.5, window=1).tolist()
        [nan, 0.25, 0.375]
    """
    ConvergenceConfig(smoothing=smoothing, window=window, aggregation=aggregation)
    values = finite_sequence(losses)
    indicator = np.full(len(values), np.nan)
    if len(values) == 1:
        return indicator
    value_range = np.ptp(values)
    if value_range == 0:
        indicator[1:] = 0.0
        return indicator
    differences = np.diff(smooth(values, smoothing))  # (E,)
    if aggregation == "mean-abs":
        differences = np.abs(differences)
    sums = np.convolve(differences, np.ones(min(window, len(differences))))[: len(differences)]  # (E,)
    counts = np.minimum(np.arange(1, len(differences) + 1), window)  # (E,)
    indicator[1:] = np.abs(sums / counts) / value_range
    return indicator


def convergence_point(cqi: ArrayLike, threshold: float, rule: Rule) -> int | None:
    """The convergence point T, None where no snapshot qualifies.

    ``first`` is the first t with CQI_t < μ, ``settled`` the first t from which CQI stays below μ. NaN is not below.

    Example:
        >>> plateau_then_fall = [float("nan"), 0.002, 0.001, 0.2, 0.1, 0.004, 0.003]
        >>> convergence_point(plateau_then_fall, 0.01, "first"), convergence_point(plateau_then_fall, 0.01, "settled")
        (1, 5)
    """
    ConvergenceConfig(threshold=threshold, rule=rule)
    below = np.asarray(cqi, dtype=np.float64) < threshold
    if rule == "first":
        return int(np.argmax(below)) if below.any() else None
    not_below = np.flatnonzero(~below)
    point = int(not_below[-1]) + 1 if len(not_below) else 0
    return point if point < len(below) else None


def markers(point: int, levels: int) -> tuple[int, ...]:
    """Epoch markers evenly spaced in snapshots, from 0 to T: round(T·k/(K−1)) for k = 0 … K−1, halves rounded up.

    Raises:
        TooFewSnapshotsError: T < K−1.

    Example:
        >>> markers(10, 5)
        (0, 3, 5, 8, 10)
    """
    _check_room(point, levels)
    steps = levels - 1
    return tuple((2 * point * k + steps) // (2 * steps) for k in range(levels))


def loss_markers(smoothed: ArrayLike, point: int, levels: int) -> tuple[int, ...]:
    """Epoch markers evenly spaced in loss: the first snapshots that have lost k/(K−1) of it.

    What counts as lost is (s_0 − m_t) / (s_0 − m_T), where m is the running minimum of the smoothed loss s, so a
    passing rise takes nothing back. Of the K different snapshots the first is 0, and the last is T, or an earlier one
    where the smoothed loss had already been as low as it gets by T.

    Raises:
        TooFewSnapshotsError: T < K−1, or the loss crosses several levels within one snapshot.
        ConvergenceError: The smoothed loss never falls before T.

    Example:
        >>> loss_markers([8, 5, 4, 2, 1, 0.5, 0], 6, 3)
        (0, 2, 6)
    """
    _check_room(point, levels)
    lowest = np.minimum.accumulate(finite_sequence(smoothed)[: point + 1])  # (T+1,)
    total = lowest[0] - lowest[-1]
    if total <= 0:
        raise ConvergenceError(
            f"spacing='loss' needs a loss that falls, but up to the convergence point, snapshot {point}, the smoothed "
            f"loss is never below its first value, {lowest[0]:.6g}. Use spacing='time', or look at the training."
        )
    lost = (lowest[0] - lowest) / total  # (T+1,)
    fractions = np.arange(levels) / (levels - 1)  # (K,)
    found = np.searchsorted(lost, fractions - 1e-9)  # the tolerance keeps rounding from moving a marker by one
    for level in range(1, levels):
        if found[level] == found[level - 1]:
            raise TooFewSnapshotsError(
                f"spacing='loss' needs {levels} different marker snapshots, but levels {level - 1} and {level} are "
                f"both reached at snapshot {found[level]}, where {lost[found[level]]:.0%} of the loss is gone. "
                f"{_MORE_SNAPSHOTS} spacing='time' needs fewer snapshots."
            )
    return tuple(int(snapshot) for snapshot in found)


def fmcs(markers: Sequence[int], snapshots: int) -> Floats:
    """Feature Map Convergence Score of each of E+1 snapshots, from the K marker snapshots, the first of which is 0.

    It is k/(K−1) at marker k, linear in snapshots between markers, 1 after the last.

    Example:
        >>> fmcs((0, 2, 6), 8).tolist()
        [0.0, 0.25, 0.5, 0.625, 0.75, 0.875, 1.0, 1.0]
    """
    scores = np.arange(len(markers)) / (len(markers) - 1)  # (K,)
    return np.interp(np.arange(snapshots), markers, scores)


def finite_sequence(values: ArrayLike, what: str = "loss") -> Floats:
    """A fresh float64 copy of a finite, one-dimensional, non-empty sequence."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConvergenceError(f"The {what} must be one number per snapshot; got {values!r:.80}.") from error
    if array.ndim != 1 or len(array) == 0:
        raise ConvergenceError(f"The {what} must be one number per snapshot, shape (E+1,); got shape {array.shape}.")
    wrong = np.flatnonzero(~np.isfinite(array))
    if len(wrong):
        raise NonFiniteLossError(int(wrong[0]), float(array[wrong[0]]), what)
    return array


def _check_room(point: int, levels: int) -> None:
    ConvergenceConfig(levels=levels)
    if point < levels - 1:
        raise TooFewSnapshotsError(
            f"{levels} levels need a convergence point at snapshot {levels - 1} or later, but the run converged at "
            f"snapshot {point}. {_MORE_SNAPSHOTS}"
        )
