"""The options of the fmce evaluator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from annotated_types import Interval

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.method.images.config import ImageOptions, known_dataset
from fmce_mlflow.method.networks.config import TokenGridOption
from fmce_mlflow.safety.options import Names, Option, Options, by_key, reads
from fmce_mlflow.wording import did_you_mean

OF_OTHERS = frozenset(
    {
        "col_mapping", "metric_prefix", "log_model_explainability", "log_explainer", "explainability_algorithm",
        "explainability_nsamples", "explainability_kernel_link", "max_classes_for_multiclass_roc_pr", "pos_label",
        "average", "sample_weights", "label_list", "eval_results_path", "eval_results_mode", "retriever_k",
    }
)  # fmt: skip
"""Keys of MLflow's own evaluators: a flat config goes to every evaluator, so these may be in it."""

SALIENCY_IMAGES = 32  # images over which focus is taken if saliency is simply on


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig(Options):
    """How modules are evaluated.

    Example:
        >>> EvaluationConfig(modules="layer3, layer4").modules
        ('layer3', 'layer4')
    """

    modules: Annotated[
        Names, Option("Functional modules, names or globs with commas; empty: the last feature stage.")
    ] = ()
    token_grid: TokenGridOption = None
    predictor: Annotated[
        str | None,
        Option(
            "FMCE-Net's model URI, or bundled; empty: the one that is calibrated to the model, else the bundled.",
            none="",
        ),
    ] = None
    probe_size: Annotated[int | None, Option("Images at most, drawn by the seed; auto: all.", ge=2)] = None
    batch_size: Annotated[int, Option("Images per forward pass.", ge=1)] = 64
    bag_size: Annotated[
        int | None, Option("Images per bag; auto: what the predictor was trained on, else 64.", ge=2)
    ] = None
    device: Annotated[str | None, Option("Where the model runs; auto: where it is; the CPU for a URI.")] = None
    saliency: Annotated[
        bool | Annotated[int, Interval(ge=0)] | None,
        Option(
            "Grad-CAM: true, false, or over how many images; auto: if the model gives class scores.",
            must="true, false or a number of images",
        ),
    ] = None
    saliency_target: Annotated[
        Literal["label"] | Annotated[int, Interval(ge=0)] | Callable[[Any], Any] | None,
        Option(
            "What it asks about: label, a class index, or in Python a function from the output for one image to a "
            "number; auto: the likeliest class.",
            must="a class index, 'label', or a function of the model's output",
        ),
    ] = None
    preprocessing: Annotated[
        Any,
        Option(
            "imagenet, scale, or mean and std, which a command takes as JSON; auto: what the model's metadata says."
        ),
    ] = None
    image_column: Annotated[
        str | None, Option("The DataFrame's column that holds the images; auto: the one that has them.", command=False)
    ] = None
    unreadable: Annotated[
        Literal["raise", "skip"] | None,
        Option("Images that cannot be read: an error, or named and left out; auto: as the images say."),
    ] = None
    seed: Annotated[int, Option("Draws images and bags.", ge=0)] = 0

    @property
    def saliency_images(self) -> int:
        """Over how many images focus is taken; 0 for none."""
        if self.saliency is None or self.saliency is True:
            return SALIENCY_IMAGES
        return int(self.saliency)

    @classmethod
    def read(cls, values: Mapping[str, Any] | None) -> EvaluationConfig:
        """An ``evaluator_config``, all of whose problems are named at once.

        Raises:
            ConfigError: For unknown keys, with the near ones, and for every value that cannot be used.

        Example:
            >>> EvaluationConfig.read({"module": "layer4", "batch_size": 0})
            Traceback (most recent call last):
            ...
            fmce_mlflow.errors.ConfigError: 2 options cannot be used:
              - the fmce evaluator has no option 'module'. Did you mean modules? ...
              - batch_size must be at least 1, got 0
        """
        values = dict(values or {})
        names = [field.name for field in fields(cls)]
        problems = []
        for key in [k for k in values if k not in names]:
            if key not in OF_OTHERS:
                near = did_you_mean(str(key), names, how_to_list=f"It has {', '.join(names)}")
                problems.append(f"the fmce evaluator has no option {key!r}.{near}")
            del values[key]
        try:
            config = cls(**values)
        except ConfigError as error:
            raise ConfigError([*problems, *(by_key(problem) for problem in error.problems)]) from None
        if problems:
            raise ConfigError(problems)
        return config


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationImages(Options):
    """Which images a command evaluates a model on."""

    dataset: Annotated[
        str | None,
        reads(known_dataset),
        Option(
            "Held-out images of a data set; of folder:PATH its test/, a part of train/, or all; auto: of the run that "
            "trained the model."
        ),
    ] = None
    data_root: Annotated[str | None, Option("Where data sets are looked for; auto: as that run, else data.")] = None
    download: Annotated[bool, Option("Fetch a missing data set.")] = False
    split_seed: Annotated[
        int | None,
        Option(
            "Chose the held-out images, if a data set has no test split of its own; auto: as that run, else 0.", ge=0
        ),
    ] = None

    def named(self, dataset: str, data_root: str | None = None, split_seed: int | None = None) -> ImageOptions:
        """The images of a data set, with a run's choices where there are none of the user.

        Example:
            >>> EvaluationImages(split_seed=3).named("cifar10", "/data", 7)
            ImageOptions(dataset='cifar10', data_root='/data', download=False, split_seed=3)
        """
        return ImageOptions(
            dataset=dataset,
            data_root=self.data_root or data_root or ImageOptions().data_root,
            download=self.download,
            split_seed=next((seed for seed in (self.split_seed, split_seed) if seed is not None), 0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedOn(EvaluationImages):
    """Which images `fmce evaluate` takes, or none.

    Raises:
        ConfigError: Images where there are to be none.
    """

    no_images: Annotated[
        bool, Option("Look at the weights alone, without images and predictor: says what was never trained; no score.")
    ] = False

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What does not go together."""
        if fine("dataset", "no_images") and self.no_images and self.dataset is not None:
            yield f"no-images looks at weights alone, so dataset must be auto, got {self.dataset!r}"
