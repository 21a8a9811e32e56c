"""What FMCE-Net says of a bag: a prediction, and the belief over bins of FMCS that it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.method.fmce_net.interval import interval

BINS = 41  # bins of FMCS in [0, 1] over which `SetNet` spreads its belief; bin b stands for b / (BINS − 1)
KNOTS = 64  # quantiles of each feature over the training corpus that a net with `scaling="quantile"` keeps


@dataclass(frozen=True, slots=True)
class Prediction:
    """What FMCE-Net says of one bag."""

    fmcs: float  # in [0, 1]
    std: float  # its standard deviation; 0 where the network gives none
    low: float  # lower end of the 90 % interval, in [0, 1]
    high: float
    levels: NDArray[np.float64]  # (K,), probabilities
    level: int  # the one it decides for, 0 … K − 1

    @classmethod
    def normal(
        cls, fmcs: float, std: float, levels: NDArray[np.float64], decide: Callable[[NDArray[np.float64]], int]
    ) -> Prediction:
        """With the interval of a normal distribution, cut to [0, 1]; ``decide`` gets a level from probabilities.

        Raises:
            PredictorError: If there are no numbers.
        """
        if not np.isfinite([fmcs, std, *levels]).all() or not np.sum(levels) > 0:
            raise PredictorError(
                "The predictor gives no number for this bag: its weights are too large, or damaged. Log it again, or "
                "name another predictor."
            )
        shares = np.asarray(levels, dtype=np.float64)
        return cls(fmcs, std, *interval(fmcs, std), shares / shares.sum(), decide(shares))


def normal_deviates() -> Tensor:
    """Normal deviates of the middles of :data:`KNOTS` shares of equal size, float32 (KNOTS,), within ±2.42."""
    deviates: Tensor = torch.special.ndtri((torch.arange(KNOTS, dtype=torch.float64) + 0.5) / KNOTS)
    return deviates.float()


def soft_labels(fmcs: Tensor, width: float = 0.04) -> Tensor:
    """FMCS (B,) as a belief over bins, float32 (B, BINS): a normal distribution of deviation ``width``, cut to [0, 1].

    Example:
        >>> soft_labels(torch.tensor([0.5])).argmax().item() == (BINS - 1) // 2
        True
    """
    edges = (torch.arange(BINS + 1) - 0.5) / (BINS - 1)  # (BINS + 1,)
    below = torch.special.ndtr((edges - fmcs[:, None].float().cpu()) / width)  # (B, BINS + 1)
    mass = below.diff(dim=1)
    shares: Tensor = (mass / mass.sum(1, keepdim=True)).to(fmcs.device)
    return shares


def normal_belief(fmcs: Tensor, width: Tensor) -> Tensor:
    """Normal distributions of FMCS (B,) and deviations (B,) as beliefs, float32 (B, BINS).

    What lies outside [0, 1] is at its ends, so that the median stays where it is.

    Example:
        >>> [round(one, 2) for one in median(normal_belief(torch.tensor([1.0, 0.5]), torch.full((2,), 0.2))).tolist()]
        [0.99, 0.5]
    """
    edges = (torch.arange(1, BINS, device=fmcs.device) - 0.5) / (BINS - 1)  # (BINS - 1,)
    below = torch.special.ndtr((edges - fmcs[:, None]) / width[:, None])
    ends = torch.zeros_like(below[:, :1])
    return torch.cat([ends, below, ends + 1], 1).diff(dim=1)


def level_shares(levels: int) -> Tensor:
    """How much of each bin belongs to each level, (BINS, K): overlap of the bin with the level's stretch of FMCS."""
    bin_edges = ((np.arange(BINS + 1) - 0.5) / (BINS - 1)).clip(0, 1)
    level_edges = ((np.arange(levels + 1) - 0.5) / (levels - 1)).clip(0, 1)
    low = np.maximum(bin_edges[:-1, None], level_edges[None, :-1])
    high = np.minimum(bin_edges[1:, None], level_edges[None, 1:])
    shares = (high - low).clip(0)
    return torch.from_numpy(shares / shares.sum(1, keepdims=True)).float()


def median(belief: Tensor) -> Tensor:
    """Median of beliefs (B, BINS), linear within a bin, (B,) in [0, 1]."""
    total = belief.cumsum(1)  # (B, BINS)
    place = (total < 0.5).sum(1).clamp_max(BINS - 1)  # (B,)
    mass = belief.gather(1, place[:, None])[:, 0].clamp_min(1e-9)
    before = total.gather(1, place[:, None])[:, 0] - mass
    return ((place - 0.5 + (0.5 - before) / mass) / (BINS - 1)).clamp(0, 1)
