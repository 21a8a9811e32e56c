"""The command that goes through everything once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from fmce_mlflow.cli.options import Command, apply_options, flag, option, whole_numbers
from fmce_mlflow.cli.runs import make_client, open_run, say, say_where
from fmce_mlflow.errors import ConfigError
from fmce_mlflow.promotion.rules import DEFAULT, parse_requirements

if TYPE_CHECKING:
    from fmce_mlflow.demo.options import StoryOptions

story_options = apply_options(
    [
        option("epochs", 6, "Passes of each backbone over the training images.", int),
        option("seeds", "0,1,2", "Seeds of the backbones that FMCE-Net learns from."),
        option("seed", 3, "Seed of the backbone whose snapshots are evaluated.", int),
        option("register-as", "fmce-demo", "Name of the registered model."),
        option("alias", "champion", "What the mature version is promoted to."),
        option("require", DEFAULT, "What a promotion requires; several with commas."),
        flag("cpu", "Stay on the CPU even where there is a GPU."),
    ]
)


def parse_story_options(values: Mapping[str, Any]) -> StoryOptions:
    """The options of :data:`story_options` as one checked value.

    Raises:
        ConfigError: Names every value that cannot be used.
    """
    from fmce_mlflow.demo.options import ShortStory

    problems: list[str] = []
    given = dict(values)
    for name, read in (("seeds", whole_numbers), ("require", lambda text: parse_requirements([text]))):
        try:
            given[name] = read(values[name])
        except ConfigError as error:
            problems += error.problems
            del given[name]
    try:
        options = ShortStory(**given).story()
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return options


@click.command("main", cls=Command, check=parse_story_options)
@story_options
@click.pass_context
def main_command(ctx: click.Context, /, **values: Any) -> None:
    """Go through everything once, on the digits that come with scikit-learn, in a few minutes.

    Trains backbones, labels their feature maps and trains FMCE-Net on them; registers an early and the last snapshot
    of one more backbone, evaluates both, promotes the mature one and refuses the immature one.

    \b
    Example:
      fmce main
    """
    options = parse_story_options(values)
    client = make_client(ctx)
    from fmce_mlflow.backbone.images import load_options_images
    from fmce_mlflow.demo.story import tell_story
    from fmce_mlflow.runs.run import Run

    data = load_options_images(options.backbone)
    run = Run(client, open_run(client, ctx, name="main"), say)
    with run.closing():
        tell_story(run, options, data=data)
    say_where(client, run.id)
    info = run.fetch().info
    experiment = client.get_experiment(info.experiment_id).name
    say(f"There, experiment {experiment} has run {info.run_name} ({run.id}), with everything below it.")
