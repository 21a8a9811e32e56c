"""What a loss sequence says about a run, as one object and in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fmce_mlflow.errors import ConvergenceError, NonFiniteLossError
from fmce_mlflow.method.convergence.config import SIGNAL_NAMES, ConvergenceConfig, Signal
from fmce_mlflow.method.convergence.labels import (
    Floats,
    convergence_point,
    cqi,
    finite_sequence,
    fmcs,
    loss_markers,
    markers,
    smooth,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Convergence:
    """What a sequence of E+1 losses says about a run."""

    config: ConvergenceConfig
    signal: Signal  # which sequence was judged
    losses: Floats  # (E+1,)
    smoothed: Floats  # (E+1,)
    cqi: Floats  # (E+1,), NaN at snapshot 0
    point: int | None  # T; None where the run has not converged
    markers: tuple[int, ...] | None  # the K marker snapshots
    fmcs: Floats | None  # the label of each snapshot, (E+1,) in [0, 1]
    problem: str | None = None  # why it has no labels, for another reason than that it has not converged

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
        first = self.markers[0] if self.markers else 0
        if self.smoothed[self.point] >= self.smoothed[first]:
            text += f", but the smoothed value there is no lower than at snapshot {first} ({self.smoothed[first]:.3g})"
        elif self.point == last:
            text += ", but as that is the last snapshot only a longer training can confirm it"
        return f"{text}."

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON types, NaN and infinite values as None; ``verdict`` is for whoever reads the file."""
        return {
            "config": asdict(self.config),
            "signal": self.signal,
            "verdict": self.verdict(),
            "point": self.point,
            "markers": None if self.markers is None else list(self.markers),
            "problem": self.problem,
            "losses": _as_json(self.losses),
            "smoothed": _as_json(self.smoothed),
            "cqi": _as_json(self.cqi),
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
                losses=_from_json(record["losses"]),
                smoothed=_from_json(record["smoothed"]),
                cqi=_from_json(record["cqi"]),
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


def assess(
    losses: ArrayLike,
    config: ConvergenceConfig | None = None,
    *,
    signal: Signal = "train",
    strict: bool = False,
    finite: bool = True,
) -> Convergence:
    """Judge a loss sequence: CQI, convergence point, epoch markers and FMCS.

    Args:
        losses: One number per snapshot, shape (E+1,), E ≥ 1. For a module's feature drift, :func:`drift_sequence`.
        config: The constants; the defaults where None.
        signal: Which sequence it is; only the wording depends on it.
        strict: Raise where the sequence cannot be labelled, although it converged or because nothing changed in it,
            such as the drift of a frozen module. Otherwise ``problem`` says why and what to do.
        finite: Raise where a loss is not finite; otherwise ``problem`` says which.

    Raises:
        NonFiniteLossError: With ``finite``, a NaN or infinite loss, with its snapshot.
        TooFewSnapshotsError: With ``strict``, if the run converged before there were K snapshots to mark.
        ConvergenceError: With ``strict``, for fewer than two losses, losses that are all equal, or ``spacing="loss"``
            on a loss that never falls.

    Example:
        >>> found = assess([2.3 * 0.6**t for t in range(21)])
        >>> found.point, found.markers
        (10, (0, 3, 5, 8, 10))
        >>> print(found.verdict())
        Converged at snapshot 10 of 20: by the training loss, CQI stays below 0.02 from there.
        >>> found = assess([2.3 * 0.01**t for t in range(9)], ConvergenceConfig(smoothing=0, window=1))
        >>> found.point, found.markers
        (2, None)
        >>> assess([0.0] * 5, signal="drift").converged
        False
    """
    config = config or ConvergenceConfig()
    try:
        values = finite_sequence(losses, SIGNAL_NAMES[signal])
    except NonFiniteLossError as error:
        if finite:
            raise
        return _unknown(losses, config, signal, str(error))
    smoothed, indicator = smooth(values, config.smoothing), np.full(len(values), np.nan)
    point = marks = problem = None
    try:
        _check_movement(values, SIGNAL_NAMES[signal])
        indicator = cqi(values, smoothing=config.smoothing, window=config.window, aggregation=config.aggregation)
        point = convergence_point(indicator, config.threshold, config.rule)
        if point is not None:
            by_loss = config.spacing == "loss"
            marks = loss_markers(smoothed, point, config.levels) if by_loss else markers(point, config.levels)
    except ConvergenceError as error:
        if strict:
            raise
        problem = str(error)
    return Convergence(
        config=config,
        signal=signal,
        losses=values,
        smoothed=smoothed,
        cqi=indicator,
        point=point,
        markers=marks,
        fmcs=None if marks is None else fmcs(marks, len(values)),
        problem=problem,
    )


def _unknown(losses: ArrayLike, config: ConvergenceConfig, signal: Signal, problem: str) -> Convergence:
    """Of losses that nothing can be computed of."""
    values = np.array(losses, dtype=np.float64)
    nothing = np.full(len(values), np.nan)
    return Convergence(
        config=config,
        signal=signal,
        losses=values,
        smoothed=nothing,
        cqi=nothing,
        point=None,
        markers=None,
        fmcs=None,
        problem=problem,
    )


def _as_json(values: Floats) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _from_json(values: Sequence[float | None]) -> Floats:
    return np.array([math.nan if value is None else float(value) for value in values], dtype=np.float64)


def _check_movement(values: Floats, name: str) -> None:
    if len(values) < 2:
        raise ConvergenceError(
            f"Convergence needs the {name} of at least 2 snapshots, got {len(values)}. Train longer."
        )
    if np.ptp(values) == 0:
        raise ConvergenceError(
            f"The {name} is {values[0]:.6g} at each of the {len(values)} snapshots: nothing was learned. Check that "
            "the learning rate is above 0 and that the module is trained."
        )


def disagreement(train: Convergence, val: Convergence) -> str | None:
    """Where the training loss and the validation loss, which is measured in eval mode, disagree about one run; or None.

    Where BatchNorm statistics lag, the training loss can converge while the network in eval mode is still at chance;
    labels from the training loss are then wrong. They disagree, looked for in this order, where

    - the validation loss at the training loss's T is at least 90 % of its value at snapshot 0: it has risen since it
      was lower, or it never fell,
    - one has converged and the other has not,
    - their T differ by more than 3 snapshots and more than a quarter of the later one.

    Raises:
        ConvergenceError: Sequences of different length.

    Example:
        >>> train = assess([2.3 * 0.6**t for t in range(21)])
        >>> val = assess([2.3 + 0.001 * (t % 2) for t in range(21)], signal="val")
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
