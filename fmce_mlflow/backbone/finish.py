"""Close the run of a training: with its last snapshots, or with what it has of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fmce_mlflow.errors import UploadError
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import Uploads

GRACE = 10.0
"""Seconds in which a training that is stopped still uploads; schedulers kill after 30."""


@contextmanager
def closing(run: Run, out: Uploads) -> Iterator[None]:
    """Close the run at the end of the block, as :meth:`Run.closing` does, but through its uploads.

    The status goes the way of the snapshots and after them: it may have to wait on disk with them, and what cannot be
    uploaded any more must say where it stays.
    """
    try:
        yield
        out.close("FINISHED")
    except BaseException as error:
        stopped, away = isinstance(error, KeyboardInterrupt), isinstance(error, UploadError)
        left = out.give_up("KILLED" if stopped else "FAILED", within=GRACE if stopped else 0 if away else None)
        if stopped:
            run.say(f"Stopped. Go on with: fmce train-backbone --resume {run.id}")
        if left and not away:
            run.say(left)
        raise
