"""What a recording's run says of its snapshots: figures, and when it converged by each signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fmce_mlflow.errors import FmceError
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.recording.record import frozen_of
from fmce_mlflow.recording.signals import DRIFT, LOSSES, Signals, run_convergence
from fmce_mlflow.runs.metric_names import logged_name
from fmce_mlflow.runs.recordings import CONVERGENCE, RecordingTag, recorded_signals

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

OWN = "The curves are made of its metrics as they are, and no snapshot has a label."


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """What is known of a recording.

    Attributes:
        metrics: Name → value, by snapshot.
        signals: Convergence by each signal.
        signal: The one that labels the run.
        frozen: Modules that the recording froze, each with the snapshot after which.
        note: Why ``signals`` may not be what the recording itself found; empty where they are.
    """

    metrics: dict[int, dict[str, float]]
    signals: Signals
    signal: str
    frozen: Mapping[str, int]
    note: str = ""

    @property
    def loss(self) -> Convergence | None:
        """By the loss that labels the run; for ``drift``, by any loss that it has."""
        order = {"val": (self.signals.val, self.signals.train)}.get(self.signal, (self.signals.train, self.signals.val))
        return next((found for found in order if found is not None), None)


def read_recording(client: MlflowClient, run: Run, modules: Sequence[str]) -> Recorded:
    """What a run has logged of its snapshots; where it has no verdict of its own, one is made of its metrics."""
    tag, run_id = RecordingTag.of(run.data.tags), run.info.run_id
    names = ["epoch", *LOSSES, "val_accuracy", *(f"{DRIFT}{module}" for module in modules)]
    metrics: dict[int, dict[str, float]] = {}
    for name in names:
        for one in client.get_metric_history(run_id, (tag.prefix if tag else "") + logged_name(name)):
            metrics.setdefault(one.step, {})[name] = one.value
    try:
        found = recorded_signals(client, run)
        if found is not None:
            return Recorded(metrics, _signals(found), str(found["signal"]), frozen_of(run.data.tags))
        note = f"The run has no {CONVERGENCE}, because its recording has not ended. {OWN}"
    except (FmceError, KeyError, TypeError, ValueError, AttributeError) as error:
        note = f"{CONVERGENCE} of the run cannot be used: {error!s:.200} {OWN}"
    return Recorded(metrics, _judged(metrics), "train", frozen_of(run.data.tags), note)


def _signals(found: Mapping[str, Any]) -> Signals:
    """What the recording found at its end."""
    read = {name: None if found[name] is None else Convergence.from_dict(found[name]) for name in ("train", "val")}
    drift = {str(module): Convergence.from_dict(one) for module, one in found["drift"].items()}
    return Signals(read["train"], read["val"], drift)


def _judged(metrics: dict[int, dict[str, float]]) -> Signals:
    """Convergence of the snapshots from 0 on, as far as they have no gap."""
    whole = next(step for step in range(len(metrics) + 1) if step not in metrics)
    try:
        return run_convergence([metrics[step] for step in range(whole)], ConvergenceConfig())
    except (FmceError, KeyError):
        return Signals(None, None, {})
