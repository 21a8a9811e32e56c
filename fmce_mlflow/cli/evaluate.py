"""The command that evaluates a model's functional modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from fmce_mlflow.cli.options import Command, Optional, apply_options, flag, option, split
from fmce_mlflow.cli.runs import make_client, open_run, say, say_where
from fmce_mlflow.errors import ConfigError
from fmce_mlflow.method.images.config import FOLDER, unknown_dataset
from fmce_mlflow.safety.reading import parse_json

if TYPE_CHECKING:
    from fmce_mlflow.evaluation.options import EvaluationConfig

MAX_JSON = 2**16
MOST_DIGITS = 18

data_options = apply_options(
    [
        option(
            "dataset",
            "digits",
            "Held-out images of a data set; of folder:PATH test/, or all where it has none.",
        ),
        option("data-root", "data", "Where data sets are looked for."),
        flag("download", "Fetch a missing data set."),
        option("split-seed", 0, "Chose the held-out images, where a data set has no test split of its own.", int),
    ]
)
"""Images to evaluate on."""

scoring_options = apply_options(
    [
        option("modules", "", "Functional modules, names or globs with commas; empty: the last feature stage."),
        option("predictor", "", "FMCE-Net's model URI; empty: the bundled one."),
        option("probe-size", "auto", "Images at most, drawn by the seed; auto: all.", Optional(int)),
        option("batch-size", 64, "Images per forward pass.", int),
        option("bag-size", "auto", "Images per bag; auto: what the predictor was trained on.", Optional(int)),
        option("device", "auto", "Where the model runs; auto: the CPU.", Optional(str)),
        option("saliency", "auto", "Grad-CAM: true, false, or over how many images; auto: where it can be."),
        option("saliency-target", "auto", "What it asks about: a class index or label; auto: the likeliest class.",
               Optional(str)),
        option("preprocessing", "auto", "imagenet, scale, or JSON with mean and std; auto: the model's own.",
               Optional(str)),
        option("unreadable", "raise", "Images that cannot be read.", click.Choice(["raise", "skip"])),
        option("seed", 0, "Draws images and bags.", int),
    ]
)  # fmt: skip
"""How modules are scored."""


def parse_evaluation_options(values: Mapping[str, Any]) -> EvaluationConfig:
    """The options of :data:`scoring_options` as one checked value; those about the model and data are checked too.

    Raises:
        ConfigError: Names every value that cannot be used.
    """
    from fmce_mlflow.evaluation.options import EvaluationConfig

    problems: list[str] = []
    if "model" in values and not values["model"]:
        problems.append("model is empty; name one, as in --model models:/NAME/1")
    given: dict[str, Any] = {
        "modules": tuple(split(values["modules"])),
        "predictor": values["predictor"] or None,
        "saliency": _saliency(values["saliency"], problems),
        "preprocessing": _preprocessing(values["preprocessing"], problems),
        "saliency_target": _target(values["saliency_target"]),
    }
    names = ("probe_size", "batch_size", "bag_size", "device", "unreadable", "seed")
    try:
        config = EvaluationConfig(**given, **{name: values[name] for name in names})
    except ConfigError as error:
        problems += [problem.replace("_", "-") for problem in error.problems]
    if values.get("split_seed", 0) < 0:
        problems.append(f"split-seed must not be negative, got {values['split_seed']}")
    if problems:
        raise ConfigError(problems)
    return config


def evaluation_images(values: Mapping[str, Any]) -> Any:
    """The images that :data:`data_options` name, as an MLflow dataset.

    Args:
        values: Options by name.

    Returns:
        The held-out images: of a named data set, or of a folder that is split; else all images of the folder.

    Raises:
        DataError: If they are not there.
    """
    from fmce_mlflow.image_dataset.plugin import from_images
    from fmce_mlflow.method.images.split import held_out_images

    dataset, unreadable = values["dataset"], values["unreadable"]
    if dataset.startswith(FOLDER) and not unknown_dataset(dataset):
        return from_images(dataset.removeprefix(FOLDER).strip(), unreadable=unreadable)
    images, preprocessing = held_out_images(
        dataset, data_root=values["data_root"], download=values["download"], split_seed=values["split_seed"]
    )
    return from_images(images, name=f"{dataset}, held out", unreadable=unreadable, preprocessing=preprocessing)


@click.command("evaluate", cls=Command, check=parse_evaluation_options)
@option("model", "", "Model URI: models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-…, runs:/ID/PATH, or a folder.")
@data_options
@scoring_options
@click.pass_context
def evaluate_command(ctx: click.Context, /, model: str, **values: Any) -> None:
    """Tell how mature the training of a model's functional modules is, and log it.

    \b
    Examples:
      fmce evaluate --model models:/digits/1 --predictor models:/fmcs/1
      fmce evaluate --model models:/digits@champion --modules 'stage*,conv5' --predictor models:/fmcs/1
      fmce evaluate --model runs:/3f2a…/model --dataset folder:photos --preprocessing imagenet
    """
    config = parse_evaluation_options({**values, "model": model})
    client = make_client(ctx)
    from fmce_mlflow.evaluation.evaluate import evaluate_model
    from fmce_mlflow.evaluation.log import REPORT
    from fmce_mlflow.runs.run import Run

    data = evaluation_images(values)
    run = Run(client, open_run(client, ctx, name=f"evaluation of {model}"), say)
    run.set_role("evaluation")
    with run.closing():
        found = evaluate_model(run, model, data, config)
    for text in found.choices:
        say(text)
    for text in found.warnings:
        say(f"Warning: {text}")
    say(found.summary)
    say(f"Evaluation {run.id}, its report is the artifact {REPORT}.html.")
    say_where(client, run.id)


def _saliency(text: str, problems: list[str]) -> bool | int | None:
    words = {"auto": None, "": None, "true": True, "false": False}
    if text in words:
        return words[text]
    if text.isdecimal() and len(text) <= MOST_DIGITS:
        return int(text)
    problems.append(f"saliency must be auto, true, false or a number of images, got {text!r}")
    return None


def _target(text: str | None) -> str | int | None:
    return int(text) if text and text.isdecimal() and len(text) <= MOST_DIGITS else text


def _preprocessing(text: str | None, problems: list[str]) -> Any:
    if text is None or not text.startswith("{"):
        return text
    if len(text) > MAX_JSON:
        problems.append(f"preprocessing has {len(text):,} characters; at most {MAX_JSON:,} are read")
        return None
    try:
        return parse_json(text)
    except ValueError as error:
        problems.append(f"preprocessing cannot be read as JSON: {error}")
        return None
