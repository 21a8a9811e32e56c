"""What the snapshots so far decide: whether a training may stop, and which modules it may freeze."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fmce_mlflow.errors import BackboneError, ConfigError
from fmce_mlflow.method.convergence.causal import converged_by_now
from fmce_mlflow.method.convergence.config import SIGNAL_NAMES, ConvergenceConfig, Signal
from fmce_mlflow.recording.signals import DRIFT, STILL
from fmce_mlflow.wording import did_you_mean

Metrics = Sequence[Mapping[str, float]]


class Measured(Protocol):
    """What was measured so far: the metrics of each snapshot from 0 on, and the modules that were frozen."""

    @property
    def metrics(self) -> Metrics:
        """Name → value, per snapshot."""

    @property
    def frozen(self) -> Mapping[str, int]:
        """The snapshot after which, by module."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What the metrics of the snapshots so far decide.

    Attributes:
        convergence: The constants; the rule and the levels are not used.
        patience: How many snapshots must confirm the first one that looks converged.
        signal: What stops a training.
        modules: Those that are recorded.
    """

    convergence: ConvergenceConfig
    patience: int
    signal: Signal
    modules: Sequence[str]

    def converged(self, record: Measured, module: str | None = None, by: Signal | None = None) -> bool:
        """Whether a module has converged by its drift, all have, or the network has by a loss.

        Raises:
            BackboneError: A module that is not recorded.
            ConfigError: An unknown signal.
        """
        by = by or (self.signal if module is None else "drift")
        if by not in SIGNAL_NAMES:
            raise ConfigError([f"by must be one of {', '.join(SIGNAL_NAMES)}, got {by!r}"])
        if module is not None and module not in self.modules:
            listed = f"Recorded are {', '.join(self.modules)}."
            raise BackboneError(
                f"There is no module {module!r}.{did_you_mean(module, self.modules, how_to_list=listed)}"
            )
        if by != "drift":
            return self._by_loss(record.metrics, by)
        return self._by_drift(record.metrics, module) if module is not None else self._all(record)

    def any(self, record: Measured) -> bool:
        """Whether a module that is not frozen has converged."""
        return any(self._by_drift(record.metrics, name) for name in self.modules if name not in record.frozen)

    def due(self, record: Measured, order: Sequence[str]) -> list[str]:
        """The modules to freeze now: from the input on, up to the first one that has not converged."""
        found = []
        for name in order:
            if name in record.frozen or is_still(record.metrics, name):
                continue
            if not self._by_drift(record.metrics, name):
                break
            found.append(name)
        return found

    def _all(self, record: Measured) -> bool:
        """Whether each module has converged, is frozen, or never moved; not where none ever did."""
        moving = [name for name in self.modules if name in record.frozen or not is_still(record.metrics, name)]
        return bool(moving) and all(name in record.frozen or self._by_drift(record.metrics, name) for name in moving)

    def _by_loss(self, metrics: Metrics, signal: Signal) -> bool:
        """A loss that the untrained network alone lacks begins with its second value.

        Of the validation loss the least so far counts: that of a training that overfits rises, and nothing is gained.
        """
        name = f"{signal}_loss"
        values = [one.get(name, float("nan")) for one in metrics]
        if len(values) > 1 and name not in metrics[0]:
            values[0] = values[1]
        return self._of(np.minimum.accumulate(values).tolist() if signal == "val" else values)

    def _by_drift(self, metrics: Metrics, name: str) -> bool:
        drifts = _drifts(metrics, name)
        return self._of([*drifts[:1], *drifts])

    def _of(self, values: Sequence[float]) -> bool:
        return converged_by_now(values, self.convergence, patience=self.patience)


def is_still(metrics: Metrics, name: str) -> bool:
    """Whether a module's maps have not changed since the first snapshot."""
    drifts = _drifts(metrics, name)
    return bool(drifts) and max(drifts) <= STILL


def _drifts(metrics: Metrics, name: str) -> list[float]:
    return [one.get(f"{DRIFT}{name}", float("nan")) for one in metrics[1:]]
