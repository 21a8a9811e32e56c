"""Fresh weights as a network's own library draws them: by its factory, or by methods of its modules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from fmce_mlflow.method.networks.copies import copied
from fmce_mlflow.method.networks.model_forms import unwrap
from fmce_mlflow.method.networks.take_maps import random_state_kept

_METHODS = ("reset_parameters", "_reset_parameters", "init_weights", "_init_weights", "_initialize_weights")


def drawn_anew(network: nn.Module, *, seed: int = 0, build: Callable[[], nn.Module] | None = None) -> nn.Module | None:
    """A copy of a network with weights that its own code has drawn; None where that does not work.

    It is done twice, with two seeds, to see that every weight is drawn: a factory that loads trained weights, or seeds
    itself, is of no use. Without a factory, methods such as ``init_weights`` and ``reset_parameters`` of the modules
    are called, the innermost first, on a copy whose parameters are NaN; if any is left, or no module has such a
    method but PyTorch's own layers, which :func:`~fmce_mlflow.method.networks.fresh_weights.reinitialised` draws as
    well, there is no copy. Nor is there one of an exported network, which has no code.

    Args:
        network: Also wrapped; it is left alone, as are all random states.
        seed: Of the new weights.
        build: Makes the network; weights are drawn from PyTorch's global generator.

    Returns:
        The copy, on the same device, in the same dtype, in eval mode.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        >>> made = drawn_anew(net, build=lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
        >>> drawn_anew(net) is None, torch.equal(made[0].weight, net[0].weight)
        (True, False)
    """
    original = unwrap(network)
    if build is None and not any(_is_own(method) for module in original.modules() for method in _methods(module)):
        return None
    try:
        with random_state_kept(original, seed=seed + 1):
            other = [value.detach().clone() for value in _built(original, build).parameters()]
        with random_state_kept(original, seed=seed):
            made = _built(original, build)
    except Exception:  # it is anybody's code
        return None
    return made.eval() if _all_drawn(list(made.parameters()), other) else None


def _built(original: nn.Module, build: Callable[[], nn.Module] | None) -> nn.Module:
    """A copy with other weights, in the random state as it is."""
    made = copied(original)
    if build is not None:
        made.load_state_dict(unwrap(build()).state_dict())
        return made
    with torch.no_grad():
        for value in made.parameters():
            value.fill_(torch.nan)
        for module in reversed(list(made.modules())):  # parts before the whole
            for method in _methods(module):
                method()
    return made


def _methods(module: nn.Module) -> Iterator[Callable[[], Any]]:
    """What a module has to draw its weights, or those of its parts."""
    for name in _METHODS:
        method = getattr(module, name, None)
        if callable(method) and inspect.ismethod(method):
            needed = [one for one in inspect.signature(method).parameters.values() if one.default is one.empty]
            needed = [one for one in needed if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
            if not needed:
                yield method
            elif len(needed) == 1 and name == "_init_weights":  # of each part, as in transformers
                yield _applied(module, method)


def _applied(module: nn.Module, method: Callable[[nn.Module], Any]) -> Callable[[], Any]:
    def apply() -> None:
        module.apply(method)

    apply.__module__ = method.__module__
    return apply


def _is_own(method: Callable[[], Any]) -> bool:
    return not method.__module__.startswith("torch.")


def _all_drawn(values: list[nn.Parameter], other: list[Tensor]) -> bool:
    """Whether all are numbers, and differ between two drawings where they are not constant."""
    for value, second in zip(values, other, strict=True):
        if not value.is_floating_point() or not value.numel():
            continue
        constant = bool((value == value.flatten()[0]).all())
        if not bool(value.isfinite().all()) or (torch.equal(value, second) and not constant):
            return False
    return any(not torch.equal(value, second) for value, second in zip(values, other, strict=True))
