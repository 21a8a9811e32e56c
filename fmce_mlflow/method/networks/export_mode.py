"""Whether a network was exported in training mode, which no later ``eval()`` undoes."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

import torch
from torch import nn
from torch._ops import HigherOrderOperator, OpOverload
from torch.fx import Graph, Node


def training_operator(module: nn.Module) -> str | None:
    """The first operator in a module's exported graph that works as in training only; None where there is none.

    PyTorch itself says of an operator whether it is random, writes to an argument, or takes ``training``. So dropout of
    every kind, stochastic depth, normalisation by the batch and updates of buffers are found by what they are.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.RReLU())
        >>> images = torch.zeros(2, 3, 4, 4)
        >>> [training_operator(torch.export.export(net.train(mode), (images,)).module()) for mode in (True, False)]
        ['aten.rrelu.default', None]
    """
    graph = getattr(module, "graph", None)
    if not isinstance(graph, Graph):
        return None
    return next((str(node.target) for node in graph.nodes if _is_random(node) or _uses_batch(node)), None) or next(
        _writes(module, graph, set()), None
    )


def _is_random(node: Node) -> bool:
    given = _arguments(node)
    seeded = bool(given) and torch.Tag.nondeterministic_seeded in node.target.tags  # type: ignore[union-attr]
    switched_off = any(given.get(name) is False for name in ("train", "training"))
    return seeded and not switched_off and not any(given.get(name) == 0 for name in ("p", "dropout", "dropout_p"))


def _uses_batch(node: Node) -> bool:
    """Whether a norm that has statistics takes those of the batch instead."""
    given = _arguments(node)
    if given.get("running_mean") is None:
        return False
    return bool(given.get("training") or given.get("use_input_stats")) or "with_update" in str(node.target)


def _writes(module: nn.Module, graph: Graph, inputs: Set[int]) -> Iterator[str]:
    """Operators that change a floating-point buffer; ``inputs`` of the graph with these numbers are buffers."""
    parts, buffers = dict(module.named_modules()), dict(module.named_buffers())
    floating = {name for name, buffer in buffers.items() if buffer.is_floating_point()}
    kept = {node for node in graph.nodes if node.op == "get_attr" and node.target in floating}
    kept |= {node for i, node in enumerate(graph.find_nodes(op="placeholder")) if i in inputs}
    for node in graph.nodes:
        if isinstance(node.target, HigherOrderOperator):  # calls graphs of its own, as of a part under no_grad
            operands = _operands(node.args)
            inner = [parts.get(str(one.target)) for one in operands if one.op == "get_attr"]
            for part in inner:
                if isinstance(part, torch.fx.GraphModule):
                    given = operands[-len(part.graph.find_nodes(op="placeholder")) :]
                    yield from _writes(part, part.graph, {i for i, value in enumerate(given) if value in kept})
        elif isinstance(node.target, OpOverload):
            given_by_name = _arguments(node)
            written = [one.name for one in node.target._schema.arguments if one.alias_info and one.alias_info.is_write]
            if any(isinstance(value := given_by_name[name], Node) and value in kept for name in written):
                yield str(node.target)


def _operands(args: Any) -> list[Node]:
    """The nodes among an operator's arguments, in order."""
    if isinstance(args, Node):
        return [args]
    return [node for one in args for node in _operands(one)] if isinstance(args, (tuple, list)) else []


def _arguments(node: Node) -> dict[str, Any]:
    """What an operator is called with, by name, defaults included; nothing for what is no operator of PyTorch."""
    if not isinstance(node.target, OpOverload):
        return {}
    named = [one.name for one in node.target._schema.arguments]
    defaults = {one.name: one.default_value for one in node.target._schema.arguments if one.has_default_value()}
    return dict.fromkeys(named) | defaults | dict(zip(named, node.args, strict=False)) | node.kwargs
