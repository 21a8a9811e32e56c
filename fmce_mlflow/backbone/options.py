"""What decides a backbone run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.images.config import SplitOptions
from fmce_mlflow.method.networks.config import Stem, TokenGridOption
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.recording.options import EvidenceOption, KeepOption, MapSizeOption, PatienceOption, SignalOption
from fmce_mlflow.safety.options import Names, Option, Registered
from fmce_mlflow.wording import printable

Format = Literal["pt2", "pickle"]
WorkersOption = Annotated[
    int | None,
    Option("Processes that train side by side; auto: one per core, or on a GPU one training after another.", ge=1),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneOptions(SplitOptions):
    """Everything that decides a backbone run."""

    backbone: Annotated[str, Option("torchvision name, timm:NAME or package.module:factory.")] = "shufflenet_v2_x0_5"
    modules: Annotated[
        Names, Option("Functional modules, names or globs with commas; empty: the last feature stage.")
    ] = ()
    token_grid: TokenGridOption = None
    stem: Annotated[Stem, Option("Stem for inputs under 64 pixels, or as published; auto: by the input's size.")] = (
        "auto"
    )
    probe_size: Annotated[
        int, Option("Probe images, whose maps are recorded; drift compares them with each other.", ge=2)
    ] = 256
    map_size: MapSizeOption = None
    keep: KeepOption = "all"
    evidence: EvidenceOption = False
    signal: SignalOption = "train"
    stop_when_converged: Annotated[
        bool, Option("Stop once CQI, over the snapshots so far, says that the signal has converged.")
    ] = False
    freeze_converged: Annotated[bool, Option("Freeze modules, from the input on, once CQI of their drift says so.")] = (
        False
    )
    patience: PatienceOption = 3
    log_checkpoints: Annotated[bool, Option("Log a model at every marker too.")] = False
    model_format: Annotated[
        Format, Option("Format of logged models; pt2 falls back to pickle if a network cannot be exported.")
    ] = "pt2"
    register_as: Annotated[Registered, Option("Register the final model under this name.", none="")] = None
    training: TrainingConfig = field(default_factory=TrainingConfig)
    convergence: ConvergenceConfig = field(default_factory=ConvergenceConfig)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> BackboneOptions:
        """From :meth:`to_dict`, also through JSON."""
        parts = {
            "training": TrainingConfig(**value["training"]),
            "convergence": ConvergenceConfig(**value["convergence"]),
        }
        return cls(**{**value, **parts})

    def flat(self) -> dict[str, str]:
        """As MLflow parameters: one level, text values, in a fixed order."""
        values = {**self.to_dict(), "modules": ",".join(self.modules)}
        values |= {**values.pop("training"), **values.pop("convergence")}
        return {k: "" if v is None else printable(str(v)) for k, v in values.items()}
