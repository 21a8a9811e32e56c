"""Log an FMCS-dataset to its run, and print what is in it."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from mlflow.data.pandas_dataset import PandasDataset, from_pandas
from mlflow.entities import DatasetInput, InputTag, Metric, Param

from fmce_mlflow.fmcs_dataset.label import FmcsDataset
from fmce_mlflow.fmcs_dataset.plugin import FmcsDatasetSource
from fmce_mlflow.fmcs_dataset.table import PARQUET
from fmce_mlflow.method.convergence.config import ConvergenceConfig, Signal
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.credentials import hide_credentials
from fmce_mlflow.safety.reading import seal

if TYPE_CHECKING:
    from mlflow import MlflowClient

COUNTS = "fmcs_counts.json"
NOTES = "fmcs_left_out.json"


def log_fmcs_dataset(run: Run, dataset: FmcsDataset, *, config: ConvergenceConfig, signal: Signal) -> None:
    """Log an FMCS-dataset to its run, with how it was labelled: parquet artifact, input dataset, counts, parameters."""
    table = dataset.table
    with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
        path = Path(folder, PARQUET)
        table.to_parquet(path, index=False)
        run.client.log_artifact(run.id, str(path))
        run.set_tags(seal(PARQUET, path.read_bytes()))
    run.log_json({"left_out": dataset.left_out, "unlabelled": dataset.unlabelled}, NOTES)
    run.client.log_table(run.id, dataset.counts(), COUNTS)
    known = run.fetch().data.params
    params = {**asdict(config), "signal": signal, "source_runs_used": ",".join(dict.fromkeys(table["run_id"]))}
    metrics = {
        "fmcs_dataset/rows": len(table),
        "fmcs_dataset/runs": table["run_id"].nunique(),
        "fmcs_dataset/modules": len(table[["backbone", "module"]].drop_duplicates()),
        "fmcs_dataset/markers": int(table["level"].notna().sum()),
        "fmcs_dataset/left_out": len(dataset.left_out),
        "fmcs_dataset/unlabelled": len(dataset.unlabelled),
    }
    now = int(time.time() * 1000)
    run.client.log_batch(
        run.id,
        params=[Param(k, hide_credentials(v)[:6000]) for k, v in params.items() if k not in known],
        metrics=[Metric(k, v, now, 0) for k, v in metrics.items()],
    )
    log_input(run.client, run.id, table, run.id)


def log_input(client: MlflowClient, run_id: str, table: pd.DataFrame, source: str) -> None:
    """Make an FMCS-dataset, of the run ``source``, an input of a run."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Hint: Inferred schema contains integer", UserWarning)
        entity = mlflow_dataset(table, source)._to_mlflow_entity()
    client.log_inputs(run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", "training")])])


def mlflow_dataset(table: pd.DataFrame, run_id: str) -> PandasDataset:
    """MLflow's Dataset of an FMCS-dataset: digest, schema, profile and source."""
    return from_pandas(table, source=FmcsDatasetSource(run_id), targets="fmcs", name="fmcs_dataset")


def describe(dataset: FmcsDataset, say: Callable[[str], None]) -> None:
    """Print the counts, and which runs were left out or have no label."""
    counts = dataset.counts()
    counts["run_id"] = counts["run_id"].str.slice(0, 8)
    say(counts.to_string(index=False))
    for what, runs in (("left out", dataset.left_out), ("kept without a label", dataset.unlabelled)):
        for run_id, reason in runs.items():
            say(f"Run {run_id} is {what}: {reason}")
