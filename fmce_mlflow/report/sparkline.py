"""A curve as one line of characters, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.-=+*#@"
"""For terminals that lack the blocks."""


def sparkline(values: Sequence[float], *, width: int = 60, levels: str = BLOCKS) -> str:
    """Values as columns between the least and the greatest of them; of more than there is room for, means.

    What is not finite is left blank.

    Example:
        >>> sparkline([3, 2, 1.5, 1, 1]), sparkline([3, math.nan, 1], levels=PLAIN)
        ('█▅▃▁▁', '@ _')
    """
    parts = min(width, len(values))
    edges = [round(place * len(values) / parts) for place in range(parts + 1)] if parts else []
    means = [_mean(values[start:end]) for start, end in pairwise(edges)]
    known = [one for one in means if math.isfinite(one)]
    if not known:
        return " " * parts
    low, span = min(known), (max(known) - min(known)) or 1.0
    top = len(levels) - 1
    return "".join(levels[round(top * (one - low) / span)] if math.isfinite(one) else " " for one in means)


def column_of(place: int, count: int, width: int = 60) -> int:
    """The column in which a value stands, by its place among so many.

    Example:
        >>> column_of(5, 20), column_of(119, 120), column_of(3, 120)
        (5, 59, 1)
    """
    return place if count <= width else min(width - 1, place * width // count)


def _mean(values: Sequence[float]) -> float:
    known = [one for one in values if math.isfinite(one)]
    return sum(known) / len(known) if known else math.nan
