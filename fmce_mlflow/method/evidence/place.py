"""Where in its network a module stands, and on what it is judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from fmce_mlflow.method.networks.layout import TokenGrid
from fmce_mlflow.method.networks.model_forms import Call, run
from fmce_mlflow.method.networks.upstream import upstream

PLACE_FIGURES: tuple[str, ...] = ("place depth", "place weights", "place channels", "place positions", "place images")


def depths(
    network: nn.Module,
    modules: Sequence[str],
    example: Any,
    *,
    token_grid: TokenGrid | None = None,
    call: Call = run,
) -> dict[str, dict[str, float]]:
    """How far behind the images each module stands.

    ============= =====================================================================================
    place depth   tensors of parameters before its maps, over those before the network's output, in [0, 1]
    place weights the same of numbers of parameters
    ============= =====================================================================================

    Args:
        network: In any form.
        modules: Names of maps, as :func:`~fmce_mlflow.method.networks.capture.capture` has them.
        example: Input of one forward pass.
        token_grid: As for ``capture``.
        call: Calls the network, unwrapped, with the example.

    Returns:
        Figures by map; NaN where nothing with parameters leads to the output.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1))
        >>> depths(net, ["1"], torch.zeros(2, 3, 4, 4))["1"]["place depth"]
        0.5
    """
    found = upstream(network, modules, example, token_grid=token_grid, call=call)
    sizes = {name: value.numel() for name, value in network.named_parameters(remove_duplicate=False)}
    bare = {name.removeprefix("module.").removeprefix("_orig_mod."): size for name, size in sizes.items()}
    whole = found.pop("").parameters

    def of(names: Sequence[str]) -> tuple[int, int]:
        return len(names), sum(bare.get(name, 0) for name in names)

    everything = of(whole)
    return {
        name: {
            figure: min(1.0, part / all_) if all_ else math.nan
            for figure, part, all_ in zip(PLACE_FIGURES, of(one.parameters), everything, strict=False)
        }
        for name, one in found.items()
    }


def of_bag(shape: Sequence[int], images: int) -> Mapping[str, float]:
    """Logarithms of the channels, positions and images of maps of a shape (n, C, H, W)."""
    sizes = shape[1], shape[2] * shape[3], images
    return dict(zip(PLACE_FIGURES[2:], map(math.log, sizes), strict=True))
