"""A training that stops once it has converged, and freezes modules on the way, alike in each of its processes."""

from __future__ import annotations

from functools import partial

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.method.convergence.config import SIGNAL_NAMES
from fmce_mlflow.method.training.steps import learning_rate
from fmce_mlflow.recording.decisions import Decisions
from fmce_mlflow.recording.freezing import Deciding, shared
from fmce_mlflow.recording.record import Record
from fmce_mlflow.recording.signals import DRIFT
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import Uploads
from fmce_mlflow.wording import counted

STOPPED_TAG = "fmce.stopped"


def has_ended(options: BackboneOptions, record: Record) -> bool:
    """Whether nothing is left to train after the last snapshot of a record."""
    last = len(record.metrics) - 1
    if last >= options.training.snapshots or not options.stop_when_converged or last < 0:
        return last >= options.training.snapshots
    modules = [name.removeprefix(DRIFT) for name in record.metrics[-1] if name.startswith(DRIFT)]
    return Decisions(options.convergence, options.patience, options.signal, modules).converged(record)


def freeze_again(deciding: Deciding, options: BackboneOptions) -> None:
    """Freeze what a run that is resumed had frozen, and what it froze right after its last snapshot."""
    if options.freeze_converged:
        deciding.freezing.freeze(shared(deciding.frozen_parts))
        deciding.freeze_converged()


def decide(deciding: Deciding, options: BackboneOptions, run: Run, snapshot: int) -> bool:
    """After a snapshot: freeze what has converged, and find out whether the training stops here."""
    if options.freeze_converged and (names := deciding.freeze_converged()):
        run.say(f"frozen after snapshot {snapshot}, with all before it: {', '.join(names)}.")
    return options.stop_when_converged and deciding.should_stop and snapshot < options.training.snapshots


def tell_stop(run: Run, out: Uploads, options: BackboneOptions, snapshot: int) -> None:
    """Say that a training stopped, when, why, and what was left out."""
    config = options.training
    left = config.snapshots - snapshot
    by = "the drift of each module" if options.signal == "drift" else f"the {SIGNAL_NAMES[options.signal]}"
    rate = learning_rate(config, snapshot, config.snapshots_per_epoch) / config.lr
    run.say(
        f"stopped at snapshot {snapshot} of {config.snapshots}, because {by} has converged: CQI was below "
        f"{options.convergence.threshold:g} at the last {counted(options.patience + 1, 'snapshot')}. "
        f"{left / config.snapshots_per_epoch:.3g} of {config.epochs} epochs were left out"
        + (f"; the learning rate was at {rate:.0%} of its peak." if config.schedule == "cosine" else ".")
    )
    out.persist(partial(run.client.set_tag, run.id, STOPPED_TAG, str(snapshot)))
