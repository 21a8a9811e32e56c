"""Stores of tests do not wait for the disk: only a power cut can lose what they hold, and nobody reads them after one.

Waiting takes longer than all else a small training does. Other processes see every commit as before, also those of a
process that is killed.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Engine, event


def do_not_wait() -> None:
    """From now on, for every sqlite store that MLflow or Optuna opens in this process."""
    if not event.contains(Engine, "connect", _switch_off):
        event.listen(Engine, "connect", _switch_off)


def _switch_off(connection: Any, _: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")
