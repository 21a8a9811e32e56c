"""What a killed training run needs to go on, as one safetensors file per slot.

Two slots take turns and a tag of the run names the last complete one with its sha256: whatever moment the process dies
at, the tag points to a whole file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fmce_mlflow.errors import RunError
from fmce_mlflow.runs.artifacts import artifact_repository
from fmce_mlflow.runs.sink import Sink
from fmce_mlflow.safety.reading import parse_json

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROOT = "checkpoint"
TAG = "fmce.checkpoint"
SLOTS = ("slot_0.safetensors", "slot_1.safetensors")


@dataclass(frozen=True, slots=True)
class Pointer:
    """What the run's tag says: its last complete checkpoint.

    Attributes:
        slot: The file.
        snapshot: The snapshot it was taken at.
        sha256: Hash of the file.
    """

    slot: str
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


def free_slot(now: Pointer | None) -> str:
    """The slot that the run's tag does not point to."""
    return SLOTS[1] if now is not None and now.slot == SLOTS[0] else SLOTS[0]


def pointer(client: MlflowClient, run_id: str) -> Pointer | None:
    """What the run's tag says; None where training had not come to a checkpoint.

    Raises:
        RunError: If the tag is not what :func:`publish` wrote.
    """
    tag = client.get_run(run_id).data.tags.get(TAG)
    if tag is None:
        return None
    try:
        found = Pointer.from_json(tag)
    except ValueError:
        raise RunError(
            f"Tag {TAG} of run {run_id} is not what fmce-mlflow wrote: {tag!r}. Train the backbone again."
        ) from None
    if found.slot not in SLOTS:
        raise RunError(
            f"Tag {TAG} of run {run_id} points to {found.slot!r}, outside {ROOT}/. Train the backbone again."
        )
    return found


def remove(client: MlflowClient, run_id: str) -> None:
    """Drop a finished run's checkpoints: the tag first, so that it never points at nothing."""
    if TAG in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, TAG)
    if any(file.path == ROOT for file in client.list_artifacts(run_id)):
        artifact_repository(client, run_id).delete_artifacts(ROOT)
