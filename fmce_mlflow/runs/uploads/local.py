"""Snapshots that are written at once, to a database and a folder of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from fmce_mlflow.runs.map_file import STAGING, flush
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import Sink, T, log_folder


class LocalUploads:
    """Uploads and sink in one: what is written is there."""

    def __init__(self, run: Run, root: Path) -> None:
        self._run, self._root = run, root
        root.mkdir(parents=True, exist_ok=True)
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

    def give_up(self, status: str, *, within: float | None) -> str | None:
        """Give the run its status; one that was deleted meanwhile cannot have any."""
        with suppress(MlflowException):
            self.close(status)
        return None
