"""What decides a backbone run, and where a run keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fmce_mlflow.method.convergence.config import ConvergenceConfig, Signal
from fmce_mlflow.method.images.config import MIN_SIZE, unknown_dataset
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.safety.options import Names, Option, Options

Stem = Literal["auto", "small", "stock"]
Keep = Literal["all", "markers"]
Format = Literal["pt2", "pickle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneOptions(Options):
    """Everything that decides a backbone run.

    Raises:
        ConfigError: If any value is out of range; names every such value.
    """

    backbone: Annotated[str, Option("torchvision name, timm:NAME or package.module:factory.")] = "shufflenet_v2_x0_5"
    dataset: Annotated[str, Option("Data set, or folder:PATH; see `fmce list-data`.")] = "digits"
    data_root: Annotated[str, Option("Where data sets are looked for.")] = "data"
    download: Annotated[bool, Option("Fetch a missing data set.")] = False
    modules: Annotated[
        Names, Option("Functional modules, names or globs with commas; empty: the last feature stage.")
    ] = ()
    stem: Annotated[Stem, Option("Stem for inputs under 64 pixels, or as published; auto: by the input's size.")] = (
        "auto"
    )
    image_size: Annotated[int | None, Option("Input height and width; auto: the data set's own.", ge=MIN_SIZE)] = None
    train_size: Annotated[
        int | None, Option("Use a stratified subset of this many training images; auto: all.", ge=1)
    ] = None
    validation_size: Annotated[
        int, Option("Held-out images for validation loss and accuracy, the probe images among them.", ge=1)
    ] = 1000
    probe_size: Annotated[int, Option("Probe images, whose maps are recorded.", ge=1)] = 256
    split_seed: Annotated[int, Option("Chooses the held-out images; runs that share it share their probe.", ge=0)] = 0
    map_size: Annotated[int | None, Option("Pool larger maps to this height and width; auto: never.", ge=1)] = None
    keep: Annotated[Keep, Option("Maps to keep once the run has ended.")] = "all"
    signal: Annotated[Signal, Option("Sequence whose CQI decides convergence.")] = "train"
    log_checkpoints: Annotated[bool, Option("Log a model at every marker too.")] = False
    model_format: Annotated[
        Format, Option("Format of logged models; pt2 falls back to pickle where a network cannot be exported.")
    ] = "pt2"
    register_as: Annotated[str | None, Option("Register the final model under this name.", none="")] = None
    training: TrainingConfig = field(default_factory=TrainingConfig)
    convergence: ConvergenceConfig = field(default_factory=ConvergenceConfig)

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What bounds do not say."""
        if fine("probe_size") and self.probe_size == 1:
            yield "probe-size must be at least 2: drift compares images with each other, got 1"
        if fine("dataset") and (problem := unknown_dataset(self.dataset)):
            yield problem

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
        return {k: "" if v is None else str(v) for k, v in values.items()}
