"""Snapshots that wait on disk until a thread has uploaded them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

from mlflow.entities import Metric

from fmce_mlflow.errors import ArtifactError, UploadError
from fmce_mlflow.runs.checkpoint_slots import TAG, Pointer
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import Sink, T, log_folder
from fmce_mlflow.runs.uploads import spool
from fmce_mlflow.runs.uploads.options import UploadOptions
from fmce_mlflow.runs.uploads.uploader import Uploader, replay
from fmce_mlflow.safety.credentials import hide_credentials, without_credentials
from fmce_mlflow.safety.retry import passes, retried, short
from fmce_mlflow.wording import counted

AT_ONCE = 5.0
"""Seconds in which a server that is there sets a tag."""


class RemoteUploads:
    """Keeps snapshots on disk until a thread has uploaded them."""

    waits = True

    def __init__(self, run: Run, options: UploadOptions) -> None:
        self._run, self._options = run, options
        try:
            self._spool = spool.Spool(options.root / run.id, run.id, run.client.tracking_uri)
        except OSError as error:
            raise self._no_folder(error) from None
        self._largest = 0
        try:
            if not self._spool.empty:
                run.say(f"Uploading what waits in {self._spool.folder}: {self._waiting()}.")
            self.persist(lambda: replay(run, self._spool))
        except BaseException:
            self._spool.release()
            raise
        self._uploader = Uploader(run, self._spool, workers=options.workers)

    @contextmanager
    def snapshot(self, index: int) -> Iterator[Sink]:
        """A sink that writes to disk."""
        try:
            sink = SpoolSink(self._spool.begin(index))
            yield sink
            self._largest = max(self._largest, self._uploader.add(sink.folder, sink.metrics, sink.checkpoint))
        except OSError as error:
            self._spool.discard(index)
            raise self._no_folder(error) from None

    def tag(self, key: str, value: str, snapshot: int) -> None:
        """Keep it on disk for the thread, which has done it by the return unless the server is slow or away."""
        try:
            self._uploader.tag(key, value, snapshot)
        except OSError as error:
            raise self._no_folder(error) from None
        self._uploader.wait(lambda: not self._spool.tags or self._uploader.hindered, AT_ONCE)

    def make_room(self) -> None:
        """Wait if another snapshot of the size of the largest one so far would exceed the limit.

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
        self._wait(lambda: self._spool.empty, "while the last snapshots were uploaded")

    def persist(self, call: Callable[[], T]) -> T:
        """Until it succeeds, or the patience ends, which begins with the first failure.

        Raises:
            UploadError: If it ends.
        """
        since: list[float] = []

        def failed(error: BaseException) -> None:
            if not since:
                self._run.say(f"MLflow does not answer as it should; trying again. ({short(error)})")
                since.append(time.monotonic())

        def over(_: Any) -> bool:
            return bool(since) and time.monotonic() - since[0] >= self._options.patience

        try:
            return retried(call, Event(), failed=failed, stop=over)
        except Exception as error:
            if not passes(error):
                raise
            raise self._away(error, "while the run was completed") from error

    def close(self, status: str | None) -> None:
        """Upload what waits, give the run its status, remove the folder."""
        self.drain()
        if status is not None:
            self.persist(lambda: self._run.client.set_terminated(self._run.id, status))
        self._uploader.stop()
        self._spool.remove()

    def give_up(self, status: str, *, within: float | None) -> str | None:
        """As :meth:`close`, for some seconds or while the patience lasts; the folder stays if that fails."""
        with suppress(OSError):  # the disk may be what failed
            self._spool.close_later(status)
        self._uploader.close_with(status)
        try:
            self._wait(lambda: self._uploader.closed, "", patience=within)
        except (UploadError, KeyboardInterrupt):
            if self._uploader.error is not None:  # its thread has ended; the server may take a status all the same
                with suppress(Exception):
                    self._run.client.set_terminated(self._run.id, status)
            self.release()
            return (
                f"What is not uploaded ({self._waiting()}) stays in "
                f"{self._spool.folder}; going on with the run begins with it. To upload it without going on: "
                f"fmce sync {self._spool.folder}"
            )
        self._uploader.stop()
        self._spool.remove()
        return None

    def release(self) -> None:
        """Let other processes have the run and its folder."""
        self._uploader.stop()
        self._spool.release()

    def _wait(self, done: Callable[[], bool], why: str, patience: float | None = None) -> None:
        limit = self._options.patience if patience is None else patience
        began = time.monotonic()
        with self._uploader.hurried(limit):
            while not self._uploader.wait(done, 0.5):
                if self._uploader.error is not None:
                    raise self._refused(self._uploader.error)
                since = began if patience is not None else max(began, self._uploader.succeeded)
                if time.monotonic() - since > limit:
                    raise self._away(self._uploader.failure, why)

    def _no_folder(self, error: OSError) -> ArtifactError:
        return ArtifactError(
            f"Snapshots that wait for the server cannot be kept in {self._options.root} ({error.strerror or error}). "
            f"Make room there and in {tempfile.gettempdir()}, or name another folder with --spool-folder or FMCE_SPOOL."
            f" A run that had begun goes on with: fmce train-backbone --resume {self._run.id}, or if it is a recording "
            f"of another loop, with record(…, run_id={self._run.id!r})."
        )

    def _waiting(self) -> str:
        tags = f", {counted(len(self._spool.tags), 'tag')}" if self._spool.tags else ""
        return f"{counted(len(self._spool.units), 'snapshot')}, {self._spool.bytes / 2**20:,.1f} MiB{tags}"

    def _away(self, error: BaseException | None, why: str) -> UploadError:
        reason = f"\nIts last failure: {short(error)}" if error is not None else ""
        return self._stuck(f"{self._server()} has taken nothing for {self._options.patience:g} s {why}.{reason}")

    def _refused(self, error: BaseException) -> UploadError:
        if isinstance(error, ArtifactError):  # it is not the server that refuses
            return self._stuck(str(error))
        return self._stuck(
            f"{self._server()} refuses what run {self._run.id} logs: {hide_credentials(error)}\n"
            "If the run or its experiment was deleted, restore it; if access was withdrawn, renew it."
        )

    def _server(self) -> str:
        return f"MLflow at {without_credentials(self._run.client.tracking_uri)}"

    def _stuck(self, why: str) -> UploadError:
        return UploadError(why, str(self._spool.folder), self._waiting())


class SpoolSink:
    """Keeps one snapshot on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics: list[spool.MetricRow] = []
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

    def log_artifacts(self, run_id: str, local_dir: str, artifact_path: str | None = None) -> None:
        """Take all files of a folder."""
        log_folder(self, run_id, local_dir, artifact_path)

    def log_batch(self, run_id: str, metrics: Sequence[Metric] = ()) -> None:
        """Keep metrics."""
        self.metrics += [(m.key, m.value, m.timestamp, m.step) for m in metrics]

    def set_tag(self, run_id: str, key: str, value: Any) -> None:
        """Keep the checkpoint's pointer, the only tag of a snapshot."""
        assert key == TAG
        self.checkpoint = Pointer.from_json(value).sha256
