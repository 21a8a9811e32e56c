"""FMCE-Net: networks that predict FMCS from feature maps alone.

``OutlineNet`` follows the published outline (arXiv 2405.04041): one image's map in, channels in the order of that
backbone, K levels out. Its widths and depths are ours, for the outline leaves them open. ``SetNet`` is ours: a bag
in, blind to the order of channels and of images, any C, H and W; FMCS, levels and an uncertainty out. Only the second
kind can score a training run that it has not seen.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from fmce_mlflow.errors import ConfigError

Kind = Literal["set", "outline"]
Statistics = Literal["both", "channels", "bag", "all"]
Scaling = Literal["standard", "quantile"]


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
