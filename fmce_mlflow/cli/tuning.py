"""The command that tunes FMCE-Net."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmce_mlflow.cli.options import Command, apply_options, flag, option
from fmce_mlflow.cli.runs import make_client, open_run, say, say_where
from fmce_mlflow.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from fmce_mlflow.tuning.options import TuneOptions

tuning_options = apply_options(
    [
        option("fmcs-run", "", "Run with the FMCS-dataset; empty: the study's, or the latest that finished."),
        option("protocol", "run", "What the test group and the validation folds hold out.",
               click.Choice(["images", "run", "architecture", "dataset"])),
        option("trials", 40, "Trials of the study in all, over all workers and machines.", int),
        option("workers", 1, "Processes on this machine.", int),
        option("study-name", "fmce", "Name of the study; the same name and storage join it."),
        option("storage", "sqlite:///fmce_optuna.db", "The study's database: sqlite:///FILE or postgresql://…"),
        flag("resume", "Go on with a study that has ended, or whose first process died."),
        option("space", "", "JSON, or a file with it, of hyperparameters to search otherwise than by default."),
        option("members", 4, "Networks in the ensemble of the net that is fitted at the end.", int),
        option("folds", 4, "Validation folds.", int),
        option("patience", 40, "Passes without a better validation error after which a trial ends.", int),
        option("test-share", 0.5, "Share of the probe images that no trial sees.", float),
        option("register-as", "", "Register the best net under this name."),
        option("heartbeat", 10, "Seconds between signs of life of a trial; after three times that it is dead.", int),
        option("retries", 2, "How often a trial is tried again whose worker died.", int),
        option("seed", 0, "Test group, bags, initial weights and the search itself.", int),
    ]
)  # fmt: skip


def parse_tuning_options(values: Mapping[str, Any]) -> TuneOptions:
    """The options of :data:`tuning_options` as one checked value.

    Raises:
        ConfigError: Names every value that cannot be used.
    """
    from dataclasses import fields

    from fmce_mlflow.tuning.options import Fixed, StudyOptions, TuneOptions
    from fmce_mlflow.tuning.search_space import DEFAULT_SPACE, parse_space

    given = {**values, "grace": 3 * values["heartbeat"]}
    if given["heartbeat"] < 1:
        given["grace"] = 1  # heartbeat is told by itself
    problems: list[str] = []
    parts: dict[str, Any] = {"space": DEFAULT_SPACE}
    for name, config in (("study", StudyOptions), ("fixed", Fixed)):
        try:
            parts[name] = config(**{f.name: given[f.name] for f in fields(config)})
        except ConfigError as error:
            problems += [p for p in error.problems if p not in problems]
    try:
        if text := given["space"].strip():
            parts["space"] = parse_space(text if text.startswith("{") else _content(text))
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return TuneOptions(fmcs_run=given["fmcs_run"], register_as=given["register_as"] or None, **parts)


def _content(path: str) -> str:
    from fmce_mlflow.safety.reading import read_file
    from fmce_mlflow.tuning.search_space import MAX_TEXT

    try:
        return read_file(Path(path), MAX_TEXT, f"The search space in {path}").decode()
    except (OSError, ValueError, ArtifactError) as error:
        raise ConfigError(f"space is neither JSON nor a file that can be read: {error}") from None


@click.command("tune-fmce-net", cls=Command, check=parse_tuning_options)
@tuning_options
@click.pass_context
def tune_fmce_net_command(ctx: click.Context, /, **values: Any) -> None:
    """Search for the hyperparameters of the set net with Optuna; fit the best to all groups and log it.

    Every trial is a run below the study's. The same command on another machine joins the study while it is running.

    \b
    Examples:
      fmce tune-fmce-net --trials 60 --workers 2
      fmce tune-fmce-net --storage postgresql://me@db.example/optuna --study-name maps --register-as fmcs
      fmce tune-fmce-net --resume --trials 100
      fmce tune-fmce-net --study-name narrow --space '{"width": [32, 64], "depth": 2}'
    """
    options = parse_tuning_options(values)
    client = make_client(ctx)
    from fmce_mlflow.tuning.net_study import tune_fmce_net

    result = tune_fmce_net(client, options, lambda: open_run(client, ctx, name="tuning"), say=say)
    if result.model_uri:
        say(f"Best FMCE-Net {result.model_uri}, validation MAE {result.value:.4f}, study run {result.run_id}")
    say_where(client, result.run_id)
