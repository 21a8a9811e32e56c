"""From backbone runs to a labelled table of feature maps, the FMCS-dataset."""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from mlflow.data.pandas_dataset import PandasDataset, from_pandas
from mlflow.entities import DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException

from fmce_mlflow.errors import ArtifactError, NonFiniteLossError, RunError, did_you_mean
from fmce_mlflow.feature_maps import FeatureMapReader, Index, fetched
from fmce_mlflow.fmcs_source import PARQUET, FmcsDatasetSource
from fmce_mlflow.fmcs_table import MAX_FILE_BYTES, read_table
from fmce_mlflow.method import convergence as cv
from fmce_mlflow.method.drift import drift_sequence
from fmce_mlflow.reading import check_seal, read_file, seal, without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

COUNTS = "fmcs_counts.json"
NOTES = "fmcs_left_out.json"
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
in runs that have not converged and were kept on request. Maps stand at ``artifact_path`` of the run ``run_id``."""


@dataclass(frozen=True, slots=True)
class FmcsDataset:
    """A labelled table of feature maps.

    Attributes:
        table: One row per (run, snapshot, module), with :data:`COLUMNS`.
        left_out: By run id, why a run that was asked for is not in it, or one of its modules is not.
        unlabelled: By run id, why a run that was kept has no label.
        convergences: What was found of each run, by its id; of each module, by ``<run id>/<module>``, where the signal
            is its drift.
    """

    table: pd.DataFrame
    left_out: dict[str, str]
    unlabelled: dict[str, str]
    convergences: dict[str, cv.Convergence] = field(default_factory=dict)

    def counts(self) -> pd.DataFrame:
        """Rows by run and module: snapshots, and marker snapshots by level."""
        keys = ["run_id", "backbone", "dataset", "seed", "module"]
        counts = self.table.groupby(keys, sort=False, observed=True).agg(snapshots=("snapshot", "size"))
        levels = self.table.dropna(subset="level").pivot_table(
            index=keys, columns="level", values="snapshot", aggfunc="count", fill_value=0
        )
        levels.columns = [f"level_{level}" for level in levels.columns]
        return counts.join(levels).fillna(0).astype("int64").reset_index()


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
        unconverged: ``drop`` runs that cannot be labelled, or ``keep`` them without a label.
        modules: Only these modules, names or globs; all where empty.

    Returns:
        The table and the runs left out of it. A snapshot whose maps were not kept has no row.

    Raises:
        RunError: If a run does not exist, is no backbone run, lacks losses or maps, or if no run is left.
        NonFiniteLossError: If a loss is NaN or infinite.
    """
    config = config or cv.ConvergenceConfig()
    rows: list[dict[str, Any]] = []
    reasons: dict[str, list[str]] = {}
    found: dict[str, cv.Convergence] = {}
    for run_id in dict.fromkeys(source_runs):
        run = _backbone_run(client, run_id)
        index = FeatureMapReader(client, run_id).index
        epochs = dict(_history(client, run_id, "epoch"))
        verdict: cv.Convergence | None = None
        for module in _chosen(index.modules, modules, run_id):
            if verdict is None or signal == "drift":  # a loss tells the same of all modules
                verdict = _convergence(client, run_id, module, config, signal)
            found[f"{run_id}/{module}" if signal == "drift" else run_id] = verdict
            if verdict.fmcs is None:
                reason = verdict.verdict()
                reasons.setdefault(run_id, []).append(f"{module}: {reason}" if signal == "drift" else reason)
                if unconverged == "drop":
                    continue
            rows += _rows(run, index, module, verdict, epochs)
    told = {run_id: " ".join(dict.fromkeys(texts)) for run_id, texts in reasons.items()}
    if not rows:
        lines = "\n".join(f"  {run_id}: {reason}" for run_id, reason in told.items())
        raise RunError(
            f"No run is left for the FMCS-dataset:\n{lines}\nTrain longer, loosen --threshold, or pass "
            "--unconverged keep for a dataset without labels."
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return FmcsDataset(table, *((told, {}) if unconverged == "drop" else ({}, told)), found)


def log_fmcs_dataset(
    client: MlflowClient, run_id: str, dataset: FmcsDataset, *, config: cv.ConvergenceConfig, signal: cv.Signal
) -> None:
    """Log an FMCS-dataset to its run: parquet artifact, input dataset, counts, parameters.

    Args:
        client: MLflow client.
        run_id: The run with role ``fmcs_dataset``.
        dataset: What to log.
        config: How its labels were made.
        signal: What they were made from.
    """
    table = dataset.table
    with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
        path = Path(folder, PARQUET)
        table.to_parquet(path, index=False)
        client.log_artifact(run_id, str(path))
        for key, value in seal(PARQUET, path.read_bytes()).items():
            client.set_tag(run_id, key, value)
        notes = {"left_out": dataset.left_out, "unlabelled": dataset.unlabelled}
        path = Path(folder, NOTES)
        path.write_text(json.dumps(notes, indent=1), encoding="utf-8")
        client.log_artifact(run_id, str(path))
    client.log_table(run_id, dataset.counts(), COUNTS)
    known = client.get_run(run_id).data.params
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
    client.log_batch(
        run_id,
        params=[Param(k, str(v)[:6000]) for k, v in params.items() if k not in known],
        metrics=[Metric(k, v, now, 0) for k, v in metrics.items()],
    )
    log_input(client, run_id, table, run_id)


def log_input(client: MlflowClient, run_id: str, table: pd.DataFrame, source: str) -> None:
    """Make an FMCS-dataset an input of a run.

    Args:
        client: MLflow client.
        run_id: The run.
        table: The FMCS-dataset.
        source: The run that has it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Hint: Inferred schema contains integer", UserWarning)
        entity = mlflow_dataset(table, source)._to_mlflow_entity()
    client.log_inputs(run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", "training")])])


def mlflow_dataset(table: pd.DataFrame, run_id: str) -> PandasDataset:
    """MLflow's Dataset of an FMCS-dataset: digest, schema, profile and source."""
    return from_pandas(table, source=FmcsDatasetSource(run_id), targets="fmcs", name="fmcs_dataset")


def load_fmcs_dataset(client: MlflowClient, run_id: str) -> pd.DataFrame:
    """The table of an FMCS-dataset run, with :data:`COLUMNS`.

    Raises:
        RunError: If there is no such run, or it has no FMCS-dataset.
        IntegrityError: If it is not what was written.
        ArtifactError: If it cannot be read.
    """
    run, name = _known_run(client, run_id, "fmcs_dataset"), f"{PARQUET} of run {run_id}"
    with fetched(client, run_id, PARQUET) as path:
        if path is None:
            raise RunError(f"Run {run_id} has no {PARQUET}. Build one with `fmce build-fmcs`.")
        data = read_file(path, MAX_FILE_BYTES, name)
    check_seal(run.data.tags, PARQUET, data, name)
    try:
        return read_table(data, COLUMNS)
    except ValueError as error:
        raise ArtifactError(f"{PARQUET} of run {run_id} cannot be read: {error}. Build it again.") from None


def describe(dataset: FmcsDataset, say: Callable[[str], None]) -> None:
    """Print the counts, and which runs were left out or have no label."""
    counts = dataset.counts()
    counts["run_id"] = counts["run_id"].str.slice(0, 8)
    say(counts.to_string(index=False))
    for what, runs in (("left out", dataset.left_out), ("kept without a label", dataset.unlabelled)):
        for run_id, reason in runs.items():
            say(f"Run {run_id} is {what}: {reason}")


def _known_run(client: MlflowClient, run_id: str, role: str) -> Run:
    """A run, or an error that says how to find those of a role."""
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise RunError(
            f"There is no run {run_id!r} on {without_credentials(client.tracking_uri)}. MLflow's UI lists "
            f"{role} runs where they are searched for with tags.`fmce.role` = '{role}'."
        ) from None


def _backbone_run(client: MlflowClient, run_id: str) -> Run:
    run = _known_run(client, run_id, "backbone")
    role = run.data.tags.get("fmce.role")
    if role != "backbone":
        raise RunError(f"Run {run_id} is no backbone run: its tag fmce.role is {role!r}. Name runs of train_backbone.")
    if run.info.lifecycle_stage == "deleted":
        raise RunError(f"Run {run_id} is deleted. Restore it with `mlflow runs restore --run-id {run_id}`.")
    if run.info.status == "RUNNING":
        raise RunError(
            f"Run {run_id} is still running, or was killed. Wait for it, or finish it with "
            f"`fmce train-backbone --resume {run_id}`."
        )
    return run


def _chosen(recorded: Sequence[str], wanted: Sequence[str], run_id: str) -> list[str]:
    """Those of a run's modules that are wanted."""
    chosen = [m for m in recorded if not wanted or any(fnmatchcase(m, pattern) for pattern in wanted)]
    if not chosen:
        asked = f", and none of {', '.join(wanted)}.{did_you_mean(wanted[0], recorded)}" if wanted else "."
        raise RunError(
            f"Run {run_id} has maps of {', '.join(recorded) or 'no module'}{asked} Choose among its modules."
        )
    return chosen


def _convergence(
    client: MlflowClient, run_id: str, module: str, config: cv.ConvergenceConfig, signal: cv.Signal
) -> cv.Convergence:
    try:
        return cv.assess(_losses(client, run_id, signal, module), config, signal=signal)
    except NonFiniteLossError as error:
        what = f"{cv.SIGNAL_NAMES[signal]} of run {run_id}"
        raise NonFiniteLossError(error.snapshot, error.value, what) from None


def _losses(client: MlflowClient, run_id: str, signal: cv.Signal, module: str) -> list[float]:
    """The sequence of a signal over the snapshots from 0 on, without a gap."""
    name = f"drift/{module}" if signal == "drift" else f"{signal}_loss"
    history = _history(client, run_id, name)
    first = 1 if signal == "drift" else 0
    if len(history) < 2 - first:
        raise RunError(
            f"Run {run_id} has no losses to be judged by: its metric {name} has {len(history)} values. Train it again."
        )
    steps = [step for step, _ in history]
    if steps != list(range(first, first + len(steps))):
        raise RunError(f"Run {run_id} has gaps or doubles in its metric {name}: steps {steps}. Train it again.")
    values = [value for _, value in history]
    return drift_sequence(values).tolist() if signal == "drift" else values


def _history(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    return sorted((m.step, m.value) for m in client.get_metric_history(run_id, name))


def _seed(params: Mapping[str, str]) -> int:
    try:
        return int(params.get("seed", -1))
    except ValueError:
        return -1  # somebody else's parameter of that name


def _rows(
    run: Run, index: Index, module: str, verdict: cv.Convergence, epochs: Mapping[int, float]
) -> list[dict[str, Any]]:
    """One row per snapshot whose maps and losses are both there."""
    params, rows = run.data.params, []
    for snapshot in index.snapshots(module):
        if snapshot >= len(verdict.losses):
            continue  # the run died between its maps and its metrics
        entry = index.entries[module, snapshot]
        n, channels, height, width = entry.shape
        rows.append(
            {
                "run_id": run.info.run_id,
                "backbone": params.get("backbone", ""),
                "dataset": params.get("dataset", ""),
                "seed": _seed(params),
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
    return rows
