"""What is shown, and where the page is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fmce_mlflow.safety.options import Names, Option, Options


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowOptions(Options):
    """Which maps are shown.

    Example:
        >>> ShowOptions(run="3f2a", modules="layer3, layer4").modules
        ('layer3', 'layer4')
    """

    run: Annotated[str, Option("Run that recorded feature maps.")] = ""
    model: Annotated[
        str, Option("Model URI in place of a run: the maps that it gives of some images, see --dataset.")
    ] = ""
    modules: Annotated[
        Names, Option("Functional modules, names or globs with commas; empty: all of a run, the last stage of a model.")
    ] = ()
    out: Annotated[str, Option("File that the page is written to.", must="the name of a file")] = "feature_maps.html"
    log: Annotated[bool, Option("Log the page to the run too, as plots/feature_maps.html.")] = False

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """One source, and a place for the page."""
        if fine("run", "model") and bool(self.run) == bool(self.model):
            both = f"got run {self.run!r:.80} and model {self.model!r:.80}" if self.run else "got neither"
            yield f"show takes either --run or --model, {both}; as in --run RUN_ID, or --model models:/NAME/1"
        if fine("run", "log") and self.log and not self.run:
            yield "log goes with --run; the page of a model is a file only"
        if fine("out"):
            yield from _unwritable(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewOptions(Options):
    """Which versions the page of a registry shows, and where it leads.

    Example:
        >>> OverviewOptions(ui="mlflow.example")
        Traceback (most recent call last):
        ...
        fmce_mlflow.errors.ConfigError: ui must be an address with http:// or https://, got 'mlflow.example'
    """

    model: Annotated[str, Option("Registered model whose versions are shown; empty: those of all.")] = ""
    out: Annotated[str, Option("File that the page is written to.", must="the name of a file")] = "overview.html"
    ui: Annotated[
        str | None,
        Option(
            "Address of MLflow's pages, to which the cells lead; auto: the tracking server, or where `mlflow ui` shows "
            "a database."
        ),
    ] = None

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """An address, and a place for the page."""
        if fine("ui") and self.ui and not self.ui.startswith(("http://", "https://")):
            yield f"ui must be an address with http:// or https://, got {self.ui!r:.300}"
        if fine("out"):
            yield from _unwritable(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusOptions(Options):
    """Which training, and how long it is to be.

    Example:
        >>> StatusOptions(run=" ")
        Traceback (most recent call last):
        ...
        fmce_mlflow.errors.ConfigError: status needs the id of a run, as in fmce status RUN_ID
    """

    run: Annotated[str, Option("Run that records a training.")] = ""
    epochs: Annotated[
        float | None,
        Option("Epochs that the training is planned for; auto: as the run's parameters say.", gt=0),
    ] = None

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """A run."""
        if fine("run") and not self.run.strip():
            yield "status needs the id of a run, as in fmce status RUN_ID"


def _unwritable(out: str) -> Iterator[str]:
    """What keeps a file from being written, found before anything is read for it."""
    path = Path(os.path.expanduser(out))
    if not out.strip() or path.is_dir():
        yield f"out must be the name of a file, as in --out page.html; got {out!r:.300}" + " (a folder)" * path.is_dir()
    elif not path.parent.is_dir():
        yield f"out is in a folder that is not there, {path.parent}; make it, or name another"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        yield f"out cannot be written: no permission for {path}; name another file"
