"""The command that trains FMCE-Net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from fmce_mlflow.cli.command import Command
from fmce_mlflow.cli.options import options_of
from fmce_mlflow.cli.param_types import Optional
from fmce_mlflow.cli.runs import make_client, open_run, say, say_where
from fmce_mlflow.predictor.options import NetOptions
from fmce_mlflow.safety.imports import quick_imports
from fmce_mlflow.safety.options import build

EPOCHS = {"set": 160, "outline": 30}
"""The default of --epochs by kind of net."""
_EPOCHS_HELP = f"Most passes over the bags; auto: {EPOCHS['set']}, or {EPOCHS['outline']} for the outline net."


def net_options(values: Mapping[str, Any]) -> NetOptions:
    """The options of `train-fmce-net`."""
    auto = {"epochs": EPOCHS[values["net"]]} if values["epochs"] is None else {}
    return build(NetOptions, {**values, **auto})


@click.command("train-fmce-net", cls=Command, build=net_options)
@options_of(NetOptions, changed={"epochs": {"default": "auto", "type": Optional(int), "help": _EPOCHS_HELP}})
@click.pass_context
def train_fmce_net_command(ctx: click.Context, /, options: NetOptions) -> None:
    """Train FMCE-Net on an FMCS-dataset, score it on what it has not seen, and log it.

    \b
    Examples:
      fmce train-fmce-net --cross-validate
      fmce train-fmce-net --net outline --protocol images
      fmce train-fmce-net --protocol run,architecture,dataset --cross-validate --register-as fmcs
    """
    client = make_client(ctx)
    with quick_imports():
        from fmce_mlflow.predictor.train import train_fmce_net

    run = open_run(client, ctx, name="fmce_net")
    with run.closing():
        result = train_fmce_net(run, options)
    say(f"FMCE-Net {result.model_uri}, run {run.id}")
    say_where(run)
