"""How much of a recording is looked at: pictures in a page are bounded, whatever was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fmce_mlflow.method.maps.pictures import CHANNEL_SIDE, CHANNELS, pooled_size

MOST_BYTES = 3_400_000  # of pixels in a page; as text in it they take a third more
MOST_VALUES = 2**27  # of pooled maps in memory at a time
MOST_MODULES = 12
FRAME = 1  # pixels around each picture in a sprite
_CHOICES = ((40, 8, 32), (40, 6, 32), (40, 6, 24), (30, 6, 24), (30, 4, 24), (30, 4, 16), (20, 4, 16))


@dataclass(frozen=True, slots=True)
class Bounds:
    """At most so many snapshots and images, and maps of at most so many rows and columns."""

    snapshots: int
    images: int
    side: int


def bounds(shapes: Sequence[tuple[int, int, int]], snapshots: int, images: int) -> Bounds:
    """How much of some modules fits into a page: as many snapshots, images and positions as there is room for.

    Args:
        shapes: Of each module's maps, (C, H, W); at most :data:`MOST_MODULES`.
        snapshots: How many there are, or are wanted.
        images: Likewise.

    Example:
        >>> bounds([(1024, 4, 4)], 25, 256)
        Bounds(snapshots=25, images=8, side=32)
        >>> bounds([(64, 56, 56)] * 12, 400, 256)
        Bounds(snapshots=20, images=4, side=16)
    """
    for most in _CHOICES:
        found = Bounds(min(snapshots, most[0]), min(images, most[1]), most[2])
        if page_bytes(shapes, found) <= MOST_BYTES:
            break
    return found


def page_bytes(shapes: Sequence[tuple[int, int, int]], within: Bounds) -> int:
    """How many bytes the pixels of some modules take."""
    total = 0
    for _, height, width in shapes:
        h, w = pooled_size(height, width, within.side)
        th, tw = pooled_size(height, width, min(within.side, CHANNEL_SIDE))
        total += 3 * (h + 2 * FRAME) * (w + 2 * FRAME) + CHANNELS * (th + 2 * FRAME) * (tw + 2 * FRAME)
    return total * within.snapshots * within.images


def side_in_memory(channels: int, snapshots: int, images: int, side: int) -> int:
    """The rows and columns of a module's maps at most, so that those of all snapshots can be held at once.

    Example:
        >>> side_in_memory(256, 40, 8, 32), side_in_memory(4096, 40, 8, 32)
        (32, 10)
    """
    return max(1, min(side, int((MOST_VALUES / (channels * snapshots * images)) ** 0.5)))
