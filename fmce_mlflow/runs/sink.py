"""What a snapshot is written through: a sink, and the uploads that open one for each snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Sink(Protocol):
    """What takes a snapshot: the part of an ``MlflowClient`` that writing one needs.

    A sink may have ``staging``, a folder on the disk that files end on: written there, they need no copy.
    """

    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None:
        """Log a file."""

    def log_artifacts(self, run_id: str, local_dir: str, artifact_path: str | None = None) -> None:
        """Log all files of a folder."""

    def log_batch(self, run_id: str, metrics: Sequence[Any] = ()) -> Any:
        """Log metrics."""

    def set_tag(self, run_id: str, key: str, value: Any) -> Any:
        """Set a tag."""


class Uploads(Protocol):
    """Where a training's snapshots go, and how its run is closed once they are there.

    Attributes:
        waits: Whether snapshots wait until a server has taken them.
    """

    waits: bool

    def make_room(self) -> None:
        """Wait until another snapshot may be logged."""

    def snapshot(self, index: int) -> AbstractContextManager[Sink]:
        """A sink for one snapshot, which is logged at the end of the block."""

    def tag(self, key: str, value: str, snapshot: int) -> None:
        """Set a tag that became known after a snapshot, at the latest before the next one is logged."""

    def drain(self) -> None:
        """Wait until all snapshots are logged."""

    def persist(self, call: Callable[[], T]) -> T:
        """Do what is written to MLflow directly, again if it fails in a way that may pass."""

    def close(self, status: str | None) -> None:
        """Log what waits and give the run its status; with None, the run stays as open as it is."""

    def give_up(self, status: str, *, within: float | None) -> str | None:
        """Close a run that will not be complete; never fails, and says what waits on disk if anything does."""

    def release(self) -> None:
        """Let other processes have the run, which stays as it is."""


def log_folder(sink: Sink, run_id: str, local_dir: str, artifact_path: str | None) -> None:
    """Log a folder file by file, in order."""
    for path in sorted(Path(local_dir).rglob("*")):
        if path.is_file():
            sink.log_artifact(run_id, str(path), str(Path(artifact_path or "") / path.relative_to(local_dir).parent))
