"""Options that commands share, and a command that reports every wrong option at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.wording import did_you_mean

if TYPE_CHECKING:
    from fmce_mlflow.backbone.options import BackboneOptions
    from fmce_mlflow.runs.uploads.options import UploadOptions

    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic from click 8.5 on only


class Command(click.Command):
    """A command that collects all usage errors before it fails, unknown options with their near names.

    Args:
        check: Takes the values of the options and raises ConfigError for those that are out of range; they are then
            reported together with those that cannot be read.
    """

    def __init__(self, *args: Any, check: Callable[[dict[str, Any]], object] | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {})["ignore_unknown_options"] = True
        self.check = check
        super().__init__(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, but go through every option before failing."""
        if "--help" in args or "-h" in args:
            return super().parse_args(ctx, ["--help"])
        try:
            values, rest, order = self.make_parser(ctx).parse_args(args=list(args))
        except click.UsageError as error:  # an option without its value; nothing behind it can be read
            raise ConfigError(error.format_message()) from None
        problems = []
        for param in click.core.iter_params_for_processing(order, self.get_params(ctx)):
            try:
                _, rest = param.handle_parse_result(ctx, values, rest)
            except click.UsageError as error:
                problems.append(error.format_message())
                if param.name is not None:
                    ctx.params[param.name] = param.type_cast_value(ctx, param.get_default(ctx))
        problems += self._unexpected(ctx, rest)
        if self.check is not None:
            try:
                self.check(ctx.params)
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        ctx.args = []
        return []

    def _unexpected(self, ctx: click.Context, rest: list[str]) -> list[str]:
        names = [name for param in self.get_params(ctx) for name in param.opts]
        problems = []
        for before, word in zip(["", *rest], rest, strict=False):
            if word.startswith("-"):
                name = word.split("=")[0]
                problems.append(f"There is no option {name}." + did_you_mean(name, names))
            elif not before.startswith("-") or "=" in before:  # else the value of an unknown option
                problems.append(f"Unexpected argument {word!r}.")
        return problems


class Optional(_ParamType):
    """A number or word that may be absent: empty, or ``auto``; MLproject parameters cannot be left out."""

    def __init__(self, kind: Any) -> None:
        self.kind = click.types.convert_type(kind)
        self.name = self.kind.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """None for an absent value."""
        if value in ("", "auto", None):
            return None
        try:
            return self.kind.convert(value, param, ctx)
        except click.BadParameter as error:
            self.fail(f"{error.message.rstrip('.')}, nor auto.", param, ctx)


def split(text: str) -> list[str]:
    """Words with commas between them, each once.

    Example:
        >>> split("a, b,,a,c")
        ['a', 'b', 'c']
    """
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def whole_numbers(text: str, name: str = "seeds") -> tuple[int, ...]:
    """Whole numbers with commas between them, each once.

    Raises:
        ConfigError: Names every word that is none.

    Example:
        >>> whole_numbers("0, 1,1")
        (0, 1)
    """
    numbers, problems = [], []
    for word in split(text):
        try:
            numbers.append(int(word))
        except ValueError:
            problems.append(f"{name} must be whole numbers with commas between them, got {word!r}")
    if problems:
        raise ConfigError(problems)
    return tuple(dict.fromkeys(numbers))


def option(name: str, default: Any, text: str, kind: Any = None, **more: Any) -> Callable[[Any], Any]:
    """An option whose help shows its default."""
    return click.option(f"--{name}", type=kind, default=default, show_default=True, help=text, **more)


def flag(name: str, text: str, *, default: str = "false") -> Callable[[Any], Any]:
    """An option that works as a bare flag and, for MLproject, with true or false behind it."""
    return click.option(
        f"--{name}", type=bool, is_flag=False, flag_value="true", default=default, show_default=True, help=text
    )


def apply_options(options: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """One decorator of several, in the order in which help shows them."""

    def decorate(function: Any) -> Any:
        for one in reversed(options):
            function = one(function)
        return function

    return decorate


convergence_options = apply_options(
    [
        option("signal", "train", "Sequence that decides convergence.", click.Choice(["train", "val", "drift"])),
        option("smoothing", 0.5, "β of the loss's moving average, in [0, 1).", float),
        option("window", 3, "w, snapshots over which CQI averages.", int),
        option("threshold", 0.02, "μ, below which CQI counts as converged.", float),
        option("aggregation", "mean", "Mean of differences, or of their sizes.", click.Choice(["mean", "mean-abs"])),
        option("rule", "settled", "First CQI below μ, or from where it stays.", click.Choice(["settled", "first"])),
        option("levels", 5, "K, levels of FMCS.", int),
        option("spacing", "time", "Space the levels by snapshots or by loss.", click.Choice(["time", "loss"])),
    ]
)

backbone_options = apply_options(
    [
        option("backbone", "shufflenet_v2_x0_5", "torchvision name, timm:NAME or package.module:factory."),
        option("dataset", "digits", "Data set, or folder:PATH; see `fmce list-data`."),
        option("data-root", "data", "Where data sets are looked for."),
        flag("download", "Fetch a missing data set."),
        option("modules", "", "Functional modules, names or globs with commas; empty: the last feature stage."),
        option("stem", "auto", "Stem for small inputs, or as published.", click.Choice(["auto", "small", "stock"])),
        option("image-size", "auto", "Input height and width; auto: the data set's own.", Optional(int)),
        option("train-size", "auto", "Use a stratified subset of the training images.", Optional(int)),
        option("validation-size", 1000, "Held-out images for validation, the probe among them.", int),
        option("probe-size", 256, "Probe images, whose maps are recorded.", int),
        option("split-seed", 0, "Chooses the held-out images; runs that share it share their probe.", int),
        option("map-size", "auto", "Pool larger maps to this height and width; auto: never.", Optional(int)),
        option("keep", "all", "Maps to keep once the run has ended.", click.Choice(["all", "markers"])),
        flag("log-checkpoints", "Log a model at every marker too."),
        option("model-format", "pt2", "Format of logged models.", click.Choice(["pt2", "pickle"])),
        option("register-as", "", "Register the final model under this name."),
        option("epochs", 8, "Passes over the training images.", int),
        option("snapshots-per-epoch", 3, "Snapshots in each pass.", int),
        option("batch-size", 64, "Images per optimizer step, over all processes.", int),
        option("gradient-accumulation", 1, "Passes per optimizer step.", int),
        option("optimizer", "adamw", "Optimizer.", click.Choice(["sgd", "adamw"])),
        option("lr", 0.002, "Peak learning rate.", float),
        option("momentum", 0.9, "Momentum of SGD.", float),
        option("weight-decay", 0.01, "Weight decay.", float),
        option("schedule", "cosine", "Learning-rate schedule.", click.Choice(["constant", "cosine"])),
        option("warmup-epochs", 1.0, "Epochs of linear warm-up.", float),
        option("label-smoothing", 0.0, "Label smoothing, in [0, 1).", float),
        option(
            "augmentation", "none", "Augmentation.", click.Choice(["none", "flip", "crop-flip", "trivial"])
        ),
        option("precision", "no", "Mixed precision.", click.Choice(["no", "bf16", "fp16"])),
        flag("channels-last", "Keep channels last in memory: faster on GPUs with mixed precision."),
        option("num-workers", 0, "Processes that read images.", int),
        flag("cpu", "Stay on the CPU."),
        convergence_options,
    ]
)  # fmt: skip


upload_options = apply_options(
    [
        option("spool-folder", "", "Where snapshots wait for a server; empty: $FMCE_SPOOL, or ~/.local/state/fmce."),
        option("spool-limit", 2048, "MiB of snapshots of a run that may wait; training waits beyond it.", int),
        option("upload-patience", 600.0, "Seconds to wait for a server that takes nothing.", float),
    ]
)


def parse_upload_options(values: Mapping[str, Any]) -> UploadOptions:
    """The options of :data:`upload_options` as one checked value.

    Raises:
        ConfigError: Names every value that cannot be used.
    """
    from fmce_mlflow.runs.uploads.options import UploadOptions

    return UploadOptions(folder=values["spool_folder"], limit=values["spool_limit"], patience=values["upload_patience"])


def all_of(*checks: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], None]:
    """One check of several, which reports what all of them find.

    Raises:
        ConfigError: When called: names every value that cannot be used.
    """

    def check(values: dict[str, Any]) -> None:
        problems: list[str] = []
        for one in checks:
            try:
                one(values)
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)

    return check


def parse_backbone_options(values: Mapping[str, Any], *, seed: int | None = None) -> BackboneOptions:
    """The options of :data:`backbone_options` as one checked value.

    Raises:
        ConfigError: Names every value that cannot be used.
    """
    from dataclasses import fields

    from fmce_mlflow.backbone.options import BackboneOptions
    from fmce_mlflow.method.convergence.config import ConvergenceConfig
    from fmce_mlflow.method.training.config import TrainingConfig

    given = {**values, "modules": tuple(split(values["modules"])), "register_as": values["register_as"] or None}
    if seed is not None:
        given["seed"] = seed
    problems = _unknown_backbone(given["backbone"])
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


def parse_jobs(values: Mapping[str, Any]) -> list[BackboneOptions]:
    """The options of `build-fmcs`, one set for each data set, backbone and seed, in this order.

    Raises:
        ConfigError: Names every value that cannot be used, of all of them.
    """
    problems: list[str] = []
    numbers: tuple[int, ...] = ()
    for word in split(values["seeds"]):
        try:
            numbers = tuple(dict.fromkeys([*numbers, *whole_numbers(word)]))
        except ConfigError as error:
            problems += error.problems
    for name in ("backbone", "dataset", "seeds"):
        if not split(values[name]):
            problems.append(f"{name} is empty; name at least one")
    jobs = []
    for dataset in split(values["dataset"]):
        for backbone in split(values["backbone"]):
            for seed in numbers or (0,):
                try:
                    jobs.append(parse_backbone_options({**values, "backbone": backbone, "dataset": dataset}, seed=seed))
                except ConfigError as error:
                    problems += [p for p in error.problems if p not in problems]
    if problems:
        raise ConfigError(problems)
    return jobs


def _unknown_backbone(name: str) -> list[str]:
    """What is wrong with a torchvision name; others can be told only when they are built."""
    from torchvision import models

    if ":" in name or name in models.list_models():
        return []
    near = did_you_mean(name, models.list_models(module=models), how_to_list="`fmce list-backbones` prints all names.")
    return [f"backbone {name!r} is unknown.{near}"]
