"""Sees what must not happen while something hostile is read: code that runs, files outside a folder, connections."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RUNS = {
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.spawn",
    "pickle.find_class", "ctypes.dlopen", "socket.connect", "socket.getaddrinfo",
}  # fmt: skip
"""Audit events that mean code, or a connection, whatever their arguments."""
CHANGES = {"os.remove", "os.rename", "os.rmdir", "os.truncate"}
ALLOWED = tuple(
    os.path.realpath(path)
    for path in (sys.prefix, sys.base_prefix, Path(__file__).parents[2], "/proc", "/sys", "/dev/null", "/dev/urandom",
                 "/usr/lib", "/usr/share/zoneinfo")
)  # fmt: skip
"""Where Python and the packages lie, which load parts of themselves late."""


class Watch:
    """Counts what is done between :meth:`on` and its end, by this thread.

    Args:
        folder: The only folder in which files may be opened or changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = os.path.realpath(folder)
        self.outside: list[str] = []
        self.executed: list[str] = []

    @contextmanager
    def on(self) -> Iterator[None]:
        """While this lasts, this watch is told of everything."""
        _watching.watch = self
        try:
            yield
        finally:
            _watching.watch = None

    def see(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            self._path(event, args[0])
        elif event in CHANGES:
            paths = [one for one in args if isinstance(one, (str, bytes, os.PathLike))]
            folders = [one for one in args if isinstance(one, int) and not isinstance(one, bool)][-len(paths) :]
            for path, descriptor in zip(paths, folders or [-1] * len(paths), strict=False):
                base = os.readlink(f"/proc/self/fd/{descriptor}") if descriptor >= 0 else "."
                where, name = os.path.split(os.path.join(base, os.fsdecode(path)))
                self._path(event, os.path.join(os.path.realpath(where), name), follow=False)  # a link itself
        elif event == "exec":
            name = getattr(args[0], "co_filename", "?")
            if not os.path.realpath(name).startswith(ALLOWED) and not name.startswith("<frozen"):
                self.executed.append(f"exec {name}")
        elif event == "import":
            top = str(args[0]).partition(".")[0]
            if top not in sys.modules and top not in sys.stdlib_module_names:
                self.executed.append(f"import {args[0]}")
        elif event in RUNS:
            self.executed.append(f"{event} {args!r:.200}")

    def _path(self, event: str, path: Any, *, follow: bool = True) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return  # a file descriptor
        try:
            real = os.path.realpath(os.fsdecode(path)) if follow else os.fsdecode(path)
        except (ValueError, FileNotFoundError):
            return  # a NUL, or no current folder: nothing can be opened
        if not any(real == root or real.startswith(root + os.sep) for root in (self.folder, *ALLOWED)):
            self.outside.append(f"{event} {real}")


_watching = threading.local()


def _hook(event: str, args: tuple[Any, ...]) -> None:
    watch = getattr(_watching, "watch", None)
    if watch is not None:
        _watching.watch = None  # what this does itself is not watched
        try:
            watch.see(event, args)
        finally:
            _watching.watch = watch


sys.addaudithook(_hook)
