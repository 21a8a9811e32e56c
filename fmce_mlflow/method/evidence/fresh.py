"""How far a module is from what it was before it was trained, against what random weights differ by anyway."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from fmce_mlflow.method.networks.fresh_weights import SCHEMES, reinitialised
from fmce_mlflow.method.networks.own_weights import drawn_anew

FRESH_FIGURES: tuple[str, ...] = (
    "fresh nearest",  # distance to the nearest fresh copy, in units of their mean distance from each other; log(1 + x)
    "fresh mean",  # mean distance to the fresh copies in these units; log(1 + x)
    "fresh beyond",  # share of features that lie outside the range of all fresh copies
)
"""How far a bag's features lie from those of fresh copies of its network; small for an untrained one."""

_LEAST = 1e-4  # of a feature, taken as a difference between fresh copies that do not differ


def fresh_copies(
    network: nn.Module, *, seed: int = 0, build: Callable[[], nn.Module] | None = None
) -> Iterator[nn.Module]:
    """Copies of a network with fresh weights, one at a time: one of each scheme, and one of the library's own drawing.

    Untrained networks differ by their initialisation as much as by its seed, so one reference is not enough.

    Args:
        network: Also wrapped or exported; it is left alone, as are all random states.
        seed: Of the weights.
        build: The network's factory, as :func:`~fmce_mlflow.method.networks.own_weights.drawn_anew` takes it.

    Yields:
        Each copy on the same device, in eval mode: three, or four where the network's own code draws all its weights.

    Example:
        >>> len(list(fresh_copies(nn.Conv2d(3, 4, 1))))
        3
    """
    for scheme in SCHEMES:
        yield reinitialised(network, seed=seed, scheme=scheme)
    own = drawn_anew(network, seed=seed, build=build)
    if own is not None:
        yield own


def fresh_distance(features: Tensor, fresh: Tensor) -> dict[str, float]:
    """How far features (F,) of a bag are from those (R, F) of the same module of R fresh copies.

    A distance is the mean absolute difference of features, each squashed to sign(v)·log(1 + |v|).

    Returns:
        :data:`FRESH_FIGURES`; all NaN for fewer than two copies, or features that are not finite.

    Raises:
        ValueError: Another number of features.

    Example:
        >>> fresh = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 2.0]])
        >>> near, far = fresh_distance(fresh[0], fresh), fresh_distance(torch.tensor([9.0, 9.0]), fresh)
        >>> near["fresh nearest"], near["fresh beyond"], far["fresh beyond"]
        (0.0, 0.0, 1.0)
    """
    if features.shape != fresh.shape[1:]:
        raise ValueError(f"Features (F,) and fresh ones (R, F), got {tuple(features.shape)} and {tuple(fresh.shape)}.")
    features, fresh = features.detach().cpu().double(), fresh.detach().cpu().double()
    fresh = fresh[fresh.isfinite().all(1)]  # a copy may overflow where the network does not
    if len(fresh) < 2 or not features.numel() or not bool(features.isfinite().all()):
        return dict.fromkeys(FRESH_FIGURES, math.nan)
    values, others = (one.sign() * one.abs().log1p() for one in (features, fresh))
    first, second = torch.triu_indices(len(others), len(others), 1)
    unit = (others[first] - others[second]).abs().mean().clamp_min(_LEAST)
    apart = (others - values).abs().mean(1) / unit  # (R,)
    beyond = (features < fresh.amin(0)) | (features > fresh.amax(0))
    figures = (float(apart.min().log1p()), float(apart.mean().log1p()), float(beyond.double().mean()))
    return dict(zip(FRESH_FIGURES, figures, strict=True))
