"""The command that uploads what a server did not take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fmce_mlflow.cli.command import Command
from fmce_mlflow.cli.runs import make_client, say, say_where
from fmce_mlflow.errors import ConfigError
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.uploads.options import UploadOptions


@click.command("sync", cls=Command)
@click.argument("folder", default="")
@click.pass_context
def sync_command(ctx: click.Context, /, folder: str) -> None:
    """Upload what a training left on disk because its server did not take it, and close the run.

    FOLDER is a run's folder, as the training named it, or one with several; without it, where such folders are made.

    \b
    Examples:
      fmce sync
      fmce sync ~/.local/state/fmce/3f2a…
    """
    from fmce_mlflow.backbone.sync import sync, waiting_folders
    from fmce_mlflow.runs.uploads import spool

    where = Path(folder).absolute() if folder else UploadOptions().root
    runs = waiting_folders(where) if folder or where.exists() else []
    if not runs:
        say(f"Nothing waits in {where}.")
    for run in runs:
        run_id, uri = spool.owner(run)
        context: Any = ctx
        if not ctx.obj["tracking_uri"]:
            if not spool.is_ours(run):
                raise ConfigError(
                    f"{run} was written by another user, or others can write it, and names the server {uri}. "
                    "If that is the right one, say so: fmce --tracking-uri URI sync FOLDER. Your credentials go there."
                )
            context = click.Context(ctx.command, obj={**ctx.obj, "tracking_uri": uri})
        client = make_client(context)
        status = sync(client, run, say=say)
        say(f"Run {run_id}: {status}")
        say_where(Run(client, run_id))
