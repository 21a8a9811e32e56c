"""Snapshots that are written at once, to a database and a folder of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import BaseFileLock
from mlflow.entities import Metric

from fmce_mlflow.errors import ArtifactError
from fmce_mlflow.runs.map_file import STAGING, flush
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import Sink, T, log_folder
from fmce_mlflow.runs.uploads.spool import in_use
from fmce_mlflow.safety.locks import hold

LOCK = "fmce.lock"
"""Beside a run's artifacts, for nothing but these is in their folder."""


class LocalUploads:
    """Uploads and sink in one: what is written is there."""

    waits = False

    def __init__(self, run: Run, root: Path) -> None:
        self._run, self._root = run, root
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactError(
                f"The artifacts of run {run.id} cannot be kept in {root} ({error.strerror}). Make that folder "
                "writable, or use an experiment whose artifact location is."
            ) from None
        self._lock: BaseFileLock | None = None
        with suppress(OSError):  # a folder above that is not ours: then there is no lock
            self._lock = hold(root.with_name(LOCK), in_use(run.id, root.parent))
        for left in root.glob(f"{STAGING}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)

    @property
    def staging(self) -> Path:
        """Where files can be written that are then moved, and not copied."""
        return self._root

    @contextmanager
    def snapshot(self, index: int) -> Iterator[Sink]:
        """This object is the sink."""
        yield self

    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None:
        """Copy a file into the run's folder; a file of that name is there, whole, at any moment."""
        target = self._root / (artifact_path or "") / Path(local_path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        if Path(local_path).is_relative_to(self.staging):
            Path(local_path).replace(target)
            return
        part = target.with_name(f"{STAGING}{target.name}")
        try:
            shutil.copyfile(local_path, part)
            flush(part)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def log_artifacts(self, run_id: str, local_dir: str, artifact_path: str | None = None) -> None:
        """Log all files of a folder."""
        log_folder(self, run_id, local_dir, artifact_path)

    def log_batch(self, run_id: str, metrics: Sequence[Metric] = ()) -> None:
        """As the client does."""
        self._run.client.log_batch(run_id, metrics=metrics)

    def set_tag(self, run_id: str, key: str, value: Any) -> None:
        """As the client does."""
        self._run.client.set_tag(run_id, key, value)

    def tag(self, key: str, value: str, snapshot: int) -> None:
        """At once."""
        self._run.client.set_tag(self._run.id, key, value)

    def make_room(self) -> None:
        """There is as much as there is."""

    def drain(self) -> None:
        """Nothing waits."""

    def persist(self, call: Callable[[], T]) -> T:
        """Once."""
        return call()

    def close(self, status: str | None) -> None:
        """Give the run its status."""
        if status is not None:
            self._run.client.set_terminated(self._run.id, status)
        if status == "FINISHED":  # who waits for the lock of another run could take over what two would hold then
            with suppress(OSError):
                self._root.with_name(LOCK).unlink(missing_ok=True)
        self.release()

    def give_up(self, status: str, *, within: float | None) -> str | None:
        """Give the run its status; one that was deleted meanwhile, or whose database is full, cannot have any."""
        with suppress(Exception):
            self._run.client.set_terminated(self._run.id, status)
        self.release()
        return None

    def release(self) -> None:
        """Let other processes have the run."""
        if self._lock is not None:
            self._lock.release()
