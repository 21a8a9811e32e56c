"""From backbone runs to a labelled table of feature maps, the FMCS-dataset."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.pandas_dataset import PandasDataset, from_pandas
from mlflow.entities import DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException

from fmce_mlflow.errors import ArtifactError, RunError
from fmce_mlflow.feature_maps import FeatureMapReader, fetched
from fmce_mlflow.method import convergence as cv
from fmce_mlflow.method.drift import drift_sequence

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARQUET = "fmcs_dataset.parquet"
COUNTS = "fmcs_counts.json"
Unconverged = Literal["drop", "keep"]

COLUMNS: dict[str, str] = {
    "run_id": "string",
    "backbone": "string",
    "dataset": "string",
    "seed": "int64",
    "module": "string",
    "snapshot": "int64",
    "epoch": "float64",
    "fmcs": "float64",
    "level": "Int64",
    "n": "int64",
    "channels": "int64",
    "height": "int64",
    "width": "int64",
    "artifact_path": "string",
    "sha256": "string",
}
"""Columns of an FMCS-dataset with their pandas types. ``level`` is set at the marker snapshots only; ``fmcs`` is NaN
in runs that have not converged and were kept on request."""


@dataclass(frozen=True, slots=True)
class FmcsDataset:
    """A labelled table of feature maps.

    Attributes:
        table: One row per (run, snapshot, module), with :data:`COLUMNS`.
        left_out: Why each run that was asked for is not in it, by run id.
    """

    table: pd.DataFrame
    left_out: dict[str, str]

    def counts(self) -> pd.DataFrame:
        """Rows by run and module: snapshots, and marker snapshots by level."""
        keys = ["run_id", "backbone", "dataset", "seed", "module"]
        counts = self.table.groupby(keys, sort=False, observed=True).agg(snapshots=("snapshot", "size"))
        levels = self.table.dropna(subset="level").pivot_table(
            index=keys, columns="level", values="snapshot", aggfunc="count", fill_value=0
        )
        levels.columns = [f"level_{level}" for level in levels.columns]
        return counts.join(levels).fillna(0).astype("int64").reset_index()


class FmcsDatasetSource(DatasetSource):
    """Where an FMCS-dataset lies: an MLflow run's ``fmcs_dataset.parquet``.

    Args:
        run_id: The run that built it.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    @staticmethod
    def _get_source_type() -> str:
        return "fmcs_dataset"

    def load(self) -> pd.DataFrame:
        """The table, from the current tracking server."""
        from mlflow import MlflowClient

        return load_fmcs_dataset(MlflowClient(), self.run_id)

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> FmcsDatasetSource:
        raise MlflowException(f"{raw_source!r} does not name an FMCS-dataset; pass FmcsDatasetSource(run_id).")

    def to_dict(self) -> dict[str, Any]:
        """As MLflow stores it."""
        return {"uri": f"runs:/{self.run_id}/{PARQUET}", "run_id": self.run_id}

    @classmethod
    def from_dict(cls, source_dict: dict[str, Any]) -> FmcsDatasetSource:
        """From :meth:`to_dict`."""
        return cls(source_dict["run_id"])


def build_fmcs_dataset(
    client: MlflowClient,
    source_runs: Sequence[str],
    *,
    config: cv.ConvergenceConfig | None = None,
    signal: cv.Signal = "train",
    unconverged: Unconverged = "drop",
    modules: Sequence[str] = (),
) -> FmcsDataset:
    """Label the feature maps of backbone runs.

    Args:
        client: MLflow client.
        source_runs: Ids of backbone runs, of any backbones and data.
        config: How convergence is told.
        signal: ``train`` or ``val`` loss, or each module's own ``drift``.
        unconverged: ``drop`` runs that have not converged, or ``keep`` them without a label.
        modules: Only these modules; all where empty.

    Returns:
        The table and the runs left out of it.

    Raises:
        RunError: If a run does not exist, is no backbone run, lacks losses or maps, or if no run is left.
        NonFiniteLossError: If a loss is NaN or infinite.
    """
    config = config or cv.ConvergenceConfig()
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for run_id in dict.fromkeys(source_runs):
        run = _backbone_run(client, run_id)
        reader = FeatureMapReader(client, run_id)
        wanted = [m for m in reader.index.modules if not modules or m in modules]
        if not wanted:
            raise RunError(
                f"Run {run_id} recorded {', '.join(reader.index.modules)}, and none of {', '.join(modules)}. "
                "Choose among its modules."
            )
        epochs = dict(_history(client, run_id, "epoch"))
        for module in wanted:
            sequence = _losses(client, run_id, signal, module)
            verdict = cv.assess(sequence, config, signal=signal)
            if verdict.fmcs is None:
                left_out[run_id] = verdict.verdict()
                if unconverged == "drop":
                    continue
            params = run.data.params
            for snapshot in reader.index.snapshots(module):
                entry = reader.index.entries[module, snapshot]
                if snapshot >= len(sequence):
                    continue  # its losses were never logged: the run died there
                n, channels, height, width = entry.shape
                rows.append(
                    {
                        "run_id": run_id,
                        "backbone": params.get("backbone", ""),
                        "dataset": params.get("dataset", ""),
                        "seed": int(params.get("seed", -1)),
                        "module": module,
                        "snapshot": snapshot,
                        "epoch": epochs.get(snapshot, np.nan),
                        "fmcs": np.nan if verdict.fmcs is None else float(verdict.fmcs[snapshot]),
                        "level": verdict.level(snapshot),
                        "n": n,
                        "channels": channels,
                        "height": height,
                        "width": width,
                        "artifact_path": entry.path,
                        "sha256": entry.sha256,
                    }
                )
    if not rows:
        reasons = "\n".join(f"  {run_id}: {reason}" for run_id, reason in left_out.items())
        raise RunError(
            f"No run is left for the FMCS-dataset:\n{reasons}\nTrain longer, loosen --threshold, or pass "
            "--unconverged keep for a dataset without labels."
        )
    return FmcsDataset(pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS), left_out)


def log_fmcs_dataset(client: MlflowClient, run_id: str, dataset: FmcsDataset, *, config: cv.ConvergenceConfig) -> None:
    """Log an FMCS-dataset to its run: parquet artifact, input dataset, counts, parameters.

    Args:
        client: MLflow client.
        run_id: The run with role ``fmcs_dataset``.
        dataset: What to log.
        config: How its labels were made.
    """
    table = dataset.table
    with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
        path = Path(folder, PARQUET)
        table.to_parquet(path, index=False)
        client.log_artifact(run_id, str(path))
    client.log_table(run_id, dataset.counts(), COUNTS)
    known = client.get_run(run_id).data.params
    params = {**asdict(config), "source_runs_used": ",".join(dict.fromkeys(table["run_id"]))}
    metrics = {
        "fmcs_dataset/rows": len(table),
        "fmcs_dataset/runs": table["run_id"].nunique(),
        "fmcs_dataset/modules": len(table[["backbone", "module"]].drop_duplicates()),
        "fmcs_dataset/markers": int(table["level"].notna().sum()),
        "fmcs_dataset/left_out": len(dataset.left_out),
    }
    client.log_batch(
        run_id,
        params=[Param(k, str(v)[:6000]) for k, v in params.items() if k not in known],
        metrics=[Metric(k, v, 0, 0) for k, v in metrics.items()],
    )
    entity = mlflow_dataset(table, run_id)._to_mlflow_entity()
    client.log_inputs(run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", "training")])])


def mlflow_dataset(table: pd.DataFrame, run_id: str) -> PandasDataset:
    """MLflow's Dataset of an FMCS-dataset: digest, schema, profile and source."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Hint: Inferred schema contains integer", UserWarning)
        return from_pandas(table, source=FmcsDatasetSource(run_id), targets="fmcs", name="fmcs_dataset")


def load_fmcs_dataset(client: MlflowClient, run_id: str) -> pd.DataFrame:
    """The table of an FMCS-dataset run, with :data:`COLUMNS`.

    Raises:
        RunError: If the run has no FMCS-dataset.
        ArtifactError: If it cannot be read.
    """
    with fetched(client, run_id, PARQUET) as path:
        if path is None:
            raise RunError(f"Run {run_id} has no {PARQUET}. Build one with `fmce build-fmcs`.")
        data = path.read_bytes()
    try:
        table = pd.read_parquet(io.BytesIO(data))
        return table[list(COLUMNS)].astype(COLUMNS)
    except (ValueError, KeyError, OSError) as error:
        raise ArtifactError(f"{PARQUET} of run {run_id} cannot be read: {error}. Build it again.") from None


def describe(dataset: FmcsDataset, say: Callable[[str], None]) -> None:
    """Print the counts and what was left out."""
    counts = dataset.counts()
    counts["run_id"] = counts["run_id"].str.slice(0, 8)
    say(counts.to_string(index=False))
    for run_id, reason in dataset.left_out.items():
        say(f"Left out or without a label: run {run_id}: {reason}")


def _backbone_run(client: MlflowClient, run_id: str) -> Run:
    try:
        run = client.get_run(run_id)
    except MlflowException:
        raise RunError(
            f"There is no run {run_id!r} on {client.tracking_uri}. List backbone runs with "
            "`mlflow runs search`, filter tags.`fmce.role` = 'backbone'."
        ) from None
    role = run.data.tags.get("fmce.role")
    if role != "backbone":
        raise RunError(f"Run {run_id} is no backbone run: its tag fmce.role is {role!r}. Name runs of train_backbone.")
    if run.info.status == "RUNNING":
        raise RunError(
            f"Run {run_id} is still running, or was killed. Wait for it, or finish it with "
            f"`fmce train-backbone --resume {run_id}`."
        )
    return run


def _history(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    return sorted((m.step, m.value) for m in client.get_metric_history(run_id, name))


def _losses(client: MlflowClient, run_id: str, signal: cv.Signal, module: str) -> list[float]:
    """The sequence of a signal over the snapshots from 0 on, without a gap."""
    name = f"drift/{module}" if signal == "drift" else f"{signal}_loss"
    history = _history(client, run_id, name)
    first = 1 if signal == "drift" else 0
    if len(history) < 2 - first:
        raise RunError(f"Run {run_id} has no losses: metric {name} has {len(history)} values. Train it again.")
    steps = [step for step, _ in history]
    if steps != list(range(first, first + len(steps))):
        raise RunError(f"Run {run_id} has gaps or doubles in its metric {name}: steps {steps}. Resume it first.")
    values = [value for _, value in history]
    return drift_sequence(values).tolist() if signal == "drift" else values
