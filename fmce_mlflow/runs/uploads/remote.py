"""How a training's snapshots come to MLflow, off the training path where MLflow is not on this machine.

A snapshot is its feature maps, the index that names them, a checkpoint, the run's tag that points to the checkpoint,
and metrics. They reach MLflow in this order, so that whatever moment anything dies at,

- the index names only files that are there,
- the tag points to a whole checkpoint, and every snapshot up to that one is there: a checkpoint goes into the slot
  that the tag does not point to, and the tag is set once it is there,
- metrics are all that a snapshot behind the tag may lack, and the checkpoint has them: ``--resume`` logs what is
  missing.

**Local** (sqlite or files, with an artifact folder of this machine): written at once. Each file takes the place of
the one before it only when it is whole and on the disk, so a full disk, a kill or a machine that stops leaves what was
there readable.

**Remote**: a snapshot is written to a folder on disk, which gets its name once all of it is there
(:mod:`fmce_mlflow.runs.uploads.spool`), and training goes on. One thread takes whatever waits, any number of snapshots
at once:
the maps of all of them on a few connections, then the last index, then the last checkpoint and its tag, then the
metrics of all. It removes a snapshot's folder when all that is done. So at any moment a snapshot is on the server, or
whole on disk, or both. Each step can be done again: files are overwritten by the same bytes, metrics keep the time at
which they were measured, which makes MLflow's databases take them once. Of snapshots that wait, only the last needs
its checkpoint; the others' are dropped.

Failures that may pass are tried again for as long as training lasts. Where the folder's limit is reached, training
waits. Where nothing at all has succeeded for ``patience`` seconds while somebody waits, the command ends with an
:class:`~fmce_mlflow.errors.UploadError`; the folder stays. ``--resume`` and ``fmce sync`` begin with what the folder
holds, except for what the run has from elsewhere: training is deterministic, so a run that has gone on on another
machine has it all.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from mlflow.entities import Metric

from fmce_mlflow.errors import ArtifactError, UploadError
from fmce_mlflow.runs.checkpoint_slots import TAG, Pointer
from fmce_mlflow.runs.sink import Sink
from fmce_mlflow.runs.uploads import spool
from fmce_mlflow.runs.uploads.local import T, _Files
from fmce_mlflow.runs.uploads.options import UploadOptions
from fmce_mlflow.runs.uploads.uploader import Uploader, replay
from fmce_mlflow.safety.retry import passes, retried, short

if TYPE_CHECKING:
    from mlflow import MlflowClient


class RemoteUploads:
    """Keeps snapshots on disk until a thread has uploaded them."""

    def __init__(self, client: MlflowClient, run_id: str, options: UploadOptions, say: Callable[[str], None]) -> None:
        self._client, self._run_id, self._options, self._say = client, run_id, options, say
        try:
            self._spool = spool.Spool(options.root / run_id, run_id, client.tracking_uri)
        except OSError as error:
            raise ArtifactError(
                f"Snapshots that wait for the server cannot be kept in {options.root} ({error.strerror}). "
                "Name another folder with --spool-folder or FMCE_SPOOL."
            ) from None
        self._largest = 0
        try:
            waiting = len(self._spool.units)
            if waiting:
                say(f"Uploading what waits in {self._spool.folder}: {described(waiting, self._spool.bytes)}.")
            self.persist(lambda: replay(client, run_id, self._spool))
        except BaseException:
            self._spool.release()
            raise
        self._uploader = Uploader(client, run_id, self._spool, workers=options.workers, say=say)

    @contextmanager
    def snapshot(self, index: int) -> Iterator[Sink]:
        """A sink that writes to disk."""
        recorder = Recorder(self._spool.begin(index))
        yield recorder
        self._largest = max(self._largest, self._uploader.add(recorder.folder, recorder.metrics, recorder.checkpoint))

    def make_room(self) -> None:
        """Wait where another snapshot of the size of the largest one so far would pass the limit.

        Raises:
            UploadError: As :meth:`drain`.
        """
        room = self._options.limit * 2**20 - round(1.05 * self._largest)
        self._wait(lambda: not self._spool.units or self._spool.bytes <= room, "and the folder's limit is reached")

    def drain(self) -> None:
        """Wait for the thread.

        Raises:
            UploadError: If the server takes nothing for as long as the patience lasts, or refuses what it is given.
        """
        self._wait(lambda: not self._spool.units, "while the last snapshots were uploaded")

    def persist(self, call: Callable[[], T]) -> T:
        """Until it succeeds, or the patience ends.

        Raises:
            UploadError: If it ends.
        """
        began, told = time.monotonic(), False

        def tell(error: BaseException) -> None:
            nonlocal told
            if not told:
                self._say(f"MLflow does not answer as it should; trying again. ({short(error)})")
            told = True

        try:
            return retried(
                call,
                Event(),
                failed=tell,
                stop=lambda state: time.monotonic() - began > self._options.patience,
            )
        except Exception as error:
            if not passes(error):
                raise
            raise self._away(error, "while the run was completed") from error

    def close(self, status: str) -> None:
        """Upload what waits, give the run its status, remove the folder."""
        self.drain()
        self.persist(lambda: self._client.set_terminated(self._run_id, status))
        self._uploader.stop()
        self._spool.remove()

    def give_up(self, status: str, *, within: float | None) -> str | None:
        """As :meth:`close`, for some seconds or while the patience lasts; the folder stays where that fails."""
        self._spool.close_later(status)
        self._uploader.close_with(status)
        try:
            self._wait(lambda: self._uploader.closed, "", patience=within)
        except (UploadError, KeyboardInterrupt):
            self._uploader.stop()
            self._spool.release()
            return (
                f"What is not uploaded ({described(len(self._spool.units), self._spool.bytes)}) stays in "
                f"{self._spool.folder}; --resume begins with it. To upload it without going on: "
                f"fmce sync {self._spool.folder}"
            )
        self._uploader.stop()
        self._spool.remove()
        return None

    def _wait(self, done: Callable[[], bool], why: str, patience: float | None = None) -> None:
        limit = self._options.patience if patience is None else patience
        began = time.monotonic()
        while not self._uploader.wait(done, 0.5):
            if self._uploader.error is not None:
                raise self._refused(self._uploader.error)
            since = began if patience is not None else max(began, self._uploader.succeeded)
            if time.monotonic() - since > limit:
                raise self._away(self._uploader.failure, why)

    def _away(self, error: BaseException | None, why: str) -> UploadError:
        reason = f"\nIts last failure: {short(error)}" if error is not None else ""
        return UploadError(
            f"MLflow at {spool.without_credentials(self._client.tracking_uri)} has taken nothing for "
            f"{self._options.patience:g} s {why}.{reason}",
            str(self._spool.folder),
            described(len(self._spool.units), self._spool.bytes),
        )

    def _refused(self, error: BaseException) -> UploadError:
        what = described(len(self._spool.units), self._spool.bytes)
        if isinstance(error, ArtifactError):  # it is not the server that refuses
            return UploadError(str(error), str(self._spool.folder), what)
        return UploadError(
            f"MLflow at {spool.without_credentials(self._client.tracking_uri)} refuses what run {self._run_id} logs: "
            f"{error}\nIf the run or its experiment was deleted, restore it; if access was withdrawn, renew it.",
            str(self._spool.folder),
            what,
        )


class Recorder(_Files):
    """A sink that keeps a snapshot on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics: list[spool.Row] = []
        self.checkpoint: str | None = None

    @property
    def staging(self) -> Path:
        """The snapshot's own folder."""
        return self.folder

    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None:
        """Take a file; it is moved."""
        target = self.folder / (artifact_path or "") / Path(local_path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(local_path, target)

    def log_batch(self, run_id: str, metrics: Sequence[Metric] = ()) -> None:
        """Keep metrics."""
        self.metrics += [(m.key, m.value, m.timestamp, m.step) for m in metrics]

    def set_tag(self, run_id: str, key: str, value: Any) -> None:
        """Keep the checkpoint's pointer, the only tag of a snapshot."""
        assert key == TAG
        self.checkpoint = Pointer.from_json(value).sha256


def described(snapshots: int, size: int) -> str:
    """What waits, in words.

    Example:
        >>> described(1, 3 * 2**19)
        '1 snapshot, 1.5 MiB'
    """
    return f"{snapshots} snapshot{'' if snapshots == 1 else 's'}, {size / 2**20:,.1f} MiB"
