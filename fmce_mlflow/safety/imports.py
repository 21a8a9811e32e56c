"""Importing what a command, or a process that it begins, needs, in half the time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 100  # modules; fewer make nothing worth setting apart
_LIGHTNING = "pytorch_lightning"


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import heavy packages inside, without looking for garbage meanwhile or ever again in what they made.

    MLflow's PyTorch flavor imports Lightning where it is installed, and with it transformers, for a callback that no
    command uses; without it, it does the same and says nothing.
    """
    before, collecting = len(sys.modules), gc.isenabled()
    hidden = _LIGHTNING not in sys.modules
    if hidden:
        sys.modules[_LIGHTNING] = None  # type: ignore[assignment]  # an import of it fails as if it were not there
    gc.disable()
    try:
        yield
    finally:
        if hidden:
            sys.modules.pop(_LIGHTNING, None)
        if len(sys.modules) - before > _MANY:
            gc.freeze()
        if collecting:
            gc.enable()
