"""What `fmce sync` takes for a training's folder; that it uploads one whole is in the contract of uploads."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fmce_mlflow.backbone.sync import sync
from fmce_mlflow.errors import RunError
from tests.conftest import new_run


def foreign_folder(folder: Path, run_id: str) -> Path:
    """What somebody else made: a snapshot with metrics, for a run of their choice."""
    snapshot = folder / "snapshot_00001"
    (snapshot / "feature_maps").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"run_id": run_id, "tracking_uri": "http://me:secret@host"}))
    (snapshot / "feature_maps" / "index.json").write_text("{}")
    unit = {
        "format_version": 1,
        "snapshot": 1,
        "metrics": [["fmcs_predicted", 1.0, 1, 1]],
        "checkpoint": None,
        "sha256": {"feature_maps/index.json": hashlib.sha256(b"{}").hexdigest()},
    }
    (snapshot / "unit.json").write_text(json.dumps(unit))
    (folder / "close.json").write_text('{"status": "FINISHED"}')
    return folder


def state(client: MlflowClient, run_id: str, folder: Path) -> tuple[object, ...]:
    run = client.get_run(run_id)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return run.info.status, run.info.end_time, run.data.to_dictionary(), client.list_artifacts(run_id), files


@pytest.mark.parametrize("role", ["evaluation", "tuning", "fmce_net", "fmcs_dataset", "promotion", None])
@pytest.mark.parametrize("status", ["RUNNING", "FINISHED"])
def test_a_run_that_is_no_backbone_run_gets_nothing(client, tmp_path, role, status):
    """Its metrics would be evidence for a promotion; nor is the folder touched."""
    run_id = new_run(client, **({"fmce.role": role} if role else {}))
    client.log_metric(run_id, "fmcs_predicted", 0.2)
    if status != "RUNNING":
        client.set_terminated(run_id, status)
    folder = foreign_folder(tmp_path / "from_a_colleague", run_id)
    before = state(client, run_id, folder)
    with pytest.raises(RunError, match=rf"is no backbone run: its tag fmce.role is {role!r}. Nothing was uploaded"):
        sync(client, folder, say=lambda line: None)
    assert state(client, run_id, folder) == before


def test_a_server_that_does_not_have_the_run_is_named_without_credentials(client, tmp_path):
    folder = foreign_folder(tmp_path / "from_a_colleague", "0" * 32)
    with pytest.raises(RunError, match=r"trained against http://host\. Name that server") as caught:
        sync(client, folder, say=lambda line: None)
    assert "secret" not in str(caught.value)
