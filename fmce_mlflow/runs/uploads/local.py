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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from fmce_mlflow.runs.map_file import STAGING, flush
from fmce_mlflow.runs.sink import Sink

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")


class _Files:
    """Logs a folder file by file."""

    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None:
        """Log a file."""
        raise NotImplementedError

    def log_artifacts(self, run_id: str, local_dir: str, artifact_path: str | None = None) -> None:
        """Log all files of a folder."""
        for path in sorted(Path(local_dir).rglob("*")):
            if path.is_file():
                below = path.relative_to(local_dir).parent
                self.log_artifact(run_id, str(path), str(Path(artifact_path or "") / below))


class LocalUploads(_Files):
    """Writes snapshots at once, to a database and a folder of this machine."""

    def __init__(self, client: MlflowClient, run_id: str, root: Path) -> None:
        self._client, self._run_id, self._root = client, run_id, root
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

    def log_batch(self, run_id: str, metrics: Sequence[Metric] = ()) -> None:
        """As the client does."""
        self._client.log_batch(run_id, metrics=metrics)

    def set_tag(self, run_id: str, key: str, value: Any) -> None:
        """As the client does."""
        self._client.set_tag(run_id, key, value)

    def make_room(self) -> None:
        """There is as much as there is."""

    def drain(self) -> None:
        """Nothing waits."""

    def persist(self, call: Callable[[], T]) -> T:
        """Once."""
        return call()

    def close(self, status: str) -> None:
        """Give the run its status."""
        self._client.set_terminated(self._run_id, status)

    def give_up(self, status: str, *, within: float | None) -> str | None:
        """Give the run its status; one that was deleted meanwhile cannot have any."""
        with suppress(MlflowException):
            self._client.set_terminated(self._run_id, status)
        return None
