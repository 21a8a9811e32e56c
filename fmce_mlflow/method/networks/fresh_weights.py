"""A network as it was before it was trained: the same architecture with fresh weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from zlib import crc32

import torch
from torch import Tensor, nn

from fmce_mlflow.method.networks.model_forms import unwrap


def reinitialised(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """A copy of a network with new random weights.

    A module that has ``reset_parameters`` gets its own initial values. Parameters of others, as all of an exported
    network, get PyTorch's defaults for the layers that their shapes and names point to. What is drawn depends on the
    seed and the module's name alone, so that a network has the same fresh weights in every form.

    ====================================== ==========================================================
    parameter                              value
    ====================================== ==========================================================
    class and other tokens, positions      normal, deviation 0.02: names with ``token``, ``pos_embed``,
                                           ``position`` …, or a leading dimension of 1 and at most
                                           three of them
    other weights of two and more          Kaiming uniform with a = √5
    dimensions
    bias beside such a ``weight``          uniform, as PyTorch's linear and convolutional layers
    others of one dimension                0 where the name ends in ``bias``, else 1
    running mean, running variance         0, 1
    ====================================== ==========================================================

    Weights that are shared stay shared. Buffers that are no statistics, such as a grid of positions, stay as they are;
    the given network is left alone, and so is PyTorch's random state.

    Args:
        model: An eager network or one from ``load_exported``, also wrapped.
        seed: Of the new weights.

    Returns:
        The copy, on the same device, in eval mode.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        >>> one, two = reinitialised(net, seed=1), reinitialised(net, seed=1)
        >>> torch.equal(one[0].weight, two[0].weight), torch.equal(one[0].weight, net[0].weight)
        (True, False)
    """
    made = _copied(unwrap(model))
    done: set[int] = set()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for name, module in made.named_modules():
            own = dict(module.named_parameters(recurse=False))
            torch.manual_seed(crc32(f"{seed} {name}".encode()))
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                _reset(module, reset)
            else:
                for last, parameter in own.items():
                    if id(parameter) not in done:
                        parameter.copy_(_fresh(last.lower(), parameter, own.get("weight")))
            done |= {id(parameter) for parameter in own.values()}
        for name, buffer in made.named_buffers():
            if name.endswith("running_mean") or name.endswith("num_batches_tracked"):
                buffer.zero_()
            elif name.endswith("running_var"):
                buffer.fill_(1)
    return made.eval()


def _copied(model: nn.Module) -> nn.Module:
    """A deep copy; what an exported network's graph says of itself holds fake tensors, which cannot be copied."""
    said = [(node, dict(node.meta)) for node in _nodes(model)]
    try:
        for node, _ in said:
            node.meta.clear()
        made = copy.deepcopy(model)
    finally:
        for node, meta in said:
            node.meta.update(meta)
    for node, (_, meta) in zip(_nodes(made), said, strict=True):
        node.meta.update(meta)
    return made


def _nodes(model: nn.Module) -> list[torch.fx.Node]:
    graphs = (getattr(module, "graph", None) for module in model.modules())
    return [node for graph in graphs if isinstance(graph, torch.fx.Graph) for node in graph.nodes]


def _reset(module: nn.Module, reset: Callable[[], object]) -> None:
    """Call ``reset_parameters`` on float32 values on the CPU, so that dtype and device do not change what is drawn."""
    own = dict(module.named_parameters(recurse=False))
    kept = {name: parameter.data for name, parameter in own.items()}
    for parameter in own.values():
        if parameter.is_floating_point():
            parameter.data = torch.empty(parameter.shape, dtype=torch.float32)
    try:
        reset()
    finally:
        for name, parameter in own.items():
            value, before = parameter.data, kept[name]
            parameter.data = before
            if parameter.is_floating_point():
                before.copy_(value)


def _fresh(name: str, parameter: Tensor, weight: Tensor | None) -> Tensor:
    """Initial values of a parameter by its own name, its shape and its module's weight, on the CPU."""
    if not parameter.is_floating_point():
        return parameter.detach().cpu()
    shape = parameter.shape
    if _is_token(name, parameter):
        return torch.randn(shape) * 0.02
    if len(shape) >= 2:
        value = torch.empty(shape)
        nn.init.kaiming_uniform_(value, a=math.sqrt(5))
        return value
    if name == "bias" and weight is not None and weight.dim() >= 2 and weight[0].numel():
        bound = 1 / math.sqrt(weight[0].numel())
        return torch.empty(shape).uniform_(-bound, bound)
    return torch.zeros(shape) if name.endswith("bias") else torch.ones(shape)


def _is_token(last: str, parameter: Tensor) -> bool:
    if any(word in last for word in ("token", "pos_embed", "position", "relative_")):
        return True
    return 1 < parameter.dim() <= 3 and parameter.shape[0] == 1 and "weight" not in last
