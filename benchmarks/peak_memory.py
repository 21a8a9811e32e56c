"""The memory of a process: what it has now, and the most that it had.

``ru_maxrss`` would not do: on Linux a child begins with its parent's, and one that has imported torch has more than
many a child comes to. ``VmHWM`` begins anew with the program that a process runs.
"""

from __future__ import annotations

import resource
import threading
import time
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_of_this_process() -> float:
    """The most resident memory that this process had, in MiB; of its threads and not of its children."""
    if _STATUS.exists():
        return _fields()["VmHWM"]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def memory() -> tuple[float, float]:
    """What this process has now, in MiB: of its own, and of mapped files. On Linux alone."""
    fields = _fields()
    return fields["RssAnon"], fields["RssFile"]


def _fields() -> dict[str, float]:
    lines = [line.split() for line in _STATUS.read_text().splitlines()]
    return {words[0].rstrip(":"): int(words[1]) / 1024 for words in lines if words[-1] == "kB"}


class Peak:
    """The most memory while a block runs, looked at every 50 ms, with its seconds on the clock and of CPU."""

    def __enter__(self) -> Peak:
        self.own = self.mapped = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        self._started = time.perf_counter(), time.process_time()
        return self

    def _watch(self) -> None:
        while True:
            own, mapped = memory()
            self.own, self.mapped = max(self.own, own), max(self.mapped, mapped)
            if self._end.wait(0.05):
                return

    def __exit__(self, *_) -> None:
        self.seconds = time.perf_counter() - self._started[0]
        self.cpu = time.process_time() - self._started[1]
        self._end.set()
        self._thread.join()
