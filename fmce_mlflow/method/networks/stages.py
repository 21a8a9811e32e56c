"""Modules of a network by what it consists of, without running it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from fmce_mlflow.errors import BackboneError
from fmce_mlflow.method.networks.capture import HOW_TO_LIST, locate
from fmce_mlflow.method.networks.find_modules import glob
from fmce_mlflow.method.networks.model_forms import bare_name, named_modules, unwrap_with_prefix

FEWEST = 4  # stages with matrices, below which the largest is taken apart


def stages(model: nn.Module) -> tuple[str, ...]:
    """The parts that a network consists of, in the order in which it has them, those without weights left out.

    The network's children; where fewer than :data:`FEWEST` of them have matrices, the one with most layers is replaced
    by its own children, until there are as many or none can be taken apart.

    Example:
        >>> net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1)), nn.Linear(8, 2))
        >>> stages(net)
        ('0.0', '0.2', '1')
    """
    modules = {"": unwrap_with_prefix(model)[0], **named_modules(model)}
    layers = {name: _matrices(module) for name, module in modules.items()}
    found = [""]
    while sum(layers[name] > 0 for name in found) < FEWEST:
        largest = max(found, key=lambda name: layers[name])
        children = [name for name in modules if name and name.rpartition(".")[0] == largest]
        children = [name for name in children if _has_weights(modules[name])]
        if layers[largest] < 2 or not children:
            break
        place = found.index(largest)
        found[place : place + 1] = children
    return tuple(name for name in found if name)


def modules_named(model: nn.Module, wanted: Sequence[str]) -> tuple[str, ...]:
    """Names of modules checked and globs expanded, as ``resolve_modules`` does; a glob takes those with weights.

    Raises:
        BackboneError: A name that the model does not have, or a glob that fits none.

    Example:
        >>> modules_named(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()), ["*", "1"])
        ('0', '1')
    """
    _, prefix = unwrap_with_prefix(model)
    modules = named_modules(model)
    names: list[str] = []
    for name in wanted:
        if "*" not in name:
            locate(modules, bare_name(name, prefix))
            names.append(name)
            continue
        fitting = [module for module in modules if glob(name).fullmatch(module) and _has_weights(modules[module])]
        if not fitting:
            raise BackboneError(f"{name!r} fits no module with weights. {HOW_TO_LIST}")
        names.extend(fitting)
    return tuple(dict.fromkeys(names))


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _matrices(module: nn.Module) -> int:
    return sum(value.dim() > 1 for value in module.parameters())
