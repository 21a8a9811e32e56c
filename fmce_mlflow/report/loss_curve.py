"""What a picture of a run's losses shows, whatever draws it: matplotlib for a file, SVG for a page."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmce_mlflow.method.convergence.config import SIGNAL_NAMES
from fmce_mlflow.method.convergence.verdict import Convergence

Floats = NDArray[np.float64]


class Marker(NamedTuple):
    """An epoch marker: its snapshot, the smoothed loss there, and its FMCS, empty where there is no room for it."""

    snapshot: int
    loss: float
    label: str


def epoch_markers(convergence: Convergence, *, most_labels: int) -> list[Marker]:
    """The epoch markers of a run; of more than ``most_labels``, only every second, third … gets a label, and both ends.

    Example:
        >>> from fmce_mlflow.method.convergence.verdict import assess
        >>> markers = epoch_markers(assess([0.6**t for t in range(20)]), most_labels=4)
        >>> [marker.label for marker in markers]
        ['0', '', '0.5', '', '1']
    """
    snapshots = convergence.markers or ()
    last = len(snapshots) - 1
    step = next((n for n in range(1, last + 2) if last // n < most_labels), 1)
    shown = {*range(0, last + 1 - step, step), 0, last}
    labels = [f"{k / last:.2f}".rstrip("0").rstrip(".") or "0" if k in shown else "" for k in range(last + 1)]
    return [Marker(t, float(convergence.smoothed[t]), label) for t, label in zip(snapshots, labels, strict=True)]


def drawn_cqi(convergence: Convergence) -> Floats | None:
    """CQI of snapshots 1 … E, at least a hundredth of the threshold; None for losses that have none."""
    values = convergence.cqi[1:]
    has_any = len(values) and np.isfinite(values).all()
    return np.maximum(values, convergence.config.threshold / 100) if has_any else None


def extent(convergence: Convergence) -> tuple[float, float]:
    """The least and the greatest loss, smoothed ones too, of those that are finite; 0 and 1 where none is."""
    both = np.concatenate([convergence.losses, convergence.smoothed])
    finite = both[np.isfinite(both)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)


def quantity(convergence: Convergence) -> str:
    """What the losses are, with their unit where they need one."""
    return SIGNAL_NAMES[convergence.signal] + (" (1 − CKA)" if convergence.signal == "drift" else "")


def point_text(convergence: Convergence) -> str:
    """The convergence point."""
    return "not converged" if convergence.point is None else f"T = {convergence.point}"
