"""Locks between processes: a file that one of them holds, and lets go whatever ends it."""

from __future__ import annotations

from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from fmce_mlflow.errors import BusyError


def hold(path: Path, busy: str) -> BaseFileLock:
    """Hold a lock file until it is released, or the process ends.

    Raises:
        BusyError: With this text, if another process holds it.
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
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(busy) from None
    return lock
