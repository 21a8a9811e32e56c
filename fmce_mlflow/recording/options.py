"""What decides a recording; loads neither torch nor MLflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fmce_mlflow.method.convergence.config import ConvergenceConfig, Signal
from fmce_mlflow.method.networks.config import TokenGridOption
from fmce_mlflow.safety.options import Option, Options

Keep = Literal["all", "markers"]

MapSizeOption = Annotated[int | None, Option("Pool larger maps to this height and width; auto: never.", ge=1)]
KeepOption = Annotated[Keep, Option("Maps to keep once the run has ended.")]
EvidenceOption = Annotated[
    bool, Option("Record at each snapshot what a predictor can be calibrated to, beside the maps.")
]
SignalOption = Annotated[Signal, Option("Sequence whose CQI decides convergence.")]

PatienceOption = Annotated[
    int, Option("Snapshots for which convergence has to last before a training stops or freezes by it.", ge=0)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingOptions(Options):
    """Everything that decides a recording, beside model, modules and probe.

    Example:
        >>> RecordingOptions(every=0)
        Traceback (most recent call last):
        ...
        fmce_mlflow.errors.ConfigError: every must be at least 1, got 0
    """

    map_size: MapSizeOption = None
    token_grid: TokenGridOption = None
    keep: KeepOption = "all"
    signal: SignalOption = "train"
    every: Annotated[
        int | None, Option("Take a snapshot at each n-th loss too; None: where the loop does alone.", ge=1)
    ] = None
    patience: PatienceOption = 3
    prefix: Annotated[str, Option("Put before the names of metrics, where a run has others of these names.")] = ""
    page: Annotated[bool, Option("Log a page to look at the maps on.")] = False
    starts_trained: Annotated[
        bool,
        Option("Snapshot 0 has trained weights, as in fine-tuning: there are no labels before T, and 1 from T on."),
    ] = False
    evidence: EvidenceOption = False
    convergence: ConvergenceConfig = field(default_factory=ConvergenceConfig)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> RecordingOptions:
        """From :meth:`to_dict`, also through JSON."""
        return cls(**{**value, "convergence": ConvergenceConfig(**value["convergence"])})

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What MLflow would not take."""
        if fine("prefix") and self.prefix and not self.prefix.replace("/", "").replace("_", "").isalnum():
            yield f"prefix must be letters, digits, _ and /, got {self.prefix!r}"
