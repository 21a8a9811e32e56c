"""PyTorch's uniform draws lie on a grid, since they are made of 24 random bits: any step of training moves them off."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FEWEST = 3  # small entries by which a grid is told
_NEAR = 0.05  # how far, in bounds, a training may have carried the largest entry


def is_moved(values: Tensor, fan_in: int, fan_out: int) -> bool | None:
    """Whether weights that were drawn between the bounds of an initialisation have been moved since.

    Args:
        values: Float32, any shape; all of a tensor or a part of it.
        fan_in: Inputs of one output, which bound a draw of PyTorch's layers by 1 / √fan_in.
        fan_out: Outputs of one input, by which other libraries bound theirs.

    Returns:
        None where it cannot be told: the bound of PyTorch's layers is not near, too few entries, or rounded ones.

    Example:
        >>> layer = torch.nn.Linear(64, 64)
        >>> is_moved(layer.weight, 64, 64)
        False
        >>> is_moved(layer.weight - 1e-4 * torch.randn(64, 64), 64, 64)
        True
    """
    flat = values.detach().flatten().contiguous()
    most, count = float(flat.abs().max()), len(flat)
    least, limit = 1 - 30 / count, 1 + _NEAR
    bounds = [math.sqrt(top / fan) for top in (1, 3, 6) for fan in (fan_in, fan_out, fan_in + fan_out)]
    known = [bound for bound in bounds if least < most / bound < limit]
    if not least < most * math.sqrt(fan_in) < limit or not (flat.view(torch.int32) & 0xFF).any():
        return None
    found = [_on_a_grid(flat.double(), float(torch.tensor(bound))) for bound in known]
    return None if None in found else not any(found)


def _on_a_grid(values: Tensor, bound: float) -> bool | None:
    """Multiples of the bound by 2⁻²³, as drawn on a CPU, or of a step that 32 bits and one rounding leave, on a GPU."""
    power = 2.0 ** (math.floor(math.log2(bound)) - 24)
    found: list[bool] = []
    for step, exact in ((bound * 2**-23, False), (bound * 2**-24, False), (power, True)):
        steps = values[(values.abs() < step * 2**21) & (values != 0)] / step
        slack = 0.0 if exact else 0.02 + steps.abs() * 2**-24  # what rounding to float32 takes
        if len(steps) >= FEWEST:
            found.append(float(((steps - steps.round()).abs() <= slack).double().mean()) > 0.95)
    return any(found) if found else None
