"""Look at a network in the middle of its training without its noticing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fmce_mlflow.method.networks.model_forms import unwrap
from fmce_mlflow.method.networks.take_maps import device_of, random_state_kept


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Inside, a network may be called in any mode; afterwards all that its training depends on is what it was.

    That is every random state, buffers also of networks that change them in eval mode, ``requires_grad`` of every
    parameter, and weights that a module's own ``train`` merges and splits again, which rounds. Autocast and inference
    mode of the loop are off meanwhile.

    Example:
        >>> net = nn.BatchNorm2d(3)
        >>> with untouched(net):
        ...     _ = net(torch.rand(2, 3, 4, 4))
        >>> net.num_batches_tracked.item()
        0
    """
    network = unwrap(model)
    learns = [(p, p.requires_grad) for p in network.parameters()]
    try:
        with (
            torch.inference_mode(False),
            torch.autocast(device_of(model).type, enabled=False),
            random_state_kept(model),
            _other_buffers(network),
            _other_weights(network),
        ):
            yield
    finally:
        for parameter, learned in learns:
            if parameter.requires_grad != learned:
                parameter.requires_grad_(learned)


@contextmanager
def _other_buffers(network: nn.Module) -> Iterator[None]:
    """Copies in place of the buffers, so that the backward pass of a step under way finds its own."""
    before = [(module, dict(module._buffers)) for module in network.modules()]
    copies: dict[int, Tensor] = {}
    for module, buffers in before:
        for name, value in buffers.items():
            if value is not None:
                module._buffers[name] = copies.setdefault(id(value), value.detach().clone())
    try:
        yield
    finally:
        for module, buffers in before:
            module._buffers.clear()
            module._buffers.update(buffers)


@contextmanager
def _other_weights(network: nn.Module) -> Iterator[None]:
    """Copies in place of the weights of modules with a ``train`` of their own, which may change them."""
    own = [m for m in network.modules() if type(m).train is not nn.Module.train]
    before = {p: p.data for m in own for p in m.parameters(recurse=False)}
    for parameter, value in before.items():
        parameter.data = value.clone()
    try:
        yield
    finally:
        for parameter, value in before.items():
            parameter.data = value
