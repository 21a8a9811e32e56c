"""What every kind of run logs in the same way; loads no torch."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROLE_TAG = "fmce.role"


def set_role(client: MlflowClient, run_id: str, role: str) -> None:
    """Tag a run with its role, by which MLflow's search finds it."""
    client.set_tag(run_id, ROLE_TAG, role)


def log_json(client: MlflowClient, run_id: str, value: Any, path: str) -> bytes:
    """Log a JSON artifact, and return its bytes; NaN, which JSON lacks, is refused."""
    data = json.dumps(value, indent=1, allow_nan=False).encode()
    with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
        local = Path(folder, Path(path).name)
        local.write_bytes(data)
        parent = str(Path(path).parent)
        client.log_artifact(run_id, str(local), None if parent == "." else parent)
    return data
