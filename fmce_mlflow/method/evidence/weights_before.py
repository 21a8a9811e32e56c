"""Evidence from weights of maps: of the module that makes them, or, where it has none, of the last one before it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from fmce_mlflow.method.evidence.weights import WeightEvidence, weight_evidence
from fmce_mlflow.method.networks.batches import placed
from fmce_mlflow.method.networks.capture import locate
from fmce_mlflow.method.networks.layout import TokenGrid
from fmce_mlflow.method.networks.model_forms import (
    Call,
    bare_name,
    forms_of_modules,
    probing,
    run,
    unwrap_with_prefix,
)
from fmce_mlflow.method.networks.upstream import upstream


def weights_before(
    network: nn.Module, names: Sequence[str], example: Any, *, token_grid: TokenGrid | None = None, call: Call = run
) -> dict[str, WeightEvidence]:
    """Evidence from the weights that decide what each map is.

    Those of a pool, an activation or a dropout are of the last module before it, on the way that leads to its map, that
    has weights which can be judged; its ``said`` begins with which that is.

    Args:
        network: In any form; left as it is.
        names: Of maps, as :func:`~fmce_mlflow.method.networks.capture.capture` has them.
        example: Input of one forward pass; it is needed, and the network run, only for modules without weights.
        token_grid: As for ``capture``.
        call: Calls the network, unwrapped, with the example.

    Returns:
        By map, in the order of ``names``.

    Raises:
        BackboneError: The network has no such module.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> found = weights_before(net, ["0", "2"], torch.zeros(2, 8, 4, 4))
        >>> found["2"].untouched, found["2"].said[0]
        (1.0, 'It has no weights; the last before it are those of 1.')
    """
    bare, prefix = unwrap_with_prefix(network)
    forms = forms_of_modules(bare)
    owners = {name: locate(forms, bare_name(name, prefix)) for name in names}
    own = {owner: weight_evidence(bare, owner) for owner in dict.fromkeys(owners.values())}
    plain = [name for name, owner in owners.items() if next(forms[owner][0].parameters(), None) is None]
    before = _before(network, plain, placed(bare, example), token_grid, call) if plain else {}
    return {name: before.get(name, own[owner]) for name, owner in owners.items()}


def _before(
    network: nn.Module, names: Sequence[str], example: Any, token_grid: TokenGrid | None, call: Call
) -> dict[str, WeightEvidence]:
    """Of each map, the weights of the last module all of whose parameters lead to it."""
    bare, prefix = unwrap_with_prefix(network)
    parameters = dict(bare.named_parameters())
    found = upstream(network, names, example, token_grid=token_grid, call=call)
    leading = {name: {id(parameters[one]) for one in found[name].parameters} for name in found}
    modules = forms_of_modules(bare)
    judged: dict[str, WeightEvidence] = {}
    best: dict[str, WeightEvidence] = {}
    ended = _ended(bare, example, call)
    for name in names:
        best[name] = replace(weight_evidence(network, name), said=("It has no weights, and none come before it.",))
        for module in reversed(ended):
            weights = {id(one) for form in modules[module] for one in form.parameters()}
            own = bare_name(name, prefix)
            around = own == module or own.startswith(f"{module}.")
            if around or not weights or not weights <= leading.get(name, set()):
                continue
            if module not in judged:
                judged[module] = weight_evidence(bare, module)
            if judged[module].untouched is not None:
                told = f"It has no weights; the last before it are those of {module}."
                best[name] = replace(judged[module], said=(told, *judged[module].said), part="")
                break
    return best


def _ended(network: nn.Module, example: Any, call: Call) -> list[str]:
    """Modules in the order in which their last calls end."""
    places: dict[str, int] = {}
    with torch.no_grad(), probing(network), ExitStack() as hooks:
        for name, forms in forms_of_modules(network).items():
            for form in forms:

                def hook(_module: nn.Module, _args: Any, _output: Any, name: str = name) -> None:
                    places.pop(name, None)
                    places[name] = len(places)

                hooks.callback(form.register_forward_hook(hook).remove)
        call(network, example)
    return list(places)
