"""How far a training has come, as its recording tells while it goes on, and after it ended or was cut off.

Loads no torch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from fmce_mlflow.errors import RunError
from fmce_mlflow.method.convergence.config import SIGNAL_NAMES, ConvergenceConfig, Signal
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.recording.decisions import Decisions
from fmce_mlflow.recording.options import RecordingOptions
from fmce_mlflow.recording.recorded import Recorded, judged_by, read_recording
from fmce_mlflow.runs.artifacts import repository_of
from fmce_mlflow.runs.feature_index import INDEX, ROOT, Index
from fmce_mlflow.runs.feature_maps import read_index
from fmce_mlflow.runs.recordings import TAG, RecordingTag, has_ended
from fmce_mlflow.runs.run import ROLE_TAG
from fmce_mlflow.wording import counted, lasting, some

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PLANS = ("epochs", "num_train_epochs", "max_epochs", "n_epochs")
"""Parameters by which training loops say for how many epochs they are planned."""
RECENT = 10  # intervals between snapshots that the present pace is taken from
LATE = 10  # intervals without a snapshot after which a run that says it goes on may not


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """What is known of a training.

    Attributes:
        run: As MLflow has it.
        recorded: Figures of the snapshots, and what each signal says of them.
        epochs: Trained so far, by snapshot, ascending in snapshots.
        times: When each snapshot was taken, in seconds since 1970.
        planned: Epochs in all; None where not known.
        now: When this is asked, in seconds since 1970.
    """

    run: Run
    recorded: Recorded
    epochs: tuple[float, ...]
    times: tuple[float, ...]
    planned: float | None
    now: float

    @property
    def ended(self) -> bool:
        """Whether the recording came to its end."""
        return has_ended(self.run.data.tags)

    @property
    def going_on(self) -> bool:
        """Whether MLflow counts the run as one that runs; of a process that was killed it still does."""
        return not self.ended and self.run.info.status == "RUNNING"

    @property
    def pace(self) -> float | None:
        """Seconds per epoch at present, the median of the last few intervals; None without two snapshots."""
        steps = zip(pairwise(self.epochs), pairwise(self.times), strict=True)
        found = [(end - start) / (b - a) for (a, b), (start, end) in steps if b > a and end > start]
        return median(found[-RECENT:]) if found else None

    @property
    def left(self) -> float | None:
        """Seconds to the end of what is planned, at the present pace; None where that is not known, or reached."""
        if self.pace is None or self.planned is None or not self.epochs or self.epochs[-1] >= self.planned:
            return None
        since = min(max(0.0, self.now - self.times[-1]), median(self._intervals))  # the next snapshot is still to come
        return max(0.0, (self.planned - self.epochs[-1]) * self.pace - since)

    @property
    def late(self) -> bool:
        """Whether the next snapshot of a run that goes on is long overdue."""
        steps = self._intervals
        return self.going_on and bool(steps) and self.now - self.times[-1] > max(60.0, LATE * median(steps))

    @property
    def _intervals(self) -> list[float]:
        """Seconds between the last few snapshots."""
        return [end - start for start, end in pairwise(self.times) if end > start][-RECENT:]

    def where(self) -> str:
        """How far it has come, in a sentence."""
        taken = counted(len(self.times), "snapshot")
        if not self.times:
            return "No snapshot has arrived yet."
        of = f" of {self.planned:g}" if self.planned is not None and self.planned >= self.epochs[-1] else ""
        far = f"{taken}, the last after epoch {self.epochs[-1]:g}{of}"
        if self.ended:
            return f"The recording has ended: {far}."
        if self.late:
            return (
                f"Cut off, or slow: {far}, {lasting(self.now - self.times[-1])} ago. MLflow counts the run as running, "
                f"as it does if a process is killed. {self._how_to_go_on()}"
            )
        if self.going_on:
            return f"Training: {far}, {lasting(max(0.0, self.now - self.times[-1]))} ago."
        how = {"FAILED": "It failed", "KILLED": "It was stopped"}.get(self.run.info.status, "It was cut off")
        return f"{how} after {far}. {self._how_to_go_on()}"

    def ahead(self) -> str:
        """What is left by the present pace, in a sentence; empty for a training that does not go on."""
        if not self.going_on or self.late or not self.times:
            return ""
        if self.pace is None:
            return "What is left can be told from the second snapshot on."
        pace = f"{lasting(self.pace)} per epoch"
        if self.left == 0:
            return f"The last epoch takes longer than those before it, of {lasting(self.pace)} each."
        if self.planned is None:
            return f"At present it takes {pace}; how many epochs are planned, the run does not say."
        if self.left is None:
            return f"The {self.planned:g} epochs that were planned are over; its end is being recorded, or it goes on."
        return f"About {lasting(self.left)} left at the present pace, {pace}."

    def converged(self) -> str:
        """When the training converged, or what is known of that so far."""
        found = self._judged
        if found is None:
            return "It has no losses at all of its snapshots, so nothing is known of its convergence."
        if self.ended or found.point is None:
            return found.verdict() if self.ended else f"So far: {_lower(found.verdict())}"
        enough = "is" if self._lasts else "is not yet"
        return (
            f"T so far is snapshot {found.point}: by the {SIGNAL_NAMES[found.signal]}, CQI stays below "
            f"{found.config.threshold:g} from there. That {enough} enough for a stop, which waits "
            f"{counted(self._patience, 'snapshot')}; later losses may change T."
        )

    def modules(self) -> dict[str, str]:
        """What each recorded module does, in a few words."""
        signals, frozen = self.recorded.signals, self.recorded.frozen
        found = {}
        for name, drift in signals.drift.items():
            if name in frozen:
                found[name] = f"frozen after snapshot {frozen[name]}"
            elif name in signals.still:
                found[name] = "has not moved"
            else:
                story = signals.story(name)
                found[name] = f"its weights {story}" if story else _settled(drift)
        return found

    def settled(self) -> str:
        """Which modules have settled and which have not, in a sentence or two; empty without any that is judged."""
        of: dict[bool, list[str]] = {True: [], False: []}
        for name, what in self.modules().items():
            of[what.startswith(("settled", "frozen"))].append(f"{name} ({what.removeprefix('settled at ')})")
        texts = [
            f"Settled: {some(of[True], 8)}." if of[True] else "",
            f"Not: {some(of[False], 8)}." if of[False] else "",
        ]
        return " ".join(filter(None, texts))

    @property
    def _judged(self) -> Convergence | None:
        """By the signal that labels the run; where it labels by drift, the first module's, as at the end."""
        signals = self.recorded.signals
        if self.recorded.signal == "drift" and signals.drift:
            return next(iter(signals.drift.values()))
        return self.recorded.loss

    @property
    def _patience(self) -> int:
        given = self.run.data.params.get("patience", "")
        return int(given) if given.isdecimal() else RecordingOptions().patience

    @property
    def _lasts(self) -> bool:
        """Whether a training that stops by itself would stop now."""
        signal, config = judged_by(self.run) or ("train", ConvergenceConfig())
        decisions = Decisions(config, self._patience, _known(signal, self._judged), tuple(self.recorded.signals.drift))
        return decisions.converged(
            _Measured([self.recorded.metrics[t] for t in range(self._whole)], self.recorded.frozen)
        )

    @property
    def _whole(self) -> int:
        """Snapshots from 0 on without a gap."""
        return next(t for t in range(len(self.recorded.metrics) + 1) if t not in self.recorded.metrics)

    def _how_to_go_on(self) -> str:
        run_id = self.run.info.run_id
        if TAG in self.run.data.tags:
            return f'It goes on if the loop is started again with record(…, run_id="{run_id}").'
        return f"`fmce train-backbone --resume {run_id}` goes on with it."


@dataclass(frozen=True, slots=True)
class _Measured:
    """What decisions are made from."""

    metrics: Sequence[Mapping[str, float]]
    frozen: Mapping[str, int]


def read_progress(
    client: MlflowClient,
    run: Run,
    *,
    epochs: float | None = None,
    recorded: Recorded | None = None,
    now: float | None = None,
) -> Progress:
    """How far a run's training has come.

    Args:
        client: MLflow client.
        run: As MLflow has it.
        epochs: How many are planned; None: what the run's parameters say.
        recorded: What it recorded, if that was read already.
        now: In seconds since 1970; None: the present.

    Raises:
        RunError: If the run has no recording; says how to make one.
    """
    tags, params = run.data.tags, run.data.params
    tag = RecordingTag.of(tags)
    history: dict[int, Any] = {}
    for one in client.get_metric_history(run.info.run_id, f"{tag.prefix if tag else ''}epoch"):
        history.setdefault(one.step, one)
    ordered = [history[step] for step in sorted(history)]
    return Progress(
        run,
        recorded or read_recording(client, run, _modules(client, run)),
        tuple(one.value for one in ordered),
        tuple(one.timestamp / 1000 for one in ordered),
        epochs or next(filter(None, (_number(params.get(name, "")) for name in PLANS)), None),
        time.time() if now is None else now,
    )


def _modules(client: MlflowClient, run: Run) -> tuple[str, ...]:
    """The modules that a run has recorded so far."""
    run_id, tags = run.info.run_id, run.data.tags
    data = read_index(repository_of(run, client.tracking_uri), f"run {run_id}")
    if data is not None:
        return Index.from_json(data, name=f"{ROOT}/{INDEX} of run {run_id}").modules
    if TAG in tags or tags.get(ROLE_TAG) == "backbone":
        return ()
    raise RunError(
        f"Run {run_id} has no recording, so nothing is known of its modules. Record a training in it with "
        "`fmce_mlflow.record(model, probe=images)`, or with a callback for Lightning, transformers or Ultralytics; "
        "`fmce train-backbone` records by itself."
    )


def _settled(found: Convergence) -> str:
    if found.point is not None:
        return f"settled at snapshot {found.point}"
    return "too early to tell" if found.problem else f"still moving, CQI {found.cqi[-1]:.2g}"


def _known(signal: Signal, judged: Convergence | None) -> Signal:
    """The signal that was judged: a run may lack the one that is to label it."""
    return signal if judged is None else judged.signal


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 1e9 else None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
