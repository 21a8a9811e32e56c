"""The label of one module: the loss is the network's, but a module whose weights do not move has learned nothing.

NumPy only. Sequences are indexed by snapshot, 0 … E.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmce_mlflow.errors import ConvergenceError, NonFiniteLossError
from fmce_mlflow.method.convergence.config import SIGNAL_NAMES, ConvergenceConfig, Signal
from fmce_mlflow.method.convergence.labels import Floats
from fmce_mlflow.method.convergence.verdict import Convergence, assess

MOVED = 1e-7
"""A relative change of a module's weights above this is a movement. Weights that are not trained do not change by one
bit; neighbouring float32 numbers lie 1.2e-7 apart, so below it somebody has at most rounded them once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModuleLabels:
    """What a run says of one of its modules.

    Attributes:
        fmcs: The label of each snapshot, float64 (E+1,) in [0, 1]; NaN where it has none.
        levels: The level of each snapshot that stands for one, None at the others; (E+1,).
        judged: What gave the labels while the module moved: the whole sequence, or that from ``moved_from`` on in the
            run's own numbering of snapshots.
        moved_from: a, the last snapshot before its weights changed for the first time; None: never, or not known.
        moved_until: b, the last snapshot at which they had changed, 0: never; None: not known.
        problem: Why snapshots have no label, in a sentence; None where all have one.
    """

    fmcs: Floats
    levels: tuple[int | None, ...]
    judged: Convergence
    moved_from: int | None = None
    moved_until: int | None = None
    problem: str | None = None

    @property
    def labelled(self) -> bool:
        """Whether any snapshot has a label."""
        return bool(np.isfinite(self.fmcs).any())

    @property
    def story(self) -> str:
        """How the module moved, as the rest of a sentence about it; empty where it moved all the time, or not known."""
        return how_it_moved(self.moved_from, self.moved_until, len(self.fmcs) - 1)


def movement(changes: ArrayLike) -> tuple[int | None, int]:
    """When a module moved: ``moved_from`` and ``moved_until``, as :class:`ModuleLabels` has them.

    Args:
        changes: As :func:`label_module` takes them, (E+1,).

    Example:
        >>> movement([0, 0, 0.1, 0.2, 0]), movement([0, 0, 0])
        ((1, 3), (None, 0))
    """
    steps = np.flatnonzero(_moved(np.asarray(changes, dtype=np.float64)))
    return (int(steps[0]) - 1, int(steps[-1])) if len(steps) else (None, 0)


def how_it_moved(moved_from: int | None, moved_until: int | None, last: int) -> str:
    """When a module moved in a run of snapshots 0 … ``last``, as the rest of a sentence; empty: to the end, or unknown.

    Example:
        >>> how_it_moved(None, 0, 12), how_it_moved(4, 12, 12), how_it_moved(0, 12, 12), how_it_moved(None, None, 12)
        ('never moved', 'moved from snapshot 4 on', '', '')
        >>> how_it_moved(4, 8, 12), how_it_moved(0, 8, 12)
        ('moved from snapshot 4 to snapshot 8 alone', 'did not move after snapshot 8')
    """
    if moved_until is None:
        return ""
    if moved_from is None:
        return "never moved"
    if moved_until < last:
        text = f"moved from snapshot {moved_from} to snapshot {moved_until} alone"
        return text if moved_from else f"did not move after snapshot {moved_until}"
    return f"moved from snapshot {moved_from} on" if moved_from else ""


def label_module(
    losses: ArrayLike,
    changes: ArrayLike | None,
    config: ConvergenceConfig | None = None,
    *,
    signal: Signal = "train",
    starts_trained: bool = False,
) -> ModuleLabels:
    """Label each snapshot of one module, by the losses of its network and the changes of its own weights.

    With a the last snapshot before its weights changed first, and b the last one at which they had changed:

    - Its weights never changed: FMCS is 0 at each snapshot, whatever the losses do.
    - Up to a FMCS is 0. After a it is that of L_a … L_E, judged by themselves. At a snapshot at which the weights are
      those of an earlier one, as after b, FMCS is that of the earlier one.
    - Without weights' changes it is that of the losses.

    A snapshot stands for level 0 while nothing has moved, and for level k at a marker at which the weights had changed.

    Args:
        losses: One number per snapshot, (E+1,): of the network, or the module's own drift as
            :func:`~fmce_mlflow.method.convergence.drift.drift_sequence` gives it.
        changes: ‖W_t − W_{t−1}‖ / ‖W_{t−1}‖ of its weights W per snapshot, (E+1,); NaN where it is not known, which
            counts as a movement; that of snapshot 0 means nothing. None: nothing is known.
        config: The constants; the defaults where None.
        signal: Which sequence the losses are.
        starts_trained: Snapshot 0 has trained weights. Then no snapshot before T has a label, nor one at which the
            weights are of before T: how far they had come is not known.

    Raises:
        NonFiniteLossError: A NaN or infinite loss of a module that moved.
        ConvergenceError: Not one loss per snapshot, or not one change for each.

    Example:
        >>> losses = [2.3 * 0.6**t for t in range(21)]
        >>> label_module(losses, [0.0] * 21).fmcs.any()
        np.False_
        >>> frozen = label_module(losses, [0.0] * 6 + [0.1] * 15)
        >>> frozen.judged.point, frozen.judged.markers, frozen.moved_from
        (15, (5, 8, 10, 13, 15), 5)
        >>> stopped = label_module(losses, [0.1] * 6 + [0.0] * 15)
        >>> stopped.fmcs[[0, 3, 5, 20]].tolist()
        [0.0, 0.25, 0.5, 0.5]
    """
    whole = assess(losses, config, signal=signal, finite=False)
    snapshots = np.arange(len(whole.losses))
    if changes is None:
        return _labels(assess(losses, config, signal=signal), snapshots, (None, None), starts_trained)
    values = np.array(changes, dtype=np.float64)
    if values.shape != snapshots.shape:
        raise ConvergenceError(
            f"Weights change once per snapshot: expected shape {snapshots.shape}, for {len(snapshots)} losses, got "
            f"{values.shape}. Pass those of the same snapshots."
        )
    first, last = movement(values)
    if first is None:
        return _never(whole, starts_trained)
    judged = assess(losses, config, signal=signal) if first == 0 else _from(whole, first)
    held = np.maximum.accumulate(np.where(_moved(values), snapshots, 0))  # (E+1,), 0 up to a
    return _labels(judged, held, (first, last), starts_trained)


def _moved(changes: Floats) -> NDArray[np.bool_]:
    """At which snapshots the weights are others than at the one before, bool (E+1,)."""
    moved = ~(changes <= MOVED)  # NaN too
    moved[:1] = False
    return moved


def _never(whole: Convergence, starts_trained: bool) -> ModuleLabels:
    snapshots = len(whole.losses)
    if starts_trained:
        problem = "Its weights are trained ones and never moved: how far they had come is not known."
        nothing = np.full(snapshots, np.nan)
        return ModuleLabels(fmcs=nothing, levels=(None,) * snapshots, judged=whole, moved_until=0, problem=problem)
    return ModuleLabels(fmcs=np.zeros(snapshots), levels=(0,) * snapshots, judged=whole, moved_until=0)


def _from(whole: Convergence, first: int) -> Convergence:
    """The losses from a snapshot on judged by themselves, in the numbering of the whole run."""
    later = whole.losses[first:].copy()
    if whole.signal == "drift" and len(later) > 1:
        later[0] = later[1]  # as of the untrained network
    try:
        found = assess(later, whole.config, signal=whole.signal)
    except NonFiniteLossError as error:
        raise NonFiniteLossError(first + error.snapshot, error.value, SIGNAL_NAMES[whole.signal]) from None
    smoothed, indicator = whole.smoothed.copy(), np.full(len(whole.losses), np.nan)
    smoothed[first:], indicator[first:] = found.smoothed, found.cqi
    return replace(
        whole,
        smoothed=smoothed,
        cqi=indicator,
        point=None if found.point is None else first + found.point,
        markers=None if found.markers is None else tuple(first + one for one in found.markers),
        fmcs=None if found.fmcs is None else np.concatenate([np.zeros(first), found.fmcs]),
        problem=None if found.problem is None else f"{found.problem} (Snapshots are counted from {first} here.)",
    )


def _labels(
    judged: Convergence, held: NDArray[np.int64], ends: tuple[int | None, int | None], starts_trained: bool
) -> ModuleLabels:
    """Labels of a module that has at each snapshot the weights of another, ``held`` (E+1,)."""
    if starts_trained:
        return _mature(judged, held, ends)
    start = ends[0] or 0
    fmcs = np.full(len(held), np.nan) if judged.fmcs is None else judged.fmcs[held]
    problem = None
    if judged.fmcs is None and start:
        name = SIGNAL_NAMES[judged.signal]
        problem = f"Its weights moved from snapshot {start} on, and the {name} from there says: {judged.verdict()}"
    elif judged.fmcs is None:
        problem = judged.verdict()
    levels = [judged.level(t) if held[t] == t else None for t in range(len(held))]
    if start:
        fmcs[: start + 1] = 0.0
        levels[: start + 1] = [0] * (start + 1)
    return ModuleLabels(
        fmcs=fmcs, levels=tuple(levels), judged=judged, moved_from=ends[0], moved_until=ends[1], problem=problem
    )


def _mature(judged: Convergence, held: NDArray[np.int64], ends: tuple[int | None, int | None]) -> ModuleLabels:
    """Labels of a module that began with trained weights: 1 from T on, and none before."""
    point = judged.point
    mature = np.zeros(len(held), dtype=bool) if point is None else held >= point
    top = judged.config.levels - 1
    text = f"It began with trained weights, and has no label before T. By the {SIGNAL_NAMES[judged.signal]}: "
    return ModuleLabels(
        fmcs=np.where(mature, 1.0, np.nan),
        levels=tuple(top if t == point and mature[t] else None for t in range(len(held))),
        judged=judged,
        moved_from=ends[0],
        moved_until=ends[1],
        problem=f"{text}{judged.verdict()}",
    )
