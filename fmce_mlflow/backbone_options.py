"""What decides a backbone run, and where a run keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from mlflow.exceptions import MlflowException

from fmce_mlflow.errors import ArtifactError, ConfigError, RunError
from fmce_mlflow.feature_maps import fetched
from fmce_mlflow.method import convergence as cv
from fmce_mlflow.method.images import ImageData, check_images, load_images
from fmce_mlflow.method.training import TrainingConfig
from fmce_mlflow.model_logging import Format
from fmce_mlflow.reading import check_seal, parse_json, read_file, without_credentials
from fmce_mlflow.run_records import ROLE_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

OPTIONS = "options.json"
MAX_OPTIONS_BYTES = 2**20

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
    signal: cv.Signal = "train"
    log_checkpoints: bool = False
    model_format: Format = "pt2"
    register_as: str | None = None
    training: TrainingConfig = field(default_factory=TrainingConfig)
    convergence: cv.ConvergenceConfig = field(default_factory=cv.ConvergenceConfig)

    def __post_init__(self) -> None:
        problems = [
            f"{name.replace('_', '-')} must be one of {', '.join(valid)}; got {value!r}"
            for name, valid in (
                ("stem", get_args(Stem)),
                ("keep", get_args(Keep)),
                ("signal", get_args(cv.Signal)),
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
                "convergence": cv.ConvergenceConfig(**value["convergence"]),
            }
        )

    def flat(self) -> dict[str, str]:
        """As MLflow parameters: one level, text values, in a fixed order."""
        values = {**self.to_dict(), "modules": ",".join(self.modules)}
        values |= {**values.pop("training"), **values.pop("convergence")}
        return {k: "" if v is None else str(v) for k, v in values.items()}


def stored_options(client: MlflowClient, run_id: str) -> BackboneOptions:
    """The options of a backbone run that can be resumed.

    Raises:
        RunError: If there is no such run, or it is no backbone run, died before it had begun, or is finished.
        ArtifactError: If its options cannot be read.
    """
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise RunError(
            f"There is no run {run_id!r} to resume on {without_credentials(client.tracking_uri)}: {error}"
        ) from None
    role = run.data.tags.get(ROLE_TAG)
    if run.info.status == "FINISHED":
        raise RunError(f"Run {run_id} is finished; there is nothing to resume. Start a new one.")
    name = f"{OPTIONS} of run {run_id}"
    with fetched(client, run_id, OPTIONS) as path:
        if path is None or role != "backbone":
            raise RunError(
                f"Run {run_id} cannot be resumed: it is no backbone run that had begun to train "
                f"({ROLE_TAG} is {role!r}{'' if path else f', {OPTIONS} is missing'}). Start a new one."
            )
        data = read_file(path, MAX_OPTIONS_BYTES, name)
    check_seal(run.data.tags, OPTIONS, data, name)
    try:
        options = BackboneOptions.from_dict(parse_json(data))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            f"{name} cannot be read ({type(error).__name__}: {error}). "
            "Resume with the release of fmce-mlflow that wrote it, or start a new run."
        ) from None
    for param in ("backbone", "dataset", "data_root"):  # a factory is imported, a folder read; MLflow fixes parameters
        before, now = run.data.params.get(param), str(getattr(options, param))
        if before is not None and before.strip() != now.strip()[:6000]:
            raise ArtifactError(
                f"{name} says that {param} is {now!r}; the run's parameter says {before!r}. It was changed after the "
                "run had begun: do not trust it, start a new run."
            )
    return options


def load_options_images(options: BackboneOptions) -> ImageData:
    """The images that a run's options name."""
    return load_images(
        options.dataset,
        data_root=options.data_root,
        download=options.download,
        image_size=options.image_size,
        probe_size=options.probe_size,
        validation_size=options.validation_size,
        train_size=options.train_size,
        split_seed=options.split_seed,
    )
