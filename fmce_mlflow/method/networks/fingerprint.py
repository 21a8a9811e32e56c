"""A few numbers by which the weights of a network are known again."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeAlias

import torch
from torch import Tensor, nn

Fingerprint: TypeAlias = tuple[float, float]
"""Sum and sum of squares of all parameters of floats."""

_SAME = 1e-7  # relative; float64 sums differ by 1e-13 between devices, one training step by more than 1e-6


def fingerprint(network: nn.Module) -> Fingerprint:
    """Sum and sum of squares of a network's parameters, in float64, whatever their order, names and device.

    Example:
        >>> fingerprint(nn.Linear(2, 1, bias=False).requires_grad_(False).apply(lambda m: m.weight.fill_(2.0)))
        (4.0, 8.0)
    """
    return fingerprint_of(network.parameters())


@torch.no_grad()
def fingerprint_of(parameters: Iterable[Tensor]) -> Fingerprint:
    """As :func:`fingerprint`, of some parameters."""
    values = [p.detach() for p in parameters if p.is_floating_point() and p.numel()]
    if not values:
        return 0.0, 0.0
    values = [p.cpu() if p.device.type == "mps" else p for p in values]
    sums = torch.stack([p.double().sum().to(values[0].device) for p in values])
    squares = torch.stack([p.double().square().sum().to(values[0].device) for p in values])
    total = torch.stack([sums.sum(), squares.sum()]).tolist()
    return total[0], total[1]


def same_weights(a: Fingerprint, b: Fingerprint) -> bool:
    """Whether two fingerprints are of the same weights.

    Example:
        >>> same_weights((4.0, 8.0), (4.0, 8.0 + 1e-10)), same_weights((4.0, 8.0), (4.1, 8.0))
        (True, False)
    """
    scale = max(math.sqrt(abs(a[1])), 1e-12)  # sums may be near 0
    return math.isclose(a[1], b[1], rel_tol=_SAME, abs_tol=1e-12) and abs(a[0] - b[0]) <= _SAME * scale
