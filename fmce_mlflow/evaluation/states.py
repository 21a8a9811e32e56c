"""How a module's FMCS and interval lie to the bar from which it counts as trained enough. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

State = Literal["mature", "likely", "unlikely", "immature", "untrained", "unknown"]
BADGES: Mapping[State, str] = {
    "mature": "mature",
    "likely": "probably mature",
    "unlikely": "probably not mature",
    "immature": "not mature",
    "untrained": "never trained",
    "unknown": "cannot tell",
}
MATURE = 0.9  # FMCS from which a module counts as trained enough to build on; a bar of ours, not the paper's


def standing(fmcs: float, low: float, high: float, mature: float = MATURE) -> State:
    """Whether a score and its 90 % interval lie above the bar; without an interval, both of its ends are the score.

    Example:
        >>> standing(0.95, 0.91, 0.99), standing(0.95, 0.85, 1.0), standing(0.6, 0.5, 0.7)
        ('mature', 'likely', 'immature')
    """
    if fmcs >= mature:
        return "mature" if low >= mature or low >= high else "likely"
    return "immature" if high < mature else "unlikely"
