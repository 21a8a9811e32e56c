"""The 90 % interval of a predicted FMCS. Pure Python: who reads logged figures needs no torch for it."""

from __future__ import annotations

NORMAL_90 = 1.6448536269514722  # half width of a normal distribution's central 90 %, in standard deviations


def interval(fmcs: float, std: float) -> tuple[float, float]:
    """Both ends of the 90 % interval of a normal distribution, cut to [0, 1]; of no deviation, the FMCS itself.

    Example:
        >>> [round(end, 3) for end in interval(0.9, 0.1)]
        [0.736, 1.0]
    """
    half = NORMAL_90 * std
    return max(0.0, fmcs - half), min(1.0, fmcs + half)
