"""Which of Optuna's trials are a study's, and how they stand."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from fmce_mlflow.tuning.mirror import STATES, origin, retries

TOTAL = "fmce.trials"
"""In a study's user_attrs, how many trials it is to have."""
NOT_COUNTED = "fmce.not_counted"
"""In a trial's user_attrs, why it is none of them: it was interrupted, could not be run for no fault of its own, or was
begun at the same moment as the last one."""


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
