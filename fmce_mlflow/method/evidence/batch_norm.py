"""BatchNorm made to normalise by its batch in eval mode, whatever has it: a layer of any class or an exported graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode


class _Moments:
    """Mean and variance of values that come in batches (float64, or float32 where a device has no more)."""

    def __init__(self, like: Tensor) -> None:
        dtype = torch.float32 if like.device.type == "mps" else torch.float64
        self.mean = torch.zeros_like(like, dtype=dtype)  # (C,)
        self.variance = torch.zeros_like(self.mean)  # biased
        self.images, self.values = 0, 0  # values of each channel

    def add(self, mean: Tensor, variance: Tensor, images: int, values: int) -> None:
        """Pool with what came before, each image counting the same."""
        self.images += images
        self.values += values
        share = images / self.images
        apart = mean.to(self.mean.dtype) - self.mean
        self.mean += share * apart
        self.variance += share * (variance.to(self.mean.dtype) - self.variance) + share * (1 - share) * apart.square()


class Settling(TorchDispatchMode):
    """Has each BatchNorm with running statistics normalise by its batch, and keeps the batch's moments.

    A mode sees the operators under any class of layer and in exported graphs.
    """

    supports_higher_order_operators = True  # parts of an exported model under no_grad or autocast

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._buffers = {id(value): value for value in network.buffers()}
        self.found: dict[int, tuple[Tensor, Tensor]] = {}  # running mean and variance, by the identity of the mean
        self._moments: dict[int, list[_Moments]] = defaultdict(list)  # one for each call of a pass
        self._calls: dict[int, int] = defaultdict(int)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator; one that normalises by statistics of the network, by those of the batch."""
        given = _normalises(func, args, kwargs or {})
        if given is None or not all(id(given[name]) in self._buffers for name in ("running_mean", "running_var")):
            return func(*args, **(kwargs or {}))
        normalised = self._taken(given)
        if normalised is None:
            return func(**given)
        others = [normalised.new_empty(0) for _ in func._schema.returns[1:]]  # as in eval mode
        return (normalised, *others) if others else normalised

    def _taken(self, given: Mapping[str, Any]) -> Tensor | None:
        """Note the moments of a batch (b, C, ...), and normalise by them; None where it has none."""
        value, mean, variance = given["input"], given["running_mean"], given["running_var"]
        key, images, values = id(mean), len(value), value.numel() // max(1, len(mean))
        if not values:
            return None
        self.found[key] = mean, variance
        number, self._calls[key] = self._calls[key], self._calls[key] + 1
        if number == len(self._moments[key]):
            self._moments[key].append(_Moments(mean))
        of_call = self._moments[key][number]
        if values == 1:  # the batch has no variance; with other batches there is one
            of_call.add(value.reshape(mean.shape), torch.zeros_like(variance), images, values)
            return None
        batch_mean, unbiased = torch.zeros_like(mean), torch.ones_like(variance)
        found = F.batch_norm(
            value, batch_mean, unbiased, given.get("weight"), given.get("bias"), True, 1.0, given["eps"]
        )
        of_call.add(batch_mean, unbiased * ((values - 1) / values), images, values)
        return found

    def next_pass(self) -> None:
        """Another batch begins: each layer's next call is its first."""
        self._calls.clear()

    def write(self) -> bool:
        """Give the layers that were seen their new statistics; whether there was one."""
        wrote = False
        for key, (mean, variance) in self.found.items():
            calls = [one for one in self._moments[key] if one.values > 1]
            if calls:
                images = sum(one.images for one in calls)
                shares = [(one.images / images, one) for one in calls]
                unbiased = [share * one.variance * (one.values / (one.values - 1)) for share, one in shares]
                mean.copy_(torch.stack([share * one.mean for share, one in shares]).sum(0))
                variance.copy_(torch.stack(unbiased).sum(0))
                wrote = True
        return wrote


def _normalises(func: Any, args: Any, kwargs: Any) -> dict[str, Any] | None:
    """The arguments by name of an operator that normalises by given statistics; None of any other."""
    schema = getattr(func, "_schema", None)
    if schema is None or "batch_norm" not in schema.name or "with_update" in schema.name:
        return None
    names = [one.name for one in schema.arguments]
    if "running_var" not in names or "eps" not in names:
        return None
    given = dict(zip(names, args, strict=False)) | kwargs
    return None if given["running_mean"] is None or given.get("training") else given
