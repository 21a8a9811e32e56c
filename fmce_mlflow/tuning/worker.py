"""Run a study's trials in one process, beside any number of others."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import optuna
from mlflow.exceptions import MlflowException
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from fmce_mlflow.errors import FmceError, RunError
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety import interrupts
from fmce_mlflow.safety.credentials import hide_credentials, without_credentials
from fmce_mlflow.tuning.mirror import RUN, STATES, WHY, TrialMirror, origin, retries
from fmce_mlflow.tuning.options import StudyOptions
from fmce_mlflow.tuning.storage import open_storage, quiet, storage_errors
from fmce_mlflow.tuning.trials import NOT_COUNTED, TOTAL, best, counted_trials, drop_unborn, leave_out

if TYPE_CHECKING:
    from mlflow import MlflowClient

POLL_SECONDS = 0.25
PRUNE_EVERY = 5  # steps between two comparisons with other trials, each of which reads them; every step is reported
ReportStep = Callable[[int, float], None]


class Objective(Protocol):
    """What a study minimises; it travels to worker processes by pickle."""

    def __call__(self, trial: Trial, report: ReportStep) -> float:
        """The value of a trial; ``report`` takes each step and its value, and raises where the trial is to end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that a worker process needs of a study that is there and has its MLflow run."""

    tracking_uri: str
    options: StudyOptions
    objective: Objective
    seed: int  # of the sampler; each worker's own


@dataclass(frozen=True, slots=True, eq=False)
class Worker:
    """A process that runs trials, and what it has at hand."""

    study: optuna.Study
    mirror: TrialMirror
    job: Job
    say: Callable[[str], None]
    stop: Callable[[], bool]

    def trials(self) -> list[FrozenTrial]:
        """All that Optuna has now, by number."""
        return self.study.get_trials(deepcopy=False)

    def total(self) -> int:
        """How many trials the study is to have now; a resumed study may get more."""
        return int(self.study.user_attrs[TOTAL])


@dataclass(slots=True)
class _Attempt:
    """What came of one call of Optuna, which says so through callbacks only."""

    number: int | None = None
    ended: bool = False
    fatal: FmceError | None = None


def load_study(job: Job, client: MlflowClient) -> tuple[optuna.Study, TrialMirror]:
    """Open a job's study and the mirror of its trials."""
    options = job.options
    mirrors: list[TrialMirror] = []
    retry = RetryHeartbeatStaleTrialCallback(max_retry=options.retries) if options.retries else None

    def on_stale(study: optuna.Study, trial: FrozenTrial) -> None:
        attempt = retries(trial) + 1
        why = f"its worker gave no sign of life for {options.grace} s (attempt {attempt} of {options.retries + 1})"
        if retry is None or attempt > options.retries or NOT_COUNTED in trial.user_attrs:
            mirrors[0].close(trial, why)
            return
        trial.user_attrs = {k: v for k, v in trial.user_attrs.items() if k != WHY}  # of this attempt only
        try:
            mirrors[0].wait(trial, why)  # before another worker can take it up
        finally:
            retry(study, trial)

    storage = open_storage(options.storage, heartbeat=options.heartbeat, grace=options.grace, on_stale=on_stale)
    with quiet():
        sampler = optuna.samplers.TPESampler(seed=job.seed, constant_liar=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=10)
    study = optuna.load_study(study_name=options.study_name, storage=storage, sampler=sampler, pruner=pruner)
    mirrors.append(TrialMirror(Run(client, str(study.user_attrs[RUN]))))
    return study, mirrors[0]


def run_trials(
    job: Job, client: MlflowClient, *, say: Callable[[str], None] = print, stop: Callable[[], bool] = lambda: False
) -> None:
    """Run trials until the study has as many as it is to have and none is running any more.

    Ctrl-C and SIGTERM break into the objective only: whatever is written is written whole.

    Where ``stop`` is true, the running trial is given up as at Ctrl-C.

    Raises:
        FmceError: The objective's own, as no other trial would fare better; a ``RunError`` where the storage or MLflow
            stops answering.
        KeyboardInterrupt: At Ctrl-C, the trial's end written.
    """
    with storage_errors(job.options.storage), quiet(), interrupts.stoppable(), interrupts.held():
        study, mirror = load_study(job, client)
        try:
            try:
                _run_all(Worker(study, mirror, job, say, stop))
            finally:
                mirror.flush()
        except MlflowException as error:
            raise _mlflow_failed(job, error) from None


def _run_all(worker: Worker) -> None:
    unborn: dict[int, float] = {}
    while True:
        interrupts.raise_held()
        if worker.stop():
            raise KeyboardInterrupt
        fail_stale_trials(worker.study)
        found = counted_trials(worker.trials())
        waiting = any(t.state is TrialState.WAITING for t in found)
        if waiting or len(found) < worker.total():
            _run_one(worker)
        elif all(t.state.is_finished() for t in found):
            return
        else:  # another worker's, which may die
            unborn = drop_unborn(worker.study, worker.mirror, found, unborn, worker.job.options.grace)
            time.sleep(POLL_SECONDS)


def _run_one(worker: Worker) -> None:
    attempt = _Attempt()
    objective, ended = partial(_value, worker, attempt), partial(_tell_end, worker, attempt)
    try:
        worker.study.optimize(objective, n_trials=1, catch=(Exception,), callbacks=[ended])
    except KeyboardInterrupt:
        if attempt.number is not None:
            worker.mirror.close(worker.trials()[attempt.number])
        raise
    except (ValueError, UpdateFinishedTrialError):
        # Others took this process for dead and its trial is theirs now; anything else is a mistake of ours.
        if attempt.number is None or attempt.ended or not worker.trials()[attempt.number].state.is_finished():
            raise
        worker.say(f"Trial {attempt.number} took too long to give a sign of life; it was given to another worker.")
    if attempt.fatal is not None:
        if attempt.number is not None:
            with suppress(MlflowException):  # where MLflow itself failed, `reconcile` writes it later
                worker.mirror.close(worker.trials()[attempt.number])
        raise attempt.fatal


def _value(worker: Worker, attempt: _Attempt, trial: Trial) -> float:
    """The job's objective, and in the trial why it was pruned, failed or does not count."""
    attempt.number = trial.number
    trials = worker.trials()
    frozen = trials[trial.number]
    before = [t for t in counted_trials(trials) if origin(t) < trial.number]
    if not retries(frozen) and len(before) >= worker.total():
        trial.set_user_attr(NOT_COUNTED, "begun at the same moment as the last one")
        raise TrialPruned
    try:
        return _measured(worker, trial, frozen)
    except UpdateFinishedTrialError:
        raise
    except KeyboardInterrupt:
        leave_out(trial, "interrupted", "interrupted")
        raise
    except TrialPruned as error:
        trial.set_user_attr(WHY, hide_credentials(error))
        raise
    except MlflowException as error:  # no fault of the trial
        attempt.fatal = _mlflow_failed(worker.job, error)
        leave_out(trial, "MLflow failed", f"MLflow failed: {error.message}")
        raise
    except FmceError as error:  # every trial would meet it
        attempt.fatal = error
        leave_out(trial, "could not be run", f"{type(error).__name__}: {error}")
        raise
    except Exception as error:
        trial.set_user_attr(WHY, hide_credentials(f"{type(error).__name__}: {error}"))
        raise


def _measured(worker: Worker, trial: Trial, frozen: FrozenTrial) -> float:
    """The objective's value, every step of it in Optuna and in the trial's run."""
    values: dict[int, float] = {}

    def report(step: int, value: float) -> None:
        values[step] = value
        if worker.stop():
            raise KeyboardInterrupt
        with interrupts.held():
            trial.report(value, step)
            worker.mirror.report(run_id, trial.params, values)
            hopeless = step % PRUNE_EVERY == 0 and trial.should_prune()
        if hopeless:
            raise TrialPruned(f"{value:.4f} at step {step} is worse than the median of earlier trials there")

    run_id = worker.mirror.open(trial, frozen)
    with interrupts.released():
        value = worker.job.objective(trial, report)
    if not np.isfinite(value):
        raise ArithmeticError(f"the trial's value is {value}")
    return value


def _tell_end(worker: Worker, attempt: _Attempt, study: optuna.Study, trial: FrozenTrial) -> None:
    """Optuna's callback at a trial's end."""
    attempt.ended = True
    if NOT_COUNTED in trial.user_attrs:
        return
    worker.mirror.close_soon(trial)
    seconds = trial.duration.total_seconds() if trial.duration else 0.0
    text = f"Trial {origin(trial)} {STATES[trial.state]} after {seconds:.1f} s"
    if trial.state is TrialState.COMPLETE:
        first = best(worker.trials())
        text += f": {trial.value:.4f}"
        text += f" (best {first.value:.4f}, trial {origin(first)})" if first is not None else ""
    elif why := trial.user_attrs.get(WHY):
        text += f": {why}"
    worker.say(text)


def _mlflow_failed(job: Job, error: MlflowException) -> RunError:
    return RunError(
        f"MLflow at {without_credentials(job.tracking_uri)} failed: {hide_credentials(error.message)}. "
        "Trials that ended are kept in the study; once it answers again, go on with --resume."
    )
