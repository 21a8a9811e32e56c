"""Options that commands share, and a command that reports every wrong option at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from fmce_mlflow.errors import ConfigError, did_you_mean


if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic from click 8.5 on only


class Command(click.Command):
    """A command that collects all usage errors before it fails, unknown options with their near names."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {})["ignore_unknown_options"] = True
        super().__init__(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, but go through every option before failing."""
        if "--help" in args or "-h" in args:
            return super().parse_args(ctx, ["--help"])
        values, rest, order = self.make_parser(ctx).parse_args(args=list(args))
        problems = []
        for param in click.core.iter_params_for_processing(order, self.get_params(ctx)):
            try:
                _, rest = param.handle_parse_result(ctx, values, rest)
            except click.UsageError as error:
                problems.append(error.format_message())
        names = [name for param in self.get_params(ctx) for name in param.opts]
        for word in rest:
            if word.startswith("-"):
                problems.append(f"There is no option {word.split('=')[0]}." + did_you_mean(word.split("=")[0], names))
            else:
                problems.append(f"Unexpected argument {word!r}.")
        if problems:
            raise ConfigError(problems)
        ctx.args = []
        return []


class Optional(_ParamType):
    """A number or word that may be absent: empty, or ``auto``; MLproject parameters cannot be left out."""

    def __init__(self, kind: Any) -> None:
        self.kind = click.types.convert_type(kind)
        self.name = self.kind.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """None for an absent value."""
        return None if value in ("", "auto", None) else self.kind.convert(value, param, ctx)


def split(text: str) -> list[str]:
    """Words with commas between them.

    Example:
        >>> split("a, b,,c")
        ['a', 'b', 'c']
    """
    return [word.strip() for word in text.split(",") if word.strip()]


def _option(name: str, default: Any, text: str, kind: Any = None, **more: Any) -> Callable[[Any], Any]:
    return click.option(f"--{name}", type=kind, default=default, show_default=True, help=text, **more)


def _flag(name: str, text: str) -> Callable[[Any], Any]:
    """An option that works as a bare flag and, for MLproject, with true or false behind it."""
    return click.option(
        f"--{name}", type=bool, is_flag=False, flag_value="true", default="false", show_default=True, help=text
    )


def _apply(options: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


convergence_options = _apply(
    [
        _option("signal", "train", "Sequence that decides convergence.", click.Choice(["train", "val", "drift"])),
        _option("smoothing", 0.5, "β of the loss's moving average, in [0, 1).", float),
        _option("window", 3, "w, snapshots over which CQI averages.", int),
        _option("threshold", 0.01, "μ, below which CQI counts as converged.", float),
        _option("aggregation", "mean", "Mean of differences, or of their sizes.", click.Choice(["mean", "mean-abs"])),
        _option("rule", "settled", "First CQI below μ, or from where it stays.", click.Choice(["settled", "first"])),
        _option("levels", 5, "K, levels of FMCS.", int),
        _option("spacing", "time", "Space the levels by snapshots or by loss.", click.Choice(["time", "loss"])),
    ]
)

backbone_options = _apply(
    [
        _option("backbone", "shufflenet_v2_x0_5", "torchvision name, timm:NAME or package.module:factory."),
        _option("dataset", "digits", "Data set, or folder:PATH; see `fmce list-data`."),
        _option("data-root", "data", "Where data sets are looked for."),
        _flag("download", "Fetch a missing data set."),
        _option("modules", "", "Functional modules, names or globs with commas; empty: the last feature stage."),
        _option("stem", "auto", "Stem for small inputs, or as published.", click.Choice(["auto", "small", "stock"])),
        _option("image-size", "auto", "Input height and width; auto: the data set's own.", Optional(int)),
        _option("train-size", "auto", "Use a stratified subset of the training images.", Optional(int)),
        _option("validation-size", 1000, "Held-out images for validation, the probe among them.", int),
        _option("probe-size", 256, "Probe images, whose maps are recorded.", int),
        _option("split-seed", 0, "Chooses the held-out images; runs that share it share their probe.", int),
        _option("map-size", "auto", "Pool larger maps to this height and width; auto: never.", Optional(int)),
        _option("keep", "all", "Maps to keep once the run has ended.", click.Choice(["all", "markers"])),
        _flag("log-checkpoints", "Log a model at every marker too."),
        _option("model-format", "pt2", "Format of logged models.", click.Choice(["pt2", "pickle"])),
        _option("register-as", "", "Register the final model under this name."),
        _option("epochs", 8, "Passes over the training images.", int),
        _option("snapshots-per-epoch", 3, "Snapshots in each pass.", int),
        _option("batch-size", 64, "Images per optimizer step, over all processes.", int),
        _option("gradient-accumulation", 1, "Passes per optimizer step.", int),
        _option("optimizer", "sgd", "Optimizer.", click.Choice(["sgd", "adamw"])),
        _option("lr", 0.05, "Peak learning rate.", float),
        _option("momentum", 0.9, "Momentum of SGD.", float),
        _option("weight-decay", 5e-4, "Weight decay.", float),
        _option("schedule", "constant", "Learning-rate schedule.", click.Choice(["constant", "cosine"])),
        _option("warmup-epochs", 0.0, "Epochs of linear warm-up.", float),
        _option("label-smoothing", 0.0, "Label smoothing, in [0, 1).", float),
        _option(
            "augmentation", "none", "Augmentation.", click.Choice(["none", "flip", "crop-flip", "trivial"])
        ),
        _option("precision", "no", "Mixed precision.", click.Choice(["no", "bf16", "fp16"])),
        _option("num-workers", 0, "Processes that read images.", int),
        _flag("cpu", "Stay on the CPU."),
        convergence_options,
    ]
)  # fmt: skip


def parse_backbone_options(values: Mapping[str, Any], *, seed: int) -> Any:
    """The options of :func:`backbone_options` as one checked value.

    Raises:
        ConfigError: Names every value that is out of range.
    """
    from dataclasses import fields

    from fmce_mlflow.backbone_run import BackboneOptions
    from fmce_mlflow.method.convergence import ConvergenceConfig
    from fmce_mlflow.method.training import TrainingConfig

    given = {**values, "seed": seed, "modules": tuple(split(values["modules"]))}
    given["register_as"] = values["register_as"] or None
    problems: list[str] = []
    parts: dict[str, Any] = {}
    for name, kind in (("training", TrainingConfig), ("convergence", ConvergenceConfig)):
        try:
            parts[name] = kind(**{f.name: given[f.name] for f in fields(kind)})
        except ConfigError as error:
            problems += error.problems
    rest = {f.name: given[f.name] for f in fields(BackboneOptions) if f.name in given}
    try:
        options = BackboneOptions(**rest, **parts)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return options
