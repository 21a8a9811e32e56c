"""What a recording has measured so far, in a form that a checkpoint can keep."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmce_mlflow.runs.feature_index import Entry, checked_entry
from fmce_mlflow.safety.reading import parse_json


@dataclass(slots=True)
class Record:
    """All that the next snapshot and the end of a recording need of the snapshots before.

    Attributes:
        weights: sha256 of the files of weights that wait to become models, by snapshot.
        grams: Centred Gram matrices (n, n) of the last snapshot's maps by module, for the next drift.
        saliency: Grad-CAM by module, uint8 (S, n, h, w), of the last S snapshots.
    """

    metrics: list[dict[str, float]] = field(default_factory=list)  # name → value, per snapshot
    epochs: list[float] = field(default_factory=list)  # trained so far, per snapshot
    entries: dict[tuple[str, int], Entry] = field(default_factory=dict)
    weights: dict[int, str] = field(default_factory=dict)
    grams: dict[str, NDArray[Any]] = field(default_factory=dict, compare=False)
    saliency: dict[str, NDArray[np.uint8]] = field(default_factory=dict, compare=False)

    def to_json(self) -> str:
        """As text, but for the arrays."""
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
            ValueError: If it is not JSON, or something is not a number.
        """
        value = parse_json(text)
        entries = [checked_entry(e, "The checkpoint") for e in value["entries"]]
        metrics = [{str(k): float(v) for k, v in one.items()} for one in value["metrics"]]
        weights = {int(snapshot): str(sha256) for snapshot, sha256 in value.get("weights", [])}
        epochs = [float(epoch) for epoch in value["epochs"]]
        return cls(metrics, epochs, {(e.module, e.snapshot): e for e in entries}, weights)
