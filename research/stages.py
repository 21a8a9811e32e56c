"""The stages of any classification network: up to four modules along its main path, the last its last feature stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fmce_mlflow.method.networks.find_modules import default_module

MOST = 4
_NEVER = 10**9


@dataclass(frozen=True)
class Calls:
    """A forward pass: where in it each module's only call ended, and which of them gave a map."""

    ended: Mapping[str, int]
    mapped: frozenset[str]

    def place(self, name: str) -> int:
        """Where a module's weights are used: its call, or that of the module above it, which uses them itself."""
        while name not in self.ended and name:
            name = name.rpartition(".")[0]
        return self.ended.get(name, _NEVER)


def watch(network: nn.Module, pixels: Tensor) -> Calls:
    """Run a network once in eval mode, and see which modules end in which order."""
    ended: list[tuple[str, bool]] = []

    def hook(name: str):
        def see(_module: nn.Module, _inputs: object, output: object) -> None:
            ended.append((name, isinstance(output, Tensor) and output.dim() in (3, 4)))

        return see

    modes = [(module, module.training) for module in network.modules()]
    with ExitStack() as hooks, torch.no_grad():
        for name, module in network.named_modules():
            hooks.callback(module.register_forward_hook(hook(name)).remove)
        network.eval()(pixels)
    for module, mode in modes:
        module.training = mode
    names = [name for name, _ in ended]
    return Calls(
        {name: place for place, (name, _) in enumerate(ended)},
        frozenset(name for name, has_map in ended if has_map and names.count(name) == 1),
    )


def stages(network: nn.Module, pixels: Tensor, most: int = MOST) -> tuple[str, ...]:
    """Up to ``most`` modules in the order of the network, spread over its depth; the last is its last feature stage.

    They are the children of the network that are called one after another; where these are too few, the largest of
    them is taken apart until there are enough: that with the most layers.

    >>> from torchvision.models import resnet18
    >>> stages(resnet18(), torch.zeros(2, 3, 32, 32))
    ('layer1', 'layer2', 'layer3', 'layer4')
    """
    last = default_module(network, pixels)
    calls = watch(network, pixels)
    end = calls.ended[last]
    weights = sorted(calls.place(name) for name, module in network.named_modules() if _has_matrix(module))
    found = [name for name, _ in network.named_children()]
    while True:
        apart = [
            name for name in found if name not in calls.ended or (f"{last}.".startswith(f"{name}.") and name != last)
        ]
        if not apart:
            chosen = _cuts(found, network, calls, end, weights)
            whole = [name for name in found if calls.ended[name] <= end and _parts(network, name) > 1]
            if len(chosen) >= most - 1 or not whole:
                break
            apart = [max(whole, key=lambda name: sum(map(_has_matrix, network.get_submodule(name).modules())))]
        at = found.index(apart[0])
        found[at : at + 1] = [f"{apart[0]}.{child}" for child, _ in network.get_submodule(apart[0]).named_children()]
    depth = {name: sum(place <= calls.ended[name] for place in weights) for name in chosen}
    total = sum(place <= end for place in weights)
    share = total / most

    def far(name: str, number: int) -> float:
        """From where a cut should be; a single layer, as the last of the stem, is no stage where there are others."""
        single = next(network.get_submodule(name).children(), None) is None
        return abs(depth[name] - number * share) + share * single

    picked: list[str] = []
    for number in range(1, most):
        left = [name for name in chosen if name not in picked]
        if left:
            picked.append(min(left, key=lambda name: far(name, number)))
    return (*sorted(picked, key=calls.ended.__getitem__), last)


def members(network: nn.Module, names: Iterable[str], calls: Calls) -> list[list[str]]:
    """For each of some stages in order, the modules whose own weights are used after the stage before it, up to it."""
    found, start = [], -1
    own = {name: calls.place(name) for name, module in network.named_modules() if _has_state(module)}
    for name in names:
        end = calls.ended[name]
        found.append([one for one, place in own.items() if start < place <= end])
        start = end
    return found


def after(network: nn.Module, last: str, calls: Calls) -> list[str]:
    """Modules whose own weights are used after the last stage alone: the head."""
    above = [last.rsplit(".", number)[0] for number in range(last.count(".") + 1)]
    owners = (name for name, module in network.named_modules() if _has_state(module))
    return [name for name in owners if calls.place(name) > calls.ended[last] and name not in ("", *above)]


def _cuts(found: list[str], network: nn.Module, calls: Calls, end: int, weights: list[int]) -> list[str]:
    """Those that may be stages: they have weights and a map, and weights come between each and the next and the end."""
    usable = [
        name for name in found
        if name in calls.mapped and calls.ended[name] < end and _size(network, name)
    ]  # fmt: skip
    ends = [*sorted(calls.ended[name] for name in usable), end]
    return [
        name
        for name in usable
        if any(calls.ended[name] < place <= ends[ends.index(calls.ended[name]) + 1] for place in weights)
    ]


def _parts(network: nn.Module, name: str) -> int:
    """Children with weights."""
    return sum(next(child.parameters(), None) is not None for child in network.get_submodule(name).children())


def _size(network: nn.Module, name: str) -> int:
    return sum(parameter.numel() for parameter in network.get_submodule(name).parameters())


def _has_matrix(module: nn.Module) -> bool:
    return any(parameter.dim() >= 2 for parameter in module.parameters(recurse=False))


def _has_state(module: nn.Module) -> bool:
    return any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False)))
