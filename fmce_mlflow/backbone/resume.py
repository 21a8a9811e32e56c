"""What a killed training run needs to go on, as one safetensors file, and the options that it was started with."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.errors import ArtifactError, ConfigError, RunError
from fmce_mlflow.method.training.state import TrainingState
from fmce_mlflow.recording.record import Record
from fmce_mlflow.runs.artifacts import fetched
from fmce_mlflow.runs.checkpoint_slots import store, stored
from fmce_mlflow.runs.recordings import TAG
from fmce_mlflow.runs.run import ROLE_TAG, Run
from fmce_mlflow.runs.sink import Sink
from fmce_mlflow.safety.credentials import hide_credentials, without_credentials
from fmce_mlflow.safety.reading import check_header, check_seal, parse_json, read_file

if TYPE_CHECKING:
    from torch import Tensor


FORMAT_VERSION = 1
MAX_BYTES = 128 * 2**30
MAX_HEADER = 90 * 2**20  # safetensors itself reads 100 MB
MAX_SNAPSHOT = 10**9


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything to go on from a snapshot.

    Attributes:
        state: Weights and optimizer.
        record: What was measured up to and with that snapshot.
    """

    state: TrainingState
    record: Record

    def pack(self) -> bytes:
        """One safetensors file: tensors by prefix, the rest in its header."""
        tensors: dict[str, Tensor] = {f"model:{k}": v.contiguous() for k, v in self.state.model.items()}
        tensors |= {f"optimizer:{k}": v.contiguous() for k, v in self.state.optimizer.items()}
        tensors |= self.record.tensors()
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
            record = Record.from_json(header["record"], tensors)
            scaler, snapshot = parse_json(header["scaler"]), int(header["snapshot"])
            if not 0 <= snapshot <= MAX_SNAPSHOT:
                raise ValueError(f"snapshot {snapshot} cannot be")
            scaler = {str(k): float(v) for k, v in scaler.items()}
            state = TrainingState(snapshot, parts["model"], parts["optimizer"], scaler)
        except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise ArtifactError(f"The checkpoint cannot be read ({error}). Train the backbone again.") from None
        return cls(state, record)


def save(sink: Sink, run_id: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into the slot that is not in use, then point the run's tag at it."""
    store(sink, run_id, checkpoint.pack(), checkpoint.state.snapshot)


def load(run: Run) -> Checkpoint | None:
    """The last complete checkpoint of a run; None if training had not reached one.

    Raises:
        ArtifactError: If the file is missing or of another format.
        IntegrityError: If it is not what was written.
        RunError: If the run's tag is not what :func:`publish` wrote.
    """
    found = stored(run, MAX_BYTES, "the run cannot be resumed. Train it again.")
    return None if found is None else Checkpoint.unpack(found[0])


OPTIONS = "options.json"
MAX_OPTIONS_BYTES = 2**20


def stored_options(run: Run, **instead: Any) -> BackboneOptions:
    """The options of a backbone run that can be resumed, some of them replaced: those that only its end needs.

    Raises:
        ConfigError: If an option cannot be used any more.
        RunError: If there is no such run, or it is not a backbone run, died before it had begun, or is finished.
        ArtifactError: If its options cannot be read.
    """
    try:
        logged = run.fetch()
    except MlflowException as error:
        raise RunError(
            f"There is no run {run.id!r} to resume on {without_credentials(run.client.tracking_uri)}: "
            f"{hide_credentials(error)}"
        ) from None
    role = logged.data.tags.get(ROLE_TAG)
    if logged.info.status == "FINISHED":
        raise RunError(f"Run {run.id} is finished; there is nothing to resume. Start a new one.")
    name = f"{OPTIONS} of run {run.id}"
    with fetched(run.client, run.id, OPTIONS) as path:
        if path is None and TAG in logged.data.tags:
            raise RunError(
                f"Run {run.id} is a recording of another loop. Go on with it in that loop, by record(…, "
                f"run_id={run.id!r})."
            )
        if path is None or role != "backbone":
            raise RunError(
                f"Run {run.id} cannot be resumed: it is not a backbone run that had begun to train "
                f"({ROLE_TAG} is {role!r}{'' if path else f', {OPTIONS} is missing'}). Start a new one."
            )
        data = read_file(path, MAX_OPTIONS_BYTES, name)
    check_seal(logged.data.tags, OPTIONS, data, name)
    try:
        options = BackboneOptions.from_dict({**parse_json(data), **instead})
    except ConfigError as error:
        way_out = f", in run {run.id}: give another with --resume"
        raise ConfigError([f"{problem}{way_out}" for problem in error.problems]) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            f"{name} cannot be read ({type(error).__name__}: {error}). "
            "Resume with the release of fmce-mlflow that wrote it, or start a new run."
        ) from None
    flat = options.flat()
    for param in ("backbone", "dataset", "data_root"):  # a factory is imported, a folder read; MLflow fixes parameters
        before, now = logged.data.params.get(param), hide_credentials(flat[param])
        if before is not None and hide_credentials(before).strip() != now.strip()[:6000]:
            raise ArtifactError(
                f"{name} says that {param} is {now!r}; the run's parameter says {before!r}. It was changed after the "
                "run had begun: do not trust it, start a new run."
            )
    return options
