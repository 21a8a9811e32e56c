"""From backbone runs to a labelled table of feature maps, the FMCS-dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fmce_mlflow.errors import NonFiniteLossError, RunError
from fmce_mlflow.fmcs_dataset.options import Unconverged
from fmce_mlflow.fmcs_dataset.table import COLUMNS, known_run
from fmce_mlflow.fmcs_dataset.told import ToldRun, told_by
from fmce_mlflow.method.convergence.config import SIGNAL_NAMES, ConvergenceConfig, Signal
from fmce_mlflow.method.convergence.moving import ModuleLabels, label_module
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.runs.feature_index import Index, matching
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from fmce_mlflow.runs.recordings import TAG, has_ended

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True, slots=True)
class FmcsDataset:
    """A labelled table of feature maps: one row per (run, snapshot, module), with :data:`COLUMNS`."""

    table: pd.DataFrame
    left_out: dict[str, str]  # by run id, why the run or one of its modules is not in it
    unlabelled: dict[str, str]  # by run id, why a run that was kept has no label
    convergences: dict[str, Convergence] = field(default_factory=dict)  # by run, or run/module for drift

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
    config: ConvergenceConfig | None = None,
    signal: Signal = "train",
    unconverged: Unconverged = "drop",
    modules: Sequence[str] = (),
) -> FmcsDataset:
    """Label the feature maps of backbone runs, of any backbones and data; a snapshot without maps has no row.

    Each module has the label of :func:`~fmce_mlflow.method.convergence.moving.label_module`, by its own weights.

    Args:
        client: MLflow client.
        source_runs: Ids of the runs.
        config: The constants of convergence.
        signal: ``train`` or ``val`` loss, or each module's own ``drift``.
        unconverged: ``drop`` runs, modules and snapshots that cannot be labelled, or ``keep`` them without a label.
        modules: Only these modules, names or globs; all where empty.

    Raises:
        RunError: If a run does not exist, is no backbone run, lacks losses or maps, or if no run is left.
        NonFiniteLossError: If a loss is NaN or infinite.
    """
    config = config or ConvergenceConfig()
    rows: list[dict[str, Any]] = []
    reasons: dict[str, list[str]] = {}
    found: dict[str, Convergence] = {}
    for run_id in dict.fromkeys(source_runs):
        run = _backbone_run(client, run_id)
        index = FeatureMapReader(client, run_id).index
        told = told_by(client, run)
        losses: list[float] | None = None
        for module in matching(index.modules, modules, run_id):
            if losses is None or signal == "drift":  # a loss is that of all modules
                losses = told.losses(signal, module)
            labels = _labels(told, module, losses, config, signal)
            own = signal == "drift" or bool(labels.moved_from)  # no other module need have this verdict
            found[f"{run_id}/{module}" if own else run_id] = labels.judged
            if labels.problem is not None:
                told_of = f"{module}: {labels.problem}" if own or labels.labelled else labels.problem
                reasons.setdefault(run_id, []).append(told_of)
            rows += _rows(told, index, module, labels, keep=unconverged == "keep")
    why = {run_id: " ".join(dict.fromkeys(texts)) for run_id, texts in reasons.items()}
    if not rows:
        lines = "\n".join(f"  {run_id}: {reason}" for run_id, reason in why.items())
        raise RunError(
            f"No run is left for the FMCS-dataset:\n{lines}\nTrain longer, loosen --threshold, or pass "
            "--unconverged keep for a dataset without labels."
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return FmcsDataset(table, *((why, {}) if unconverged == "drop" else ({}, why)), found)


def _backbone_run(client: MlflowClient, run_id: str) -> Run:
    run = known_run(client, run_id, "backbone")
    role = run.data.tags.get("fmce.role")
    if role != "backbone":
        raise RunError(f"Run {run_id} is no backbone run: its tag fmce.role is {role!r}. Name runs of train_backbone.")
    if run.info.lifecycle_stage == "deleted":
        raise RunError(f"Run {run_id} is deleted. Restore it with `mlflow runs restore --run-id {run_id}`.")
    recorded = TAG in run.data.tags  # in a run that its loop may still log to
    if run.info.status == "RUNNING" and not (recorded and has_ended(run.data.tags)):
        how = f"record(…, run_id={run_id!r})" if recorded else f"`fmce train-backbone --resume {run_id}`"
        raise RunError(f"Run {run_id} is still running, or was killed. Wait for it, or go on with it: {how}.")
    return run


def _labels(
    told: ToldRun, module: str, losses: Sequence[float], config: ConvergenceConfig, signal: Signal
) -> ModuleLabels:
    changes = told.changes(module, len(losses))
    try:
        return label_module(losses, changes, config, signal=signal, starts_trained=told.starts_trained)
    except NonFiniteLossError as error:
        what = f"{SIGNAL_NAMES[signal]} of run {told.run_id}"
        raise NonFiniteLossError(error.snapshot, error.value, what) from None


def _rows(told: ToldRun, index: Index, module: str, labels: ModuleLabels, *, keep: bool) -> list[dict[str, Any]]:
    """One row per snapshot whose maps and losses are both there, and that has a label or is to be kept without."""
    rows = []
    for snapshot in index.snapshots(module):
        if snapshot >= len(labels.fmcs):
            continue  # the run died between its maps and its metrics
        fmcs = float(labels.fmcs[snapshot])
        if np.isnan(fmcs) and not keep:
            continue
        entry = index.entries[module, snapshot]
        n, channels, height, width = entry.shape
        rows.append(
            {
                "run_id": told.run_id,
                "backbone": told.backbone,
                "dataset": told.dataset,
                "seed": told.seed,
                "module": module,
                "snapshot": snapshot,
                "epoch": told.epochs.get(snapshot, np.nan),
                "fmcs": fmcs,
                "level": labels.levels[snapshot],
                "moved_from": labels.moved_from,
                "moved_until": labels.moved_until,
                "n": n,
                "channels": channels,
                "height": height,
                "width": width,
                "artifact_path": entry.path,
                "sha256": entry.sha256,
            }
        )
    return rows
