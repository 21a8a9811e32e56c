"""The end of a recording: find out whether and when the training converged, and log what shows it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.entities import Metric

from fmce_mlflow.method.convergence.config import SIGNAL_NAMES
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.recording.record import Record
from fmce_mlflow.recording.signals import LOSSES, Signals, run_convergence
from fmce_mlflow.recording.state import About
from fmce_mlflow.report.convergence_figure import convergence_figure
from fmce_mlflow.report.drift_figure import drift_figure
from fmce_mlflow.report.style import png
from fmce_mlflow.runs.evidence_file import close_evidence
from fmce_mlflow.runs.feature_index import INDEX, ROOT
from fmce_mlflow.runs.feature_maps import FeatureMapWriter
from fmce_mlflow.runs.metric_names import logged_name
from fmce_mlflow.runs.recordings import CONVERGENCE, FROZEN_TAG
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.reading import seal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOT = "plots/convergence.png"
DRIFT_PLOT = "plots/drift.png"
LAGGARD_TAG = "fmce.laggard"

Extra = Callable[[Run, Convergence], None]
"""Logs more that shows a recording."""


def conclude(run: Run, about: About, record: Record, extras: Sequence[Extra] = (), *, finite: bool = True) -> Signals:
    """Find convergence by each signal, log it with its plot, seal the index; again after a kill is the same again.

    Args:
        run: All that was recorded is in it.
        about: What was recorded.
        record: Of all snapshots; CQI and FMCS are added to its metrics once all is logged.
        extras: Called before the index is sealed.
        finite: Whether a loss that is NaN or infinite is an error, and a signal that is missing; otherwise the first
            that there is labels the run.

    Raises:
        ConvergenceError: If the signal that labels the run was not recorded.
        NonFiniteLossError: With ``finite``, a NaN or infinite loss.
    """
    options, given = about.options, record
    record = replace(given, metrics=[dict(one) for one in given.metrics])  # again after a failure it is the same
    assumed = _complete(record)
    signals = run_convergence(record.metrics, options.convergence, finite=finite, starts_trained=options.starts_trained)
    signal = options.signal if finite else signals.nearest(options.signal)
    primary, note = signals.primary(signal), signals.disagreement
    if signal != options.signal:
        run.say(
            f"The {SIGNAL_NAMES[options.signal]} was not recorded at every snapshot: the {SIGNAL_NAMES[signal]} tells."
        )
    run.say(primary.verdict())
    for line in filter(None, (f"note: {note}" if note else None, signals.order(), signals.movements())):
        run.say(line)
    for step in range(len(primary.losses)):
        labels = {"cqi": primary.cqi[step]} | ({} if primary.fmcs is None else {"fmcs": primary.fmcs[step]})
        record.metrics[step] |= {k: float(v) for k, v in labels.items() if np.isfinite(v)}
    log_missing(run, record, options.prefix)
    found: dict[str, Any] = {
        "signal": signal,
        "disagreement": note,
        "epochs": record.epochs,
        "laggards": signals.laggards,
        "assumed": assumed,  # losses whose value at snapshot 0 is that of snapshot 1
        "weights": [[v if math.isfinite(v) else str(v) for v in one] for one in record.fingerprints],
    }
    run.set_tags(seal(CONVERGENCE, run.log_json({**found, **signals.to_dict()}, CONVERGENCE)))
    other = signals.val if signal == "train" else None
    epochs = record.epochs if np.all(np.diff(record.epochs) > 0) else None  # some named by the loop, others counted
    log_figure(run, partial(convergence_figure, primary, title=about.name, epochs=epochs, other=other), PLOT)
    if len(signals.drift) > 1:
        log_figure(run, partial(drift_figure, signals.drift, title=f"Drift of modules: {about.name}"), DRIFT_PLOT)
    for extra in extras:
        extra(run, primary)
    tags = {"fmce.converged": str(primary.converged).lower()}
    if primary.point is not None:
        tags["fmce.convergence_point"] = str(primary.point)
    if len(signals.laggards) == 1:
        tags[LAGGARD_TAG] = signals.laggards[0]
    if record.frozen:
        tags[FROZEN_TAG] = json.dumps(record.frozen)
        run.say(f"frozen: {', '.join(f'{name} after snapshot {at}' for name, at in record.frozen.items())}.")
    run.set_tags(tags)
    if record.evidence:
        close_evidence(run, record.evidence)
    _close_index(run, about, record, primary)  # last: a run whose index is sealed has all of it
    given.metrics = record.metrics
    return signals


def named(run: Run, name: str) -> Run:
    """A run whose lines begin with a training's name, each said once though its end may be tried again."""
    return replace(run, say=lambda line: run.say(f"{name}: {line}")).saying_once()


def log_missing(run: Run, record: Record, prefix: str = "") -> None:
    """Log metrics that a record has and its run lacks, because a process died after its checkpoint."""
    rows = [row for step, metrics in enumerate(record.metrics) for row in metric_rows(metrics, step, prefix)]
    run.client.log_batch(run.id, metrics=run.lacking(rows))


def metric_rows(metrics: Mapping[str, float], step: int, prefix: str = "") -> list[Metric]:
    """Metrics of a snapshot, as of now."""
    now = int(time.time() * 1000)
    return [Metric(prefix + logged_name(k), v, now, step) for k, v in metrics.items()]


def log_figure(run: Run, draw: Callable[[], Figure], path: str) -> None:
    """Draw a figure and log it; where that fails, say so: no figure is worth the run that it shows."""
    try:
        picture = png(draw(), dpi=160)
    except Exception as error:
        run.say(f"note: {path} cannot be drawn ({type(error).__name__}: {error!s:.200}).")
        return
    run.log_bytes(picture, path)


def _complete(record: Record) -> list[str]:
    """Where a loss lacks the untrained network's alone, let the first one stand for it, and say which losses."""
    assumed = []
    for name in LOSSES:
        if len(record.metrics) > 1 and name not in record.metrics[0] and all(name in m for m in record.metrics[1:]):
            record.metrics[0][name] = record.metrics[1][name]
            assumed.append(name)
    return assumed


def _close_index(run: Run, about: About, record: Record, convergence: Convergence) -> None:
    """Drop the maps that are not to be kept, and seal the index: from here on it stays as it is."""
    writer = FeatureMapWriter(run.client, run.id, about.probe, np.zeros(0, np.int64), record.entries)
    writer.write_index()  # the one there may name a snapshot of which a part could not be written
    if about.options.keep == "markers" and convergence.markers is None:
        run.say("all maps are kept, because a run that has not converged has no markers.")
    elif about.options.keep == "markers":
        dropped = writer.keep_only(set(convergence.markers or ()))
        run.say(f"kept the maps of snapshots {convergence.markers}, dropped {dropped} files.")
    run.set_tags(seal(f"{ROOT}/{INDEX}", writer.index.to_json().encode()))
