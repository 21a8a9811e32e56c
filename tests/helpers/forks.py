"""Processes that begin in milliseconds: forks of one that has imported what they need and done nothing else.

To import torch and MLflow takes a new process seconds. A fork is a process like any other: with a memory, threads and
an end of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "tests.helpers.trainings",
        "tests.helpers.studies",
        "tests.helpers.promoters",
        "tests.helpers.registries",
        "matplotlib.backends.backend_agg",
    ]
)


class Forked:
    """A fork that calls a function, with this process's environment: as much of ``subprocess.Popen`` as tests use."""

    def __init__(self, target: Callable[..., None], *args: Any, **environment: str) -> None:
        reader, writer = FORKS.Pipe(duplex=False)
        self.args = (target.__name__, *args)
        self._process = FORKS.Process(target=_run, args=(writer, {**os.environ, **environment}, target, args))
        self._process.start()
        writer.close()
        self.stdout: TextIO = os.fdopen(os.dup(reader.fileno()), encoding="utf-8")
        reader.close()
        self.pid = self._process.pid
        self._said: list[str] = []
        self._reader = threading.Thread(target=lambda: self._said.append(self.stdout.read()), daemon=True)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> int | None:
        self._process.join()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """What it still says up to its end, as often as is asked for it."""
        if self._reader.ident is None:
            self._reader.start()
        self._reader.join(timeout)
        if self._reader.is_alive():
            raise subprocess.TimeoutExpired([str(word) for word in self.args], timeout or 0.0)
        self.wait()
        return self._said[0], None


def _run(writer: Any, environment: dict[str, str], target: Callable[..., None], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for descriptor in (1, 2):
        os.dup2(writer.fileno(), descriptor)
    writer.close()
    target(*args)
