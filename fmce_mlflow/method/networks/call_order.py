"""Where modules stand in a network: the order in which it calls them, which have weights, which share a name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from fmce_mlflow.method.networks.model_forms import Call, bare_name, named_modules, probing, run, unwrap_with_prefix


def in_order(model: nn.Module, names: Sequence[str], *, example: Any, call: Call = run) -> tuple[str, ...]:
    """Modules, or outputs of them, in the order in which their first calls end; those that are not called come last.

    Args:
        model: In any form.
        names: Dotted names.
        example: Images for one forward pass, as the network takes them.
        call: Calls the network, unwrapped, with the example.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()))
        >>> in_order(net, ["1", "1.1", "0"], example=torch.zeros(1, 3, 4, 4))
        ('0', '1.1', '1')
    """
    network, found = heads(model, names)
    ended: list[nn.Module] = []

    def hook(module: nn.Module, _args: Any, _output: Any) -> None:
        ended.append(module)

    with torch.no_grad(), probing(network), ExitStack() as hooks:
        for module in {id(one): one for one in found.values()}.values():
            hooks.callback(module.register_forward_hook(hook).remove)
        call(network, example)
    places = {id(module): place for place, module in reversed(list(enumerate(ended)))}
    return tuple(sorted(names, key=lambda name: places.get(id(found[name]), len(ended))))


def weightless(model: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """Those modules, or outputs of modules, that have no weights: pools, activations, identities.

    Example:
        >>> weightless(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.MaxPool2d(2)), ["0", "1", "2"])
        ('1', '2')
    """
    _, found = heads(model, names)
    return tuple(name for name in names if next(found[name].parameters(), None) is None)


def namesakes(model: nn.Module, asked: Sequence[str], found: Iterable[str]) -> list[str]:
    """What the user is to be told of maps that have the name of a module, and are of an output or a call of another.

    Args:
        model: In any form.
        asked: Modules as they were asked for.
        found: Names of the maps.

    Example:
        >>> net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1)))
        >>> print(*namesakes(net, ["0"], ["0.0", "0.1"]))
        0.0 is an output or a call of 0 here; where 0.0 is asked for itself, it is the module of that name.
    """
    network, prefix = unwrap_with_prefix(model)
    modules = named_modules(network)
    return [
        f"{name} is an output or a call of {name.rpartition('.')[0]} here; where {name} is asked for itself, it is the "
        "module of that name."
        for name in found
        if name not in asked and bare_name(name, prefix) in modules
    ]


def heads(model: nn.Module, names: Sequence[str]) -> tuple[nn.Module, dict[str, nn.Module]]:
    """The bare network, and by name the module that it is, or is an output of."""
    network, prefix = unwrap_with_prefix(model)
    modules = {"": network, **named_modules(network)}
    found = {}
    for name in names:
        head = bare_name(name, prefix)
        while head not in modules:
            head = head.rpartition(".")[0]
        found[name] = modules[head]
    return network, found
