"""The command that shows everything once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from fmce_mlflow.backbone.side_by_side import Trainings, at_once
from fmce_mlflow.cli.command import Command
from fmce_mlflow.cli.options import options_of
from fmce_mlflow.cli.runs import make_client, open_run, say, say_where
from fmce_mlflow.demo.options import ShortStory, StoryOptions
from fmce_mlflow.safety.imports import quick_imports
from fmce_mlflow.safety.options import build


def story_options(values: Mapping[str, Any]) -> StoryOptions:
    """The options of `main`."""
    return build(ShortStory, values).story()


@click.command("main", cls=Command, build=story_options)
@options_of(ShortStory)
@click.pass_context
def main_command(ctx: click.Context, /, options: StoryOptions) -> None:
    """Go through everything once, on the digits that come with scikit-learn, in a few minutes.

    Trains backbones, labels their feature maps and trains FMCE-Net on them; registers an early and the last snapshot
    of one more backbone, evaluates both, promotes the mature one and refuses the immature one.

    \b
    Example:
      fmce main
    """
    jobs = [options.backbone] * (len(options.seeds) + 1)
    with Trainings(at_once(jobs, options.workers), say) as trainings:
        client = make_client(ctx)
        with quick_imports():
            from fmce_mlflow.demo.story import tell_story
            from fmce_mlflow.method.images.split import load_images

        data = load_images(options.backbone)
        run = open_run(client, ctx, name="main")
        with run.closing():
            tell_story(run, options, data=data, trainings=trainings)
    say_where(run)
    info = run.fetch().info
    experiment = client.get_experiment(info.experiment_id).name
    say(f"There, experiment {experiment} has run {info.run_name} ({run.id}), with everything below it.")
