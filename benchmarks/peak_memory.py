"""The peak memory of a process that another one started."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_of_this_process() -> float:
    """In MiB. On Linux ``ru_maxrss`` would not do: a child begins with its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS
