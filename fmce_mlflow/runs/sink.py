"""Feature maps as MLflow artifacts: the only reader and writer of them.

Layout of ``feature_maps/`` in a run's artifacts::

    index.json                                  what there is: shape, dtype, probe identity, sha256
    <module>/snapshot_00012.safetensors         float16 `maps` (n, C, H, W) and int64 `labels` (n,)

One file per (module, snapshot), because the file is what every artifact store can fetch by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


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
