"""What a run tells of its training: losses, epochs and names, by its metrics, or its recording where it has one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmce_mlflow.errors import ArtifactError, ConfigError, ConvergenceError, RunError
from fmce_mlflow.method.convergence.config import SIGNAL_NAMES, Signal
from fmce_mlflow.method.convergence.drift import drift_sequence
from fmce_mlflow.recording.signals import WEIGHTS, Signals
from fmce_mlflow.runs.metric_names import metric_name
from fmce_mlflow.runs.recordings import CONVERGENCE, RecordingTag, recorded_signals

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True, slots=True)
class ToldRun:
    """A run's own words.

    Attributes:
        epochs: Trained so far, by snapshot.
        prefix: Before the names of its metrics.
        starts_trained: Whether its snapshot 0 has trained weights.
        recorded: What its ``convergence.json`` says, if it is a recording that has ended: other metrics of the run may
            have the names of the recording's.
    """

    client: MlflowClient
    run_id: str
    backbone: str
    dataset: str
    seed: int
    epochs: Mapping[int, float]
    prefix: str
    recorded: Signals | None
    starts_trained: bool = False

    def losses(self, signal: Signal, module: str) -> list[float]:
        """The sequence of a signal over the snapshots from 0 on, without a gap.

        Raises:
            RunError: If there is none.
        """
        if self.recorded is None:
            return self._metrics(signal, module)
        found = self.recorded.drift.get(module) if signal == "drift" else getattr(self.recorded, signal)
        if found is None:
            what = f"{SIGNAL_NAMES[signal]}{f' of {module}' if signal == 'drift' else ''}"
            raise RunError(f"Run {self.run_id} recorded no {what} at every snapshot. Name another signal.")
        return [float(value) for value in found.losses]

    def changes(self, module: str, snapshots: int) -> list[float] | None:
        """How far a module's weights moved before each snapshot, NaN where that is not known; None: nothing is."""
        if self.recorded is not None:
            found = self.recorded.changes.get(module)
            return None if found is None else found.tolist()
        history = dict(_history(self.client, self.run_id, f"{self.prefix}{WEIGHTS}{metric_name(module)}"))
        return [history.get(snapshot, math.nan) for snapshot in range(snapshots)] if history else None

    def _metrics(self, signal: Signal, module: str) -> list[float]:
        name = self.prefix + (f"drift/{metric_name(module)}" if signal == "drift" else f"{signal}_loss")
        history = _history(self.client, self.run_id, name)
        first = 1 if signal == "drift" else 0
        if len(history) < 2 - first:
            raise RunError(
                f"Run {self.run_id} has no losses to be judged by: its metric {name} has {len(history)} values. Train "
                "it again."
            )
        steps = [step for step, _ in history]
        if steps != list(range(first, first + len(steps))):
            raise RunError(
                f"Run {self.run_id} has gaps or doubles in its metric {name}: steps {steps}. Train it again."
            )
        values = [value for _, value in history]
        return drift_sequence(values).tolist() if signal == "drift" else values


def told_by(client: MlflowClient, run: Run) -> ToldRun:
    """What a backbone run or a recording tells.

    Raises:
        ArtifactError: If the recording's file cannot be read.
        IntegrityError: If it is not what was written.
    """
    params, run_id = run.data.params, run.info.run_id
    tag = RecordingTag.of(run.data.tags)
    if tag is None:
        epochs = dict(_history(client, run_id, "epoch"))
        backbone, dataset = params.get("backbone", ""), params.get("dataset", "")
        return ToldRun(client, run_id, backbone, dataset, _seed(params), epochs, "", None)
    value, signals = recorded_signals(client, run), None
    try:
        if value is None:
            epochs = dict(_history(client, run_id, f"{tag.prefix}epoch"))
        else:
            epochs = {step: float(epoch) for step, epoch in enumerate(value["epochs"])}
            signals = Signals.from_dict(value)
    except (ConfigError, ConvergenceError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{CONVERGENCE} of run {run_id} cannot be read: {error}") from None
    return ToldRun(
        client, run_id, tag.backbone, tag.dataset, _seed(params), epochs, tag.prefix, signals, tag.starts_trained
    )


def _history(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    return sorted((m.step, m.value) for m in client.get_metric_history(run_id, name))


def _seed(params: Mapping[str, str]) -> int:
    try:
        return int(params.get("seed", -1))
    except ValueError:
        return -1  # somebody else's parameter of that name
