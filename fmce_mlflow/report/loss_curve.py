"""What a picture of a run's losses shows, whatever draws it: matplotlib for a file, SVG for a page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmce_mlflow.method.convergence.config import SIGNAL_NAMES
from fmce_mlflow.method.convergence.verdict import Convergence

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Marker:
    """An epoch marker on the curve.

    Attributes:
        snapshot: Where it stands.
        loss: The smoothed loss there.
        label: Its FMCS; empty where there is no room for all labels.
    """

    snapshot: int
    loss: float
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class LossCurve:
    """A run's losses, markers and CQI.

    Attributes:
        name: What the losses are.
        quantity: The same with its unit, where it needs one.
        losses: Float64 (E+1,).
        smoothed: Float64 (E+1,).
        markers: The epoch markers; none where there are no labels.
        cqi: Of snapshots 1 … E, at least a hundredth of the threshold, float64 (E,); None where there is none.
        threshold: Of CQI.
        point: T; None where the run has not converged.
    """

    name: str
    quantity: str
    losses: Floats
    smoothed: Floats
    markers: tuple[Marker, ...]
    cqi: Floats | None
    threshold: float
    point: int | None

    @property
    def last(self) -> int:
        """The last snapshot."""
        return len(self.losses) - 1

    @property
    def extent(self) -> tuple[float, float]:
        """The least and the greatest loss, smoothed ones too."""
        both = np.concatenate([self.losses, self.smoothed])
        return float(both.min()), float(both.max())

    @property
    def verdict(self) -> str:
        """The convergence point, as short as it goes."""
        return "not converged" if self.point is None else f"T = {self.point}"


def loss_curve(convergence: Convergence, *, most_labels: int) -> LossCurve:
    """What to draw of a run.

    Args:
        convergence: The run.
        most_labels: Of more markers, only every second, third … gets a label; the first and the last always do.

    Example:
        >>> from fmce_mlflow.method.convergence.verdict import assess
        >>> curve = loss_curve(assess([0.6**t for t in range(20)]), most_labels=4)
        >>> curve.verdict, [marker.label for marker in curve.markers]
        ('T = 10', ['0', '', '0.5', '', '1'])
    """
    threshold, cqi = convergence.config.threshold, convergence.cqi[1:]
    markers = convergence.markers or ()
    labels = _labels(len(markers), most_labels) if markers else []
    name = SIGNAL_NAMES[convergence.signal]
    return LossCurve(
        name=name,
        quantity=f"{name} (1 − CKA)" if convergence.signal == "drift" else name,
        losses=convergence.losses,
        smoothed=convergence.smoothed,
        markers=tuple(
            Marker(snapshot, float(convergence.smoothed[snapshot]), label)
            for snapshot, label in zip(markers, labels, strict=True)
        ),
        cqi=np.maximum(cqi, threshold / 100) if np.isfinite(cqi).all() else None,
        threshold=threshold,
        point=convergence.point,
    )


def _labels(levels: int, most: int) -> list[str]:
    """FMCS of each level, empty where it is left out."""
    last = levels - 1
    step = next(n for n in range(1, levels + 1) if last // n < most)
    shown = {*range(0, levels - step, step), 0, last}
    return [f"{level / last:.2f}".rstrip("0").rstrip(".") or "0" if level in shown else "" for level in range(levels)]
