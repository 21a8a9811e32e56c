"""From a loss sequence to a convergence point, epoch markers and FMCS labels.

The outline is that of Feature Map Convergence Evaluation (arXiv 2405.04041). It leaves its constants open: each one
here is a field of :class:`ConvergenceConfig` with a default of ours.

Sequences are indexed by snapshot. ``losses[0]`` belongs to the untrained network, ``losses[E]`` to the last snapshot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmce_mlflow.errors import ConfigError, ConvergenceError, NonFiniteLossError, TooFewSnapshotsError, did_you_mean

Signal = Literal["train", "val", "drift"]
Aggregation = Literal["mean", "mean-abs"]
Rule = Literal["settled", "first"]
Spacing = Literal["time", "loss"]
Floats: TypeAlias = NDArray[np.float64]

SIGNAL_NAMES: Mapping[Signal, str] = {"train": "training loss", "val": "validation loss", "drift": "feature drift"}

_MORE_SNAPSHOTS = (
    "Record more snapshots before convergence (--snapshots-per-epoch, or a smaller learning rate), "
    "or use fewer --levels."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvergenceConfig:
    """Every constant of the method. The paper names none of them: the defaults are ours.

    Args:
        smoothing: β in [0, 1), the weight of the past in the smoothed loss; 0 turns smoothing off.
        window: w ≥ 1, how many differences of the smoothed loss CQI averages.
        threshold: μ > 0, the CQI under which a run counts as converged; a fraction of the loss range per snapshot.
        aggregation: ``mean`` averages the differences, ``mean-abs`` their absolute values.
        rule: ``settled`` takes the snapshot from which CQI stays under μ, ``first`` the first one under μ.
        levels: K ≥ 2, the number of epoch markers.
        spacing: ``time`` spaces the markers evenly in snapshots, ``loss`` evenly in smoothed loss.

    Raises:
        ConfigError: Values that cannot be used, all of them at once.

    Example:
        >>> ConvergenceConfig(levels=1, window=0)
        Traceback (most recent call last):
        ...
        fmce_mlflow.errors.ConfigError: 2 options cannot be used:
          - window must be a whole number of at least 1, got 0.
          - levels must be a whole number of at least 2, got 1.
    """

    smoothing: float = 0.5
    window: int = 3
    threshold: float = 0.02
    aggregation: Aggregation = "mean"
    rule: Rule = "settled"
    levels: int = 5
    spacing: Spacing = "time"

    def __post_init__(self) -> None:
        problems = []
        if not (_is_number(self.smoothing) and 0 <= self.smoothing < 1):
            problems.append(f"smoothing must be a number of at least 0 and below 1, got {self.smoothing!r}.")
        if not (_is_whole(self.window) and self.window >= 1):
            problems.append(f"window must be a whole number of at least 1, got {self.window!r}.")
        if not (_is_number(self.threshold) and 0 < self.threshold < math.inf):
            problems.append(f"threshold must be a number above 0, got {self.threshold!r}.")
        if not (_is_whole(self.levels) and self.levels >= 2):
            problems.append(f"levels must be a whole number of at least 2, got {self.levels!r}.")
        for name, choice, valid in (
            ("aggregation", self.aggregation, get_args(Aggregation)),
            ("rule", self.rule, get_args(Rule)),
            ("spacing", self.spacing, get_args(Spacing)),
        ):
            if choice not in valid:
                near = did_you_mean(str(choice), valid)
                problems.append(f"{name} must be {' or '.join(valid)}, got {choice!r}.{near}")
        if problems:
            raise ConfigError(problems)


def smooth(losses: ArrayLike, smoothing: float) -> Floats:
    """Exponentially smoothed losses: s_0 = L_0, s_t = β·s_{t−1} + (1−β)·L_t.

    Args:
        losses: The loss of each snapshot, shape (E+1,).
        smoothing: β in [0, 1).

    Returns:
        float64 of shape (E+1,), between the least and the greatest loss.

    Raises:
        NonFiniteLossError: A NaN or infinite loss.
        ConvergenceError: Not a one-dimensional, non-empty sequence of numbers.
        ConfigError: A β outside its range.

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

    Args:
        losses: The loss of each snapshot, shape (E+1,).
        smoothing: β in [0, 1).
        window: w ≥ 1.
        aggregation: ``mean`` or ``mean-abs``.

    Returns:
        float64 of shape (E+1,) in [0, 1], without unit: a fraction of the loss range per snapshot. Snapshot 0 has no
        difference yet and is NaN. Losses that are all equal give 0 from snapshot 1 on.

    Raises:
        NonFiniteLossError: A NaN or infinite loss.
        ConvergenceError: Not a one-dimensional, non-empty sequence of numbers.
        ConfigError: Values outside their ranges.

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
    """The convergence point T.

    Args:
        cqi: CQI of each snapshot, shape (E+1,); NaN counts as not below.
        threshold: μ.
        rule: ``first``: the first t with CQI_t < μ. ``settled``: the first t from which CQI stays below μ.

    Returns:
        T, or None where no snapshot qualifies.

    Raises:
        ConfigError: A threshold or rule that cannot be used.

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
    """Epoch markers evenly spaced in snapshots: round(T·k/(K−1)) for k = 0 … K−1, halves rounded up.

    Args:
        point: T.
        levels: K ≥ 2.

    Returns:
        K different snapshots, the first 0, the last T.

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

    What counts as lost is (s_0 − m_t) / (s_0 − m_T), where m is the running minimum of the smoothed loss, so a
    passing rise takes nothing back.

    Args:
        smoothed: The smoothed loss, shape (E+1,).
        point: T.
        levels: K ≥ 2.

    Returns:
        K different snapshots, the first 0. The last is T, or the earlier snapshot where the smoothed loss had already
        been as low as it gets by T.

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
    """Feature Map Convergence Score of each snapshot.

    Args:
        markers: The K marker snapshots, increasing, the first 0.
        snapshots: How many snapshots there are, E+1.

    Returns:
        float64 of shape (E+1,) in [0, 1], non-decreasing: k/(K−1) at marker k, linear in snapshots between markers, 1
        after the last.

    Example:
        >>> fmcs((0, 2, 6), 8).tolist()
        [0.0, 0.25, 0.5, 0.625, 0.75, 0.875, 1.0, 1.0]
    """
    scores = np.arange(len(markers)) / (len(markers) - 1)  # (K,)
    return np.interp(np.arange(snapshots), markers, scores)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Convergence:
    """What a loss sequence says about a run.

    Attributes:
        config: The constants it was found with.
        signal: Which sequence was judged.
        losses: The sequence, float64 (E+1,).
        smoothed: Its smoothed values, float64 (E+1,).
        cqi: CQI, float64 (E+1,), NaN at snapshot 0.
        point: T, or None where the run has not converged.
        markers: The K marker snapshots, or None.
        fmcs: The label of each snapshot, float64 (E+1,) in [0, 1], or None.
        problem: Why the sequence has no labels for another reason than that it has not converged; see :func:`assess`.
    """

    config: ConvergenceConfig
    signal: Signal
    losses: Floats
    smoothed: Floats
    cqi: Floats
    point: int | None
    markers: tuple[int, ...] | None
    fmcs: Floats | None
    problem: str | None = None

    @property
    def converged(self) -> bool:
        """Whether there is a convergence point."""
        return self.point is not None

    def level(self, snapshot: int) -> int | None:
        """The level k of a marker snapshot, None for any other snapshot."""
        if self.markers is None or snapshot not in self.markers:
            return None
        return self.markers.index(snapshot)

    def verdict(self) -> str:
        """What was found, in one or two plain sentences for a console or a report."""
        if self.problem is not None:
            return self.problem
        last, threshold = len(self.losses) - 1, self.config.threshold
        name = SIGNAL_NAMES[self.signal]
        if self.point is None:
            return (
                f"Not converged: by the {name}, CQI is {self.cqi[-1]:.2g} at the last snapshot, {last}, and has to be "
                f"below {threshold:g}."
            )
        when = "stays" if self.config.rule == "settled" else "is for the first time"
        text = f"Converged at snapshot {self.point} of {last}: by the {name}, CQI {when} below {threshold:g} from there"
        if self.config.rule == "first":
            text = text.removesuffix(" from there")
        if self.smoothed[self.point] >= self.smoothed[0]:
            text += f", but the smoothed value there is no lower than at snapshot 0 ({self.smoothed[0]:.3g})"
        elif self.point == last:
            text += ", but as that is the last snapshot only a longer training can confirm it"
        return f"{text}."

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON types, NaN as None; ``verdict`` is for whoever reads the file."""
        return {
            "config": asdict(self.config),
            "signal": self.signal,
            "verdict": self.verdict(),
            "point": self.point,
            "markers": None if self.markers is None else list(self.markers),
            "problem": self.problem,
            "losses": self.losses.tolist(),
            "smoothed": self.smoothed.tolist(),
            "cqi": [None if math.isnan(value) else value for value in self.cqi.tolist()],
            "fmcs": None if self.fmcs is None else self.fmcs.tolist(),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Convergence:
        """The inverse of :meth:`to_dict`.

        Raises:
            ConvergenceError: Something that :meth:`to_dict` did not write.
            ConfigError: A configuration outside its ranges.
        """
        try:
            marks, labels = record["markers"], record["fmcs"]
            found = cls(
                config=ConvergenceConfig(**record["config"]),
                signal=record["signal"],
                losses=finite_sequence(record["losses"]),
                smoothed=finite_sequence(record["smoothed"]),
                cqi=np.array([math.nan if value is None else value for value in record["cqi"]], dtype=np.float64),
                point=None if record["point"] is None else int(record["point"]),
                markers=None if marks is None else tuple(int(snapshot) for snapshot in marks),
                fmcs=None if labels is None else finite_sequence(labels, "FMCS"),
                problem=record["problem"],
            )
            if found.signal not in SIGNAL_NAMES:
                raise ValueError(f"signal {found.signal!r} is none of {', '.join(SIGNAL_NAMES)}")
            lengths = [len(s) for s in (found.losses, found.smoothed, found.cqi, found.fmcs) if s is not None]
            if len(set(lengths)) != 1:
                raise ValueError(f"its sequences have lengths {lengths}, and should have one")
        except (KeyError, TypeError, ValueError) as error:
            raise ConvergenceError(
                f"Expected a record that Convergence.to_dict wrote, got {record!s:.80} "
                f"({type(error).__name__}: {error}). Evaluate the run's losses again."
            ) from error
        return found


def evaluate_convergence(
    losses: ArrayLike, config: ConvergenceConfig | None = None, *, signal: Signal = "train"
) -> Convergence:
    """Judge a loss sequence: CQI, convergence point, epoch markers and FMCS.

    Args:
        losses: One number per snapshot, shape (E+1,), E ≥ 1. For a module's feature drift, :func:`drift_sequence`.
        config: The constants; the defaults where None.
        signal: Which sequence it is; only the wording depends on it.

    Returns:
        A :class:`Convergence`; where the run has not converged, its ``point``, ``markers`` and ``fmcs`` are None.

    Raises:
        NonFiniteLossError: A NaN or infinite loss, with its snapshot.
        TooFewSnapshotsError: The run converged before there were K snapshots to mark.
        ConvergenceError: Fewer than two losses, losses that are all equal, or ``spacing="loss"`` on a loss that never
            falls.

    Example:
        >>> found = evaluate_convergence([2.3 * 0.6**t for t in range(21)])
        >>> found.point, found.markers
        (10, (0, 3, 5, 8, 10))
        >>> print(found.verdict())
        Converged at snapshot 10 of 20: by the training loss, CQI stays below 0.02 from there.
    """
    config = config or ConvergenceConfig()
    values = finite_sequence(losses, SIGNAL_NAMES[signal])
    if len(values) < 2:
        raise ConvergenceError(
            f"Convergence needs the {SIGNAL_NAMES[signal]} of at least 2 snapshots, got {len(values)}. Train longer."
        )
    if np.ptp(values) == 0:
        raise ConvergenceError(
            f"The {SIGNAL_NAMES[signal]} is {values[0]:.6g} at each of the {len(values)} snapshots: nothing was "
            "learned. Check that the learning rate is above 0 and that the module is trained."
        )
    indicator = cqi(values, smoothing=config.smoothing, window=config.window, aggregation=config.aggregation)
    smoothed = smooth(values, config.smoothing)
    point = convergence_point(indicator, config.threshold, config.rule)
    marks = None
    if point is not None:
        by_loss = config.spacing == "loss"
        marks = loss_markers(smoothed, point, config.levels) if by_loss else markers(point, config.levels)
    return Convergence(
        config=config,
        signal=signal,
        losses=values,
        smoothed=smoothed,
        cqi=indicator,
        point=point,
        markers=marks,
        fmcs=None if marks is None else fmcs(marks, len(values)),
    )


def assess(losses: ArrayLike, config: ConvergenceConfig | None = None, *, signal: Signal = "train") -> Convergence:
    """As :func:`evaluate_convergence`, but a sequence that cannot be labelled is told as one.

    For a run that has ended: what it logged stays useful where it converged too soon for K levels, or where nothing
    changed in it (the drift of a frozen module).

    Args:
        losses: As for :func:`evaluate_convergence`.
        config: As for :func:`evaluate_convergence`.
        signal: As for :func:`evaluate_convergence`.

    Returns:
        The convergence. Where it cannot be labelled, ``problem`` says why and what to do; ``point`` stands where there
        is one.

    Raises:
        NonFiniteLossError: A NaN or infinite loss, with its snapshot.

    Example:
        >>> found = assess([2.3 * 0.01**t for t in range(9)], ConvergenceConfig(smoothing=0, window=1))
        >>> found.point, found.markers
        (2, None)
        >>> assess([0.0] * 5, signal="drift").converged
        False
    """
    config = config or ConvergenceConfig()
    try:
        return evaluate_convergence(losses, config, signal=signal)
    except NonFiniteLossError:
        raise
    except ConvergenceError as error:
        values = finite_sequence(losses, SIGNAL_NAMES[signal])
        problem = str(error)
    indicator = np.full(len(values), np.nan)
    point = None
    if np.ptp(values) > 0:
        indicator = cqi(values, smoothing=config.smoothing, window=config.window, aggregation=config.aggregation)
        point = convergence_point(indicator, config.threshold, config.rule)
    return Convergence(
        config=config,
        signal=signal,
        losses=values,
        smoothed=smooth(values, config.smoothing),
        cqi=indicator,
        point=point,
        markers=None,
        fmcs=None,
        problem=problem,
    )


def disagreement(train: Convergence, val: Convergence) -> str | None:
    """What the training loss and the loss of the network in eval mode tell differently about one run.

    Where BatchNorm statistics lag, the training loss can converge while the network in eval mode is still at chance;
    labels from the training loss are then wrong. They disagree, looked for in this order, where

    - the validation loss at the training loss's T is at least 90 % of its value at snapshot 0: it has risen since it
      was lower, or it never fell,
    - one has converged and the other has not,
    - their T differ by more than 3 snapshots and more than a quarter of the later one.

    Args:
        train: Judged by the training loss.
        val: The same run judged by the validation loss, measured in eval mode.

    Returns:
        A sentence, or None where they agree.

    Raises:
        ConvergenceError: Sequences of different length.

    Example:
        >>> train = evaluate_convergence([2.3 * 0.6**t for t in range(21)])
        >>> val = evaluate_convergence([2.3 + 0.001 * (t % 2) for t in range(21)], signal="val")
        >>> print(disagreement(train, val))
        The training loss converged at snapshot 10, but in eval mode the network is then no better than untrained: \
its validation loss is 2.3, and 2.3 at snapshot 0. BatchNorm statistics may lag; judge this run by its validation loss.
    """
    if len(train.losses) != len(val.losses):
        raise ConvergenceError(
            f"Signals of one run have one length; there are {len(train.losses)} training losses and {len(val.losses)} "
            "validation losses. Pass the losses of the same snapshots."
        )
    if train.point is not None:
        start, there = val.losses[0], val.losses[train.point]
        best = int(np.argmin(val.losses[: train.point + 1]))
        if start > 0 and there >= 0.9 * start > val.losses[best]:
            return (
                f"The training loss converged at snapshot {train.point}, but the validation loss was lowest at "
                f"snapshot {best}, {val.losses[best]:.3g}, and is {there:.3g} then: the network has "
                "overfitted. Its labels are of its training loss."
            )
        if start > 0 and there >= 0.9 * start:
            return (
                f"The training loss converged at snapshot {train.point}, but in eval mode the network is then no "
                f"better than untrained: its validation loss is {there:.3g}, and {start:.3g} at snapshot 0. BatchNorm "
                "statistics may lag; judge this run by its validation loss."
            )
    if train.point is None or val.point is None:
        if train.point is None and val.point is None:
            return None
        yes, no = (train, val) if val.point is None else (val, train)
        return (
            f"The {SIGNAL_NAMES[yes.signal]} converged at snapshot {yes.point}, but the {SIGNAL_NAMES[no.signal]} has "
            f"not converged: its CQI is {no.cqi[-1]:.2g} at the last snapshot, {len(no.cqi) - 1}."
        )
    if abs(train.point - val.point) > max(3.0, 0.25 * max(train.point, val.point)):
        return (
            f"The training loss converged at snapshot {train.point}, the validation loss at snapshot {val.point}; "
            "labels depend on which of them is used."
        )
    return None


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


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_whole(value) or isinstance(value, float | np.floating)
