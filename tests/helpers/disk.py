"""Stores of tests do not wait for the disk: only a power cut can lose what they hold, and nobody reads them after one.

Waiting takes longer than all else a small training does. Other processes see every commit as before, also those of a
process that is killed.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from sqlalchemy import Engine, Pool, event
from sqlalchemy.exc import DisconnectionError


def do_not_wait() -> None:
    """From now on, for every file, and every sqlite store that MLflow or Optuna opens, in this process."""
    if not event.contains(Engine, "connect", _connected):
        event.listen(Engine, "connect", _connected)
        event.listen(Pool, "checkout", _looked_at)
        os.fsync = lambda _: None


def _connected(connection: Any, record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")
        ((_, _, path),) = connection.execute("PRAGMA database_list")
        record.info["file"] = path, _inode(path)


def _looked_at(_: Any, record: Any, __: Any) -> None:
    """A connection to a file that another has taken the place of is made anew."""
    path, inode = record.info.get("file", ("", None))
    if _inode(path) != inode:
        raise DisconnectionError


def _inode(path: str) -> int | None:
    return os.stat(path).st_ino if os.path.exists(path) else None
