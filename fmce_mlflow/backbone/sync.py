"""Upload what a training left on disk, and close its run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from fmce_mlflow.backbone import resume as checkpoint
from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.backbone.resume import stored_options
from fmce_mlflow.backbone.stopping import has_ended
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.errors import DataError, RunError
from fmce_mlflow.recording import state
from fmce_mlflow.recording.conclude import conclude, named
from fmce_mlflow.runs import checkpoint_slots
from fmce_mlflow.runs.recordings import TAG, frozen_of, is_closed
from fmce_mlflow.runs.run import ROLE_TAG, Run
from fmce_mlflow.runs.uploads import spool, uploader
from fmce_mlflow.runs.uploads.options import UploadOptions
from fmce_mlflow.safety.credentials import hide_credentials, without_credentials
from fmce_mlflow.safety.retry import passes
from fmce_mlflow.safety.terminal import tell
from fmce_mlflow.wording import counted

if TYPE_CHECKING:
    from mlflow import MlflowClient


def waiting_folders(folder: Path) -> list[Path]:
    """The runs' folders in a folder, which may be one itself.

    Raises:
        ArtifactError: If it is not a run's folder, has none in it, and is not empty.
    """
    if (folder / spool.RUN).exists():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"*/{spool.RUN}"))
    if not found and (not folder.exists() or any(folder.iterdir())):
        spool.owner(folder)  # says what is missing
    return found


def sync(client: MlflowClient, folder: Path, *, say: Callable[[str], None] = tell) -> str:
    """Upload what waits in a run's folder, close the run, remove the folder. It can be done again at any point.

    A run that was trained to its end is completed: FINISHED, with its convergence and its model. Another one gets the
    status that it could not be given, or KILLED.

    Returns:
        The run's status.

    Raises:
        RunError: If the run is not there or no backbone run, or another process trains or uploads it.
        ArtifactError: If the folder is not what was written.
        DataError: If the run is to be completed and its images are not here.
    """
    run_id, uri = spool.owner(folder)
    uri = without_credentials(uri)
    run = Run(client, run_id, say)
    try:
        tags = run.fetch().data.tags
        role = tags.get(ROLE_TAG)
    except MlflowException as error:
        if passes(error):
            raise
        raise RunError(
            f"There is no run {run_id} on {without_credentials(client.tracking_uri)}; it was trained against "
            f"{uri}. Name that server with --tracking-uri: {hide_credentials(error)}"
        ) from None
    if role != "backbone":  # before anything is logged to it: the folder may be anybody's
        raise RunError(f"Run {run_id} is no backbone run: its tag {ROLE_TAG} is {role!r}. Nothing was uploaded.")
    held = spool.Spool(folder, run_id, uri)
    try:
        units = len(held.units)
        uploader.replay(run, held)
        say(f"Run {run_id}: uploaded {counted(units, 'snapshot')} from {folder}.")
        if is_closed(run.fetch()):
            held.remove()
            return "FINISHED"
        if TAG in tags:
            return _end_recording(run, held)
        options, last = stored_options(run), checkpoint_slots.pointer(run)
        if last is None or (last.snapshot < options.training.snapshots and not _stopped(run, options)):
            status = spool.closing_status(folder) or "KILLED"
            client.set_terminated(run_id, status)
            held.remove()
            say(f"Run {run_id} is closed: {status}. Go on with: fmce train-backbone --resume {run_id}")
            return status
    finally:
        held.release()
    say(f"Run {run_id} was trained to its end; completing it.")
    try:
        train_backbone(run, options, uploads=UploadOptions(folder=str(folder.parent)))
    except DataError as error:
        raise DataError(
            f"All is uploaded, but run {run_id} can only be completed where its images are. {error}"
        ) from None
    return "FINISHED"


def _stopped(run: Run, options: BackboneOptions) -> bool:
    """Whether a training ended before its last snapshot, because it had converged."""
    if not options.stop_when_converged:
        return False
    found = checkpoint.load(run)
    return found is not None and has_ended(options, found.record)


def _end_recording(run: Run, held: spool.Spool) -> str:
    """Close a run that somebody's own loop was recorded in; where the loop came to its end, with its convergence."""
    status, before = spool.closing_status(held.folder) or "KILLED", state.load(run)
    if before is None or status != "FINISHED":
        run.say(f"Run {run.id} is closed: {status}. Go on with: record(…, run_id={run.id!r})")
    else:
        about, record = before
        record.frozen |= frozen_of(run.fetch().data.tags)  # its state may lack what was frozen after the last snapshot
        run.say(f"Run {run.id} was recorded to its end; completing it, without Grad-CAM, which needs its images.")
        conclude(named(run, about.name), about, record, finite=False)
        checkpoint_slots.remove(run)
    run.client.set_terminated(run.id, status)
    held.remove()
    return status
