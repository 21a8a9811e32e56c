"""How a training's snapshots wait for a server; loads neither MLflow nor torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fmce_mlflow.errors import ConfigError

FOLDER_VARIABLE = "FMCE_SPOOL"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOptions:
    """How snapshots wait for a server.

    Attributes:
        folder: Where runs have their folders; empty for ``$FMCE_SPOOL``, or ``~/.local/state/fmce``.
        limit: MiB that snapshots of a run may take there; training waits where they would take more.
        patience: Seconds without any success after which a wait for the server ends.
        workers: Connections that upload maps at the same time.

    Raises:
        ConfigError: If a value is out of range; names every such value.
    """

    folder: str = ""
    limit: int = 2048
    patience: float = 600.0
    workers: int = 4

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be {least}, got {value}"
            for name, value, least, fine in (
                ("spool-limit", self.limit, "at least 1", self.limit >= 1),
                ("upload-patience", self.patience, "above 0", 0 < self.patience < float("inf")),
                ("upload-workers", self.workers, "1 to 64", 1 <= self.workers <= 64),
            )
            if not fine
        ]
        if problems:
            raise ConfigError(problems)

    @property
    def root(self) -> Path:
        """The folder of all runs' folders."""
        named = self.folder or os.environ.get(FOLDER_VARIABLE)
        return Path(named).absolute() if named else Path.home() / ".local" / "state" / "fmce"
