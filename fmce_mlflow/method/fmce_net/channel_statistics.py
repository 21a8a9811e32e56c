"""Statistics of every channel of a bag over its images and their positions.

They are read in two steps: sums over the values, wherever the maps are, and what follows from these few numbers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fmce_mlflow.method.fmce_net.ordered import ascending, quantiles, variance_of

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

_TINY = 1e-12
_BLOCK = 2**18
_ZERO = 1e-3  # of the bag's root mean square


class ChannelSums(NamedTuple):
    """What is read from the values of all channels, in one unit."""

    means: Tensor  # of each image, less the channel's, (n, C)
    peaks: Tensor  # of each image, (n, C)
    whole: Tensor  # (6, C): mean, shares of zeros and of positives, second, third and fourth central moments
    norms: Tensor  # of each image's positions over channels, (n, P)


def channel_statistics(positions: Tensor) -> Tensor:
    """Statistics of every channel over images and positions, (n, P, C) → (C, S); see :data:`CHANNEL_STATISTICS`.

    Each value v is squashed to sign(v)·log(1 + |v|), for activations have heavy tails.

    Example:
        >>> channel_statistics(torch.rand(8, 4, 16)).shape == (16, len(CHANNEL_STATISTICS))
        True
    """
    rms = torch.linalg.vector_norm(positions) / math.sqrt(positions.numel())
    return statistics_of(channel_sums(positions, rms), rms).T


def channel_sums(positions: Tensor, rms: Tensor, factor: float = 1.0) -> ChannelSums:
    """Sums over values (n, P, C) that are multiplied by a factor, so that their root mean square is ``rms``, ().

    On a CPU they are taken block by block, whose temporaries stay in the processor's cache.
    """
    n, count, channels = positions.shape
    width = min(channels, max(1, _BLOCK // (n * count))) if positions.device.type == "cpu" else channels
    means, peaks = positions.new_empty(2, n, channels)
    whole = positions.new_empty(6, channels)
    buffers = positions.new_empty(2, n, count, width)
    norms = positions.new_zeros(n, count)
    least = (rms.clamp_min(_TINY) * (_ZERO / factor)).square()
    for start in range(0, channels, width):
        part = slice(start, start + width)
        block = positions[..., part]
        one, other = buffers[..., : block.shape[2]]
        if block.stride(2) != 1:
            block = one.copy_(block)
        mean, zeros, positives, second, third, fourth = whole[:, part]
        torch.amax(block, 1, out=peaks[:, part])
        norms += torch.square(block, out=other).sum(2)
        # sums of float32 run faster than those of bool
        torch.mean(torch.lt(other, least, out=other), (0, 1), out=zeros)
        torch.mean(torch.gt(block, 0, out=other), (0, 1), out=positives)
        torch.mean(block, (0, 1), out=mean).mul_(factor)
        centred = torch.add(-mean, block, alpha=factor, out=one)
        torch.mean(centred, 1, out=means[:, part])
        square = torch.square(centred, out=other)
        torch.mean(square, (0, 1), out=second)
        torch.mean(centred.mul_(square), (0, 1), out=third)
        torch.mean(square.square_(), (0, 1), out=fourth)
    return ChannelSums(means, peaks.mul_(factor), whole, norms.sqrt_().mul_(factor))


def statistics_of(sums: ChannelSums, rms: Tensor) -> Tensor:
    """The statistics of every channel, squashed, from its sums: (S, C)."""
    rms = torch.where(rms > _TINY, rms, 1)  # maps that are all zero
    mean, zeros, positives, second, third, fourth = sums.whole
    mean, variance, between = mean / rms, second / rms.square(), sums.means.square().mean(0) / rms.square()
    deviation = variance.sqrt()
    scale = rms * (deviation + 1e-6)
    ordered = ascending(sums.means.T.contiguous())  # (C, n)
    found = [
        mean,
        deviation,
        between.sqrt(),
        (variance - between).clamp_min(0).sqrt(),
        sums.peaks.mean(0) / rms,
        variance_of(sums.peaks).sqrt() / rms,
        zeros,
        positives,
        (third / scale.pow(3)).clamp(-10, 10) / 3,
        (fourth / scale.pow(4)).clamp(0, 100).sqrt(),
        *(quantiles(ordered, (0.1, 0.5, 0.9)).T / rms + mean),
    ]
    values = torch.stack(found)
    return values.sign() * values.abs().log1p()
