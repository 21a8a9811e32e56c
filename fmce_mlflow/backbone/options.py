"""What decides a backbone run, and where a run keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from fmce_mlflow.backbone.models import Format
from fmce_mlflow.errors import ConfigError
from fmce_mlflow.method.convergence.config import ConvergenceConfig, Signal
from fmce_mlflow.method.images.config import check_images
from fmce_mlflow.method.training.config import TrainingConfig

Stem = Literal["auto", "small", "stock"]
Keep = Literal["all", "markers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneOptions:
    """Everything that decides a backbone run.

    Attributes:
        backbone: A torchvision name, ``timm:<name>``, or ``package.module:factory``.
        dataset: A data set's name, or ``folder:<path>``.
        data_root: Where data sets are looked for.
        download: Fetch a missing data set.
        modules: Functional modules, names or globs; empty for the last feature stage.
        stem: ``small`` for inputs under 64 pixels, ``stock``, or ``auto``.
        image_size: Height and width of the input; None for the data set's own.
        train_size: Use a stratified subset of this many training images.
        validation_size: Held-out images for validation loss and accuracy, the probe images among them.
        probe_size: Probe images.
        split_seed: Seeds the choice of held-out images; runs that share it share their probe.
        map_size: Pool larger maps to this height and width.
        keep: ``all`` maps, or only those of the ``markers`` once the run has ended.
        signal: The sequence whose CQI decides convergence: ``train`` or ``val`` loss, or the modules' own ``drift``.
        log_checkpoints: Log a model at every marker too.
        model_format: MLflow's ``pt2`` or ``pickle``.
        register_as: Register the final model under this name.
        training: How to train.
        convergence: How convergence is told.

    Raises:
        ConfigError: If any value is out of range; names every such value.
    """

    backbone: str = "shufflenet_v2_x0_5"
    dataset: str = "digits"
    data_root: str = "data"
    download: bool = False
    modules: tuple[str, ...] = ()
    stem: Stem = "auto"
    image_size: int | None = None
    train_size: int | None = None
    validation_size: int = 1000
    probe_size: int = 256
    split_seed: int = 0
    map_size: int | None = None
    keep: Keep = "all"
    signal: Signal = "train"
    log_checkpoints: bool = False
    model_format: Format = "pt2"
    register_as: str | None = None
    training: TrainingConfig = field(default_factory=TrainingConfig)
    convergence: ConvergenceConfig = field(default_factory=ConvergenceConfig)

    def __post_init__(self) -> None:
        problems = [
            f"{name.replace('_', '-')} must be one of {', '.join(valid)}; got {value!r}"
            for name, valid in (
                ("stem", get_args(Stem)),
                ("keep", get_args(Keep)),
                ("signal", get_args(Signal)),
                ("model_format", get_args(Format)),
            )
            if (value := getattr(self, name)) not in valid
        ]
        if self.map_size is not None and self.map_size < 1:
            problems.append(f"map-size must be at least 1, got {self.map_size}")
        if self.probe_size == 1:
            problems.append("probe-size must be at least 2: drift compares images with each other, got 1")
        problems += check_images(
            self.dataset,
            image_size=self.image_size,
            probe_size=self.probe_size,
            validation_size=self.validation_size,
            train_size=self.train_size,
            split_seed=self.split_seed,
        )
        if problems:
            raise ConfigError(problems)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; nested configs as dictionaries."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> BackboneOptions:
        """From :meth:`to_dict`, also through JSON."""
        return cls(
            **{
                **value,
                "modules": tuple(value["modules"]),
                "training": TrainingConfig(**value["training"]),
                "convergence": ConvergenceConfig(**value["convergence"]),
            }
        )

    def flat(self) -> dict[str, str]:
        """As MLflow parameters: one level, text values, in a fixed order."""
        values = {**self.to_dict(), "modules": ",".join(self.modules)}
        values |= {**values.pop("training"), **values.pop("convergence")}
        return {k: "" if v is None else str(v) for k, v in values.items()}
