"""What is found of one functional module: the one value that tables, metrics, verdict and page read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmce_mlflow.method.fmce_net.belief import Prediction
from fmce_mlflow.method.fmce_net.interval import interval

FAR = 2.0  # distance from the corpus from which a predictor that has no threshold of its own is not to be trusted
Floats = NDArray[np.float64]
NOTHING: Floats = np.zeros(0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModuleFinding:
    """What FMCE-Net says of one functional module over all its bags, and what else an evaluation found of it.

    Attributes:
        fmcs: Predicted FMCS, in [0, 1]: the mean over bags.
        std: √(mean of the bags' variances + variance between bags); 0 where the net gives none.
        low: Lower end of the 90 % interval, fmcs − 1.645·std, in [0, 1]; ``high`` is the upper end.
        levels: Mean probability of each of the K levels, float64 (K,).
        level: The level that the net decides for, 0 … K − 1.
        distance: How far its features lie from those of the net's training corpus: root mean square in the corpus's
            standard deviations, about 1 inside it; NaN where unknown.
        bags: How many there were; 0 where not known.
        shape: (C, H, W) of its maps, where known.
        image_scores: Per image, the mean score of the bags it was in, float64 (n,); NaN for images that were left out.
        far: Whether the distance is too large for the figures to be trusted.
        early: Whether it lies earlier in its network than any module of the net's training corpus.
        weightless: Whether it has no weights, as a pool or an activation.
        image_focus: Per image, the focus of Grad-CAM, float64 (n,); NaN where it was not taken.
        untouched: Whether its weights look as an initialisation left them, so that its FMCS is 0 by that alone.
        part: The first part of it that was never trained, its name within it, where it as a whole was; else empty.
        evidence: What else the net looked at, by the names of ``evidence.groups``; empty for a net of maps alone.
        groups: Those of ``evidence.groups`` of which there was a figure.
        said: The evidence in sentences.
        measured: FMCS by the run that trained the model, from its losses and the module's own weights, where known.
    """

    name: str
    fmcs: float
    std: float
    low: float
    high: float
    levels: Floats
    level: int
    distance: float = float("nan")
    bags: int = 0
    shape: tuple[int, int, int] | None = None
    image_scores: Floats = field(default_factory=NOTHING.copy)
    far: bool = False
    early: bool = False
    weightless: bool = False
    image_focus: Floats = field(default_factory=NOTHING.copy)
    untouched: bool = False
    part: str = ""
    evidence: Mapping[str, float] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    measured: float | None = None

    @property
    def known(self) -> bool:
        """Whether the net is to be trusted with it; of weights that are untouched nothing else needs to be known."""
        return self.untouched or not (self.far or self.early)

    @property
    def never_trained(self) -> bool:
        """Whether it has weights, and these are as an initialisation left them."""
        return self.untouched and not self.weightless

    @property
    def has_interval(self) -> bool:
        """Whether the net says how sure it is."""
        return self.low < self.high

    @property
    def expected_level(self) -> float:
        """Mean of the levels, weighted by their probabilities."""
        return float(np.dot(self.levels, np.arange(len(self.levels))))

    @property
    def focus(self) -> float | None:
        """Mean focus over the images where it was taken."""
        taken = self.image_focus[np.isfinite(self.image_focus)]
        return float(taken.mean()) if len(taken) else None

    @property
    def agrees(self) -> bool:
        """Whether the measured FMCS, if any, lies in the interval, or within a tenth where there is none."""
        if self.measured is None:
            return True
        if not self.has_interval:
            return abs(self.measured - self.fmcs) <= 0.1
        return self.low <= self.measured <= self.high


@dataclass(frozen=True, slots=True, eq=False)
class ScoredBag:
    """A bag of one module."""

    images: NDArray[np.int64]  # which images are in it, (b,)
    prediction: Prediction
    distance: float  # from the net's training corpus; NaN where unknown


def merge_bags(
    name: str, shape: tuple[int, int, int], bags: Sequence[ScoredBag], *, images: int, decide: Callable[[Floats], int]
) -> ModuleFinding:
    """All bags of a module together, at least one; ``decide`` gets a level from probabilities, as the net does."""
    fmcs = np.array([bag.prediction.fmcs for bag in bags])
    mean = float(fmcs.mean())
    std = float(np.sqrt(np.mean([bag.prediction.std**2 for bag in bags]) + fmcs.var()))
    low, high = interval(mean, std)
    levels = np.mean([bag.prediction.levels for bag in bags], axis=0)
    total, times = np.zeros(images), np.zeros(images)
    for bag in bags:
        np.add.at(total, bag.images, bag.prediction.fmcs)
        np.add.at(times, bag.images, 1)
    return ModuleFinding(
        name=name,
        fmcs=mean,
        std=std,
        low=low,
        high=high,
        levels=levels,
        level=decide(levels),
        distance=float(np.mean([bag.distance for bag in bags])),
        bags=len(bags),
        shape=shape,
        image_scores=np.divide(total, times, out=np.full(images, np.nan), where=times > 0),
    )


def is_far(distance: float, info: Mapping[str, Any]) -> bool:
    """Whether a module's distance is beyond the predictor's own limit, ``corpus_distance.far`` of its info, else FAR.

    Example:
        >>> is_far(2.5, {}), is_far(2.5, {"corpus_distance": {"far": 3.0}}), is_far(float("nan"), {})
        (True, False, False)
    """
    known = info.get("corpus_distance")
    limit = known.get("far") if isinstance(known, Mapping) else None
    return distance > (limit if isinstance(limit, (int, float)) else FAR)
