"""Locks between processes: a file that one of them holds, and lets go whatever ends it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from fmce_mlflow.errors import BusyError

MOMENT = 2.0  # seconds


def home() -> Path | None:
    """The user's own folder; None for a user who has none, as in containers."""
    found = os.path.expanduser("~")
    return Path(found) if os.path.isabs(found) else None


def hold(path: Path, busy: str, *, patience: float = 0, waiting: Callable[[], None] = lambda: None) -> BaseFileLock:
    """Hold a lock file until it is released, or the process ends.

    Args:
        path: The file, which is made.
        busy: What is said if another process holds it.
        patience: Seconds for which it is waited for.
        waiting: Called where that takes more than a moment.

    Raises:
        BusyError: If another process holds it for that long.
        OSError: If there can be no such file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     first = hold(Path(folder, "lock"), "busy")
        ...     try:
        ...         hold(Path(folder, "lock"), "Another process works here.")
        ...     except BusyError as error:
        ...         print(error)
        ...     first.release()
        Another process works here.
    """
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=min(patience, MOMENT))
        except Timeout:
            if patience > MOMENT:
                waiting()
            lock.acquire(timeout=max(0.0, patience - MOMENT))
    except Timeout:
        raise BusyError(busy) from None
    return lock
