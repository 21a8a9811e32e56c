"""What a training may do by now: stop, and freeze modules that have converged. From the snapshots so far alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch.distributed as dist
from torch import nn

from fmce_mlflow.errors import BackboneError, ConfigError, FmceError
from fmce_mlflow.method.convergence.causal import converged_by_now
from fmce_mlflow.method.convergence.config import SIGNAL_NAMES, ConvergenceConfig, Signal
from fmce_mlflow.method.networks.freeze import Frozen
from fmce_mlflow.method.networks.upstream import Upstream
from fmce_mlflow.recording.record import Record
from fmce_mlflow.recording.signals import DRIFT
from fmce_mlflow.wording import did_you_mean

T = TypeVar("T")
STILL = 1e-9
"""The maps of a module whose drift never exceeds this do not change: whoever trains has frozen it."""

Metrics = Sequence[Mapping[str, float]]
Parts = Sequence[tuple[str, Upstream]]
"""Modules, and what their maps are computed from."""


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

    def converged(self, record: Record, module: str | None = None, by: Signal | None = None) -> bool:
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
            return self._by_loss(record.metrics, f"{by}_loss")
        return self._by_drift(record.metrics, module) if module is not None else self._all(record)

    def due(self, record: Record, order: Sequence[str]) -> list[str]:
        """The modules to freeze now: from the input on, up to the first one that has not converged."""
        found = []
        for name in order:
            if name in record.frozen or is_still(record.metrics, name):
                continue
            if not self._by_drift(record.metrics, name):
                break
            found.append(name)
        return found

    def _all(self, record: Record) -> bool:
        """Whether each module has converged, is frozen, or never moved; not where none ever did."""
        moving = [name for name in self.modules if name in record.frozen or not is_still(record.metrics, name)]
        return bool(moving) and all(name in record.frozen or self._by_drift(record.metrics, name) for name in moving)

    def _by_loss(self, metrics: Metrics, name: str) -> bool:
        """A loss that the untrained network alone lacks begins with its second value."""
        values = [one.get(name, float("nan")) for one in metrics]
        if len(values) > 1 and name not in metrics[0]:
            values[0] = values[1]
        return self._of(values)

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


class Freezing:
    """The modules of a model that are held still, the same ones in every process of a group.

    Args:
        model: The network as it is trained, in its wrappers.
        look: In the process that records: finds what the maps of modules are computed from, in the order in which they
            are, from the input on.
        say: Tells the user why a module is not frozen.
    """

    def __init__(
        self, model: nn.Module, look: Callable[[], Mapping[str, Upstream]], say: Callable[[str], None]
    ) -> None:
        self._held, self._look, self._say = Frozen(model), look, say
        self._known: Mapping[str, Upstream] = {}

    def known(self) -> Mapping[str, Upstream]:
        """What maps are computed from, by module, from the input on; looked up once."""
        self._known = self._known or self._look()
        return self._known

    def parts_of(self, names: Sequence[str]) -> Parts:
        """Those of some modules that can be frozen with something left to train."""
        found = []
        for name in names:
            parts = self.known()[name]
            if not self._held.leaves_any(parts):
                self._say(f"{name} has converged and is not frozen, because nothing would be left to train.")
                break
            found.append((name, parts))
        return found

    def freeze(self, parts: Parts) -> tuple[str, ...]:
        """Hold modules still from here on, and say which.

        Raises:
            ModelError: A model in a wrapper that counts on all gradients.
        """
        for _, upstream in parts:
            self._held.freeze(upstream)
        return tuple(name for name, _ in parts)

    def release(self) -> None:
        """Let the model be saved without this package; parameters stay without gradients."""
        self._held.release()


def shared(find: Callable[[], T]) -> T:
    """What the first process of a group finds or fails with, in each of them; all have to ask."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return find()
    box: list[T | FmceError | None] = [None]
    if dist.get_rank() == 0:
        try:
            box = [find()]
        except FmceError as error:
            box = [error]
    dist.broadcast_object_list(box, src=0)
    if isinstance(box[0], FmceError):
        raise box[0]
    return box[0]  # type: ignore[return-value]
