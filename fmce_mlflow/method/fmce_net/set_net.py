"""The ``set`` kind of FMCE-Net, which is ours and can score a training run that it has not seen.

A bag in, any C, H, W; FMCS, levels and an uncertainty out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fmce_mlflow.method.fmce_net.belief import BINS, Prediction, level_shares, median, normal_deviates
from fmce_mlflow.method.fmce_net.config import Kind, SetConfig
from fmce_mlflow.method.fmce_net.statistics import BAG_STATISTICS, FEATURES, POOLED_STATISTICS, bag_features

_SEEN: dict[str, slice] = {
    "channels": slice(0, POOLED_STATISTICS),
    "bag": slice(POOLED_STATISTICS, POOLED_STATISTICS + BAG_STATISTICS),
    "both": slice(0, POOLED_STATISTICS + BAG_STATISTICS),
    "all": slice(0, FEATURES),
}


class SetNet(nn.Module):
    """Predicts FMCS from a bag, whatever the order of its channels and images.

    The bag's features (:func:`~fmce_mlflow.method.fmce_net.statistics.bag_features`), which do not know that order,
    pass through an ensemble of small networks; each spreads its belief over :data:`BINS` bins of FMCS. Methods take
    features of B bags, (B, FEATURES), or (B, 2·FEATURES) beside a reference, see :func:`with_reference`. It should be
    in eval mode when it predicts.

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
        self.members = nn.ModuleList(_member(config) for _ in range(config.members))
        inputs = FEATURES * (2 if config.reference else 1)
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

    def standardize(self, features: Tensor) -> Tensor:
        """Features that the net sees, in units of their deviation over the corpus, cut at ±5: (B, F).

        A net that knows references takes the corpus's mean contrast where none is given.
        """
        features = features.float()
        if self.config.reference and features.shape[1] == FEATURES:
            features = torch.cat([features, self.mean[FEATURES:].expand(len(features), -1)], 1)
        scaled = ((features[:, : len(self.mean)] - self.mean) / self.scale).clamp(-5, 5)
        return seen_features(scaled, self.config)

    def normalize(self, features: Tensor) -> Tensor:
        """Features as the net's members take them in, (B, F); a contrast that is missing is 0.

        As :meth:`standardize`, or with ``quantile`` normal deviates within ±2.42.
        """
        if self.config.scaling == "standard":
            return self.standardize(features)
        known = features[:, : len(self.mean)].float().T.contiguous()  # (f, B)
        scaled = torch.zeros(len(self.mean), len(features), dtype=torch.float32, device=features.device)
        scaled[: len(known)] = _interpolated(known, self.knots[: len(known)], self.deviates)
        return seen_features(scaled.T, self.config)

    def forward(self, features: Tensor) -> Tensor:
        """Belief over the bins of FMCS, averaged over members, float32 (B, BINS)."""
        seen = self.normalize(features)
        return torch.stack([member(seen).softmax(1) for member in self.members]).mean(0)

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
    def score(self, maps: Tensor | NDArray[Any], reference: Tensor | None = None) -> tuple[Prediction, float]:
        """As :meth:`predict`, with the reference's features (FEATURES,), and the bag's :meth:`distance`."""
        features = bag_features(torch.as_tensor(maps))[None]
        if reference is not None and self.wants_reference:
            features = with_reference(features, reference)
        return self.predict_features(features)[0], self.distance(features)

    @torch.no_grad()
    def distance(self, features: Tensor) -> float:
        """How far bags lie from the training corpus: the root mean square of their standardised features, 0 to 5.

        It is about 1 within the corpus.
        """
        return float(self.standardize(features).square().mean().sqrt())

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


def seen_features(features: Tensor, config: SetConfig) -> Tensor:
    """Those of the features that a net of this shape sees: (B, F).

    Example:
        >>> seen_features(torch.ones(3, 2 * FEATURES), SetConfig(statistics="bag", reference=True)).shape[1]
        152
    """
    kept = _SEEN[config.statistics]
    if config.reference:
        return torch.cat([features[:, kept], features[:, FEATURES:][:, kept]], 1)
    return features[:, kept]


def _member(config: SetConfig) -> nn.Sequential:
    """One network of a :class:`SetNet`: standardised features (B, F) to logits (B, BINS)."""
    kept = _SEEN[config.statistics]
    inputs = (kept.stop - kept.start) * (2 if config.reference else 1)
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
