"""The command that tunes FMCE-Net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from fmce_mlflow.cli.command import Command, both
from fmce_mlflow.cli.options import option, options_of
from fmce_mlflow.cli.runs import make_client, open_run, say, say_where
from fmce_mlflow.errors import ArtifactError, ConfigError
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.imports import quick_imports
from fmce_mlflow.safety.options import build
from fmce_mlflow.tuning.options import TuneOptions


def tuning_options(values: Mapping[str, Any]) -> TuneOptions:
    """The options of `tune-fmce-net`."""
    grace = 3 * max(values["heartbeat"], 1)  # a heartbeat out of range is an error of its own
    options, space = both(
        lambda: build(TuneOptions, {**values, "grace": grace, "space": {}}), lambda: _space(values["space"].strip())
    )
    return replace(options, space=space)


def _space(text: str) -> Any:
    from fmce_mlflow.tuning.search_space import parse_space

    return parse_space(text if text.startswith("{") else _content(text) if text else "{}")


def _content(path: str) -> str:
    from fmce_mlflow.safety.reading import read_file
    from fmce_mlflow.tuning.search_space import MAX_TEXT

    try:
        return read_file(Path(path), MAX_TEXT, f"The search space in {path}").decode()
    except (OSError, ValueError, ArtifactError) as error:
        raise ConfigError(f"space is neither JSON nor a file that can be read: {error}") from None


@click.command("tune-fmce-net", cls=Command, build=tuning_options)
@options_of(TuneOptions)
@option("space", "", "JSON, or a file with it, of hyperparameters to search otherwise than by default.")
@click.pass_context
def tune_fmce_net_command(ctx: click.Context, /, options: TuneOptions) -> None:
    """Search for the hyperparameters of the set net with Optuna; fit the best to all groups and log it.

    Every trial is a run below the study's. The same command on another machine joins the study while it is running.

    \b
    Examples:
      fmce tune-fmce-net --trials 60 --workers 2
      fmce tune-fmce-net --storage postgresql://me@db.example/optuna --study-name maps --register-as fmcs
      fmce tune-fmce-net --resume --trials 100
      fmce tune-fmce-net --study-name narrow --space '{"width": [32, 64], "depth": 2}'
    """
    client = make_client(ctx)
    with quick_imports():
        from fmce_mlflow.tuning.net_study import tune_fmce_net

    result = tune_fmce_net(client, options, lambda: open_run(client, ctx, name="tuning").id, say=say)
    if result.model_uri:
        say(f"Best FMCE-Net {result.model_uri}, validation MAE {result.value:.4f}, study run {result.run_id}")
    say_where(Run(client, result.run_id))
