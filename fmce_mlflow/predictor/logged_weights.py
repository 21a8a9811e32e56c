"""Spectral alpha of the modules of an FMCS-dataset, from the models that their runs have logged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from numpy.typing import NDArray

from fmce_mlflow.method.evidence.spectral_alpha import mean_alpha
from fmce_mlflow.method.networks.archive_weights import read_weights
from fmce_mlflow.runs.artifacts import fetched_from

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from torch import Tensor

ARCHIVE = "data/model.pt2"


def snapshot_alphas(
    client: MlflowClient, table: pd.DataFrame, *, progress: Callable[[int], Any] | None = None
) -> NDArray[np.float64]:
    """Spectral alpha of each row's module, where its run has logged a model at its snapshot; NaN elsewhere, (rows,).

    ``fmce train-backbone --log-checkpoints`` logs a model at each marker. Nothing in a model is executed: only those in
    MLflow's format ``pt2`` are read, pickles are not. A run with a model of one snapshot only, as every run has of its
    last, says nothing of how alpha changes in training and is left out. ``progress`` gets 1 for each model read.
    """
    alphas = np.full(len(table), np.nan)
    for run_id, rows in table.reset_index(drop=True).groupby("run_id", sort=False):
        logged = _models(client, str(run_id))
        snapshots = sorted(set(rows["snapshot"]) & set(logged))
        for snapshot in snapshots if len(snapshots) > 1 else ():
            weights = _weights(client, logged[snapshot])
            for i, module in rows.loc[rows["snapshot"] == snapshot, "module"].items():
                alphas[i] = _alpha(weights, module)
            if progress is not None:
                progress(1)
    return alphas


def _models(client: MlflowClient, run_id: str) -> dict[int, str]:
    """A run's logged models by snapshot."""
    outputs = client.get_run(run_id).outputs
    return {output.step: output.model_id for output in (outputs.model_outputs if outputs else [])}


def _weights(client: MlflowClient, model_id: str) -> Mapping[str, Tensor]:
    location = client.get_logged_model(model_id).artifact_location
    repository = get_artifact_repository(location, tracking_uri=client.tracking_uri)
    with fetched_from(repository, ARCHIVE, f"model {model_id}") as path:
        return read_weights(path) if path is not None else {}


def _alpha(weights: Mapping[str, Tensor], module: str) -> float:
    """Of a module's weights but those of depthwise convolutions, which have one input each."""
    own = [weight for name, weight in weights.items() if name.startswith(f"{module}.")]
    return mean_alpha(weight for weight in own if weight.dim() > 1 and weight.shape[1] > 1)
