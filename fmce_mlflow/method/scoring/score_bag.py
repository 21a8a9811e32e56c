"""Score functional modules: images in batches, their maps in bags, each bag's score by FMCE-Net.

Maps are let go as soon as a bag of them has been reduced to its statistics, so the memory that this takes does not grow
with the number of images. Reduction has a thread of its own and overlaps with the next forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fmce_mlflow.method.fmce_net.belief import NORMAL_90, Prediction
from fmce_mlflow.method.fmce_net.kinds import FmceNet

BAGS = 8
"""Bags that a module is scored on at least, where there are images for more than one."""

FAR = 2.0
"""Distance from the corpus from which a predictor that has no thresholds of its own is not to be trusted."""


@dataclass(frozen=True, slots=True, eq=False)
class BagScore:
    """What FMCE-Net says of one bag.

    Attributes:
        prediction: FMCS, its uncertainty and its levels.
        distance: How far the bag lies from the training corpus, see :meth:`SetNet.distance`; NaN where unknown.
    """

    prediction: Prediction
    distance: float


@dataclass(frozen=True, slots=True, eq=False)
class ModuleScore:
    """What FMCE-Net says of one module over all its bags.

    Attributes:
        module: Its dotted name.
        fmcs: Mean over bags.
        std: √(mean of the bags' variances + variance between bags).
        low: Lower end of the 90 % interval, fmcs − 1.645·std, in [0, 1].
        high: Upper end.
        levels: Mean probability of each of the K levels, float64 (K,).
        level: The level that the net decides for.
        distance: Mean distance from the predictor's training corpus; NaN where unknown.
        bags: How many there were.
        shape: (C, H, W) of its maps.
        image_scores: Per image, the mean score of the bags it was in, float64 (n,); NaN for images that were left out.
    """

    module: str
    fmcs: float
    std: float
    low: float
    high: float
    levels: NDArray[np.float64]
    level: int
    distance: float
    bags: int
    shape: tuple[int, int, int]
    image_scores: NDArray[np.float64]


def bag_order(n: int, *, bag_size: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of n images come when, and how they are cut into bags.

    The images are shuffled. Where they make :data:`BAGS` bags or more, each image is in one, and the bags have almost
    the same size, at most ``bag_size``. Fewer images are dealt in several rounds, each shuffled anew, and the last bag
    of a round is filled up from its beginning. Images for one bag only make one.

    Args:
        n: Images.
        bag_size: Images in a bag.
        seed: Shuffles.

    Returns:
        Positions of images in order, and the bags' sizes, which add up to their number.

    Example:
        >>> order, sizes = bag_order(100, bag_size=64)
        >>> sizes.tolist(), len(np.unique(order))
        ([64, 64, 64, 64, 64, 64, 64, 64], 100)
        >>> bag_order(1000, bag_size=64)[1].tolist()[-2:]
        [62, 62]
    """
    rng = np.random.default_rng(seed)
    if n <= bag_size:
        return rng.permutation(n), np.array([n])
    per_round = -(-n // bag_size)
    if per_round >= BAGS:
        return rng.permutation(n), np.array([len(part) for part in np.array_split(np.arange(n), per_round)])
    rounds = -(-BAGS // per_round)
    order = np.concatenate([np.resize(rng.permutation(n), per_round * bag_size) for _ in range(rounds)])
    return order, np.full(rounds * per_round, bag_size)


def score_bag(net: FmceNet, maps: Tensor, reference: Tensor | None = None) -> BagScore:
    """From maps to a prediction: the one place where that happens.

    Args:
        net: FMCE-Net in eval mode.
        maps: Of one module, (n, C, H, W), floating point.
        reference: Features of the untrained module, float32 (FEATURES,), for a net that looks at them.

    Raises:
        PredictorError: If they are no bag that the net can score.

    Example:
        >>> from fmce_mlflow.method.fmce_net.config import SetConfig
        >>> from fmce_mlflow.method.fmce_net.set_net import SetNet
        >>> 0 <= score_bag(SetNet(SetConfig(members=1)).eval(), torch.rand(8, 16, 4, 4)).prediction.fmcs <= 1
        True
    """
    return BagScore(*net.score(maps, reference))


def is_far(distance: float, info: Mapping[str, Any]) -> bool:
    """Whether a distance is beyond what the predictor's training corpus spans.

    Args:
        distance: Of a :class:`BagScore`.
        info: The predictor's; ``corpus_distance`` in it, ``{"far": number}``, goes before :data:`FAR`.

    Example:
        >>> is_far(2.5, {}), is_far(2.5, {"corpus_distance": {"far": 3.0}}), is_far(float("nan"), {})
        (True, False, False)
    """
    known = info.get("corpus_distance")
    limit = known.get("far") if isinstance(known, Mapping) else None
    return distance > (limit if isinstance(limit, (int, float)) else FAR)


def _merge(
    name: str, found: tuple[tuple[int, int, int], list[tuple[NDArray[np.int64], BagScore]]], images: int, net: FmceNet
) -> ModuleScore:
    shape, bags = found
    predictions = [one.prediction for _, one in bags]
    fmcs = np.array([p.fmcs for p in predictions])
    mean = float(fmcs.mean())
    std = float(np.sqrt(np.mean([p.std**2 for p in predictions]) + fmcs.var()))
    levels = np.mean([p.levels for p in predictions], axis=0)
    total, times = np.zeros(images), np.zeros(images)
    for (members, _), value in zip(bags, fmcs, strict=True):
        np.add.at(total, members, value)
        np.add.at(times, members, 1)
    return ModuleScore(
        module=name,
        fmcs=mean,
        std=std,
        low=max(0.0, mean - NORMAL_90 * std),
        high=min(1.0, mean + NORMAL_90 * std),
        levels=levels,
        level=net.decide(levels),
        distance=float(np.mean([one.distance for _, one in bags])),
        bags=len(bags),
        shape=shape,
        image_scores=np.divide(total, times, out=np.full(images, np.nan), where=times > 0),
    )
