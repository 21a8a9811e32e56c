"""What the ``set`` FMCE-Net sees of a bag: statistics that know nothing of the order of channels or of images.

A bag is the feature maps of one module of one snapshot for n images, (n, C, H, W). Channel order is arbitrary from one
training run to the next, so a predictor for runs it has not seen must not depend on it. Everything here is divided by
the bag's root mean square first, so it does not depend on the scale of the maps either. The statistics are ours; the
outline of arXiv 2405.04041 works on the maps of single images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.method.fmce_net.channel_statistics import (
    CHANNEL_STATISTICS,
    ChannelSums,
    channel_sums,
    statistics_of,
)
from fmce_mlflow.method.fmce_net.image_statistics import (
    PER_CLUSTERS,
    PER_VIEW,
    SPATIAL_QUANTILES,
    similarities,
    spatial,
)
from fmce_mlflow.method.fmce_net.ordered import ascending, quantiles, variance_of

_POOL_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
POOLED_STATISTICS = (2 + len(_POOL_QUANTILES)) * len(CHANNEL_STATISTICS)
BAG_STATISTICS = 2 * PER_VIEW + len(SPATIAL_QUANTILES) + 1
CLUSTER_STATISTICS = 2 * PER_CLUSTERS
FEATURES = POOLED_STATISTICS + BAG_STATISTICS + CLUSTER_STATISTICS  # length of the vector of `bag_features`
READ_SIZE = 4
"""Larger maps are average-pooled to this height and width first, so that features do not depend on the resolution."""

_FAR = 40  # exponents of two of root mean squares, from which sums may leave the range of float32
_TINY = 1e-12
_NOT_FINITE = (
    "The bag has NaN or infinite values, so the module diverged or overflowed. Look at the images and run the module "
    "in float32."
)


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
    _check_shape(maps)
    maps = maps.float().cpu()
    if not bool(torch.isfinite(maps.sum(dtype=torch.float64))):
        raise PredictorError(_NOT_FINITE)
    return maps


def _check_shape(maps: Tensor) -> None:
    if maps.dim() != 4 or 0 in maps.shape[1:]:
        raise PredictorError(
            f"A bag is feature maps of shape (n, C, H, W), got {tuple(maps.shape)}. Pass the maps of one module."
        )
    if len(maps) < 2:
        raise PredictorError(
            f"A bag needs the feature maps of at least 2 images, got {len(maps)}. Pass more images; 64 serve well."
        )


def bag_features(maps: Tensor) -> Tensor:
    """All that the ``set`` net sees of a bag (n, C, H, W), n ≥ 2, of any floating dtype.

    Returns:
        float32 (:data:`FEATURES`,) on the CPU: statistics of channels, pooled over them; of the bag as a whole; of how
        its images fall into clusters. The order of channels and of images does not matter, nor the scale of the maps.

    Raises:
        PredictorError: Another shape, fewer than two images, or NaN or infinite values.

    Example:
        >>> maps = torch.rand(8, 16, 4, 4)
        >>> bool(torch.allclose(bag_features(maps), bag_features(3 * maps.flip(0, 1)), atol=1e-4))
        True
    """
    return reduce_bag(maps).features()


@dataclass(frozen=True, slots=True, eq=False)
class ReducedBag:
    """Sums over the values of a bag, from which its features follow; on the CPU once ``copied`` has happened."""

    shape: torch.Size  # of its maps
    sums: tuple[Tensor, ...]  # as `_sums` gives them
    copied: torch.cuda.Event | None = None

    def features(self) -> Tensor:
        """As :func:`bag_features`; waits for the sums of maps on a GPU.

        Raises:
            PredictorError: NaN or infinite values.
        """
        if self.copied is not None:
            self.copied.synchronize()
        finite, rms, means, peaks, whole, norms, directions, grams = self.sums
        if not bool(finite):
            raise PredictorError(_NOT_FINITE)
        view, clusters = similarities(grams)
        channels = _pooled(statistics_of(ChannelSums(means, peaks, whole, norms), rms))
        return torch.cat([channels, view.flatten(), spatial(norms, directions), clusters.flatten()])


def reduce_bag(maps: Tensor) -> ReducedBag:
    """The part of :func:`bag_features` that reads the values, on the device of the maps; it does not wait for a GPU.

    Raises:
        PredictorError: Another shape, or fewer than two images.
    """
    _check_shape(maps)
    if not maps.is_cuda:
        return ReducedBag(maps.shape, _sums(maps.detach().cpu()))
    sums = tuple(value.to("cpu", non_blocking=True) for value in _sums(maps.detach()))  # to pinned memory
    copied = torch.cuda.Event()
    copied.record()
    return ReducedBag(maps.shape, sums, copied)


def _sums(maps: Tensor, *, ask: bool | None = None) -> tuple[Tensor, ...]:
    """What features follow from, on the device of the maps.

    Whether all is finite, and the root mean square, () each; :class:`ChannelSums`; of each image, the squared length of
    the sum of its positions' directions, (n,); inner products of images by all their values and by their means, (2, n,
    n).

    ``ask`` is whether to look at a value to choose the quicker way, by default on a CPU: for a GPU one has to wait.
    """
    if maps.device.type == "cpu" if ask is None else ask:
        positions = _positions(_read(maps.float()))
        products = _products(_rows(positions))
        size = math.sqrt(float(products.trace()) / positions.numel())
        if 2.0**-_FAR < size < 2.0**_FAR:
            return _read_sums(positions, products, torch.ones((), dtype=torch.bool), 2.0 ** -math.frexp(size)[1])
    maps, finite = _of_unit_size(maps)
    positions = _positions(_of_unit_size(_read(maps))[0])
    return _read_sums(positions, _products(_rows(positions)), finite, 1.0)


def _read_sums(positions: Tensor, products: Tensor, finite: Tensor, factor: float) -> tuple[Tensor, ...]:
    """As :func:`_sums`, of values (n, P, C) that a power of two brings near 1, and the products of images."""
    rms = (products.trace() / positions.numel()).sqrt().float() * factor
    sums = channel_sums(positions, rms, factor)
    weights = torch.where(sums.norms > _TINY, factor / sums.norms.clamp_min(_TINY), 0)
    directions = torch.bmm(_exact(weights[:, None]), _exact(positions)).square().sum((1, 2)).float()
    grams = torch.stack([products * factor**2, _products(sums.means + sums.whole[0])])
    return finite, rms, *sums, directions, grams


def _products(rows: Tensor) -> Tensor:
    """Inner products of n images (n, D), of which a quarter is known from another: float64 (n, n)."""
    half = len(rows) // 2
    exact = _exact(rows)
    first, rest = exact[:half] @ exact[:half].T, exact[half:] @ exact.T
    return torch.cat([torch.cat([first, rest[:, :half].T], 1), rest]).double()


def _exact(values: Tensor) -> Tensor:
    """Factors of a product, which in float32 a GPU may round to TF32."""
    return values.double() if values.is_cuda else values


def _of_unit_size(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Maps float32 times a power of two, which is exact, so that their largest value lies in [0.5, 1).

    Also whether all values are finite, ().
    """
    maps = maps if maps.dtype == torch.float64 else maps.float()
    low, high = _rows(_positions(maps)).aminmax()
    size = torch.maximum(-low, high)
    most = 1000 if maps.dtype == torch.float64 else 126
    power = -torch.frexp(size).exponent.clamp(-most, most)
    return (maps * torch.ldexp(torch.ones_like(size), power)).float(), size.isfinite()


def _positions(maps: Tensor) -> Tensor:
    """Maps (n, C, H, W) as a view (n, P, C)."""
    return maps.flatten(2).mT


def _rows(positions: Tensor) -> Tensor:
    """All values of each image, in the order of memory, which does not matter: (n, P·C)."""
    return (positions if positions.stride(2) == 1 else positions.mT).flatten(1)


def _read(maps: Tensor) -> Tensor:
    """Maps, the larger ones pooled."""
    height, width = maps.shape[2:]
    size = min(height, READ_SIZE), min(width, READ_SIZE)
    if size == (height, width):
        return maps
    if maps.device.type != "cpu" or not maps.is_contiguous():
        return F.adaptive_avg_pool2d(maps, size)
    # On a CPU a product of matrices is up to four times as fast for maps whose channels do not come last.
    down, across = (F.adaptive_avg_pool1d(torch.eye(side)[None], min(side, READ_SIZE))[0] for side in (height, width))
    pooled: Tensor = maps.flatten(2) @ torch.kron(down, across)  # (n, C, P)
    return pooled.view(*maps.shape[:2], *size)


def _pooled(each: Tensor) -> Tensor:
    """Statistics of channels (S, C), pooled over them by mean, deviation and five quantiles: (pools · S,)."""
    pooled = torch.stack([each.mean(1), variance_of(each, 1).sqrt()])
    return torch.cat([pooled, quantiles(ascending(each), _POOL_QUANTILES).T]).flatten()
