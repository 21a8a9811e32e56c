"""What a recording that was cut off needs to go on: its record, in the run's checkpoint slots, after every snapshot."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from fmce_mlflow.errors import ArtifactError, FmceError, RunError
from fmce_mlflow.recording.options import RecordingOptions
from fmce_mlflow.recording.record import Record
from fmce_mlflow.runs.checkpoint_slots import store, stored
from fmce_mlflow.runs.feature_index import Probe
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import Sink
from fmce_mlflow.safety.reading import check_header, parse_json

KIND = "recording"
MAX_BYTES = 2**30
MAX_HEADER = 90 * 2**20  # safetensors itself reads 100 MB


@dataclass(frozen=True, slots=True)
class About:
    """What a recording is of.

    Attributes:
        name: What lines and figures call the training.
        modules: Shape of one map (C, H, W) by module.
    """

    name: str
    probe: Probe
    modules: Mapping[str, tuple[int, ...]]
    options: RecordingOptions

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        modules = {name: list(shape) for name, shape in self.modules.items()}
        return {"name": self.name, "probe": asdict(self.probe), "modules": modules, "options": self.options.to_dict()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> About:
        """From :meth:`to_dict`; KeyError, TypeError, ValueError or an FmceError if it is not that."""
        modules = {str(name): tuple(map(int, shape)) for name, shape in value["modules"].items()}
        options = RecordingOptions.from_dict(value["options"])
        return cls(str(value["name"]), Probe(**value["probe"]), modules, options)


def save(sink: Sink, run_id: str, about: About, record: Record) -> None:
    """Write the state after a snapshot into the slot that is not in use, then point the run's tag at it."""
    header = {"kind": KIND, "about": json.dumps(about.to_dict()), "record": record.to_json()}
    store(sink, run_id, save_tensors(record.tensors(), header), len(record.metrics) - 1)


def load(run: Run) -> tuple[About, Record] | None:
    """What a run's recording was of, and its record; None where it has none that could go on.

    Raises:
        ArtifactError: If the file is missing or of another format.
        IntegrityError: If it is not what was written.
        RunError: If the run is a training of ``fmce train-backbone``.
    """
    found = stored(run, MAX_BYTES, "the recording cannot go on. Record in a new run.")
    if found is None:
        return None
    data, name = found
    check_header(data, MAX_HEADER, name)
    try:
        tensors = load_tensors(data)
        (size,) = struct.unpack_from("<Q", data)  # safetensors: length of the JSON header, the header, the tensors
        header = parse_json(data[8 : 8 + size]).get("__metadata__", {})
        if header.get("kind") != KIND:
            raise RunError(
                f"Run {run.id} is a training of `fmce train-backbone`, and no recording of another loop. Go on with it "
                f"by `fmce train-backbone --resume {run.id}`, or record in another run."
            )
        return About.from_dict(parse_json(header["about"])), Record.from_json(header["record"], tensors)
    except RunError:
        raise
    except (SafetensorError, FmceError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{name} cannot be read ({error}). Record in a new run.") from None
