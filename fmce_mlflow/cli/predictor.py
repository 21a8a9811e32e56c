"""Commands about FMCE-Net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from fmce_mlflow.cli.options import Command, Optional, apply_options, flag, option, split
from fmce_mlflow.cli.runs import make_client, open_run, say, say_where
from fmce_mlflow.errors import ConfigError

if TYPE_CHECKING:
    from fmce_mlflow.predictor.options import NetOptions

EPOCHS = {"set": 160, "outline": 30}
"""Most passes by kind of net, where none are named."""

net_options = apply_options(
    [
        option("fmcs-run", "", "Run with the FMCS-dataset; empty: the latest that finished."),
        option("net", "set", "Kind of FMCE-Net.", click.Choice(["set", "outline"])),
        option("protocol", "run", "Held out for scoring: images, run, architecture, dataset, with commas."),
        flag("cross-validate", "Hold out each group in turn, not one only."),
        flag("baselines", "Fit and score the baselines too.", default="true"),
        option("register-as", "", "Register the net under this name."),
        option("bag-size", 64, "Images in a bag.", int),
        option("bags-per-map", 6, "Bags drawn of each feature-map file, for training and for scoring.", int),
        option("test-share", 0.5, "Share of the probe images kept from training.", float),
        option("statistics", "both", "Features of the set net.", click.Choice(["both", "channels", "bag", "all"])),
        flag("reference", "The set net also sees the contrast with the module before training."),
        option("scaling", "standard", "Scaling of its features.", click.Choice(["standard", "quantile"])),
        option("width", 64, "Width of the set net's hidden layers.", int),
        option("depth", 2, "Hidden layers of the set net.", int),
        option("dropout", 0.2, "Dropout behind hidden layers.", float),
        option("input-dropout", 0.2, "Dropout of the set net's features.", float),
        option("members", 4, "Networks in the set net's ensemble.", int),
        option("features", 64, "Channels inside the outline net.", int),
        option("blocks", 2, "Residual blocks of the outline net.", int),
        option("heads", 4, "Attention heads of the outline net.", int),
        option("epochs", "auto", "Most passes over the bags; auto: 160, or 30 for the outline net.", Optional(int)),
        option("patience", 40, "Passes without a better validation error before stopping.", int),
        option("folds", 4, "Validation folds within the training groups.", int),
        option("batch-size", 32, "Bags, or images for the outline net, per step.", int),
        option("lr", 0.002, "Peak learning rate of AdamW.", float),
        option("weight-decay", 0.01, "Weight decay.", float),
        option("label-width", 0.05, "Deviation of the belief that a label stands for.", float),
        option("averaging", 0.98, "Decay of the moving average of weights.", float),
        option("noise", 0.0, "Deviation of noise added to standardised features.", float),
        option("seed", 0, "Weights, bags, and the group that is held out.", int),
    ]
)


def parse_net_options(values: Mapping[str, Any]) -> NetOptions:
    """The options of :data:`net_options` as one checked value.

    Raises:
        ConfigError: Names every value that cannot be used.
    """
    from dataclasses import fields

    from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
    from fmce_mlflow.method.fmce_net.config import OutlineOptions, SetConfig
    from fmce_mlflow.predictor.options import NetOptions

    kind = values["net"]
    given = {**values, "epochs": EPOCHS[kind] if values["epochs"] is None else values["epochs"], "levels": 5}
    problems: list[str] = []
    parts: dict[str, Any] = {}
    for name, config in (("bags", BagConfig), ("net", SetConfig), ("outline", OutlineOptions), ("fit", FitConfig)):
        try:
            parts[name] = config(**{f.name: given[f.name] for f in fields(config)})
        except ConfigError as error:
            problems += error.problems
    try:
        options = NetOptions(
            fmcs_run=given["fmcs_run"],
            kind=kind,
            protocols=tuple(split(given["protocol"])),  # type: ignore[arg-type]  # checked in NetOptions
            cross_validate=given["cross_validate"],
            baselines=given["baselines"],
            register_as=given["register_as"] or None,
            **parts,
        )
    except ConfigError as error:
        problems += [p for p in error.problems if p not in problems]
    if problems:
        raise ConfigError(problems)
    return options


@click.command("train-fmce-net", cls=Command, check=parse_net_options)
@net_options
@click.pass_context
def train_fmce_net_command(ctx: click.Context, /, **values: Any) -> None:
    """Train FMCE-Net on an FMCS-dataset, score it on what it has not seen, and log it.

    \b
    Examples:
      fmce train-fmce-net --cross-validate
      fmce train-fmce-net --net outline --protocol images
      fmce train-fmce-net --protocol run,architecture,dataset --cross-validate --register-as fmcs
    """
    options = parse_net_options(values)
    client = make_client(ctx)
    from fmce_mlflow.predictor.train import train_fmce_net
    from fmce_mlflow.runs.run import Run

    run = Run(client, open_run(client, ctx, name="fmce_net"), say)
    with run.closing():
        result = train_fmce_net(run, options)
    say(f"FMCE-Net {result.model_uri}, run {run.id}")
    say_where(client, run.id)
