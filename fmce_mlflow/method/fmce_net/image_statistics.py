"""Statistics of how the images of a bag are alike, by the inner products of their maps, and of how their positions are.

Images are vectors in two ways: all values of their maps, and the means over positions. What is taken of both ways is
taken at once.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from fmce_mlflow.method.fmce_net.ordered import ascending, quantiles, variance_of

SPECTRUM = 16
COSINE_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
SPATIAL_QUANTILES = (0.1, 0.5, 0.9)
_NEIGHBOURS = (1, 3, 6, 11)
_DISTANT = (1, 3, 6)
_NEIGHBOUR_QUANTILES = (0.1, 0.5, 0.9)
_CUMULATED = (1, 2, 3, 5, 7, 9, 12, 16, 24)
_ALIKE = (0.3, 0.5, 0.7, 0.9)
_POWERS = (2, 3, 4)
PER_VIEW = 2 * len(COSINE_QUANTILES) + SPECTRUM + 6
PER_CLUSTERS = (
    len(_NEIGHBOUR_QUANTILES) * (len(_NEIGHBOURS) + len(_DISTANT)) + len(_CUMULATED) + len(_ALIKE) + len(_POWERS)
)
_TINY = 1e-12


def similarities(grams: Tensor) -> tuple[Tensor, Tensor]:
    """Statistics of n vectors, in V ways, by their inner products (V, n, n).

    Returns:
        float32 (V, PER_VIEW): quantiles of the cosines between pairs, before and after the mean is taken off; the
        spectrum of the centred inner products; the share of energy that is variation, the spectrum's normalised entropy
        and participation ratio; the spread of norms.
        float32 (V, PER_CLUSTERS): how vectors, their mean taken off, fall into clusters. Quantiles over vectors of the
        cosine with some near ones, and of the squared distance to some over the mean one; the share of variance in the
        first principal directions; the share of pairs that are alike, and their cosines' moments.
    """
    n = grams.shape[1]
    rows = grams.mean(1)  # (V, n)
    centred = grams - rows[:, None] - rows[:, :, None] + rows.mean(1)[:, None, None]
    shares = torch.linalg.eigvalsh(centred).flip(1).clamp_min(0)[:, : n - 1].float()  # (V, n - 1)
    shares = shares / shares.sum(1, keepdim=True).clamp_min(_TINY)
    both = torch.stack([grams, centred], 1).float()  # (V, 2, n, n)
    sizes = both.diagonal(dim1=2, dim2=3).clamp_min(_TINY)  # (V, 2, n)
    norms = sizes.sqrt()
    cosines = (both / (norms[..., None] * norms[..., None, :])).clamp(-1, 1)
    pairs = cosines.flatten(2)[..., _pairs(n)]  # (V, 2, n (n - 1) / 2)
    view = [
        quantiles(ascending(pairs), COSINE_QUANTILES).flatten(1),
        _spectrum(shares),
        torch.stack(_spread(sizes, norms, both, shares), 1).clamp(0, 100),
    ]
    clusters = [
        _neighbours(cosines[:, 1], sizes[:, 1], both[:, 1]),
        shares.cumsum(1)[:, [min(k, n - 1) - 1 for k in _CUMULATED]],
        (pairs[:, 1, None] > torch.tensor(_ALIKE)[:, None]).float().mean(2),
        torch.stack([pairs[:, 1].pow(power).mean(1) for power in _POWERS], 1),
    ]
    return torch.cat(view, 1), torch.cat(clusters, 1)


@cache
def _pairs(n: int) -> Tensor:
    """Places of the pairs of n vectors in their matrix, row by row: int64 (n (n - 1) / 2,)."""
    places = torch.arange(n * n)
    return places[places % n > places // n]


def _spectrum(shares: Tensor) -> Tensor:
    """Logarithms of the first shares of variance (V, n - 1): (V, SPECTRUM)."""
    spectrum = torch.zeros(len(shares), SPECTRUM)
    spectrum[:, : shares.shape[1]] = shares[:, :SPECTRUM]
    return (spectrum + 1e-4).log()


def _spread(sizes: Tensor, norms: Tensor, both: Tensor, shares: Tensor) -> list[Tensor]:
    """The last six figures of a view, (V,) each."""
    whole = both[:, 0].diagonal(dim1=1, dim2=2).sum(1).clamp_min(_TINY)
    varying = both[:, 1].diagonal(dim1=1, dim2=2).clamp_min(0).sum(1)
    entropy = -(shares * (shares + _TINY).log()).sum(1) / max(1e-6, math.log(shares.shape[1]))
    spread = norms[:, 0] / norms[:, 0].mean(1, keepdim=True)
    return [
        varying / whole,
        entropy,
        1 / (shares.square().sum(1) + _TINY) / shares.shape[1],
        spread.std(1, correction=0),
        spread.amax(1),
        spread.amin(1),
    ]


def _neighbours(cosines: Tensor, sizes: Tensor, centred: Tensor) -> Tensor:
    """Quantiles over vectors of their cosines with near ones, and of their squared distances to near ones."""
    n = cosines.shape[1]
    apart = (sizes[:, :, None] + sizes[:, None] - 2 * centred).clamp_min(0)  # (V, n, n)
    both = torch.stack([-cosines, apart], 1)
    both.diagonal(dim1=2, dim2=3).fill_(-torch.inf)  # each one itself, which comes first
    near, far = ascending(both)[..., 1:].unbind(1)  # (V, n, n - 1) each, the most alike first
    total = far.mean((1, 2)).clamp_min(_TINY)[:, None, None]
    picked = [
        -near[..., [min(k, n - 1) - 1 for k in _NEIGHBOURS]],
        far[..., [min(k, n - 1) - 1 for k in _DISTANT]] / total,
    ]
    ordered = ascending(torch.cat(picked, 2).mT.contiguous())  # (V, neighbours, n)
    return quantiles(ordered, _NEIGHBOUR_QUANTILES).mT.flatten(1)


def spatial(norms: Tensor, directions: Tensor) -> Tensor:
    """How alike the positions of an image are; zeros where there is one position only.

    From the norms of positions (n, P) and the squared length of the sum of their directions (n,): quantiles over images
    of the mean cosine over pairs of positions, and the mean spread of norms.
    """
    count = norms.shape[1]
    if count == 1:
        return torch.zeros(len(SPATIAL_QUANTILES) + 1)
    own = (norms > _TINY).sum(1)  # (n,)
    alike = ascending((directions - own) / (count * (count - 1)))
    spread = (variance_of(norms, 1).sqrt() / norms.mean(1).clamp_min(_TINY)).mean()
    return torch.cat([quantiles(alike, SPATIAL_QUANTILES), spread[None]])
