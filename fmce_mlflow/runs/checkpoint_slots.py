"""Where a run keeps its checkpoint: two slots take turns, and a tag names the last complete one with its sha256.

Whatever moment the process dies at, the tag points to a whole file.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from fmce_mlflow.errors import ArtifactError, RunError
from fmce_mlflow.runs.artifacts import artifact_repository, fetched
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import Sink
from fmce_mlflow.safety.reading import check_sha256, parse_json, read_file

ROOT = "checkpoint"
TAG = "fmce.checkpoint"
SLOTS = ("slot_0.safetensors", "slot_1.safetensors")


@dataclass(frozen=True, slots=True)
class Pointer:
    """What the run's tag says: its last complete checkpoint."""

    slot: str  # its file
    snapshot: int
    sha256: str

    def to_json(self) -> str:
        """The tag's text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Pointer:
        """From the text of :meth:`to_json`.

        Raises:
            ValueError: If it is another text.
        """
        value = parse_json(text)
        try:
            return cls(str(value["slot"]), int(value["snapshot"]), str(value["sha256"]))
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None


def publish(client: Sink, run_id: str, path: Path, to: Pointer) -> None:
    """Log a checkpoint's file, which has its slot's name, then point the run's tag at it."""
    client.log_artifact(run_id, str(path), ROOT)
    client.set_tag(run_id, TAG, to.to_json())


def store(client: Sink, run_id: str, data: bytes, snapshot: int) -> None:
    """Write a snapshot's checkpoint into the slot that is not in use, then point the run's tag at it."""
    slot = SLOTS[snapshot % 2]
    with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
        path = Path(folder, slot)
        path.write_bytes(data)
        publish(client, run_id, path, Pointer(slot, snapshot, hashlib.sha256(data).hexdigest()))


def stored(run: Run, most: int, missing: str) -> tuple[bytes, str] | None:
    """The bytes of a run's last complete checkpoint, at most so many, and its name; None if it has none.

    Raises:
        ArtifactError: If the file is missing, of which ``missing`` says what to do, or too large.
        IntegrityError: If it is not what was written.
        RunError: If the run's tag is not what :func:`publish` wrote.
    """
    now = pointer(run)
    if now is None:
        return None
    name = f"{ROOT}/{now.slot} of run {run.id}"
    with fetched(run.client, run.id, f"{ROOT}/{now.slot}") as path:
        if path is None:
            raise ArtifactError(f"{name} is missing; {missing}")
        data = read_file(path, most, name)
    check_sha256(data, now.sha256, name)
    return data, name


def free_slot(now: Pointer | None) -> str:
    """The slot that the run's tag does not point to."""
    return SLOTS[1] if now is not None and now.slot == SLOTS[0] else SLOTS[0]


def pointer(run: Run) -> Pointer | None:
    """What the run's tag says; None if training had not reached a checkpoint.

    Raises:
        RunError: If the tag is not what :func:`publish` wrote.
    """
    tag = run.fetch().data.tags.get(TAG)
    if tag is None:
        return None
    try:
        found = Pointer.from_json(tag)
    except ValueError:
        raise RunError(
            f"Tag {TAG} of run {run.id} is not what fmce-mlflow wrote: {tag!r}. Train the backbone again."
        ) from None
    if found.slot not in SLOTS:
        raise RunError(
            f"Tag {TAG} of run {run.id} points to {found.slot!r}, outside {ROOT}/. Train the backbone again."
        )
    return found


def remove(run: Run) -> None:
    """Drop a finished run's checkpoints: the tag first, so that it never points at nothing."""
    if TAG in run.fetch().data.tags:
        run.client.delete_tag(run.id, TAG)
    if any(file.path == ROOT for file in run.client.list_artifacts(run.id)):
        artifact_repository(run.client, run.id).delete_artifacts(ROOT)
