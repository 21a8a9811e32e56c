"""Trials whose worker died: ended where nobody runs them, and written where their end was not."""

from __future__ import annotations

import time

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from fmce_mlflow.runs.run import PARENT_TAG
from fmce_mlflow.tuning.mirror import RUN, WHY, TrialMirror, origin
from fmce_mlflow.tuning.trials import NOT_COUNTED


def leave_out(trial: Trial, reason: str, why: str) -> None:
    """Say in a trial that it does not count, and why it ended."""
    trial.set_user_attr(NOT_COUNTED, reason)
    trial.set_user_attr(WHY, why)


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

    Args:
        study: The study.
        mirror: The mirror of its trials.
        trials: Its trials now.
        since: When each was first seen without a sign of life, by number.
        grace: Seconds after which such a trial is ended.

    Returns:
        The same for the next call.
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
        f"tags.`{PARENT_TAG}` = '{mirror.study_run.id}' and attributes.status = 'RUNNING'",
        max_results=1000,
    )
    last = {origin(trial): trial for trial in study.get_trials(deepcopy=False)}
    found = {run.info.run_id: last.get(int(run.data.tags.get("fmce.trial", "-1"))) for run in runs}
    return {run_id: trial for run_id, trial in found.items() if trial is not None and trial.state.is_finished()}
