"""What a run says of a recording in it: a tag, since its parameters and metrics may be somebody else's too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fmce_mlflow.errors import ArtifactError
from fmce_mlflow.runs.artifacts import fetched
from fmce_mlflow.runs.feature_index import INDEX, ROOT
from fmce_mlflow.safety.reading import SEAL, check_seal, parse_json, read_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TAG = "fmce.recording"
FROZEN_TAG = "fmce.frozen"
CONVERGENCE = "convergence.json"
MAX_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class RecordingTag:
    """What the tag says, as JSON."""

    backbone: str
    dataset: str
    prefix: str = ""
    signal: str = "train"
    convergence: Mapping[str, Any] = field(default_factory=dict)
    starts_trained: bool = False

    def to_json(self) -> str:
        """The tag's text."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> RecordingTag | None:
        """From a run's tags; None where it has no recording of another loop, or the tag is not ours."""
        try:
            value = parse_json(tags[TAG])
            return cls(
                str(value["backbone"]), str(value["dataset"]), str(value["prefix"]), str(value["signal"]),
                dict(value["convergence"]), bool(value.get("starts_trained", False)),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError):
            return None


def frozen_of(tags: Mapping[str, str]) -> dict[str, int]:
    """The modules that a recording froze, each with the snapshot after which, as the run's tag says; else nothing."""
    try:
        return {str(name): int(snapshot) for name, snapshot in parse_json(tags[FROZEN_TAG]).items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def has_ended(tags: Mapping[str, str]) -> bool:
    """Whether the feature maps of a run with these tags are complete: the seal of their index is the last thing set."""
    return f"{SEAL}/{ROOT}/{INDEX}" in tags


def is_closed(run: Run) -> bool:
    """Whether nothing can come to a run any more.

    MLflow gives a run that is active when its process ends the status FINISHED, so of a recording the seal counts.
    """
    tags = run.data.tags
    return run.info.status == "FINISHED" and (TAG not in tags or has_ended(tags))


def recorded_signals(client: MlflowClient, run: Run) -> dict[str, Any] | None:
    """A run's ``convergence.json``: what each signal said, once the recording had ended; None where there is none.

    Raises:
        IntegrityError: If it is not what was written.
        ArtifactError: If it cannot be read.
    """
    name = f"{CONVERGENCE} of run {run.info.run_id}"
    with fetched(client, run.info.run_id, CONVERGENCE) as path:
        if path is None:
            return None
        data = read_file(path, MAX_BYTES, name)
    check_seal(run.data.tags, CONVERGENCE, data, name)
    try:
        value = parse_json(data)
    except ValueError as error:
        raise ArtifactError(f"{name} cannot be read: {error}. Record the run again.") from None
    if not isinstance(value, dict):
        raise ArtifactError(f"{name} cannot be read: it is no object. Record the run again.")
    return value
