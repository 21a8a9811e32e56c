"""What the ``set`` FMCE-Net sees of a bag: statistics that know nothing of the order of channels or of images.

A bag is the feature maps of one module of one snapshot for n images, (n, C, H, W). Channel order is arbitrary from one
training run to the next, so a predictor for runs it has not seen must not depend on it. Everything here is divided by
the bag's root mean square first, so it does not depend on the scale of the maps either. The statistics are ours; the
outline of arXiv 2405.04041 works on the maps of single images.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fmce_mlflow.errors import PredictorError

CHANNEL_STATISTICS: tuple[str, ...] = (
    "mean",
    "deviation",
    "deviation between images",
    "deviation between positions",
    "peak",
    "deviation of peaks",
    "zeros",
    "positives",
    "skewness",
    "kurtosis",
    "image means, 0.1 quantile",
    "image means, median",
    "image means, 0.9 quantile",
)

SPECTRUM = 16
COSINE_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
_SPATIAL_QUANTILES = (0.1, 0.5, 0.9)
_PER_VIEW = 2 * len(COSINE_QUANTILES) + SPECTRUM + 6
BAG_STATISTICS = 2 * _PER_VIEW + len(_SPATIAL_QUANTILES) + 1

_POOL_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
POOLED_STATISTICS = (2 + len(_POOL_QUANTILES)) * len(CHANNEL_STATISTICS)

_NEIGHBOURS = (1, 3, 6, 11)
_DISTANT = (1, 3, 6)
_NEIGHBOUR_QUANTILES = (0.1, 0.5, 0.9)
_CUMULATED = (1, 2, 3, 5, 7, 9, 12, 16, 24)
_ALIKE = (0.3, 0.5, 0.7, 0.9)
_POWERS = (2, 3, 4)
_PER_CLUSTERS = (
    len(_NEIGHBOUR_QUANTILES) * (len(_NEIGHBOURS) + len(_DISTANT)) + len(_CUMULATED) + len(_ALIKE) + len(_POWERS)
)
CLUSTER_STATISTICS = 2 * _PER_CLUSTERS
FEATURES = POOLED_STATISTICS + BAG_STATISTICS + CLUSTER_STATISTICS  # length of the vector of `bag_features`
READ_SIZE = 4
"""Larger maps are average-pooled to this height and width first, so that features do not depend on the resolution."""

_FAR = 60  # exponents of two of maps, from which sums and squares of them may leave the range of float32
_TINY = 1e-12
_BLOCK = 2**17
_ZERO = 1e-3  # of the bag's root mean square


def check_bag(maps: Tensor) -> Tensor:
    """A bag (n, C, H, W) as float32 on the CPU, or an error that says what is wrong with it.

    Raises:
        PredictorError: Another shape, fewer than two images, or NaN or infinite values.

    Example:
        >>> check_bag(torch.zeros(1, 8, 4, 4))
        Traceback (most recent call last):
        ...
        fmce_mlflow.errors.PredictorError: A bag needs the feature maps of at least 2 images, got 1. ...
    """
    if maps.dim() != 4 or 0 in maps.shape[1:]:
        raise PredictorError(
            f"A bag is feature maps of shape (n, C, H, W), got {tuple(maps.shape)}. Pass the maps of one module."
        )
    if len(maps) < 2:
        raise PredictorError(
            f"A bag needs the feature maps of at least 2 images, got {len(maps)}. Pass more images; 64 serve well."
        )
    maps = maps.float().cpu()
    if not bool(torch.isfinite(maps.sum(dtype=torch.float64))):
        raise PredictorError(
            "The bag has NaN or infinite values, so the module diverged or overflowed. Look at the images and run the "
            "module in float32."
        )
    return maps


def bag_features(maps: Tensor) -> Tensor:
    """All that the ``set`` net sees of a bag (n, C, H, W), n ≥ 2, of any floating dtype.

    Returns:
        float32 (:data:`FEATURES`,): statistics of channels, pooled over them; of the bag as a whole; of how its images
        fall into clusters. The order of channels and of images does not matter, nor the scale of the maps.

    Raises:
        PredictorError: Another shape, fewer than two images, or NaN or infinite values.

    Example:
        >>> maps = torch.rand(8, 16, 4, 4)
        >>> bool(torch.allclose(bag_features(maps), bag_features(3 * maps.flip(0, 1)), atol=1e-4))
        True
    """
    bag = check_bag(_of_unit_size(maps) if abs(_exponent(maps)) > _FAR else maps)
    if max(bag.shape[2:]) > READ_SIZE:
        bag = F.adaptive_avg_pool2d(bag, (min(bag.shape[2], READ_SIZE), min(bag.shape[3], READ_SIZE)))
    positions = bag.permute(0, 2, 3, 1).flatten(1, 2).contiguous()  # (n, P, C), so that sums run along channels
    positions = _of_unit_size(positions).float()  # squares then stay in float32's range
    grams = _Gram(positions.flatten(1)), _Gram(positions.mean(1, dtype=torch.float64))
    return torch.cat([_pooled(positions), *map(_view, grams), _spatial(positions), *map(_clusters, grams)])


def _of_unit_size(maps: Tensor) -> Tensor:
    """Maps over a power of two, which is exact, so that the largest of all values lies in [0.5, 1)."""
    exponent = _exponent(maps)
    return (maps.double() if abs(exponent) > _FAR else maps) * 2.0 ** -max(exponent, -1000)


def _exponent(maps: Tensor) -> int:
    """Of two, of the largest value; 0 where there is none, or one that is not finite."""
    if not maps.numel() or not maps.is_floating_point():
        return 0
    return math.frexp(max(abs(float(value)) for value in maps.aminmax()))[1]


def _pooled(positions: Tensor) -> Tensor:
    """:func:`channel_statistics`, pooled over channels by mean, deviation and five quantiles."""
    each = channel_statistics(positions)  # (C, S)
    ordered = _sorted(each)
    pooled = [each.mean(0), each.std(0, correction=0), *(_ordered_quantile(ordered, q) for q in _POOL_QUANTILES)]
    return torch.cat(pooled)  # (pools · S,)


def channel_statistics(positions: Tensor) -> Tensor:
    """Statistics of every channel over images and positions, (n, P, C) → (C, S); see :data:`CHANNEL_STATISTICS`.

    Each value v is squashed to sign(v)·log(1 + |v|), for activations have heavy tails.
    """
    rms = (torch.linalg.vector_norm(positions) / math.sqrt(positions.numel())).clamp_min(_TINY)
    width = max(1, _BLOCK // positions[..., 0].numel())
    blocks = positions.split(width, dim=2)  # temporaries of a block stay in the processor's cache
    values = torch.cat([_of_channels(block, rms) for block in blocks])  # (C, S)
    return values.sign() * values.abs().log1p()


def _of_channels(positions: Tensor, rms: Tensor) -> Tensor:
    """Statistics of some channels, (n, P, c) → (c, S), before they are squashed."""
    flat = positions / rms  # (n, P, c)
    per_image = flat.mean(1)  # (n, c)
    mean = per_image.mean(0)  # (c,)
    peaks = flat.amax(1)  # (n, c)
    work = flat.abs()
    zeros = torch.lt(work, _ZERO, out=work).mean((0, 1))  # sums of float32 run faster than those of bool
    positives = torch.gt(flat, 0, out=work).mean((0, 1))
    centred = flat.sub_(mean)
    square = torch.square(centred, out=work)
    variance = square.mean((0, 1))  # (c,)
    third = centred.mul_(square).mean((0, 1))
    fourth = square.square_().mean((0, 1))
    between = (per_image - mean).square().mean(0)
    deviation = variance.sqrt()
    scale = deviation + 1e-6
    ordered = _sorted(per_image)  # (n, c)
    return torch.stack(
        [
            mean,
            deviation,
            between.sqrt(),
            (variance - between).clamp_min(0).sqrt(),
            peaks.mean(0),
            peaks.std(0, correction=0),
            zeros,
            positives,
            (third / scale.pow(3)).clamp(-10, 10) / 3,
            (fourth / scale.pow(4)).clamp(0, 100).sqrt(),
            *(_ordered_quantile(ordered, q) for q in (0.1, 0.5, 0.9)),
        ],
        dim=1,
    )


def _sorted(values: Tensor) -> Tensor:
    """Sorted along the first dimension; NumPy's sort of float32 is ten times as fast as torch's on a CPU."""
    return torch.from_numpy(np.sort(np.ascontiguousarray(values.numpy().T)).T)


def _ordered_quantile(ordered: Tensor, q: float) -> Tensor:
    """A quantile over the first dimension of values that are sorted along it, linearly interpolated."""
    place = q * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return torch.lerp(ordered[low], ordered[high], place - low)


class _Gram:
    """Inner products of n vectors (n, D), and what is taken of them more than once."""

    def __init__(self, vectors: Tensor) -> None:
        n = len(vectors)
        gram = vectors @ vectors.T  # (n, n)
        rows = gram.mean(0)
        centred = gram - rows - rows[:, None] + rows.mean()  # (n, n)
        self.gram, self.centred = gram.float(), centred.float()
        shares = torch.linalg.eigvalsh(centred.double()).flip(0).clamp_min(0)[: n - 1].float()  # (n - 1,)
        self.shares = shares / shares.sum().clamp_min(_TINY)


def _view(of: _Gram) -> Tensor:
    """Statistics of n vectors by their inner products: float32 (_PER_VIEW,).

    Quantiles of the cosines between pairs, before and after the mean is taken off; the spectrum of the centred Gram
    matrix; the share of energy that is variation, the spectrum's normalised entropy and participation ratio; the
    spread of norms.
    """
    gram, shares = of.gram, of.shares
    n = len(gram)
    norms = gram.diagonal().clamp_min(_TINY).sqrt()  # (n,)
    energy = of.centred.diagonal().clamp_min(0).sum()
    entropy = -(shares * (shares + _TINY).log()).sum() / max(1e-6, math.log(n - 1))
    spectrum = torch.zeros(SPECTRUM, dtype=torch.float32)
    spectrum[: min(SPECTRUM, n - 1)] = shares[:SPECTRUM]
    spread = norms / norms.mean()
    return torch.cat(
        [
            _cosines(gram),
            _cosines(of.centred),
            (spectrum + 1e-4).log(),
            torch.stack(
                [
                    energy / gram.diagonal().sum().clamp_min(_TINY),
                    entropy,
                    1 / (shares.square().sum() + _TINY) / (n - 1),
                    spread.std(correction=0),
                    spread.max(),
                    spread.min(),
                ]
            ).clamp(0, 100),
        ]
    )


def _clusters(of: _Gram) -> Tensor:
    """Statistics of how n vectors, their mean taken off, fall into clusters: float32 (_PER_CLUSTERS,).

    Quantiles over vectors of the cosine with some near ones, and of the squared distance to some over the mean one; the
    share of variance in the first principal directions; the share of pairs that are alike, and their cosines' moments.
    """
    n = len(of.centred)
    lengths = of.centred.diagonal().clamp_min(_TINY)  # (n,)
    cosines = (of.centred / (lengths.sqrt()[:, None] * lengths.sqrt())).clamp(-1, 1)  # (n, n)
    apart = (lengths[:, None] + lengths - 2 * of.centred).clamp_min(0)  # (n, n), squared distances
    others = ~torch.eye(n, dtype=torch.bool)
    near = _sorted(cosines.T[others.T].view(n, n - 1).T).flip(0)  # (n - 1, n), of each image the most alike first
    far = _sorted(apart.T[others.T].view(n, n - 1).T)  # (n - 1, n), the nearest first
    pairs = cosines[others]
    total = far.mean().clamp_min(_TINY)
    picked = [near[min(k, n - 1) - 1] for k in _NEIGHBOURS] + [far[min(k, n - 1) - 1] / total for k in _DISTANT]
    ordered = _sorted(torch.stack(picked, 1))  # (n, neighbours)
    cumulated = of.shares.cumsum(0)
    return torch.cat(
        [
            *(_ordered_quantile(ordered, q) for q in _NEIGHBOUR_QUANTILES),
            torch.stack([cumulated[min(k, n - 1) - 1] for k in _CUMULATED]),
            torch.stack([(pairs > limit).float().mean() for limit in _ALIKE]),
            torch.stack([pairs.pow(power).mean() for power in _POWERS]),
        ]
    )


def _cosines(gram: Tensor) -> Tensor:
    """Quantiles of the cosines between pairs, from their inner products (n, n)."""
    n = len(gram)
    norms = gram.diagonal().clamp_min(_TINY).sqrt()
    first, second = torch.triu_indices(n, n, 1)
    cosines = (gram[first, second] / (norms[first] * norms[second])).clamp(-1, 1)
    ordered = _sorted(cosines)
    return torch.stack([_ordered_quantile(ordered, q) for q in COSINE_QUANTILES])


def _spatial(positions: Tensor) -> Tensor:
    """How alike the positions of an image are, from (n, P, C); zeros where there is one position only."""
    count = positions.shape[1]
    if count == 1:
        return torch.zeros(len(_SPATIAL_QUANTILES) + 1, dtype=torch.float32)
    norms = torch.linalg.vector_norm(positions, dim=2)  # (n, P)
    weights = torch.where(norms > _TINY, 1 / norms.clamp_min(_TINY), 0)
    # The mean cosine over pairs of positions, from the squared length of the sum of their directions.
    total = torch.bmm(weights[:, None], positions).square().sum((1, 2))  # (n,)
    own = (weights > 0).sum(1)  # (n,)
    alike = _sorted((total - own) / (count * (count - 1)))  # (n,)
    spread = (norms.std(1, correction=0) / norms.mean(1).clamp_min(_TINY)).mean()
    return torch.stack([*(_ordered_quantile(alike, q) for q in _SPATIAL_QUANTILES), spread])
