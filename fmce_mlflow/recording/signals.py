"""Convergence of a recording by each signal that it has: training loss, validation loss, each module's drift."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fmce_mlflow.errors import ConvergenceError
from fmce_mlflow.method.convergence.config import SIGNAL_NAMES, ConvergenceConfig, Signal
from fmce_mlflow.method.convergence.drift import drift_sequence
from fmce_mlflow.method.convergence.labels import Floats
from fmce_mlflow.method.convergence.moving import ModuleLabels, how_it_moved, label_module, movement
from fmce_mlflow.method.convergence.verdict import Convergence, assess, disagreement

LOSSES: Mapping[str, str] = {f"{signal}_loss": SIGNAL_NAMES[signal] for signal in ("train", "val")}
"""Metrics that are signals, with what texts call them."""
DRIFT = "drift/"
WEIGHTS = "weight_change/"
STILL = 1e-9
"""The maps of a module whose drift never exceeds this do not change: whoever trains has frozen it."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What each signal says about a recording.

    Attributes:
        train: By the training loss; None if it was not given at every snapshot.
        val: By the validation loss; None likewise.
        drift: By each module's feature drift.
        changes: Relative change of each module's weights since the snapshot before, (E+1,), NaN where it is not known;
            of recordings before it was measured, of no module.
        starts_trained: Whether snapshot 0 has trained weights.
    """

    train: Convergence | None
    val: Convergence | None
    drift: dict[str, Convergence]
    changes: dict[str, Floats] = field(default_factory=dict)
    starts_trained: bool = False

    def primary(self, signal: Signal) -> Convergence:
        """The one that labels the run; for ``drift``, its first module's.

        Raises:
            ConvergenceError: If the recording has no such signal.
        """
        found = next(iter(self.drift.values()), None) if signal == "drift" else getattr(self, signal)
        if found is None:
            raise ConvergenceError(
                f"The run is to be judged by its {SIGNAL_NAMES[signal]}, which was not recorded at every snapshot. "
                "Pass it to each snapshot(…), or name another signal."
            )
        return found

    def labels(self, module: str, signal: Signal) -> ModuleLabels:
        """The labels of one module: of one that was not recorded, those of the recorded one around it, or of the run.

        Raises:
            ConvergenceError: If the recording has no such signal.
            NonFiniteLossError: If the module moved, and a loss is NaN or infinite.
        """
        known = self.drift.keys() | self.changes.keys()
        while module not in known and module:
            module = module.rpartition(".")[0]
        found = self.drift.get(module) if signal == "drift" else None
        found = found or self.primary(signal)
        changes = self.changes.get(module)
        return label_module(
            found.losses, changes, found.config, signal=found.signal, starts_trained=self.starts_trained
        )

    def nearest(self, signal: Signal) -> Signal:
        """A signal, or else the first that the recording has; with none, the signal itself."""
        order: tuple[Signal, ...] = (signal, "train", "val", "drift")
        return next((one for one in order if (self.drift if one == "drift" else getattr(self, one))), signal)

    @property
    def still(self) -> tuple[str, ...]:
        """The modules whose maps never moved, such as those that are not trained."""
        return tuple(m for m, found in self.drift.items() if found.losses.max() <= STILL)

    @property
    def laggards(self) -> tuple[str, ...]:
        """The modules that settle last by their drift, those that have not settled if there are any; of one, none."""
        moved = {m: found.point for m, found in self.drift.items() if m not in self.still}
        if len(moved) < 2:
            return ()
        points = {m: math.inf if point is None else point for m, point in moved.items()}
        return tuple(m for m, point in points.items() if point == max(points.values()))

    def order(self) -> str | None:
        """When each module settled, in a sentence; of one module only whether it moved at all."""
        texts = []
        if self.laggards:
            points = {m: found.point for m, found in self.drift.items() if m not in self.still}
            last = points[self.laggards[0]]
            when = "has not settled" if last is None else f"at snapshot {last}"
            others = [f"{m} at {point}" for m, point in points.items() if m not in self.laggards]
            text = f"Last to settle, by its drift: {', '.join(self.laggards)} ({when})"
            texts.append(f"{text}; {', '.join(others)}." if others else f"{text}.")
        if self.still:
            texts.append(
                f"The maps of {', '.join(self.still)} are the same at every snapshot. Either they are not trained, or "
                "another model is, or all images of the probe are alike."
            )
        return " ".join(texts) or None

    def story(self, module: str) -> str:
        """When a module's weights moved, as the rest of a sentence; empty where that was always, or is not known."""
        changes = self.changes.get(module)
        return "" if changes is None else how_it_moved(*movement(changes), len(changes) - 1)

    def movements(self) -> str | None:
        """Which modules did not move all the time, in a sentence; None where all did, or nothing is known."""
        texts = [f"{module} {story}" for module in self.changes if (story := self.story(module))]
        if not texts:
            return None
        rule = "no label there" if self.starts_trained else "FMCS 0 until its weights move, and its last one after"
        return f"By their weights, {'; '.join(texts)}. Such a module has {rule}."

    @property
    def disagreement(self) -> str | None:
        """A sentence where training and validation loss say different things, or None."""
        return disagreement(self.train, self.val) if self.train is not None and self.val is not None else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "train": None if self.train is None else self.train.to_dict(),
            "val": None if self.val is None else self.val.to_dict(),
            "drift": {module: found.to_dict() for module, found in self.drift.items()},
            "weight_change": {
                module: [None if math.isnan(value) else value for value in values.tolist()]
                for module, values in self.changes.items()
            },
            "starts_trained": self.starts_trained,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Signals:
        """From :meth:`to_dict`, other things in it aside.

        Raises:
            ConvergenceError: If it is something else.
            ConfigError: If constants are outside their ranges.
        """
        try:
            train, val = (
                None if value[name] is None else Convergence.from_dict(value[name]) for name in ("train", "val")
            )
            drift = {str(name): Convergence.from_dict(one) for name, one in value["drift"].items()}
            changes = {str(name): _changes(one) for name, one in value.get("weight_change", {}).items()}
            return cls(train, val, drift, changes, bool(value.get("starts_trained", False)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ConvergenceError(
                f"It does not say what each signal found ({reason}). Record the run again."
            ) from None


def _changes(values: Sequence[float | None]) -> Floats:
    return np.array([math.nan if value is None else float(value) for value in values])


def run_convergence(
    metrics: Sequence[Mapping[str, float]],
    config: ConvergenceConfig,
    *,
    finite: bool = True,
    starts_trained: bool = False,
) -> Signals:
    """Convergence by each signal that is in a run's metrics (name → value, per snapshot).

    With ``finite``, a loss that is NaN or infinite is an error; otherwise the signal's ``problem`` says so.

    Example:
        >>> losses = [{"train_loss": 2.3 * 0.6**t} for t in range(21)]
        >>> found = run_convergence(losses, ConvergenceConfig())
        >>> found.train.point, found.val, found.drift
        (10, None, {})
    """
    losses = {
        name: assess(
            [one[name] for one in metrics], config, signal="train" if name == "train_loss" else "val", finite=finite
        )
        for name in LOSSES
        if metrics and all(name in one for one in metrics)
    }
    names = [name for name in (metrics[-1] if len(metrics) > 1 else {}) if name.startswith(DRIFT)]
    drifts = {
        name.removeprefix(DRIFT): assess(drift_sequence([one[name] for one in metrics[1:]]), config, signal="drift")
        for name in names
        if all(name in one for one in metrics[1:])
    }
    moved = dict.fromkeys(name for one in metrics for name in one if name.startswith(WEIGHTS))
    changes = {name.removeprefix(WEIGHTS): _changes([one.get(name) for one in metrics]) for name in moved}
    return Signals(losses.get("train_loss"), losses.get("val_loss"), drifts, changes, starts_trained)
