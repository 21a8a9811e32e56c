"""The command that writes the page of a registry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from fmce_mlflow.cli.command import Command
from fmce_mlflow.cli.options import options_of
from fmce_mlflow.cli.runs import make_client, say
from fmce_mlflow.safety.options import build
from fmce_mlflow.showing.options import OverviewOptions
from fmce_mlflow.wording import counted


def overview_options(values: Mapping[str, Any]) -> OverviewOptions:
    """Which versions, and where the page goes."""
    return build(OverviewOptions, values)


@click.command("overview", cls=Command, build=overview_options)
@options_of(OverviewOptions)
@click.pass_context
def overview_command(ctx: click.Context, /, options: OverviewOptions) -> None:
    """Write one page of the registry: every version with its scores, its verdict and which module lags.

    It shows the newest evaluation of each version, and of the others why there is none. Everything is in the one file.

    \b
    Examples:
      fmce overview
      fmce overview --model photos --out photos.html
      fmce overview --ui https://mlflow.example
    """
    client = make_client(ctx)
    from fmce_mlflow.showing.overview import read_overview
    from fmce_mlflow.showing.overview_page import overview_page

    found = read_overview(client, options.model, options.ui)
    path = Path(options.out).expanduser()
    data = overview_page(found).encode()
    path.write_bytes(data)
    evaluated = sum(one.evaluation is not None for one in found.versions)
    of = counted(len(found.models), "model")
    say(f"{counted(len(found.versions), 'version')} of {of}, {evaluated:,} of them evaluated.")
    say(f"Wrote {path}, {len(data) / 1000:,.0f} kB. Open it in a browser.")
