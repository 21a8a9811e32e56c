"""The ``set`` kind of FMCE-Net, which is ours and can score a training run that it has not seen.

A bag in, any C, H, W; FMCS, levels and an uncertainty out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from fmce_mlflow.method.evidence.groups import NAMES, NEVER, columns
from fmce_mlflow.method.fmce_net.belief import BINS, Prediction, level_shares, median, normal_belief, normal_deviates
from fmce_mlflow.method.fmce_net.config import Kind, SetConfig
from fmce_mlflow.method.fmce_net.forest import Forest
from fmce_mlflow.method.fmce_net.statistics import BAG_STATISTICS, FEATURES, POOLED_STATISTICS, bag_features

_SEEN: dict[str, slice] = {
    "channels": slice(0, POOLED_STATISTICS),
    "bag": slice(POOLED_STATISTICS, POOLED_STATISTICS + BAG_STATISTICS),
    "both": slice(0, POOLED_STATISTICS + BAG_STATISTICS),
    "all": slice(0, FEATURES),
    "none": slice(0, 0),
}

SPREADS = (0.01, 0.5)  # of what trees believe
VARIES = 0.0101  # least scale of a column that varied over the training bags
_NEVER_PLACE = 2 * FEATURES + NAMES.index(NEVER)


class SetNet(nn.Module):
    """Predicts FMCS from a bag, whatever the order of its channels and images.

    The bag's features (:func:`~fmce_mlflow.method.fmce_net.statistics.bag_features`), which do not know that order,
    pass through an ensemble of small networks; each spreads its belief over :data:`BINS` bins of FMCS. Methods take
    features of B bags, (B, FEATURES), or (B, 2·FEATURES) beside a reference, see :func:`with_reference`, or with
    evidence (B, 2·FEATURES + len(NAMES)), see :func:`with_evidence`; what is missing is NaN. A module whose weights
    are as an initialisation left them scores 0, whatever its maps are. The net should be in eval mode when it predicts.

    Example:
        >>> net = SetNet(SetConfig(members=1)).eval()
        >>> found = net.predict(torch.rand(8, 16, 4, 4))
        >>> 0 <= found.low <= found.fmcs <= found.high <= 1
        True
    """

    kind: Kind = "set"
    mean: Tensor
    scale: Tensor
    std_scale: Tensor
    knots: Tensor
    deviates: Tensor
    bins: Tensor
    level_of_bin: Tensor

    def __init__(self, config: SetConfig) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(_member(config) for _ in range(0 if config.trees else config.members))
        if config.trees:
            self.location, self.spread = Forest(config.trees, config.leaves), Forest(config.trees // 2, config.leaves)
        inputs = 2 * FEATURES + len(NAMES) if config.evidence else FEATURES * (2 if config.reference else 1)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.register_buffer("std_scale", torch.ones(()))
        if config.scaling == "quantile":
            self.register_buffer("deviates", normal_deviates(), persistent=False)
            self.register_buffer("knots", self.deviates.repeat(inputs, 1))
        self.register_buffer("bins", torch.linspace(0, 1, BINS), persistent=False)
        self.register_buffer("level_of_bin", level_shares(config.levels), persistent=False)

    @property
    def wants_reference(self) -> bool:
        """Whether it looks at the contrast with the module before training."""
        return self.config.reference

    @property
    def calibrated(self) -> bool:
        """Whether its interval was set on groups that were left out while it was fitted."""
        return bool(self.std_scale != 1)

    @property
    def wants_evidence(self) -> bool:
        """Whether it looks at more than maps."""
        return bool(self.config.evidence)

    def standardize(self, features: Tensor) -> Tensor:
        """Features that the net sees, in units of their deviation over the corpus, cut at ±5: (B, F).

        What is missing has the corpus's mean.
        """
        known = self._whole(features)
        scaled = ((known - self.mean) / self.scale).clamp(-5, 5).nan_to_num(0.0)
        return seen_features(scaled, self.config)

    def _whole(self, features: Tensor) -> Tensor:
        """Features float32 as wide as the net knows them, NaN where they are missing."""
        width = len(self.mean)
        return F.pad(features.float()[:, :width], (0, max(0, width - features.shape[1])), value=float("nan"))

    def normalize(self, features: Tensor) -> Tensor:
        """Features as the net's members take them in, (B, F); a contrast or evidence that is missing is 0.

        As :meth:`standardize`, or with ``quantile`` normal deviates within ±2.42. Features of the maps themselves are
        never missing: a bag with NaN there is NaN throughout, so that a fit to it diverges.
        """
        if self.config.scaling == "standard":
            seen = self.standardize(features)
        else:
            known = self._whole(features).T.contiguous()  # (f, B)
            if self.config.evidence:  # what no training bag knew says nothing, whatever it is
                known = torch.where(self.scale[:, None] > VARIES, known, torch.nan)
            scaled = torch.where(known.isnan(), 0.0, _interpolated(known.nan_to_num(0.0), self.knots, self.deviates))
            seen = seen_features(scaled.T, self.config)
        seen = torch.cat([seen, self._known_groups(features)], 1) if self.config.evidence else seen
        return torch.where(features[:, :FEATURES].isnan().any(1, keepdim=True), torch.nan, seen)

    def raw(self, features: Tensor) -> Tensor:
        """Features as trees take them in, (B, F), NaN where one is missing."""
        return seen_features(torch.where(self.scale > VARIES, self._whole(features), 0.0), self.config)

    def _known_groups(self, features: Tensor) -> Tensor:
        """Which of the groups of evidence there are, the contrast first where the net sees one: 0 or 1, (B, G)."""
        known = self._whole(features).isfinite()
        parts = [known[:, FEATURES : 2 * FEATURES]] if self.config.reference else []
        parts += [known[:, -len(NAMES) :][:, columns([group])] for group in self.config.evidence]
        return torch.stack([part.any(1) for part in parts], 1).float()

    def forward(self, features: Tensor) -> Tensor:
        """Belief over the bins of FMCS, averaged over members, float32 (B, BINS)."""
        if self.config.trees:
            seen = self.raw(features)
            belief = normal_belief(self.location(seen).clamp(0, 1), self.spread(seen).clamp(*SPREADS))
        else:
            seen = self.normalize(features)
            belief = torch.stack([member(seen).softmax(1) for member in self.members]).mean(0)
        if "weights" not in self.config.evidence:
            return belief
        untouched = self._whole(features)[:, _NEVER_PLACE] == 1  # (B,)
        return torch.where(untouched[:, None], F.one_hot(untouched.long() * 0, BINS).float(), belief)

    def summarize(self, belief: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """FMCS, uncertainty and levels of a belief (B, BINS).

        Returns:
            The belief's median (B,); its standard deviation (B,), scaled so that ±1.645 of it is a 90 % interval on
            unseen groups; probabilities of the levels (B, K).
        """
        mean = belief @ self.bins
        variance = (belief @ self.bins.square() - mean.square()).clamp_min(1e-6)
        return median(belief), variance.sqrt() * self.std_scale, belief @ self.level_of_bin

    @torch.no_grad()
    def predict(self, maps: Tensor | NDArray[Any], reference: Tensor | NDArray[Any] | None = None) -> Prediction:
        """Score one bag.

        Args:
            maps: Of one module for n ≥ 2 images, (n, C, H, W), floating point.
            reference: Those of the same module before training, (m, C, H, W); only nets with ``config.reference`` look.

        Raises:
            PredictorError: Another shape, fewer than two images, or NaN or infinite values.
        """
        seen = None
        if reference is not None and self.wants_reference:
            seen = bag_features(torch.as_tensor(reference))
        return self.score(maps, seen)[0]

    @torch.no_grad()
    def score(
        self,
        maps: Tensor | NDArray[Any],
        reference: Tensor | None = None,
        evidence: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Prediction, float]:
        """As :meth:`predict`, with the reference's features (FEATURES,), and the bag's :meth:`distance`.

        ``evidence`` gives what else is known of the bag, (len(NAMES),), from its features; only nets with
        ``config.evidence`` look.
        """
        return self.score_features(bag_features(torch.as_tensor(maps)), reference, evidence)

    @torch.no_grad()
    def score_features(
        self,
        features: Tensor,
        reference: Tensor | None = None,
        evidence: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Prediction, float]:
        """As :meth:`score`, from the bag's features (FEATURES,)."""
        features = features[None]
        row = evidence(features[0])[None] if evidence is not None and self.wants_evidence else None
        if reference is not None and self.wants_reference:
            features = with_reference(features, reference)
        if row is not None:
            features = with_evidence(features, row)
        return self.predict_features(features)[0], self.distance(features)

    @torch.no_grad()
    def distance(self, features: Tensor) -> float:
        """How far bags lie from the training corpus: the root mean square of their standardised features, 0 to 5.

        It is about 1 within the corpus.
        """
        maps = FEATURES * (2 if self.config.reference else 1)
        whole = self._whole(features)[:, :maps]
        scaled = ((whole - self.mean[:maps]) / self.scale[:maps]).clamp(-5, 5).nan_to_num(0.0)
        shown = self.config.statistics if self.config.statistics != "none" else "all"
        kept = seen_features(scaled, replace(self.config, evidence=(), statistics=shown))
        return float(kept.square().mean().sqrt())

    @torch.no_grad()
    def predict_features(self, features: Tensor) -> list[Prediction]:
        """Score bags from their features."""
        fmcs, std, levels = (part.cpu().double().numpy() for part in self.summarize(self(features)))
        each = zip(fmcs.tolist(), std.tolist(), levels, strict=True)
        return [Prediction.normal(f, s, p, self.decide) for f, s, p in each]

    @staticmethod
    def decide(levels: NDArray[np.float64]) -> int:
        """The level nearest to the expected one: levels are in order, and to be two off is worse than one.

        Example:
            >>> SetNet.decide(np.array([0.4, 0.0, 0.3, 0.3]))
            2
        """
        return round(float(levels @ np.arange(len(levels)) / levels.sum()))


def with_reference(features: Tensor, reference: Tensor) -> Tensor:
    """Features (B, FEATURES) beside what they have gained over the module's before training: (B, 2·FEATURES)."""
    return torch.cat([features, features - reference], 1)


def with_evidence(features: Tensor, evidence: Tensor) -> Tensor:
    """Features (B, FEATURES) or (B, 2·FEATURES) beside evidence (B, len(NAMES)): (B, 2·FEATURES + len(NAMES))."""
    features = F.pad(features, (0, 2 * FEATURES - features.shape[1]), value=float("nan"))
    return torch.cat([features, evidence.to(features)], 1)


def seen_features(features: Tensor, config: SetConfig) -> Tensor:
    """Those of the features that a net of this shape sees: (B, F).

    Example:
        >>> seen_features(torch.ones(3, 2 * FEATURES), SetConfig(statistics="bag", reference=True)).shape[1]
        152
    """
    kept = _SEEN[config.statistics]
    parts = [features[:, kept]]
    if config.reference:
        parts.append(features[:, FEATURES:][:, kept])
    if config.evidence:
        parts.append(features[:, -len(NAMES) :][:, columns(config.evidence)])
    return torch.cat(parts, 1)


def _member(config: SetConfig) -> nn.Sequential:
    """One network of a :class:`SetNet`: standardised features (B, F) to logits (B, BINS)."""
    kept = _SEEN[config.statistics]
    inputs = (kept.stop - kept.start) * (2 if config.reference else 1)
    if config.evidence:
        inputs += len(columns(config.evidence)) + len(config.evidence) + config.reference
    layers: list[nn.Module] = [nn.Dropout(config.input_dropout)]
    for _ in range(config.depth):
        layers += [nn.Linear(inputs, config.width), nn.SiLU(), nn.Dropout(config.dropout)]
        inputs = config.width
    return nn.Sequential(*layers, nn.Linear(inputs, BINS))


def _interpolated(values: Tensor, knots: Tensor, at_knots: Tensor) -> Tensor:
    """Linear interpolation, constant outside: values (f, B), ascending knots (f, K) → (f, B)."""
    right = torch.searchsorted(knots, values).clamp(1, knots.shape[1] - 1)  # (f, B)
    low, high = knots.gather(1, right - 1), knots.gather(1, right)
    share = ((values - low) / (high - low).clamp_min(torch.finfo(torch.float32).tiny)).clamp(0, 1)
    found: Tensor = torch.lerp(at_knots[right - 1], at_knots[right], share)
    return found
