"""Shapes of FMCE-Net, of its two kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from fmce_mlflow.safety.options import Names, Option, Options

Kind = Literal["set", "outline"]
Statistics = Literal["both", "channels", "bag", "all", "none"]
Scaling = Literal["standard", "quantile"]
Levels = Annotated[int, Option("K, the levels of FMCS.", ge=2, le=1000, command=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetConfig(Options):
    """Shape of :class:`SetNet`."""

    levels: Levels = 5
    statistics: Annotated[
        Statistics,
        Option(
            "What the set net sees: figures pooled over channels, those of the bag, both, all: of clusters too, none."
        ),
    ] = "both"
    reference: Annotated[
        bool, Option("The set net also sees the contrast with the same module before training, on the same images.")
    ] = False
    scaling: Annotated[
        Scaling,
        Option(
            "Scaling of its figures: deviations from the corpus's mean, cut at ±5, or normal deviates of their rank."
        ),
    ] = "standard"
    evidence: Annotated[
        Names,
        Option("Groups of evidence beside the maps that the set net sees, see `evidence.groups`.", command=False),
    ] = ()
    trees: Annotated[
        int, Option("Boosted trees in place of the ensemble of networks; 0: networks.", ge=0, le=2**12, command=False)
    ] = 0
    leaves: Annotated[int, Option("The most leaves of a tree.", ge=2, le=2**10, command=False)] = 15
    width: Annotated[int, Option("Width of the set net's hidden layers.", ge=1, le=2**16)] = 64
    depth: Annotated[int, Option("Hidden layers of the set net.", ge=0, le=64)] = 2
    dropout: Annotated[float, Option("Dropout after each hidden layer.", ge=0, lt=1)] = 0.2
    input_dropout: Annotated[float, Option("Dropout of the set net's figures.", ge=0, lt=1)] = 0.2
    members: Annotated[
        int, Option("Networks in the set net's ensemble, which differ in their initial weights.", ge=1, le=256)
    ] = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlineOptions(Options):
    """What can be chosen of an :class:`OutlineNet`."""

    features: Annotated[int, Option("Channels inside the outline net.", ge=1, le=2**16)] = 64
    blocks: Annotated[int, Option("Residual convolution blocks of the outline net.", ge=0, le=256)] = 2
    heads: Annotated[
        int, Option("Heads of the outline net's self-attention; a divisor of its features.", ge=1, le=2**16)
    ] = 4
    dropout: Annotated[float, Option("Dropout before the outline net's last layer.", ge=0, lt=1)] = 0.1

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What does not go together."""
        if fine("features", "heads") and self.features % self.heads:
            yield f"features ({self.features}) must be a multiple of heads ({self.heads})"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlineConfig(OutlineOptions):
    """Shape of :class:`OutlineNet`, with that of the maps it reads."""

    channels: Annotated[int, Option("C of the maps it reads.", ge=1, le=2**20, command=False)]
    height: Annotated[int, Option("H of the maps.", ge=1, le=2**16, command=False)]
    width: Annotated[int, Option("W of the maps.", ge=1, le=2**16, command=False)]
    levels: Levels = 5
