"""A recorder's answers to a training that asks what it may do by now, the same ones in each of its processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

from fmce_mlflow.errors import FmceError, ModelError
from fmce_mlflow.method.convergence.config import Signal
from fmce_mlflow.method.networks.batches import placed
from fmce_mlflow.method.networks.call_order import in_order
from fmce_mlflow.method.networks.freeze import Frozen
from fmce_mlflow.method.networks.layout import TokenGrid
from fmce_mlflow.method.networks.model_forms import call_of, unwrap
from fmce_mlflow.method.networks.untouched import untouched
from fmce_mlflow.method.networks.upstream import Upstream, upstream
from fmce_mlflow.recording.decisions import Decisions
from fmce_mlflow.recording.probe import ProbeImages
from fmce_mlflow.recording.record import Record

T = TypeVar("T")
Parts = Sequence[tuple[str, Upstream]]
"""Modules, and what their maps are computed from."""


class Freezing:
    """The modules of a model that are held still.

    Args:
        model: The network as it is trained, in its wrappers.
        look: Finds what the maps of modules are computed from, in their order from the input on, and the output, "".
    """

    def __init__(self, model: nn.Module, look: Callable[[], Mapping[str, Upstream]] = dict) -> None:
        self._held, self._look = Frozen(model), look
        self._known: Mapping[str, Upstream] = {}

    @property
    def known(self) -> Mapping[str, Upstream]:
        """What maps are computed from, by module, from the input on; looked up once."""
        self._known = self._known or self._look()
        return self._known

    def parts_of(self, names: Sequence[str]) -> Parts:
        """Those of some modules, in order, after which something is left to train."""
        found: list[tuple[str, Upstream]] = []
        for name in names:
            more = (name, self.known[name])
            if not self._held.leaves_any([part for _, part in (*found, more)], self.known[""]):
                break
            found.append(more)
        return found

    def freeze(self, parts: Parts) -> None:
        """Hold modules still from here on.

        Raises:
            ModelError: A model in a wrapper that counts on all gradients.
        """
        for _, one in parts:
            self._held.freeze(one)

    def release(self) -> None:
        """Let the model be saved without this package; parameters stay without gradients."""
        self._held.release()


class Deciding:
    """What a training may do by now, judged from the snapshots so far.

    In a distributed training each process has to ask, and each gets the first one's answer.
    """

    record: Record
    freezing: Freezing
    decisions: Decisions | None = None  # none where nothing is recorded

    def converged(self, module: str | None = None, *, by: Signal | None = None) -> bool:
        """Whether a module, or the network, has converged by now.

        It has where CQI, over the range so far, was below μ at the last ``patience`` + 1 snapshots. After a loss that
        is not finite, or where a snapshot lacks it, the answer is no.

        Args:
            module: One of ``modules``; None: the whole network.
            by: ``drift``, the module's or else that of all; ``train`` or ``val``, a loss, which is the whole network's;
                None: the drift of a named module, the network by the recorder's signal. Of the validation loss it
                counts whether its least value still falls.

        Raises:
            BackboneError: If that module is not recorded.
            ConfigError: If the signal is unknown.
        """

        def find() -> bool:
            return self.decisions is not None and self.decisions.converged(self.record, module, by)

        return shared(find)

    @property
    def should_stop(self) -> bool:
        """Whether the network has converged by now by the recorder's signal; by drift, all of its modules."""
        return self.converged()

    @property
    def frozen(self) -> tuple[str, ...]:
        """Modules that were frozen so far, in order."""
        return tuple(self.record.frozen)

    def freeze_converged(self) -> tuple[str, ...]:
        """Freeze what has converged by its drift, from the input on, with all that it is computed from.

        A module is frozen only after those before it. Its weights and running statistics then stay as they are to the
        bit, backward ends there, and nothing is ever unfrozen. What would leave nothing to train is not frozen. Norm
        layers follow ``train()`` again once the recording has ended; ``requires_grad`` stays off.

        Returns:
            The modules that are frozen from now on and were not before.

        Raises:
            ModelError: If the model is in a wrapper that waits for all gradients.
        """
        parts, now = shared(self._due)
        self.freezing.freeze(parts)
        self.record.frozen |= {name: now for name, _ in parts}
        return tuple(name for name, _ in parts)

    def frozen_parts(self) -> Parts:
        """What the record says is frozen, for a training that goes on."""
        return [(name, self.freezing.known[name]) for name in self.record.frozen]

    def _due(self) -> tuple[Parts, int]:
        now = len(self.record.metrics) - 1
        if self.decisions is None or not self.decisions.any(self.record):
            return (), now
        order = [name for name in self.freezing.known if name]
        return self.freezing.parts_of(self.decisions.due(self.record, order)), now


def look(
    model: nn.Module, modules: Sequence[str], probe: ProbeImages, token_grid: TokenGrid | None
) -> dict[str, Upstream]:
    """What the maps of modules are computed from, in the order in which the probe's forward calls these."""
    call = call_of(probe.forward)
    with untouched(model), torch.no_grad():
        batch = placed(unwrap(model), probe.example)
        names = in_order(model, modules, example=batch, call=call)
        return upstream(model, names, batch, token_grid=token_grid, call=call)


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
        except Exception as error:  # the others wait for an answer all the same
            box = [ModelError(f"{type(error).__name__}: {error!s:.400}")]
    dist.broadcast_object_list(box, src=0)
    if isinstance(box[0], FmceError):
        raise box[0]
    return box[0]  # type: ignore[return-value]
