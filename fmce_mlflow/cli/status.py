"""The command that says how far a training has come."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from fmce_mlflow.cli.command import Command
from fmce_mlflow.cli.options import options_of
from fmce_mlflow.cli.runs import make_client, say, say_where
from fmce_mlflow.safety.options import build
from fmce_mlflow.showing.options import StatusOptions

if TYPE_CHECKING:
    from fmce_mlflow.recording.progress import Progress


def status_options(values: Mapping[str, Any]) -> StatusOptions:
    """Which training, and how long it is to be."""
    return build(StatusOptions, values)


@click.command("status", cls=Command, build=status_options)
@click.argument("run", default="")
@options_of(StatusOptions, without=("run",))
@click.pass_context
def status_command(ctx: click.Context, /, options: StatusOptions) -> None:
    """Say how far a training has come: its snapshots, T so far, which modules have settled, and what is left.

    RUN is the id of a run that records a training, which goes on, has ended, or was cut off. Nothing is written.

    \b
    Examples:
      fmce status 3f2a…
      fmce status 3f2a… --epochs 40
    """
    client = make_client(ctx)
    from fmce_mlflow.fmcs_dataset.table import known_run
    from fmce_mlflow.recording.progress import read_progress
    from fmce_mlflow.runs.run import Run

    progress = read_progress(client, known_run(client, options.run, "backbone"), epochs=options.epochs)
    for line in _lines(progress):
        say(line)
    say_where(Run(client, options.run, say))


def _lines(progress: Progress) -> Iterator[str]:
    """What is known, in words, with the loss and each module's drift as curves."""
    from fmce_mlflow.report.sparkline import BLOCKS, PLAIN, column_of, sparkline

    levels = BLOCKS if _prints(BLOCKS) else PLAIN
    yield from filter(None, (progress.where(), progress.ahead()))
    if not progress.times:
        yield "Snapshots may wait on the disk of the machine that trains; there, `fmce sync` uploads them."
        return
    yield progress.converged()
    loss = progress.recorded.loss
    if loss is not None:
        values = loss.losses.tolist()
        yield f"  loss  {values[0]:.3g} {sparkline(values, levels=levels)} {values[-1]:.3g}"
        if loss.point is not None:
            yield f"{' ' * (len(f'  loss  {values[0]:.3g} ') + column_of(loss.point, len(values)))}^ T = {loss.point}"
    modules = progress.modules()
    width = max(map(len, modules), default=0)
    for name, what in modules.items():
        drift = progress.recorded.signals.drift[name].losses.tolist()
        yield f"  {name:<{width}}  {sparkline(drift, width=30, levels=levels)}  {what}"


def _prints(text: str) -> bool:
    """Whether the terminal has the characters of a text."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True
