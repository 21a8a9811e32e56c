"""Open the run of a training for this process alone; close it with its last snapshots, or with what it has of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from fmce_mlflow.errors import BusyError, RunError, UploadError
from fmce_mlflow.runs.run import ROLE_TAG, Run, status_after
from fmce_mlflow.runs.sink import Uploads
from fmce_mlflow.runs.uploads.open import open_uploads
from fmce_mlflow.runs.uploads.options import UploadOptions

GRACE = 10.0
"""Seconds in which a training that is stopped still uploads; schedulers kill after 30."""


def opened(run: Run, options: UploadOptions | None) -> Uploads:
    """Where a run's snapshots go, from here on from this process alone. A run that has no such place has failed.

    Raises:
        BusyError: If another process trains or uploads it.
        RunError: If it is another kind of run, or another process has finished it meanwhile.
        ArtifactError: If snapshots cannot be kept, or its artifact store cannot be used.
        UploadError: If what waits from before cannot be uploaded.
    """
    try:
        out = open_uploads(run, options)
    except (BusyError, UploadError):  # another's to close, or nothing to close it at
        raise
    except BaseException as error:
        run.end(error)
        raise
    try:
        out.persist(partial(refuse_another, run))
    except BaseException:
        out.release()
        raise
    return out


def refuse_another(run: Run) -> None:
    """Refuse to train in a run that is finished, or that is no training's.

    Raises:
        RunError: Says which.
    """
    logged = run.fetch()
    role = logged.data.tags.get(ROLE_TAG, "backbone")
    if role != "backbone":
        raise RunError(f"Run {run.id} is not a backbone run ({ROLE_TAG} is {role!r}). Train in a new one.")
    if logged.info.status == "FINISHED":
        raise RunError(f"Run {run.id} is finished; there is nothing to resume. Start a new one.")


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
        left = out.give_up(status_after(error), within=GRACE if stopped else 0 if away else None)
        if stopped:
            run.say(f"Stopped. Go on with: fmce train-backbone --resume {run.id}")
        if left and not away:
            run.say(left)
        raise
