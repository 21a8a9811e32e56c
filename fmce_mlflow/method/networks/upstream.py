"""What the feature map of a module is computed from: the parameters and buffers before it, from the input on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fmce_mlflow.method.networks.capture import capture, parts
from fmce_mlflow.method.networks.layout import TokenGrid
from fmce_mlflow.method.networks.model_forms import Call, run, unwrap


class Upstream(NamedTuple):
    """Names in the unwrapped network, so that another process with the same network can find the same."""

    parameters: tuple[str, ...]
    buffers: tuple[str, ...]


def upstream(
    model: nn.Module,
    modules: Sequence[str],
    example: Any,
    *,
    token_grid: TokenGrid | None = None,
    call: Call = run,
) -> dict[str, Upstream]:
    """What the maps of modules are computed from.

    One forward pass in eval mode is watched operator by operator, with and without gradients alike. So branches that do
    not lead to a map are not before it, weights that are computed (``weight_norm``) lead to those that they are
    computed from, and what two parts share is before both.

    Args:
        model: In any form.
        modules: As :func:`~fmce_mlflow.method.networks.capture.capture` names them.
        example: Input of one forward pass.
        token_grid: As for :func:`~fmce_mlflow.method.networks.capture.capture`.
        call: Calls the network, unwrapped, with the example.

    Returns:
        By map, in the order of ``modules``, and at last, by the name "", of the network's output.

    Raises:
        BackboneError: A name that the model does not have.
        CaptureError: A module without a feature map.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1))
        >>> found = upstream(net, ["1"], torch.zeros(2, 3, 4, 4))["1"]
        >>> found.parameters
        ('0.weight', '0.bias', '1.weight', '1.bias')
        >>> found.buffers
        ('1.running_mean', '1.running_var')
    """
    network = unwrap(model)
    parameters, buffers = dict(network.named_parameters()), dict(network.named_buffers())
    masks: dict[str, int]
    with (
        capture(model, modules, token_grid=token_grid, call=call) as forward,
        _Sources([*parameters.values(), *buffers.values()]) as sources,
    ):
        output, maps = forward(example)
        masks = {name: sources.of(value) for name, value in maps.items()}
        masks[""] = reduce(or_, (sources.of(value) for _, value in parts(output)), 0)
    return {
        name: Upstream(_chosen(parameters, mask), _chosen(buffers, mask >> len(parameters)))
        for name, mask in masks.items()
    }


def _chosen(named: Mapping[str, Tensor], mask: int) -> tuple[str, ...]:
    return tuple(name for place, name in enumerate(named) if mask >> place & 1)


class _Sources(TorchDispatchMode):
    """Keeps for each piece of memory, as bits of a number, the tensors that went into what stands in it."""

    supports_higher_order_operators = True

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._masks: dict[Any, int] = {}
        for place, tensor in enumerate(tensors):
            self._masks[_memory(tensor)] = self.of(tensor) | 1 << place

    def of(self, tensor: Tensor) -> int:
        """What a tensor is made of."""
        return self._masks.get(_memory(tensor), 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator; what it returns, or writes to, is made of all that it was given."""
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        mask = 0
        for tensor in given:
            mask |= self.of(tensor)
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._masks[_memory(tensor)] = mask
        return result


def _memory(tensor: Tensor) -> Any:
    """The memory that a tensor shares with its views; held weakly, so that no other gets its name meanwhile."""
    return StorageWeakRef(tensor.untyped_storage())
