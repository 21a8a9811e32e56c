"""The command that shows feature maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from fmce_mlflow.cli.command import Command, both
from fmce_mlflow.cli.evaluate import images_for
from fmce_mlflow.cli.options import options_of
from fmce_mlflow.cli.param_types import Json
from fmce_mlflow.cli.runs import make_client, say, say_where
from fmce_mlflow.errors import ConfigError
from fmce_mlflow.evaluation.options import EvaluationConfig, EvaluationImages
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.imports import quick_imports
from fmce_mlflow.safety.options import build
from fmce_mlflow.showing.options import ShowOptions

Choices = tuple[ShowOptions, tuple[EvaluationConfig, EvaluationImages]]


def show_options(values: Mapping[str, Any]) -> Choices:
    """What to show, and for a model how, and which images."""
    images = lambda: both(lambda: build(EvaluationConfig, values), lambda: _images(values))  # noqa: E731
    return both(lambda: build(ShowOptions, values), images)


@click.command("show", cls=Command, build=show_options)
@options_of(ShowOptions)
@options_of(EvaluationImages)
@options_of(
    EvaluationConfig,
    only=("preprocessing", "token_grid", "device", "seed"),
    changed={"preprocessing": {"type": Json()}},
)
@click.pass_context
def show_command(ctx: click.Context, /, choices: Choices) -> None:
    """Write one page on which a person looks at feature maps, over snapshots, modules and images.

    Of a run that recorded them, or of a model and some images. Everything is in the one file, which opens offline.

    \b
    Examples:
      fmce show --run 3f2a…
      fmce show --run 3f2a… --modules 'layer*' --out maps.html --log true
      fmce show --model models:/photos/2 --modules layer3,layer4 --dataset folder:photos
    """
    options, (config, which) = choices
    client = make_client(ctx)
    if options.run:
        with quick_imports():
            from fmce_mlflow.fmcs_dataset.table import known_run
            from fmce_mlflow.recording.map_page import PAGE, run_page

        known_run(client, options.run, "backbone")
        html = run_page(client, options.run, options.modules)
    else:
        with quick_imports():
            from fmce_mlflow.showing.model_page import model_page

        html = model_page(client, options.model, images_for(client, options.model, config, which), config)
    path = Path(options.out).expanduser()
    data = html.encode()
    path.write_bytes(data)
    say(f"Wrote {path}, {len(data) / 1000:,.0f} kB. Open it in a browser.")
    if options.log:
        run = Run(client, options.run, say)
        run.log_bytes(data, PAGE)
        say(f"It is the run's artifact {PAGE} too.")
        say_where(run)


def _images(values: Mapping[str, Any]) -> EvaluationImages:
    if values["run"] and values["dataset"] is not None:
        raise ConfigError("dataset goes with --model; a run shows the probe images that it recorded")
    return build(EvaluationImages, values)
