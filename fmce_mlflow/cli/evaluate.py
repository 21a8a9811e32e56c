"""The command that evaluates a model's functional modules."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from fmce_mlflow.cli.command import Command, both
from fmce_mlflow.cli.options import option, options_of
from fmce_mlflow.cli.param_types import Json, Word
from fmce_mlflow.cli.runs import make_client, open_run, say, say_where
from fmce_mlflow.errors import ConfigError, DataError
from fmce_mlflow.evaluation.options import EvaluatedOn, EvaluationConfig, EvaluationImages
from fmce_mlflow.method.images.config import FOLDER, ImageOptions
from fmce_mlflow.safety.imports import quick_imports
from fmce_mlflow.safety.options import build

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from fmce_mlflow.evaluation.findings import Findings
    from fmce_mlflow.evaluation.weight_findings import WeightFindings

how_to_evaluate = options_of(
    EvaluationImages,
    EvaluationConfig,
    changed={
        "saliency": {"type": Word()},
        "saliency_target": {"type": Word()},
        "preprocessing": {"type": Json()},
        "unreadable": {"default": "raise"},
    },
)
"""Options about the images, and how they are scored."""


def scoring_options(values: Mapping[str, Any]) -> tuple[EvaluationConfig, EvaluationImages]:
    """What the options of :data:`how_to_evaluate` say."""
    return both(lambda: build(EvaluationConfig, values), lambda: build(EvaluationImages, values))


def evaluation_options(values: Mapping[str, Any]) -> tuple[EvaluationConfig, EvaluatedOn]:
    """The options of `evaluate`, apart from the model."""
    _, options = both(
        lambda: _named(values["model"]),
        lambda: both(lambda: build(EvaluationConfig, values), lambda: build(EvaluatedOn, values)),
    )
    return options


def images_for(client: MlflowClient, model: str, config: EvaluationConfig, choice: EvaluationImages) -> Any:
    """The images to evaluate a model on: those that are named, else those that the run that trained it held out.

    Raises:
        ConfigError: If none are named, and nothing says on which the model was trained.
        DataError: If they are not there.
    """
    from fmce_mlflow.evaluation.trained_on import chosen_images

    options, why = chosen_images(client, model, choice)
    try:
        data = evaluation_images(options, config.unreadable or "raise")
    except DataError as error:
        raise DataError(f"{error} {why} Name others with --dataset." if why else str(error)) from None
    data.inputs.choice = " ".join(filter(None, (why, data.inputs.choice)))
    return data


def evaluation_images(options: ImageOptions, unreadable: Literal["raise", "skip"]) -> Any:
    """The images to evaluate on: held out of a data set or a folder with ``train/``, else all of a folder.

    Raises:
        DataError: If they are not there.
    """
    from fmce_mlflow.image_dataset.plugin import from_images
    from fmce_mlflow.method.images.folders import scan_folder
    from fmce_mlflow.method.images.split import held_out_alone, held_out_images

    name = f"{options.dataset}, held out"
    if not options.dataset.startswith(FOLDER):
        images, preprocessing = held_out_images(options)
        return from_images(images, name=name, unreadable=unreadable, preprocessing=preprocessing)
    path = options.dataset.removeprefix(FOLDER).strip()
    folder = scan_folder(Path(os.path.expanduser(path)))
    if folder.train is None or folder.held_out is not None or not folder.classes:
        return from_images(path, unreadable=unreadable)
    data = from_images(held_out_alone(options), name=name, unreadable=unreadable, source=str(folder.train))
    data.inputs.choice = (
        f"{folder.root} has no test/ or val/: the images are those in {folder.train} that a training with split seed "
        f"{options.split_seed} holds out."
    )
    return data


@click.command("evaluate", cls=Command, build=evaluation_options)
@option("model", "", "Model URI: models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-…, runs:/ID/PATH, or a folder.")
@options_of(EvaluatedOn, only={"no_images"})
@how_to_evaluate
@click.pass_context
def evaluate_command(ctx: click.Context, /, options: tuple[EvaluationConfig, EvaluatedOn]) -> None:
    """Say how mature the training of a model's functional modules is, and log it.

    \b
    Examples:
      fmce evaluate --model models:/digits/1
      fmce evaluate --model models:/digits@champion --modules 'stage*,conv5' --predictor models:/fmcs/1
      fmce evaluate --model runs:/3f2a…/model --dataset folder:photos --preprocessing imagenet
      fmce evaluate --model models:/digits/1 --no-images
    """
    config, which = options
    model = ctx.params["model"]
    client = make_client(ctx)
    with quick_imports():
        from fmce_mlflow.evaluation.evaluate import evaluate_model
        from fmce_mlflow.evaluation.log import REPORT
        from fmce_mlflow.evaluation.weights import evaluate_weights

    data = None if which.no_images else images_for(client, model, config, which)
    run = open_run(client, ctx, name=f"evaluation of {model}")
    found: Findings | WeightFindings
    with run.closing():
        run.set_role("evaluation")
        found = evaluate_model(run, model, data, config) if data is not None else evaluate_weights(run, model, config)
    for text in found.choices:
        say(text)
    for text in found.warnings:
        say(f"Warning: {text}")
    say(found.summary)
    say(f"Evaluation {run.id}, its report is the artifact {REPORT}.html.")
    say_where(run)


def _named(model: str) -> None:
    if not model:
        raise ConfigError("model is empty; name one, as in --model models:/NAME/1")
