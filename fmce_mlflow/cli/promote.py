"""The command that promotes a registered version, or refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from fmce_mlflow.cli.command import Command, both
from fmce_mlflow.cli.evaluate import how_to_evaluate, images_for, scoring_options
from fmce_mlflow.cli.options import options_of
from fmce_mlflow.cli.runs import make_client, open_run, say, say_where
from fmce_mlflow.errors import PromotionRefused
from fmce_mlflow.evaluation.options import EvaluationConfig, EvaluationImages
from fmce_mlflow.promotion.options import PromotionOptions
from fmce_mlflow.promotion.rules import DEFAULT
from fmce_mlflow.safety.imports import quick_imports
from fmce_mlflow.safety.options import build

Choices = tuple[PromotionOptions, tuple[EvaluationConfig, EvaluationImages]]

_REQUIRE = {
    "multiple": True,
    "default": (),
    "metavar": "METRIC>=VALUE",
    "show_default": False,
    "help": "What must hold of a logged metric, with >=, >, <=, < or ==; repeatable; none: only what --compare-to asks "
    f"for.  [default: {DEFAULT}]",
}


def promotion_options(values: Mapping[str, Any]) -> Choices:
    """What to promote, and how to evaluate it if no run is named."""
    given = {name: value for name, value in values.items() if name != "require" or any(value)}
    return both(lambda: build(PromotionOptions, given), lambda: scoring_options(values))


@click.command("promote", cls=Command, build=promotion_options)
@options_of(PromotionOptions, changed={"require": _REQUIRE})
@how_to_evaluate
@click.pass_context
def promote_command(ctx: click.Context, /, choices: Choices) -> None:
    """Promote a registered version to an alias or a stage if its evaluation meets what is required.

    A refusal names every requirement that is not met and has the exit code 3; mistakes have 1 and 2.

    \b
    Examples:
      fmce promote --model models:/photos/2 --alias champion --dataset folder:photos
      fmce promote --model models:/digits/2 --stage Production --evaluation-run 3f2a…
      fmce promote --model models:/digits@candidate --alias champion --compare-to champion \\
          --require 'fmcs_predicted>=0.95' --require 'focus/conv5>0.2' --dry-run
    """
    options, (config, which) = choices
    client = make_client(ctx)
    with quick_imports():
        from fmce_mlflow.promotion.promote import promote
        from fmce_mlflow.promotion.registry import find_version

    version = find_version(client, options.model)
    uri = f"models:/{version.name}/{version.version}"
    data = None if options.evaluation_run else images_for(client, uri, config, which)
    run = open_run(client, ctx, name="promotion")
    try:
        with run.closing(finishes=(PromotionRefused,)):
            evaluate = None
            if data is not None:
                from fmce_mlflow.evaluation.evaluate import nested_evaluations

                evaluate = nested_evaluations(run, data, config)
            decision = promote(run, options, evaluate=evaluate)
    except PromotionRefused:
        say_where(run)
        raise
    what = f"Version {version.version} of {version.name}"
    if options.dry_run:
        say(f"{what} meets what is required. Without --dry-run it would be promoted to {options.target}.")
    else:
        holders = f"version {', '.join(decision.before)}" if decision.before else "none"
        say(f"{what} is promoted to {options.target}; before, it was held by {holders}.")
    say_where(run)
