"""Snapshots that go to a folder of this machine: moved there whole, never seen half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fmce_mlflow.errors import ArtifactError
from fmce_mlflow.runs.feature_index import Probe
from fmce_mlflow.runs.feature_maps import FeatureMapReader, FeatureMapWriter
from fmce_mlflow.runs.map_file import STAGING
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.uploads.local import LocalUploads
from fmce_mlflow.runs.uploads.open import open_uploads
from tests.conftest import new_run

MAPS = {"stage": np.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4).astype(np.float16)}


def test_maps_are_written_beside_the_artifacts_and_read_back(client):
    run_id = new_run(client)
    out = open_uploads(Run(client, run_id))
    assert isinstance(out, LocalUploads)
    writer = FeatureMapWriter(out, run_id, Probe("digits", 2, "0" * 64), np.arange(2))
    writer.write(0, MAPS, {})
    assert not list(out.staging.glob(f"{STAGING}*"))
    maps, labels = FeatureMapReader(client, run_id).read("stage", 0)
    assert (maps == MAPS["stage"]).all() and labels.tolist() == [0, 1]


def test_what_a_killed_process_left_is_not_listed_and_is_removed(client):
    run_id = new_run(client)
    root = open_uploads(Run(client, run_id)).staging
    left = root / f"{STAGING}abc" / "stage"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"0")
    assert client.list_artifacts(run_id) == []
    open_uploads(Run(client, run_id))
    assert not left.parent.exists()


def test_maps_that_are_refused_leave_nothing(client):
    run_id = new_run(client)
    out = open_uploads(Run(client, run_id))
    writer = FeatureMapWriter(out, run_id, Probe("digits", 2, "0" * 64), np.arange(2))
    with pytest.raises(ArtifactError, match="NaN"):
        writer.write(0, {"stage": np.full((2, 3, 4, 4), np.nan, np.float16)}, {})
    assert list(Path(out.staging).rglob("*")) == []
