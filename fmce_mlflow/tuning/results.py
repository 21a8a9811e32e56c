"""What a study found, logged to its MLflow run: counts, best trial, table, plots."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd
from mlflow.entities import LoggedModelOutput, RunTag
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from fmce_mlflow.report.style import png
from fmce_mlflow.runs.run import Run
from fmce_mlflow.tuning.figures import curves_figure, importance_figure, trials_figure
from fmce_mlflow.tuning.mirror import METRIC, RUN, STATES, WHY, origin, retries
from fmce_mlflow.tuning.trials import best, counted_trials, tally

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE = "trials.json"
BEST = "best_trial.json"


def log_study(run: Run, study: optuna.Study) -> None:
    """Log all that a study found so far to its run; again where it goes on later."""
    trials = study.get_trials(deepcopy=False)
    counts, done = tally(trials), counted_trials(trials)
    now = int(time.time() * 1000)
    run.log_metrics({f"trials/{name}": float(count) for name, count in counts.items()}, step=len(done), timestamp=now)
    first = best(trials)
    if first is not None and first.value is not None:
        run.log_metrics({f"best_{METRIC}": first.value}, step=len(done), timestamp=now)
        _log_best(run, first)
    _log_table(run, trials_table(done))
    figures: dict[str, Figure] = {}
    if any(trial.value is not None for trial in done):
        figures["optimization_history"] = trials_figure(done)
    if any(trial.intermediate_values for trial in done):
        figures["learning_curves"] = curves_figure(done)
    if shares := importance(study):
        figures["importance"] = importance_figure(study, list(shares))
        run.log_json(shares, "importance.json")
    for name, figure in figures.items():
        run.log_bytes(png(figure, dpi=200), f"plots/{name}.png")


def _log_best(run: Run, first: FrozenTrial) -> None:
    run_id = first.user_attrs.get(RUN, "")
    tags = {"fmce.best_trial": origin(first), "fmce.best_run": run_id}
    tags |= {f"best.{name}": value for name, value in first.params.items()}
    run.client.log_batch(run.id, tags=[RunTag(key, str(value)) for key, value in tags.items()])
    record = {
        "trial": origin(first),
        "run_id": run_id,
        METRIC: first.value,
        "params": first.params,
    }
    run.log_json(record, BEST)
    shown = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in first.params.items()}
    chosen = ", ".join(f"{name} {value}" for name, value in shown.items())
    run.say(f"Best trial {origin(first)}, validation MAE {first.value:.4f}: {chosen}")


def log_best_net(run: Run, model_id: str, figures: Mapping[str, Mapping[str, float]]) -> None:
    """Make the best net an output of the study's run, beside its figures on the test group by protocol and metric."""
    run.log_metrics(
        {
            f"{protocol}/{name}": value
            for protocol, group in figures.items()
            for name, value in group.items()
            if math.isfinite(value)
        },
        timestamp=int(time.time() * 1000),
    )
    run.set_tags({"fmce.best_model": f"models:/{model_id}"})
    run.client.log_outputs(run.id, [LoggedModelOutput(model_id, 0)])


def importance(study: optuna.Study) -> dict[str, float]:
    """Share of the validation error's variance that each hyperparameter explains (fANOVA, Hutter et al. 2014).

    Largest first; empty where there are too few complete trials, or they do not differ.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    searched = {name for t in complete for name, distribution in t.distributions.items() if not distribution.single()}
    if len({t.value for t in complete}) < 2:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    except (ValueError, RuntimeError, ZeroDivisionError):
        return {}
    return {name: float(value) for name, value in found.items() if name in searched and math.isfinite(value)}


def trials_table(trials: list[FrozenTrial]) -> pd.DataFrame:
    """One row per trial: number, state, value, duration in seconds, steps, retries, reason, run and parameters."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    rows: list[dict[str, Any]] = [
        {
            "trial": origin(t),
            "state": STATES[t.state],
            METRIC: t.value if t.state is TrialState.COMPLETE else None,
            "duration": t.duration.total_seconds() if t.duration else None,
            "steps": t.last_step,
            "retries": retries(t),
            "reason": t.user_attrs.get(WHY, ""),
            "run_id": t.user_attrs.get(RUN, ""),
            **{name: t.params.get(name) for name in names},
        }
        for t in trials
    ]
    columns = ["trial", "state", METRIC, "duration", "steps", "retries", "reason", "run_id", *names]
    return pd.DataFrame(rows, columns=columns)


def _log_table(run: Run, table: pd.DataFrame) -> None:
    """Log a table; MLflow would append to one that is there already."""
    if any(artifact.path == TABLE for artifact in run.client.list_artifacts(run.id)):
        run.client.log_text(run.id, table.to_json(orient="split", index=False), TABLE)
    else:
        run.client.log_table(run.id, table, TABLE)
