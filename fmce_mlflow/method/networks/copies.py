"""A network as an evaluation may use it: alone, on the device that was asked for, and without moving the user's."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from fmce_mlflow.errors import ConfigError, ModelError
from fmce_mlflow.method.networks.model_forms import unwrap

_locks: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_lock = Lock()


@contextmanager
def borrowed(network: nn.Module, device: str | None = None) -> Iterator[nn.Module]:
    """A network for one thread at a time, since hooks and modes are set on it; a copy, if it is on another device.

    Raises:
        ConfigError: A device that cannot be used.
        ModelError: A network whose weights are on no device yet.

    Example:
        >>> net = nn.Linear(3, 2)
        >>> with borrowed(net) as same:
        ...     same is net
        True
    """
    if any(value.is_meta for value in (*network.parameters(), *network.buffers())):
        raise ModelError(
            "The model has weights on the device meta, which keeps no values. Load its weights before it is logged."
        )
    with _lock:
        own = _locks.setdefault(unwrap(network), RLock())
    with own:
        yield network if device is None else _on(network, device)


def copied(model: nn.Module) -> nn.Module:
    """A deep copy of a network; what an exported one knows of its graph, which holds no weights, is shared."""
    memo: dict[int, Any] = {}
    common = vars(nn.Module())
    for module in model.modules():
        if type(module).__module__ == "torch.export.unflatten":  # fake tensors and graphs in it cannot be copied
            memo |= {id(value): value for name, value in vars(module).items() if name not in common}
        computed = [value for value in vars(module).values() if isinstance(value, Tensor) and not value.is_leaf]
        memo |= {id(value): value.detach().clone() for value in computed}  # as by the hook of spectral norm
    return copy.deepcopy(model, memo)


def _on(network: nn.Module, device: str) -> nn.Module:
    """The network if it is on a device, else a copy of it there."""
    try:
        place = torch.device(device)
        if place.type == "meta":
            raise RuntimeError("it keeps no values")
        there = torch.empty(0, device=place).device
        if all(value.device == there for value in (*network.parameters(), *network.buffers())):
            return network
        return copied(network).to(there)
    except Exception as error:  # each kind of device has errors of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"device {device!r} cannot be used: {reason}") from error
