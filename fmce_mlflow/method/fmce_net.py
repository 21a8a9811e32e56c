"""FMCE-Net: networks that predict FMCS from feature maps alone.

``OutlineNet`` follows the published outline (arXiv 2405.04041): one image's map in, channels in the order of that
backbone, K levels out. Its widths and depths are ours, for the outline leaves them open. ``SetNet`` is ours: a bag
in, blind to the order of channels and of images, any C, H and W; FMCS, levels and an uncertainty out. Only the second
kind can score a training run that it has not seen.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from fmce_mlflow.errors import ConfigError, PredictorError
from fmce_mlflow.method.bag_statistics import BAG_STATISTICS, FEATURES, POOLED_STATISTICS, bag_features, check_bag

Kind = Literal["set", "outline"]
Statistics = Literal["both", "channels", "bag", "all"]
Scaling = Literal["standard", "quantile"]

_SEEN: dict[str, slice] = {
    "channels": slice(0, POOLED_STATISTICS),
    "bag": slice(POOLED_STATISTICS, POOLED_STATISTICS + BAG_STATISTICS),
    "both": slice(0, POOLED_STATISTICS + BAG_STATISTICS),
    "all": slice(0, FEATURES),
}
BINS = 41
"""Bins of FMCS in [0, 1] over which ``SetNet`` spreads its belief; bin b stands for b / (BINS − 1)."""
KNOTS = 64
"""Quantiles of each feature over the training corpus that a net with ``scaling="quantile"`` keeps."""
NORMAL_90 = 1.6448536269514722  # half width of a normal distribution's central 90 %, in standard deviations


@dataclass(frozen=True, slots=True)
class Prediction:
    """What FMCE-Net says of one bag.

    Attributes:
        fmcs: Feature Map Convergence Score, in [0, 1].
        std: Its uncertainty as a standard deviation; 0 where the network gives none.
        low: Lower end of the 90 % interval, in [0, 1].
        high: Upper end.
        levels: Probability of each of the K levels, float64 (K,), summing to 1.
        level: The level that it decides for, 0 … K − 1; see the networks' ``decide``.
    """

    fmcs: float
    std: float
    low: float
    high: float
    levels: NDArray[np.float64]
    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetConfig:
    """Shape of :class:`SetNet`.

    Attributes:
        levels: K.
        statistics: Which features it sees: those pooled over ``channels``, those of the ``bag`` as a whole, ``both``,
            or ``all``, those of clusters too.
        reference: Whether it also sees how they differ from the same module's before training, on the same images.
        scaling: What a feature becomes before it enters: ``standard``, its distance from the training corpus's mean in
            deviations, cut at ±5; ``quantile``, the normal deviate of its rank in the training corpus, which a heavy
            tail or a value far outside moves less.
        width: Width of the hidden layers.
        depth: Hidden layers.
        dropout: Dropout behind each, in [0, 1).
        input_dropout: Dropout of the features, in [0, 1).
        members: Networks that differ in their initial weights and whose beliefs are averaged.

    Raises:
        ConfigError: Names every value that is out of range.
    """

    levels: int = 5
    statistics: Statistics = "both"
    reference: bool = False
    scaling: Scaling = "standard"
    width: int = 64
    depth: int = 2
    dropout: float = 0.2
    input_dropout: float = 0.2
    members: int = 4

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be {least} to {most:,}, got {value}"
            for name, least, most in (
                ("levels", 2, 1000),
                ("width", 1, 2**16),
                ("depth", 0, 64),
                ("members", 1, 256),
            )
            if not least <= (value := getattr(self, name)) <= most
        ]
        problems += [
            f"{name} must be one of {', '.join(get_args(known))}; got {value!r}"
            for name, known in (("statistics", Statistics), ("scaling", Scaling))
            if (value := getattr(self, name)) not in get_args(known)
        ]
        problems += [
            f"{name.replace('_', '-')} must be in [0, 1), got {value}"
            for name in ("dropout", "input_dropout")
            if not 0 <= (value := getattr(self, name)) < 1
        ]
        if problems:
            raise ConfigError(problems)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlineConfig:
    """Shape of :class:`OutlineNet`.

    Attributes:
        channels: C of the maps it reads.
        height: H.
        width: W.
        levels: K.
        features: Channels inside.
        blocks: Residual convolution blocks.
        heads: Heads of the self-attention; a divisor of ``features``.
        dropout: Dropout before the last layer, in [0, 1).

    Raises:
        ConfigError: Names every value that is out of range.
    """

    channels: int
    height: int
    width: int
    levels: int = 5
    features: int = 64
    blocks: int = 2
    heads: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be {least} to {most:,}, got {value}"
            for name, least, most in (
                ("channels", 1, 2**20),
                ("height", 1, 2**16),
                ("width", 1, 2**16),
                ("levels", 2, 1000),
                ("features", 1, 2**16),
                ("blocks", 0, 256),
                ("heads", 1, 2**16),
            )
            if not least <= (value := getattr(self, name)) <= most
        ]
        if self.heads >= 1 and self.features % self.heads:
            problems.append(f"features ({self.features}) must be a multiple of heads ({self.heads})")
        if not 0 <= self.dropout < 1:
            problems.append(f"dropout must be in [0, 1), got {self.dropout}")
        if problems:
            raise ConfigError(problems)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


class SetNet(nn.Module):
    """Predicts FMCS from a bag, whatever the order of its channels and images.

    The bag's features (:func:`~fmce_mlflow.method.bag_statistics.bag_features`), which do not know that order, pass
    through an ensemble of small networks; each spreads its belief over :data:`BINS` bins of FMCS.

    Args:
        config: Its shape.

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
        self.register_buffer("level_of_bin", _level_shares(config.levels), persistent=False)

    def standardize(self, features: Tensor) -> Tensor:
        """Features in units of their deviation over the training corpus, cut at ±5, those that the net sees.

        Args:
            features: (B, FEATURES); with a reference (B, 2·FEATURES), see :func:`with_reference`. Without one, a net
                that knows references takes the corpus's mean contrast.

        Returns:
            (B, F), F of them by ``config.statistics`` and ``config.reference``.
        """
        features = features.float()
        if self.config.reference and features.shape[1] == FEATURES:
            features = torch.cat([features, self.mean[FEATURES:].expand(len(features), -1)], 1)
        scaled = ((features[:, : len(self.mean)] - self.mean) / self.scale).clamp(-5, 5)
        return seen_features(scaled, self.config)

    def normalize(self, features: Tensor) -> Tensor:
        """Features as the net's members take them in, by ``config.scaling``; a contrast that is missing is 0.

        Args:
            features: As for :meth:`standardize`.

        Returns:
            (B, F): with ``standard`` as of :meth:`standardize`; with ``quantile`` normal deviates within ±2.42.
        """
        if self.config.scaling == "standard":
            return self.standardize(features)
        known = features[:, : len(self.mean)].float().T.contiguous()  # (f, B)
        scaled = torch.zeros(len(self.mean), len(features), device=features.device)
        scaled[: len(known)] = _interpolated(known, self.knots[: len(known)], self.deviates)
        return seen_features(scaled.T, self.config)

    def forward(self, features: Tensor) -> Tensor:
        """Belief over the bins of FMCS, averaged over members.

        Args:
            features: Of B bags, as for :meth:`standardize`.

        Returns:
            Probabilities, float32 (B, BINS).
        """
        seen = self.normalize(features)
        return torch.stack([member(seen).softmax(1) for member in self.members]).mean(0)

    def summarize(self, belief: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """FMCS, uncertainty and levels of a belief.

        Args:
            belief: (B, BINS).

        Returns:
            FMCS (B,), the belief's median; its standard deviation (B,), scaled so that ±1.645 of it is a 90 % interval
            on unseen groups; probabilities of the levels (B, K).
        """
        mean = belief @ self.bins
        variance = (belief @ self.bins.square() - mean.square()).clamp_min(1e-6)
        return _median(belief), variance.sqrt() * self.std_scale, belief @ self.level_of_bin

    @torch.no_grad()
    def predict(self, maps: Tensor | NDArray[Any], reference: Tensor | NDArray[Any] | None = None) -> Prediction:
        """Score one bag.

        Args:
            maps: The feature maps of one module for n ≥ 2 images, (n, C, H, W), floating point.
            reference: Those of the same module before training, (m, C, H, W); nets without ``config.reference`` do not
                look at them.

        Returns:
            The prediction; the net should be in eval mode.

        Raises:
            PredictorError: Another shape, fewer than two images, or NaN or infinite values.
        """
        features = bag_features(torch.as_tensor(maps))[None]
        if reference is not None and self.config.reference:
            features = with_reference(features, bag_features(torch.as_tensor(reference)))
        return self.predict_features(features)[0]

    @torch.no_grad()
    def predict_features(self, features: Tensor) -> list[Prediction]:
        """Score bags from their features, as for :meth:`standardize`; the net should be in eval mode."""
        fmcs, std, levels = (part.cpu().double().numpy() for part in self.summarize(self(features)))
        return [_prediction(float(f), float(s), p, self.decide(p)) for f, s, p in zip(fmcs, std, levels, strict=True)]

    @staticmethod
    def decide(levels: NDArray[np.float64]) -> int:
        """The level nearest to the expected one: levels are in order, and to be two off is worse than one.

        Args:
            levels: Probabilities of the K levels, (K,).

        Example:
            >>> SetNet.decide(np.array([0.4, 0.0, 0.3, 0.3]))
            2
        """
        return round(float(levels @ np.arange(len(levels)) / levels.sum()))


class OutlineNet(nn.Module):
    """Predicts the level of one image's feature map, as published: convolution, then self-attention over positions.

    It reads channels by their place, so it can only score runs it was trained on; a bag's score is the mean of its
    images'.

    Args:
        config: Its shape.

    Example:
        >>> net = OutlineNet(OutlineConfig(channels=16, height=4, width=4))
        >>> net(torch.rand(8, 16, 4, 4)).shape
        torch.Size([8, 5])
    """

    kind: Kind = "outline"

    def __init__(self, config: OutlineConfig) -> None:
        super().__init__()
        self.config = config
        d = config.features
        self.norm = nn.BatchNorm2d(config.channels)
        self.inward = nn.Conv2d(config.channels, d, 1)
        self.blocks = nn.ModuleList(_residual(d) for _ in range(config.blocks))
        self.place = nn.Parameter(torch.randn(1, config.height * config.width, d) * 0.02)
        self.before = nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, config.heads, batch_first=True)
        self.head = nn.Sequential(nn.LayerNorm(d), nn.Dropout(config.dropout), nn.Linear(d, config.levels))

    def forward(self, maps: Tensor) -> Tensor:
        """Scores of the levels.

        Args:
            maps: float32 (n, C, H, W).

        Returns:
            Logits, (n, K).
        """
        x = self.inward(self.norm(maps))  # (n, d, H, W)
        for block in self.blocks:
            x = F.relu(x + block(x))
        tokens = x.flatten(2).transpose(1, 2) + self.place  # (n, H·W, d)
        seen = self.before(tokens)
        tokens = tokens + self.attention(seen, seen, seen, need_weights=False)[0]
        logits: Tensor = self.head(tokens.mean(1))
        return logits

    @torch.no_grad()
    def predict(self, maps: Tensor | NDArray[Any]) -> Prediction:
        """Score one bag by the mean of its images' levels; ``std`` is the deviation of that belief.

        Args:
            maps: (n, C, H, W), floating point, of the C, H and W that it was trained on.

        Returns:
            The prediction; the net should be in eval mode.

        Raises:
            PredictorError: Another shape, fewer than two images, or NaN or infinite values.
        """
        bag = check_bag(torch.as_tensor(maps))
        c = self.config
        if bag.shape[1:] != (c.channels, c.height, c.width):
            raise PredictorError(
                f"This outline net reads maps of {c.channels}×{c.height}×{c.width}, got "
                f"{'×'.join(map(str, bag.shape[1:]))}. Nets of the kind `set` read any: train or name one."
            )
        levels = self(bag).softmax(1).mean(0).double().numpy()  # (K,)
        scores = np.arange(c.levels) / (c.levels - 1)
        fmcs = float(levels @ scores)
        return _prediction(fmcs, float(np.sqrt(levels @ (scores - fmcs) ** 2)), levels, self.decide(levels))

    @staticmethod
    def decide(levels: NDArray[np.float64]) -> int:
        """The most probable level, as published.

        Args:
            levels: Probabilities of the K levels, (K,).
        """
        return int(levels.argmax())


FmceNet: TypeAlias = SetNet | OutlineNet


def build_net(kind: str, config: dict[str, Any]) -> FmceNet:
    """A net from its kind and the dictionary of its config.

    Raises:
        PredictorError: An unknown kind, or a config that is not of that kind.

    Example:
        >>> build_net("set", SetConfig(members=2).to_dict()).config.members
        2
    """
    try:
        if kind == "set":
            return SetNet(SetConfig(**config))
        if kind == "outline":
            return OutlineNet(OutlineConfig(**config))
    except (TypeError, ConfigError) as error:
        raise PredictorError(f"This is no config of a net of kind {kind!r}: {error}.") from None
    raise PredictorError(f"There is no net of kind {kind!r}; there are set and outline.")


def with_reference(features: Tensor, reference: Tensor) -> Tensor:
    """Features of bags beside their contrast with the module before training.

    Args:
        features: Of B bags, (B, FEATURES).
        reference: Of bags of the untrained module, (B, FEATURES) or (FEATURES,).

    Returns:
        (B, 2·FEATURES): the features, and what they have gained over the reference.

    Example:
        >>> with_reference(torch.ones(3, FEATURES), torch.ones(FEATURES))[:, FEATURES:].any().item()
        False
    """
    return torch.cat([features, features - reference], 1)


def seen_features(features: Tensor, config: SetConfig) -> Tensor:
    """Those of the features, as for :meth:`SetNet.standardize`, that a net of this shape sees: (B, F).

    Example:
        >>> seen_features(torch.ones(3, 2 * FEATURES), SetConfig(statistics="bag", reference=True)).shape[1]
        152
    """
    kept = _SEEN[config.statistics]
    if config.reference:
        return torch.cat([features[:, kept], features[:, FEATURES:][:, kept]], 1)
    return features[:, kept]


def normal_deviates() -> Tensor:
    """Normal deviates of the middles of :data:`KNOTS` shares of equal size, float32 (KNOTS,).

    Example:
        >>> deviates = normal_deviates()
        >>> [round(value, 2) for value in (deviates[0].item(), deviates[KNOTS // 2].item(), deviates[-1].item())]
        [-2.42, 0.02, 2.42]
    """
    deviates: Tensor = torch.special.ndtri((torch.arange(KNOTS, dtype=torch.float64) + 0.5) / KNOTS)
    return deviates.float()


def soft_labels(fmcs: Tensor, width: float = 0.04) -> Tensor:
    """FMCS as a belief over bins: a normal distribution of deviation ``width``, cut to [0, 1].

    Args:
        fmcs: (B,), in [0, 1].
        width: Deviation, in units of FMCS.

    Returns:
        float32 (B, BINS), rows summing to 1.

    Example:
        >>> soft_labels(torch.tensor([0.5])).argmax().item() == (BINS - 1) // 2
        True
    """
    edges = (torch.arange(BINS + 1) - 0.5) / (BINS - 1)  # (BINS + 1,)
    below = torch.special.ndtr((edges - fmcs[:, None].float().cpu()) / width)  # (B, BINS + 1)
    mass = below.diff(dim=1)
    shares: Tensor = (mass / mass.sum(1, keepdim=True)).to(fmcs.device)
    return shares


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


def _residual(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
    )


def _level_shares(levels: int) -> Tensor:
    """How much of each bin belongs to each level, (BINS, K): overlap of the bin with the level's stretch of FMCS."""
    bin_edges = ((np.arange(BINS + 1) - 0.5) / (BINS - 1)).clip(0, 1)
    level_edges = ((np.arange(levels + 1) - 0.5) / (levels - 1)).clip(0, 1)
    low = np.maximum(bin_edges[:-1, None], level_edges[None, :-1])
    high = np.minimum(bin_edges[1:, None], level_edges[None, 1:])
    shares = (high - low).clip(0)
    return torch.from_numpy(shares / shares.sum(1, keepdims=True)).float()


def _median(belief: Tensor) -> Tensor:
    """Median of beliefs (B, BINS), linear within a bin, (B,) in [0, 1]."""
    total = belief.cumsum(1)  # (B, BINS)
    place = (total < 0.5).sum(1).clamp_max(BINS - 1)  # (B,)
    mass = belief.gather(1, place[:, None])[:, 0].clamp_min(1e-9)
    before = total.gather(1, place[:, None])[:, 0] - mass
    return ((place - 0.5 + (0.5 - before) / mass) / (BINS - 1)).clamp(0, 1)


def _prediction(fmcs: float, std: float, levels: NDArray[np.float64], level: int) -> Prediction:
    half = NORMAL_90 * std
    shares = np.asarray(levels, dtype=np.float64)
    return Prediction(fmcs, std, max(0.0, fmcs - half), min(1.0, fmcs + half), shares / shares.sum(), level)
