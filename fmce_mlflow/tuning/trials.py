"""Run a study's trials in one process, beside any number of others."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import optuna
from mlflow.exceptions import MlflowException
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from fmce_mlflow.errors import FmceError, RunError
from fmce_mlflow.safety.credentials import without_credentials
from fmce_mlflow.tuning.mirror import RUN, STATES, WHY, TrialMirror, origin, retries
from fmce_mlflow.tuning.storage import open_storage, quiet, storage_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

TOTAL = "fmce.trials"
"""In a study's user_attrs, how many trials it is to have."""
NOT_COUNTED = "fmce.not_counted"
"""In a trial's user_attrs, why it is none of them: it was interrupted, could not be run for no fault of its own, or was
begun at the same moment as the last one."""

POLL_SECONDS = 0.25
PRUNE_EVERY = 5
"""Steps between two comparisons with other trials, each of which reads them; every step is reported."""
Report = Callable[[int, float], None]


class Objective(Protocol):
    """What a study minimises; it travels to worker processes by pickle."""

    def __call__(self, trial: Trial, report: Report) -> float:
        """The value of a trial.

        Args:
            trial: Gives the hyperparameters.
            report: Takes each step and its value; raises where the trial is to end.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that a worker process needs.

    Attributes:
        tracking_uri: MLflow.
        storage: The storage's URL.
        study_name: The study, which is there and has its MLflow run.
        objective: What to minimise.
        seed: Seeds the sampler; each worker must have its own.
        heartbeat: Seconds between two signs of life of a running trial.
        grace: Seconds without one after which a trial counts as dead.
        retries: How often a trial whose worker died is tried again.
    """

    tracking_uri: str
    storage: str
    study_name: str
    objective: Objective
    seed: int
    heartbeat: int = 10
    grace: int = 30
    retries: int = 2


def counted(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """A study's trials, each once: of those that were retried the last attempt, none that were interrupted.

    Args:
        trials: All that Optuna has, by number.
    """
    last = {origin(trial): trial for trial in trials}
    return [trial for trial in last.values() if NOT_COUNTED not in trial.user_attrs]


def tally(trials: list[FrozenTrial]) -> dict[str, int]:
    """How many of the counted trials are in each state, and how many were retried."""
    found = counted(trials)
    states = {name: sum(STATES[t.state] == name for t in found) for name in STATES.values()}
    return {**states, "retried": sum(retries(t) > 0 for t in found)}


def best(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The complete trial with the smallest value, the first of several."""
    complete = [t for t in counted(trials) if t.state is TrialState.COMPLETE and t.value is not None]
    return min(complete, key=lambda t: float(t.value or 0), default=None)


def load_study(job: Job, client: MlflowClient) -> tuple[optuna.Study, TrialMirror]:
    """Open a job's study and the mirror of its trials."""
    mirrors: list[TrialMirror] = []
    retry = RetryHeartbeatStaleTrialCallback(max_retry=job.retries) if job.retries else None

    def on_stale(study: optuna.Study, trial: FrozenTrial) -> None:
        attempt = retries(trial) + 1
        why = f"its worker gave no sign of life for {job.grace} s (attempt {attempt} of {job.retries + 1})"
        if retry is None or attempt > job.retries or NOT_COUNTED in trial.user_attrs:
            mirrors[0].close(trial, why)
            return
        trial.user_attrs = {k: v for k, v in trial.user_attrs.items() if k != WHY}  # of this attempt only
        try:
            mirrors[0].wait(trial, why)  # before another worker can take it up
        finally:
            retry(study, trial)

    storage = open_storage(job.storage, heartbeat=job.heartbeat, grace=job.grace, on_stale=on_stale)
    with quiet():
        sampler = optuna.samplers.TPESampler(seed=job.seed, constant_liar=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=10)
    study = optuna.load_study(study_name=job.study_name, storage=storage, sampler=sampler, pruner=pruner)
    mirrors.append(TrialMirror(client, str(study.user_attrs[RUN])))
    return study, mirrors[0]


def run_trials(
    job: Job,
    client: MlflowClient,
    *,
    say: Callable[[str], None] = print,
    stop: Callable[[], bool] = lambda: False,
    interrupt: int = signal.SIGINT,
) -> None:
    """Run trials until the study has as many as it is to have and none is running any more.

    Args:
        job: What to run.
        client: MLflow client.
        say: Prints a line for each trial that ends.
        stop: Asked at every step; where true, the trial is given up as at Ctrl-C.
        interrupt: The signal that counts as Ctrl-C.

    Raises:
        FmceError: If the objective raised one: no other trial would fare better.
        RunError: If the storage or MLflow stops answering.
        KeyboardInterrupt: At Ctrl-C, the trial's end written.
    """
    with storage_errors(job.storage), quiet(), Interrupts(interrupt) as interrupts:
        study, mirror = load_study(job, client)
        try:
            try:
                _Worker(study, mirror, job, say, stop, interrupts).run()
            finally:
                mirror.flush()
        except MlflowException as error:
            raise _mlflow_failed(job, error) from None


def _mlflow_failed(job: Job, error: MlflowException) -> RunError:
    return RunError(
        f"MLflow at {without_credentials(job.tracking_uri)} failed: {error.message}. Trials that ended are kept in the "
        "study; once it answers again, go on with --resume."
    )


class Interrupts:
    """Lets Ctrl-C break into objectives only; elsewhere it waits, so that whatever is written is written whole.

    A second one breaks in anywhere.

    Args:
        number: The signal that counts as Ctrl-C.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        self.number, self.asked = number, False
        self._inside = False
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        """Take the signal over where nobody else has; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(self.number)
            if before in (signal.default_int_handler, signal.SIG_DFL):
                self._before = signal.signal(self.number, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(self.number, self._before)

    @contextmanager
    def welcome(self, inside: bool = True) -> Iterator[None]:
        """Where Ctrl-C breaks in at once; or, within such a place, where it waits."""
        before, self._inside = self._inside, inside
        try:
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._inside = before
        if self._inside and self.asked:
            raise KeyboardInterrupt

    def _interrupt(self, signum: int, frame: Any) -> None:
        again, self.asked = self.asked, True
        if self._inside or again:
            raise KeyboardInterrupt


class _Worker:
    def __init__(
        self,
        study: optuna.Study,
        mirror: TrialMirror,
        job: Job,
        say: Callable[[str], None],
        stop: Callable[[], bool],
        interrupts: Interrupts,
    ) -> None:
        self.study, self.mirror, self.job, self.say = study, mirror, job, say
        self.stop, self.interrupts = stop, interrupts
        self.number: int | None = None
        self.ended = False
        self.fatal: FmceError | None = None
        self._unborn: dict[int, float] = {}

    def run(self) -> None:
        while True:
            if self.stop() or self.interrupts.asked:
                raise KeyboardInterrupt
            fail_stale_trials(self.study)
            trials = self.study.get_trials(deepcopy=False)
            found = counted(trials)
            waiting = any(t.state is TrialState.WAITING for t in found)
            if waiting or len(found) < self._total():
                self._run_one()
            elif all(t.state.is_finished() for t in found):
                return
            else:  # another worker's, which may die
                self._drop_unborn(found)
                time.sleep(POLL_SECONDS)

    def _total(self) -> int:
        return int(self.study.user_attrs[TOTAL])

    def _run_one(self) -> None:
        self.number, self.ended = None, False
        try:
            self.study.optimize(self._objective, n_trials=1, catch=(Exception,), callbacks=[self._ended])
        except KeyboardInterrupt:
            if self.number is not None:
                self.mirror.close(self._frozen(self.number))
            raise
        except (ValueError, UpdateFinishedTrialError):
            # Others took this process for dead and its trial is theirs now; anything else is a mistake of ours.
            if self.number is None or self.ended or not self._frozen(self.number).state.is_finished():
                raise
            self.say(f"Trial {self.number} took too long to give a sign of life; it was given to another worker.")
        if self.fatal is not None:
            if self.number is not None:
                with suppress(MlflowException):  # where MLflow itself failed, `reconcile` writes it later
                    self.mirror.close(self._frozen(self.number))
            raise self.fatal

    def _objective(self, trial: Trial) -> float:
        """The job's objective, with all that belongs to a trial's end."""
        self.number = trial.number
        trials = self.study.get_trials(deepcopy=False)
        frozen = trials[trial.number]
        before = [t for t in counted(trials) if origin(t) < trial.number]
        if not retries(frozen) and len(before) >= self._total():
            trial.set_user_attr(NOT_COUNTED, "begun at the same moment as the last one")
            raise TrialPruned
        values: dict[int, float] = {}

        def report(step: int, value: float) -> None:
            values[step] = value
            if self.stop():
                raise KeyboardInterrupt
            with self.interrupts.welcome(False):
                trial.report(value, step)
                self.mirror.report(run_id, trial.params, values)
                hopeless = step % PRUNE_EVERY == 0 and trial.should_prune()
            if hopeless:
                raise TrialPruned(f"{value:.4f} at step {step} is worse than the median of earlier trials there")

        try:
            run_id = self.mirror.open(trial, frozen)
            with self.interrupts.welcome():
                value = self.job.objective(trial, report)
            if not np.isfinite(value):
                raise ArithmeticError(f"the trial's value is {value}")
            return value
        except UpdateFinishedTrialError:
            raise
        except KeyboardInterrupt:
            trial.set_user_attr(NOT_COUNTED, "interrupted")
            trial.set_user_attr(WHY, "interrupted")
            raise
        except TrialPruned as error:
            trial.set_user_attr(WHY, str(error))
            raise
        except MlflowException as error:  # no fault of the trial
            self.fatal = _mlflow_failed(self.job, error)
            trial.set_user_attr(NOT_COUNTED, "MLflow failed")
            trial.set_user_attr(WHY, f"MLflow failed: {error.message}")
            raise
        except FmceError as error:  # every trial would meet it
            self.fatal = error
            trial.set_user_attr(NOT_COUNTED, "could not be run")
            trial.set_user_attr(WHY, f"{type(error).__name__}: {error}")
            raise
        except Exception as error:
            trial.set_user_attr(WHY, f"{type(error).__name__}: {error}")
            raise

    def _ended(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Optuna's callback at a trial's end."""
        self.ended = True
        if NOT_COUNTED in trial.user_attrs:
            return
        self.mirror.close_soon(trial)
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        text = f"Trial {origin(trial)} {STATES[trial.state]} after {seconds:.1f} s"
        if trial.state is TrialState.COMPLETE:
            first = best(study.get_trials(deepcopy=False))
            text += f": {trial.value:.4f}"
            text += f" (best {first.value:.4f}, trial {origin(first)})" if first is not None else ""
        elif why := trial.user_attrs.get(WHY):
            text += f": {why}"
        self.say(text)

    def _frozen(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

    def _drop_unborn(self, trials: list[FrozenTrial]) -> None:
        """End trials whose worker died before their first sign of life; Optuna would wait for them forever."""
        unborn = [t for t in trials if t.state is TrialState.RUNNING and RUN not in t.user_attrs]
        now = time.monotonic()
        self._unborn = {t.number: self._unborn.get(t.number, now) for t in unborn}
        for trial in unborn:
            if now - self._unborn[trial.number] > self.job.grace:
                drop(self.study, self.mirror, trial, "its worker died before it began")


def drop(study: optuna.Study, mirror: TrialMirror, trial: FrozenTrial, why: str) -> None:
    """End a running trial that nobody runs; it is not counted."""
    own = Trial(study, trial._trial_id)
    try:
        own.set_user_attr(NOT_COUNTED, why)
        own.set_user_attr(WHY, why)
        study.tell(trial.number, state=TrialState.FAIL)
    except (UpdateFinishedTrialError, ValueError):
        return  # another worker was faster
    mirror.close(study.get_trials(deepcopy=False)[trial.number], run_id=mirror.find(origin(trial)))


def reconcile(study: optuna.Study, mirror: TrialMirror, *, patience: float = 3.0) -> None:
    """Write the end of every finished trial whose run is still open: its worker died between the two.

    Args:
        study: The study.
        mirror: The mirror of its trials.
        patience: Seconds that a worker on another machine has to write the end itself.
    """
    if _unwritten(study, mirror):
        time.sleep(patience)
        for run_id, trial in _unwritten(study, mirror).items():
            mirror.close(trial, run_id=run_id)


def _unwritten(study: optuna.Study, mirror: TrialMirror) -> dict[str, FrozenTrial]:
    """Finished trials by their open run."""
    runs = mirror.client.search_runs(
        [mirror.experiment],
        f"tags.`mlflow.parentRunId` = '{mirror.study_run}' and attributes.status = 'RUNNING'",
        max_results=1000,
    )
    last = {origin(trial): trial for trial in study.get_trials(deepcopy=False)}
    found = {run.info.run_id: last.get(int(run.data.tags.get("fmce.trial", "-1"))) for run in runs}
    return {run_id: trial for run_id, trial in found.items() if trial is not None and trial.state.is_finished()}
