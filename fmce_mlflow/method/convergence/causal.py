"""Whether a sequence has converged *by now*: judged at each snapshot from that snapshot and those before it.

:func:`~fmce_mlflow.method.convergence.verdict.assess` looks back at a whole run. A training that is to stop itself
cannot: it knows neither the range of the losses to come nor whether they fall again. NumPy only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fmce_mlflow.errors import ConfigError, ConvergenceError
from fmce_mlflow.method.convergence.config import Aggregation, ConvergenceConfig
from fmce_mlflow.method.convergence.labels import Floats, smooth

PLATEAU = 0.05
"""A sequence whose range so far is at most this share of its largest absolute value has not begun to move."""


def causal_cqi(losses: ArrayLike, *, smoothing: float, window: int, aggregation: Aggregation = "mean") -> Floats:
    """CQI as it could be known at each snapshot: the range is that of the losses so far.

    With the smoothed loss s and its differences d_t = s_t − s_{t−1}::

        CQI_t = |mean(d_{t−w+1}, …, d_t)| / (max(L_0, …, L_t) − min(L_0, …, L_t))

    It is never below :func:`~fmce_mlflow.method.convergence.labels.cqi` of the whole sequence, whose range is at least
    as large, and equal to it at the last snapshot.

    Args:
        losses: One number per snapshot, (E+1,), NaN and infinity among them.
        smoothing: β of the moving average, in [0, 1).
        window: w ≥ 1, how many differences are averaged; before snapshot w those that there are.
        aggregation: ``mean-abs`` averages \\|d\\| instead.

    Returns:
        float64 (E+1,) in [0, 1]. NaN where there is nothing to judge: at snapshot 0; from a loss on that is NaN or
        infinite; and while the range so far is at most 5 % of the largest absolute loss so far, since a loss that has
        not begun to fall is as flat as one that has ended.

    Raises:
        ConvergenceError: Not a one-dimensional sequence of numbers.
        ConfigError: Options outside their ranges.

    Example:
        >>> causal_cqi([4, 4, 2, 1], smoothing=0, window=1).tolist()
        [nan, nan, 1.0, 0.3333333333333333]
    """
    ConvergenceConfig(smoothing=smoothing, window=window, aggregation=aggregation)
    values = _sequence(losses)
    indicator = np.full(len(values), np.nan)
    broken = np.flatnonzero(~np.isfinite(values))
    known = values[: broken[0]] if len(broken) else values
    if len(known) < 2:
        return indicator
    steps = np.diff(smooth(known, smoothing))  # (n−1,)
    if aggregation == "mean-abs":
        steps = np.abs(steps)
    # One slice per snapshot, so that no bit of a value depends on what comes after it.
    moves = np.array([np.nan, *(abs(steps[max(0, t - window) : t].mean()) for t in range(1, len(known)))])
    ranges = np.maximum.accumulate(known) - np.minimum.accumulate(known)
    moved = ranges > PLATEAU * np.maximum.accumulate(np.abs(known))
    indicator[: len(known)][moved] = moves[moved] / ranges[moved]
    return indicator


def converged_by_now(losses: ArrayLike, config: ConvergenceConfig | None = None, *, patience: int = 3) -> bool:
    """Whether a sequence has converged, judged at its last snapshot from what there is.

    It has where :func:`causal_cqi` was below μ at the last ``patience`` + 1 snapshots. Where it says so, the sequence
    that ends there has converged by the rule ``settled`` too, at least ``patience`` snapshots before. A longer one need
    not have: the loss may fall again.

    Args:
        losses: One number per snapshot, (E+1,). NaN or infinite ones are no error; after one the answer is no.
        config: Smoothing, window, μ and aggregation; the defaults where None. The rule and the levels are not used.
        patience: ≥ 0, how many snapshots must confirm the first one below μ.

    Raises:
        ConvergenceError: Not a one-dimensional sequence of numbers.
        ConfigError: A patience below 0.

    Example:
        >>> losses = [2.3 * 0.6**t for t in range(21)]
        >>> [t for t in range(21) if converged_by_now(losses[: t + 1])][0]
        13
        >>> converged_by_now([2.3] * 21)
        False
    """
    return bool(verdicts(losses, config, patience=patience)[-1:].any())


def verdicts(losses: ArrayLike, config: ConvergenceConfig | None = None, *, patience: int = 3) -> np.ndarray[
    tuple[int], np.dtype[np.bool_]
]:  # fmt: skip
    """What :func:`converged_by_now` says at each snapshot, bool (E+1,); a value does not depend on later losses.

    Raises:
        ConvergenceError: Not a one-dimensional sequence of numbers.
        ConfigError: A patience below 0.

    Example:
        >>> verdicts([4, 2, 0, 0, 0], ConvergenceConfig(smoothing=0, window=1), patience=1).tolist()
        [False, False, False, False, True]
    """
    if patience < 0:
        raise ConfigError([f"patience must be at least 0, got {patience}"])
    config = config or ConvergenceConfig()
    indicator = causal_cqi(losses, smoothing=config.smoothing, window=config.window, aggregation=config.aggregation)
    below = indicator < config.threshold
    found = below.copy()
    for back in range(1, patience + 1):
        found[back:] &= below[:-back]
        found[:back] = False
    return found


def _sequence(losses: ArrayLike) -> Floats:
    try:
        values = np.array(losses, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConvergenceError(f"The losses must be one number per snapshot; got {losses!r:.80}.") from error
    if values.ndim != 1:
        raise ConvergenceError(f"The losses must be one number per snapshot, shape (E+1,); got shape {values.shape}.")
    return values
