"""Which of Optuna's trials are a study's, how they stand, and what becomes of those whose worker died."""

from __future__ import annotations

import time

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from fmce_mlflow.runs.run import PARENT_TAG
from fmce_mlflow.safety.credentials import hide_credentials
from fmce_mlflow.tuning.mirror import RUN, STATES, WHY, TrialMirror, origin, retries

TOTAL = "fmce.trials"  # in a study's user_attrs, how many trials it is to have
NOT_COUNTED = "fmce.not_counted"
"""In a trial's user_attrs, why it is none of them: it was interrupted, could not be run for no fault of its own, or was
begun at the same moment as the last one."""


def counted_trials(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """A study's trials, each once: of those that were retried the last attempt, none that were interrupted."""
    last = {origin(trial): trial for trial in trials}
    return [trial for trial in last.values() if NOT_COUNTED not in trial.user_attrs]


def tally(trials: list[FrozenTrial]) -> dict[str, int]:
    """How many of the counted trials are in each state, and how many were retried."""
    found = counted_trials(trials)
    states = {name: sum(STATES[t.state] == name for t in found) for name in STATES.values()}
    return {**states, "retried": sum(retries(t) > 0 for t in found)}


def best(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The complete trial with the smallest value, the first of several."""
    complete = [t for t in counted_trials(trials) if t.state is TrialState.COMPLETE and t.value is not None]
    return min(complete, key=lambda t: float(t.value or 0), default=None)


def leave_out(trial: Trial, reason: str, why: str) -> None:
    """Say in a trial that it does not count, and why it ended."""
    trial.set_user_attr(NOT_COUNTED, reason)
    trial.set_user_attr(WHY, hide_credentials(why))


def drop(study: optuna.Study, mirror: TrialMirror, trial: FrozenTrial, why: str) -> None:
    """End a running trial that nobody runs; it is not counted."""
    try:
        leave_out(Trial(study, trial._trial_id), why, why)
        study.tell(trial.number, state=TrialState.FAIL)
    except (UpdateFinishedTrialError, ValueError):
        return  # another worker was faster
    mirror.close(study.get_trials(deepcopy=False)[trial.number], run_id=mirror.find(origin(trial)))


def drop_unborn(
    study: optuna.Study, mirror: TrialMirror, trials: list[FrozenTrial], since: dict[int, float], grace: float
) -> dict[int, float]:
    """End trials whose worker died before their first sign of life; Optuna would wait for them forever.

    ``since`` says when each was first seen so, by number; the same for the next call is returned.
    """
    unborn = [t for t in trials if t.state is TrialState.RUNNING and RUN not in t.user_attrs]
    now = time.monotonic()
    first_seen = {t.number: since.get(t.number, now) for t in unborn}
    for trial in unborn:
        if now - first_seen[trial.number] > grace:
            drop(study, mirror, trial, "its worker died before it began")
    return first_seen


def reconcile(study: optuna.Study, mirror: TrialMirror, *, patience: float = 3.0) -> None:
    """Write the end of every finished trial whose run is still open: its worker died between the two.

    A worker on another machine has ``patience`` seconds to write it itself.
    """
    if _unwritten(study, mirror):
        time.sleep(patience)
        for run_id, trial in _unwritten(study, mirror).items():
            mirror.close(trial, run_id=run_id)


def _unwritten(study: optuna.Study, mirror: TrialMirror) -> dict[str, FrozenTrial]:
    """Finished trials by their open run."""
    runs = mirror.client.search_runs(
        [mirror.experiment],
        f"tags.`{PARENT_TAG}` = '{mirror.study_run.id}' and attributes.status = 'RUNNING'",
        max_results=1000,
    )
    last = {origin(trial): trial for trial in study.get_trials(deepcopy=False)}
    found = {run.info.run_id: last.get(int(run.data.tags.get("fmce.trial", "-1"))) for run in runs}
    return {run_id: trial for run_id, trial in found.items() if trial is not None and trial.state.is_finished()}
