"""How images are dealt into bags."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BAGS = 8
"""Bags that a module is at least scored on, where there are images for more than one."""


def bag_order(n: int, *, bag_size: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of n images come when, and the sizes of the bags that they are cut into.

    The images are shuffled. Where they make :data:`BAGS` bags or more, each image is in one, and the bags have almost
    the same size, at most ``bag_size``. Fewer images are dealt in several rounds, each shuffled anew, and the last bag
    of a round is filled up from its beginning. Where there are images for one bag only, there is one.

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
