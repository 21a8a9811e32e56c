"""What a recording has measured so far, in a form that a checkpoint can keep."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fmce_mlflow.method.networks.fingerprint import Fingerprint
from fmce_mlflow.runs.feature_index import Entry, checked_entry, fields_of
from fmce_mlflow.safety.reading import parse_json

_GRAM, _SALIENCY = "gram:", "saliency:"
_NOT_FINITE = {str(value): value for value in (math.nan, math.inf, -math.inf)}


@dataclass(slots=True)
class Record:
    """All that the next snapshot and the end of a recording need of the snapshots before.

    Attributes:
        weights: sha256 of the files of weights that wait to become models, by snapshot.
        evidence: sha256 of the files of evidence, by snapshot.
        fingerprints: Of the network's weights, per snapshot, by which a model is known as one of these.
        steps: How many losses the loop has told.
        named: The last epoch that the loop named.
        frozen: Modules that the recording froze, in order, each with the snapshot after which.
        weights_of: Fingerprints of each module's weights at the last snapshot.
        grams: Centred Gram matrices (n, n) of the last snapshot's maps by module, for the next drift.
        saliency: Grad-CAM by module, uint8 (S, n, h, w), of the last S snapshots.
    """

    metrics: list[dict[str, float]] = field(default_factory=list)  # name → value, per snapshot
    epochs: list[float] = field(default_factory=list)  # trained so far, per snapshot
    entries: dict[tuple[str, int], Entry] = field(default_factory=dict)
    weights: dict[int, str] = field(default_factory=dict)
    evidence: dict[int, str] = field(default_factory=dict)
    fingerprints: list[tuple[float, float]] = field(default_factory=list)
    steps: int = 0
    named: float | None = None
    frozen: dict[str, int] = field(default_factory=dict)
    weights_of: dict[str, Fingerprint] = field(default_factory=dict)
    grams: dict[str, NDArray[Any]] = field(default_factory=dict, compare=False)
    saliency: dict[str, NDArray[np.uint8]] = field(default_factory=dict, compare=False)

    def to_json(self) -> str:
        """As text, but for the arrays; NaN and infinite values, which JSON lacks, by their names."""
        rest = {
            "metrics": [{k: v if math.isfinite(v) else str(v) for k, v in one.items()} for one in self.metrics],
            "epochs": self.epochs,
            "weights": list(self.weights.items()),
            "evidence": list(self.evidence.items()),
            "fingerprints": self.fingerprints,
            "steps": self.steps,
            "named": self.named,
            "frozen": self.frozen,
            "weights_of": self.weights_of,
        }
        return f'{json.dumps(rest)[:-1]}, "entries": [{", ".join(map(_text_of, self.entries.values()))}]}}'

    def tensors(self) -> dict[str, Tensor]:
        """The arrays, by names that no weights have."""
        found = {f"{_GRAM}{k}": torch.from_numpy(v) for k, v in self.grams.items()}
        return found | {f"{_SALIENCY}{k}": torch.from_numpy(v) for k, v in self.saliency.items()}

    @classmethod
    def from_json(cls, text: str, tensors: Mapping[str, Tensor] | None = None) -> Record:
        """From the text of :meth:`to_json` and from tensors, those of :meth:`tensors` among them.

        Raises:
            ArtifactError: If a feature-map file cannot be as it says.
            KeyError: If something is missing.
            TypeError: If something is of another kind.
            ValueError: If it is not JSON, or something is not a number.
        """
        value = parse_json(text)
        entries = [checked_entry(e, "The checkpoint") for e in value["entries"]]
        return cls(
            metrics=[{str(k): _number(v) for k, v in one.items()} for one in value["metrics"]],
            epochs=[float(epoch) for epoch in value["epochs"]],
            entries={(e.module, e.snapshot): e for e in entries},
            weights={int(snapshot): str(sha256) for snapshot, sha256 in value.get("weights", [])},
            evidence={int(snapshot): str(sha256) for snapshot, sha256 in value.get("evidence", [])},
            fingerprints=[(float(a), float(b)) for a, b in value.get("fingerprints", [])],
            steps=int(value.get("steps", 0)),
            named=None if value.get("named") is None else float(value["named"]),
            frozen={str(module): int(snapshot) for module, snapshot in dict(value.get("frozen", {})).items()},
            weights_of={str(m): (float(a), float(b)) for m, (a, b) in dict(value.get("weights_of", {})).items()},
            grams=_named(tensors or {}, _GRAM),
            saliency=_named(tensors or {}, _SALIENCY),
        )


@lru_cache(maxsize=2**14)
def _text_of(entry: Entry) -> str:
    """An entry's text: made once, because a record is written after every snapshot."""
    return json.dumps(fields_of(entry))


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): value.numpy() for key, value in tensors.items() if key.startswith(prefix)}


def _number(value: Any) -> float:
    return _NOT_FINITE[value] if value in _NOT_FINITE else float(value)
