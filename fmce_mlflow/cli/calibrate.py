"""The command that calibrates a predictor to one architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.cli.backbone import look_up
from fmce_mlflow.cli.command import Command, both
from fmce_mlflow.cli.options import options_of
from fmce_mlflow.cli.runs import make_client, open_run, say, say_where, world_size
from fmce_mlflow.errors import ConfigError
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.predictor.options import CalibrationOptions
from fmce_mlflow.runs.uploads.options import UploadOptions
from fmce_mlflow.safety.imports import quick_imports
from fmce_mlflow.safety.options import build, rows

_OF_TRAININGS = {
    "seed",
    "signal",
    "register_as",
    "log_checkpoints",
    "evidence",
    *(row.key for row in rows(ConvergenceConfig)),
}
"""What is decided for all trainings of a calibration: labels are those that the predictor was fitted to."""
_DATASET = "Train the architecture anew on this data set, or folder:PATH; empty: source-runs are named."
_BACKBONE = "What builds the model's network, where it cannot be copied with fresh weights; empty: found out."

Options = tuple[CalibrationOptions, BackboneOptions, UploadOptions]


def calibration_options(values: Mapping[str, Any]) -> Options:
    """The options of `calibrate`."""
    keys = {row.key for row in rows(CalibrationOptions)}  # its fit has a learning rate of its own, and so on
    own = {name: value for name, value in values.items() if name in keys}
    left = {name: value for name, value in values.items() if value or name not in ("dataset", "backbone")}
    training = {name: value for name, value in left.items() if name != "register_as"}
    options, (backbone, uploads) = both(
        lambda: build(CalibrationOptions, own),
        lambda: both(lambda: _training(training), lambda: build(UploadOptions, values)),
    )
    if options.source_runs and values["dataset"]:
        raise ConfigError("name one of source-runs and dataset: recorded runs, or images to train the architecture on")
    if not options.source_runs and not values["dataset"]:
        raise ConfigError(
            "name recorded runs in source-runs, or in dataset the images to train the architecture on, as in --dataset "
            "folder:photos"
        )
    return options, backbone, uploads


def _training(values: Mapping[str, Any]) -> BackboneOptions:
    if values.get("backbone"):
        look_up(values["backbone"])
    return build(BackboneOptions, values)


@click.command("calibrate", cls=Command, build=calibration_options)
@options_of(
    CalibrationOptions,
    BackboneOptions,
    UploadOptions,
    without=_OF_TRAININGS - {"register_as"},
    changed={"dataset": {"default": "", "help": _DATASET}, "backbone": {"default": "", "help": _BACKBONE}},
)
@click.pass_context
def calibrate_command(ctx: click.Context, /, options: Options) -> None:
    """Calibrate a predictor to the architecture of a model, by recorded runs of it, and tie it to the model.

    \b
    Examples:
      fmce calibrate --model models:/digits/1 --source-runs 3f2a…,9b1c…
      fmce calibrate --model models:/digits/1 --dataset digits --epochs 10 --seeds 0,1
      fmce calibrate --model models:/faces/2 --dataset folder:photos --backbone my.nets:face_net
    """
    calibration, training, uploads = options
    if world_size() > 1:
        raise ConfigError(
            "calibrate runs in one process. Train in many with train-backbone --evidence true, then name the runs in "
            "--source-runs."
        )
    client = make_client(ctx)
    with quick_imports():
        from fmce_mlflow.predictor.calibrate import calibrate, prepare

    prepared = prepare(client, calibration, training, factory=ctx.params["backbone"])
    run = open_run(client, ctx, name=f"calibration to {calibration.model}")
    with run.closing():
        found = calibrate(run, prepared, uploads=uploads)
    say(f"Predictor {found.predictor_uri}, run {run.id}")
    say_where(run)
