"""What an earlier release wrote (`tests/data/legacy`), put back into a folder of a test."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

SOURCE = Path(__file__).parents[1] / "data" / "legacy"


@dataclass(frozen=True)
class Legacy:
    """A copy, whose databases are databases again and whose paths are those of the copy.

    Attributes:
        folder: Where it is: `mlflow.db` and `artifacts/`, `optuna.db`, `server/` and `spool/`.
        about: Run ids, by what they are.
    """

    folder: Path
    about: dict[str, Any]

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.folder / 'mlflow.db'}")


def put_back(folder: Path, server: str = "") -> Legacy:
    """Copy everything to a folder that is not there; what waits for a server waits for the one at this URL."""
    shutil.copytree(SOURCE, folder)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        data = data.replace(b"@LEGACY@", str(folder).encode()).replace(b"@SERVER@", server.encode())
        path.write_bytes(data)
        if path.suffix == ".sql":
            with closing(sqlite3.connect(path.with_suffix(".db"))) as database:
                database.executescript(data.decode())
    return Legacy(folder, json.loads((folder / "about.json").read_text()))
