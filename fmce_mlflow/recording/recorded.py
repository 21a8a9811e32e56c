"""What a recording's run says of its snapshots: figures, and when it converged by each signal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fmce_mlflow.errors import FmceError
from fmce_mlflow.method.convergence.config import SIGNAL_NAMES, ConvergenceConfig, Signal
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.recording.signals import DRIFT, LOSSES, WEIGHTS, Signals, run_convergence
from fmce_mlflow.runs.metric_names import logged_name
from fmce_mlflow.runs.recordings import CONVERGENCE, RecordingTag, frozen_of, recorded_signals

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
    signal, config = judged_by(run) or ("train", ConvergenceConfig())
    names = ["epoch", *LOSSES, "val_accuracy"]
    names += [f"{kind}{module}" for module in modules for kind in (DRIFT, WEIGHTS)]
    metrics: dict[int, dict[str, float]] = {}
    for name in names:
        for one in client.get_metric_history(run_id, (tag.prefix if tag else "") + logged_name(name)):
            metrics.setdefault(one.step, {})[name] = one.value
    try:
        found = recorded_signals(client, run)
        if found is not None:
            own = Signals.from_dict(found)
            _keep_own(metrics, own, found.get("epochs"))
            return Recorded(metrics, own, str(found["signal"]), frozen_of(run.data.tags))
        note = f"The run has no {CONVERGENCE}, because its recording has not ended. {OWN}"
    except (FmceError, KeyError) as error:
        note = f"{CONVERGENCE} of the run cannot be used: {error!s:.200} {OWN}"
    return Recorded(metrics, _judged(metrics, config), signal, frozen_of(run.data.tags), note)


def judged_by(run: Run) -> tuple[Signal, ConvergenceConfig] | None:
    """The signal and the constants by which a run is judged, as its tag or its parameters say; None if none do."""
    tag, params = RecordingTag.of(run.data.tags), run.data.params
    read: dict[str, Callable[[str], Any]] = {"smoothing": float, "window": int, "threshold": float, "levels": int}
    read |= {"aggregation": str, "rule": str, "spacing": str}
    signals: dict[str, Signal] = {name: name for name in SIGNAL_NAMES}
    try:
        if tag is not None:
            return signals[tag.signal], ConvergenceConfig(**tag.convergence)
        config = ConvergenceConfig(**{name: kind(params[name]) for name, kind in read.items()})
        return signals[params.get("signal", "train")], config
    except (FmceError, KeyError, TypeError, ValueError):
        return None


def _keep_own(metrics: dict[int, dict[str, float]], own: Signals, epochs: Any) -> None:
    """What the recording measured, where the loop logged metrics of the same names into the run."""
    told = {"train_loss": own.train, "val_loss": own.val}
    columns = {name: found.losses.tolist() for name, found in told.items() if found is not None}
    if isinstance(epochs, list) and all(isinstance(epoch, int | float) for epoch in epochs):
        columns["epoch"] = epochs
    for name, values in columns.items():
        for step, value in enumerate(values):
            metrics.setdefault(step, {})[name] = float(value)


def _judged(metrics: dict[int, dict[str, float]], config: ConvergenceConfig) -> Signals:
    """Convergence of the snapshots from 0 on, as far as they have no gap."""
    whole = next(step for step in range(len(metrics) + 1) if step not in metrics)
    try:
        return run_convergence([metrics[step] for step in range(whole)], config)
    except (FmceError, KeyError):
        return Signals(None, None, {})
