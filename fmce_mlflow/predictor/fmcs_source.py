"""The FMCS-dataset that a predictor is fitted to: the run that has it, and the maps of its rows."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmce_mlflow.errors import IntegrityError, RunError
from fmce_mlflow.method.fitting.bags import Read
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from fmce_mlflow.safety.credentials import without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient


def latest_fmcs_run(client: MlflowClient) -> str:
    """The FMCS-dataset run that finished last; a ``RunError`` if there is none."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(
        experiments,
        "tags.`fmce.role` = 'fmcs_dataset' and attributes.status = 'FINISHED'",
        max_results=1,
        order_by=["attributes.start_time DESC"],
    )
    if not found:
        where = without_credentials(client.tracking_uri)
        raise RunError(f"There is no finished FMCS-dataset on {where}. Build one with `fmce build-fmcs`.")
    return str(found[0].info.run_id)


def artifact_reader(client: MlflowClient) -> Read:
    """Reads the maps (n, C, H, W) of an FMCS-dataset's rows from their runs, checked against the row's sha256."""

    @lru_cache(maxsize=8)  # the rows of a run stand together, and an index of many maps is large
    def reader_of(run_id: str) -> FeatureMapReader:
        return FeatureMapReader(client, run_id)

    def read(row: Any) -> NDArray[np.floating[Any]]:
        reader = reader_of(row.run_id)
        maps, _ = reader.read(row.module, int(row.snapshot))
        entry = reader.index.entries[row.module, int(row.snapshot)]
        if entry.sha256 != row.sha256:
            raise IntegrityError(f"{entry.path} of run {row.run_id}", row.sha256, entry.sha256)
        return maps

    return read
