"""Lines for the user that no terminal can end a training with: one that lacks characters, and one that is gone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress


def tell(line: str, write: Callable[[str], object] = print) -> None:
    """Write a line; characters that the terminal lacks become ``?``, and where nobody reads it, the caller goes on.

    Example:
        >>> tell("ρ 0.97")
        ρ 0.97
    """
    try:
        _write(line, write)
    except UnicodeEncodeError as error:
        tell(line.encode(error.encoding, "replace").decode(error.encoding), write)
    except OSError:
        nobody_reads()


def _write(line: str, write: Callable[[str], object]) -> None:
    write(line)
    if sys.stdout is not None:
        sys.stdout.flush()


def nobody_reads() -> None:
    """Send the rest of what is written to nowhere: its reader, as `head` or a terminal, has gone."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    with suppress(OSError, ValueError, AttributeError):
        print("Nobody reads the output any more; what was begun goes on without it.", file=sys.stderr, flush=True)
