"""The command that promotes a registered version, or refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from fmce_mlflow.cli.evaluate import data_options, evaluation_images, parse_evaluation_options, scoring_options
from fmce_mlflow.cli.options import Command, apply_options, flag, option
from fmce_mlflow.cli.runs import make_client, open_run, say, say_where
from fmce_mlflow.errors import ConfigError, PromotionRefused
from fmce_mlflow.promotion.rules import DEFAULT, parse_requirements

if TYPE_CHECKING:
    from fmce_mlflow.evaluation.options import EvaluationConfig
    from fmce_mlflow.promotion.options import PromotionOptions

promotion_options = apply_options(
    [
        option("model", "", "Registered version: models:/NAME/VERSION or models:/NAME@ALIAS."),
        option("alias", "", "Give it this alias."),
        option("stage", "", "Or move it to this stage, Staging or Production, and archive who is there."),
        click.option(
            "--require", multiple=True, default=(), metavar="METRIC>=VALUE",
            help=f"What must hold of a logged metric, with >=, >, <=, < or ==; repeatable.  [default: {DEFAULT}]",
        ),
        option("evaluation-run", "", "Run that has the figures; empty: evaluate now, with the options below."),
        option("compare-to", "", "Alias or stage whose holder it must not be worse than on the same images."),
        option("compare-run", "", "The holder's evaluation run; empty: one on the same images is looked for."),
        option("tolerance", 0.0, "How much worse than the holder a figure may be.", float),
        flag("dry-run", "Decide and record it, but leave the registry as it is."),
    ]
)  # fmt: skip


def parse_promotion_options(values: Mapping[str, Any]) -> tuple[PromotionOptions, EvaluationConfig]:
    """What to promote, and how to evaluate where no run is named.

    Raises:
        ConfigError: Names every value that cannot be used.
    """
    from fmce_mlflow.promotion.options import PromotionOptions

    names = ("model", "alias", "stage", "evaluation_run", "compare_to", "compare_run", "tolerance", "dry_run")
    given = {name: values[name] for name in names}
    problems: list[str] = []
    try:
        given["require"] = parse_requirements(values["require"]) or parse_requirements([DEFAULT])
    except ConfigError as error:
        problems += error.problems
    try:
        options = PromotionOptions(**given)
    except ConfigError as error:
        problems += error.problems
    try:
        config = parse_evaluation_options({name: value for name, value in values.items() if name != "model"})
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return options, config


@click.command("promote", cls=Command, check=parse_promotion_options)
@promotion_options
@data_options
@scoring_options
@click.pass_context
def promote_command(ctx: click.Context, /, **values: Any) -> None:
    """Promote a registered version to an alias or a stage if its evaluation meets what is required.

    A refusal names every requirement that is not met and has the exit code 3; mistakes have 1 and 2.

    \b
    Examples:
      fmce promote --model models:/digits/2 --alias champion --predictor models:/fmcs/1
      fmce promote --model models:/digits/2 --stage Production --evaluation-run 3f2a…
      fmce promote --model models:/digits@candidate --alias champion --compare-to champion \\
          --require 'fmcs_predicted>=0.95' --require 'focus/conv5>0.2' --dry-run
    """
    options, config = parse_promotion_options(values)
    client = make_client(ctx)
    from fmce_mlflow.promotion.promote import promote
    from fmce_mlflow.promotion.registry import find_version
    from fmce_mlflow.runs.run import Run

    version = find_version(client, options.model)
    data = None if options.evaluation_run else evaluation_images(values)
    run = Run(client, open_run(client, ctx, name="promotion"), say)
    evaluate = None
    if data is not None:
        from fmce_mlflow.evaluation.nested import nested_evaluations

        evaluate = nested_evaluations(run, data, config)
    try:
        with run.closing(finishes=(PromotionRefused,)):
            decision = promote(run, options, evaluate=evaluate)
    except PromotionRefused:
        say_where(client, run.id)
        raise
    what = f"Version {version.version} of {version.name}"
    if options.dry_run:
        say(f"{what} meets what is required. Without --dry-run it would be promoted to {options.target}.")
    else:
        say(f"{what} is promoted to {options.target}; before, it was held by {_told(decision.before)}.")
    say_where(client, run.id)


def _told(versions: tuple[str, ...]) -> str:
    return f"version {', '.join(versions)}" if versions else "none"
