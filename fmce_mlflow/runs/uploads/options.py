"""How a training's snapshots wait for a server; loads neither MLflow nor torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.safety.locks import home
from fmce_mlflow.safety.options import Option, Options

FOLDER_VARIABLE = "FMCE_SPOOL"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOptions(Options):
    """How snapshots wait for a server."""

    folder: Annotated[
        str,
        Option(
            f"Where snapshots wait for a server, best on a disk that outlives the job; empty: ${FOLDER_VARIABLE}, or "
            "~/.local/state/fmce.",
            name="spool-folder",
        ),
    ] = ""
    limit: Annotated[
        int,
        Option(
            "MiB that snapshots of a run may take there; training waits if one more would exceed it.",
            name="spool-limit",
            ge=1,
        ),
    ] = 2048
    patience: Annotated[
        float,
        Option(
            "Seconds without any success after which a wait for the server ends, and the command with it.",
            name="upload-patience",
            gt=0,
        ),
    ] = 600.0
    workers: Annotated[
        int,
        Option("Connections that upload maps at the same time.", name="upload-workers", ge=1, le=64, command=False),
    ] = 4

    @property
    def root(self) -> Path:
        """The folder of all runs' folders; a ConfigError where none is named and there is no home."""
        named = self.folder or os.environ.get(FOLDER_VARIABLE)
        if named:
            return Path(named).absolute()
        if (own := home()) is None:
            raise ConfigError(
                f"There is no home folder to keep snapshots in. Name a folder by --spool-folder or {FOLDER_VARIABLE}."
            )
        return own / ".local" / "state" / "fmce"
