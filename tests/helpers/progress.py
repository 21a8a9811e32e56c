"""Waits that end when nothing moves any more, not when a clock runs out: a busy machine is slow and not broken."""

from __future__ import annotations

import multiprocessing.process
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

PATIENCE = 180.0
"""Seconds in which nothing has moved, after which a wait has failed."""
LEAST = 0.5
"""Seconds of CPU time that count as having moved; a process that only waits uses fewer in PATIENCE."""

Process = subprocess.Popen[Any] | multiprocessing.process.BaseProcess


class Stuck(AssertionError):
    """What was waited for did not come, and nobody is at work on it."""


class Watch:
    """Looks after some processes, by default this one, and whatever they have started, while somebody waits."""

    def __init__(self, *processes: Process) -> None:
        self.pids = [process.pid for process in processes if process.pid] or [os.getpid()]
        self.moved()

    def moved(self) -> None:
        """Something came: patience begins anew."""
        self._spent, self._since = self.spent(), time.monotonic()

    def check(self, waiting_for: str) -> None:
        """Fail if nothing has moved for long.

        Raises:
            Stuck: If neither something came nor the processes have used any time of a CPU.
        """
        if time.monotonic() - self._since < PATIENCE:
            return
        if self.spent() - self._spent < LEAST:
            raise Stuck(f"nothing moved for {PATIENCE:.0f} s in the wait for {waiting_for}")
        self.moved()

    def spent(self) -> float:
        """Seconds of CPU time of the processes and all below them, those that have ended too, without the wait."""
        total = -time.thread_time() if os.getpid() in self.pids else 0.0
        for pid in self.pids:
            try:
                whole = psutil.Process(pid)
                for one in (whole, *whole.children(recursive=True)):
                    total += sum(one.cpu_times()[:4])  # user, system, and those of children that have ended
            except psutil.NoSuchProcess:
                continue
        return total


def until(condition: Callable[[], Any], *processes: Process, what: str = "", pause: float = 0.05) -> Any:
    """Wait for a condition that processes are to bring about, and return its true value."""
    watch = Watch(*processes)
    while not (found := condition()):
        watch.check(what or getattr(condition, "__qualname__", "a condition"))
        time.sleep(pause)
    return found


def ended(process: subprocess.Popen[Any]) -> tuple[Any, Any]:
    """What a process still says on its pipes, once it has ended by itself."""
    watch = Watch(process)
    while True:
        try:
            return process.communicate(timeout=1)  # a later call goes on where this one was cut off
        except subprocess.TimeoutExpired:
            watch.check(f"the end of {process.args}")


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that a process says; empty once it has closed its output."""
    assert process.stdout is not None
    watch, lines = Watch(process), list[str]()
    reader = threading.Thread(target=lambda: lines.append(process.stdout.readline()), daemon=True)
    reader.start()
    while reader.is_alive():
        reader.join(1)
        watch.check(f"a line of {process.args}")
    return lines[0]


def taken(source: Any, *processes: Process) -> Any:
    """The next value from a queue that processes fill."""
    watch = Watch(*processes)
    while True:
        try:
            return source.get(timeout=1)
        except queue.Empty:
            watch.check("a value from another process")
