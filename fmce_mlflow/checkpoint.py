"""What a killed training run needs to go on, as one safetensors file per slot.

Two slots take turns and a tag of the run names the last complete one with its sha256: whatever moment the process dies
at, the tag points to a whole file.
"""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from fmce_mlflow.errors import ArtifactError, RunError
from fmce_mlflow.feature_index import Entry, checked_entry
from fmce_mlflow.feature_maps import Sink, artifact_repository, fetched
from fmce_mlflow.method.training import TrainingState
from fmce_mlflow.reading import check_header, check_sha256, parse_json, read_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from numpy.typing import NDArray
    from torch import Tensor

ROOT = "checkpoint"
TAG = "fmce.checkpoint"
SLOTS = ("slot_0.safetensors", "slot_1.safetensors")
FORMAT_VERSION = 1
MAX_BYTES = 128 * 2**30
MAX_HEADER = 90 * 2**20  # safetensors itself reads 100 MB
MAX_SNAPSHOT = 10**9


@dataclass(slots=True)
class Record:
    """What a run has measured so far; everything in it is a plain value.

    Attributes:
        metrics: Per snapshot, in order: metric name → value.
        epochs: Epochs trained, per snapshot.
        entries: Feature-map files written.
        weights: sha256 of the files of weights that wait to become models, by snapshot.
    """

    metrics: list[dict[str, float]] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)
    entries: dict[tuple[str, int], Entry] = field(default_factory=dict)
    weights: dict[int, str] = field(default_factory=dict)

    def sequence(self, name: str) -> NDArray[np.float64]:
        """One metric over the snapshots that have it, float64."""
        return np.array([m[name] for m in self.metrics if name in m], dtype=np.float64)

    def to_json(self) -> str:
        """As text."""
        return json.dumps(
            {
                "metrics": self.metrics,
                "epochs": self.epochs,
                "entries": [asdict(e) for e in self.entries.values()],
                "weights": list(self.weights.items()),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Record:
        """From the text of :meth:`to_json`.

        Raises:
            ArtifactError: If a feature-map file cannot be as it says.
            KeyError: If something is missing.
            TypeError: If something is of another kind.
            ValueError: If it is no JSON, or a number is none.
        """
        value = parse_json(text)
        entries = [checked_entry(e, "The checkpoint") for e in value["entries"]]
        metrics = [{str(k): float(v) for k, v in one.items()} for one in value["metrics"]]
        weights = {int(snapshot): str(sha256) for snapshot, sha256 in value.get("weights", [])}
        epochs = [float(epoch) for epoch in value["epochs"]]
        return cls(metrics, epochs, {(e.module, e.snapshot): e for e in entries}, weights)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything to go on from a snapshot.

    Attributes:
        state: Weights and optimizer.
        record: What was measured up to and with that snapshot.
        grams: Centred Gram matrices (n, n) of the snapshot's maps by module, for the next drift.
        saliency: Grad-CAM by module, uint8 (S, n, h, w), of the last S snapshots.
    """

    state: TrainingState
    record: Record
    grams: dict[str, NDArray[Any]]
    saliency: dict[str, NDArray[np.uint8]] = field(default_factory=dict)

    def pack(self) -> bytes:
        """One safetensors file: tensors by prefix, the rest in its header."""
        tensors: dict[str, Tensor] = {f"model:{k}": v.contiguous() for k, v in self.state.model.items()}
        tensors |= {f"optimizer:{k}": v.contiguous() for k, v in self.state.optimizer.items()}
        tensors |= {f"gram:{k}": torch.from_numpy(v) for k, v in self.grams.items()}
        tensors |= {f"saliency:{k}": torch.from_numpy(v) for k, v in self.saliency.items()}
        header = {
            "format_version": str(FORMAT_VERSION),
            "snapshot": str(self.state.snapshot),
            "scaler": json.dumps(self.state.scaler),
            "record": self.record.to_json(),
        }
        return save_tensors(tensors, header)

    @classmethod
    def unpack(cls, data: bytes) -> Checkpoint:
        """Read the bytes of :meth:`pack`.

        Raises:
            ArtifactError: If they are no checkpoint of this format.
        """
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "gram": {}, "saliency": {}}
        check_header(data, MAX_HEADER, "The checkpoint")
        try:
            tensors = load_tensors(data)
            (size,) = struct.unpack_from("<Q", data)  # safetensors: length of the JSON header, the header, the tensors
            header = parse_json(data[8 : 8 + size]).get("__metadata__", {})
            if header.get("format_version") != str(FORMAT_VERSION):
                raise ArtifactError(
                    f"The checkpoint has format version {header.get('format_version')}; "
                    f"this release reads {FORMAT_VERSION}. Resume with the release that wrote it."
                )
            for key, value in tensors.items():
                part, _, name = key.partition(":")
                parts[part][name] = value
            record = Record.from_json(header["record"])
            scaler, snapshot = parse_json(header["scaler"]), int(header["snapshot"])
            if not 0 <= snapshot <= MAX_SNAPSHOT:
                raise ValueError(f"snapshot {snapshot} cannot be")
            scaler = {str(k): float(v) for k, v in scaler.items()}
            state = TrainingState(snapshot, parts["model"], parts["optimizer"], scaler)
            grams, saliency = ({k: v.numpy() for k, v in parts[name].items()} for name in ("gram", "saliency"))
        except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise ArtifactError(f"The checkpoint cannot be read ({error}). Train the backbone again.") from None
        return cls(state, record, grams, saliency)


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


def save(client: Sink, run_id: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into the slot that is not in use, then point the run's tag at it."""
    data = checkpoint.pack()
    slot = SLOTS[checkpoint.state.snapshot % 2]
    with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
        path = Path(folder, slot)
        path.write_bytes(data)
        publish(client, run_id, path, Pointer(slot, checkpoint.state.snapshot, hashlib.sha256(data).hexdigest()))


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


def load(client: MlflowClient, run_id: str) -> Checkpoint | None:
    """The last complete checkpoint of a run; None where training had not come to one.

    Raises:
        ArtifactError: If the file is missing or of another format.
        IntegrityError: If it is not what was written.
        RunError: If the run's tag is not what :func:`publish` wrote.
    """
    now = pointer(client, run_id)
    if now is None:
        return None
    slot, expected = now.slot, now.sha256
    with fetched(client, run_id, f"{ROOT}/{slot}") as path:
        if path is None:
            raise ArtifactError(f"{ROOT}/{slot} of run {run_id} is missing; the run cannot be resumed. Train it again.")
        data = read_file(path, MAX_BYTES, f"{ROOT}/{slot} of run {run_id}")
    check_sha256(data, expected, f"{ROOT}/{slot} of run {run_id}")
    return Checkpoint.unpack(data)


def remove(client: MlflowClient, run_id: str) -> None:
    """Drop a finished run's checkpoints: the tag first, so that it never points at nothing."""
    if TAG in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, TAG)
    if any(file.path == ROOT for file in client.list_artifacts(run_id)):
        artifact_repository(client, run_id).delete_artifacts(ROOT)
