"""What can be said to the fmce evaluator, checked all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.wording import did_you_mean

OF_OTHERS = frozenset(
    {
        "col_mapping", "metric_prefix", "log_model_explainability", "log_explainer", "explainability_algorithm",
        "explainability_nsamples", "explainability_kernel_link", "max_classes_for_multiclass_roc_pr", "pos_label",
        "average", "sample_weights", "label_list", "eval_results_path", "eval_results_mode", "retriever_k",
    }
)  # fmt: skip
"""Keys of MLflow's own evaluators: a flat config goes to every evaluator, so these may be in it."""

SALIENCY_IMAGES = 32
"""Images over which focus is taken where saliency is simply on."""

Modules = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """How modules are evaluated.

    Attributes:
        modules: Dotted names or globs of functional modules, in a sequence or with commas between them; none for the
            last feature stage.
        predictor: URI of an FMCE-Net; None for the bundled one.
        probe_size: Images to evaluate on at most, drawn by ``seed``; None for all.
        batch_size: Images per forward pass.
        bag_size: Images per bag; None for what the predictor was trained on, else 64.
        device: Where the model runs; None for where it is.
        saliency: Grad-CAM: True, or over how many images ``focus`` is taken; False for none. None takes it where the
            model gives class scores and says so where it does not.
        saliency_target: What Grad-CAM asks about: None for the most probable class; ``label`` for the image's own; a
            class index; or a function from the output for one image to a number.
        preprocessing: What turns 8-bit images into the model's input, see
            :func:`~fmce_mlflow.method.images.preprocessing.as_preprocessing`; None for what the model's metadata says.
        image_column: The DataFrame's column that holds the images.
        unreadable: What becomes of an image that cannot be read: ``raise`` or ``skip``; None for what the images say.
        seed: Draws images and bags.

    Raises:
        ConfigError: Names every value that cannot be used.

    Example:
        >>> EvaluationConfig(modules="layer3, layer4").modules
        ('layer3', 'layer4')
    """

    modules: str | Sequence[str] | None = None
    predictor: str | None = None
    probe_size: int | None = None
    batch_size: int = 64
    bag_size: int | None = None
    device: str | None = None
    saliency: bool | int | None = None
    saliency_target: str | int | Callable[[Any], Any] | None = None
    preprocessing: Any = None
    image_column: str | None = None
    unreadable: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        problems: list[str] = []
        object.__setattr__(self, "modules", self._modules(problems))
        for name, least in (("probe_size", 2), ("batch_size", 1), ("bag_size", 2), ("seed", 0)):
            value = getattr(self, name)
            optional = name in ("probe_size", "bag_size")
            if value is None and optional:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                problems.append(
                    f"{name} must be a whole number of at least {least}{', or None' * optional}, got {value!r}"
                )
        for name in ("predictor", "device", "image_column"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                problems.append(f"{name} must be a text, got {value!r}")
        if self.saliency is not None and (not isinstance(self.saliency, int) or self.saliency < 0):
            problems.append(f"saliency must be True, False or a number of images, got {self.saliency!r}")
        target = self.saliency_target
        if isinstance(target, bool) or not (
            target is None or target == "label" or callable(target) or (isinstance(target, int) and target >= 0)
        ):
            problems.append(
                f"saliency_target must be a class index, 'label', or a function of the model's output; got {target!r}"
            )
        if self.unreadable not in (None, "raise", "skip"):
            problems.append(f"unreadable must be raise or skip, got {self.unreadable!r}")
        if problems:
            raise ConfigError(problems)

    @property
    def names(self) -> Modules:
        """The modules asked for; empty for the default one."""
        assert isinstance(self.modules, tuple)
        return self.modules

    @property
    def saliency_images(self) -> int:
        """Over how many images focus is taken; 0 for none."""
        if self.saliency is None or self.saliency is True:
            return SALIENCY_IMAGES
        return int(self.saliency)

    @classmethod
    def read(cls, values: Mapping[str, Any] | None) -> EvaluationConfig:
        """An ``evaluator_config``, all of whose problems are told at once.

        Raises:
            ConfigError: For unknown keys, with the near ones, and for every value that cannot be used.

        Example:
            >>> EvaluationConfig.read({"module": "layer4", "batch_size": 0})
            Traceback (most recent call last):
            ...
            fmce_mlflow.errors.ConfigError: 2 options cannot be used:
              - the fmce evaluator has no option 'module'. Did you mean modules? ...
              - batch_size must be a whole number of at least 1, got 0
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
            raise ConfigError([*problems, *error.problems]) from None
        if problems:
            raise ConfigError(problems)
        return config

    def _modules(self, problems: list[str]) -> Modules:
        wanted: Any = self.modules
        if isinstance(wanted, str):
            wanted = wanted.split(",")
        if wanted is None:
            return ()
        if not isinstance(wanted, Sequence) or not all(isinstance(name, str) for name in wanted):
            problems.append(f"modules must be names in a list, or with commas between them; got {self.modules!r}")
            return ()
        return tuple(dict.fromkeys(name.strip() for name in wanted if name.strip()))
