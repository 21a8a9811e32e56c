"""What a study found, logged to its MLflow run: counts, best trial, table, plots."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd
from mlflow.entities import LoggedModelOutput, Metric, RunTag
from optuna.trial import FrozenTrial, TrialState

from fmce_mlflow.tuning.figures import curves_figure, history_figure, importance_figure
from fmce_mlflow.tuning.mirror import METRIC, RUN, STATES, WHY, origin, retries
from fmce_mlflow.tuning.trials import best, counted, tally

if TYPE_CHECKING:
    from mlflow import MlflowClient

TABLE = "trials.json"
BEST = "best_trial.json"


def log_study(client: MlflowClient, run_id: str, study: optuna.Study, *, say: Callable[[str], None] = print) -> None:
    """Log all that a study found so far; again where it goes on later.

    Args:
        client: MLflow client.
        run_id: The study's run.
        study: The study.
        say: Prints a line.
    """
    trials = study.get_trials(deepcopy=False)
    counts, first, done = tally(trials), best(trials), counted(trials)
    now, step = int(time.time() * 1000), len(done)
    metrics = [Metric(f"trials/{name}", float(count), now, step) for name, count in counts.items()]
    tags: list[RunTag] = []
    if first is not None and first.value is not None:
        metrics.append(Metric(f"best_{METRIC}", first.value, now, step))
        tags = [RunTag("fmce.best_trial", str(origin(first))), RunTag("fmce.best_run", str(first.user_attrs[RUN]))]
        tags += [RunTag(f"best.{name}", str(value)) for name, value in first.params.items()]
        record = {"trial": origin(first), "run_id": first.user_attrs[RUN], METRIC: first.value, "params": first.params}
        client.log_text(run_id, json.dumps(record, indent=1), BEST)
        say(f"Best trial {origin(first)}, validation MAE {first.value:.4f}: "
            + ", ".join(f"{k} {_short(v)}" for k, v in first.params.items()))  # fmt: skip
    client.log_batch(run_id, metrics=metrics, tags=tags)
    _log_table(client, run_id, trials_table(done))
    if any(trial.value is not None for trial in done):
        client.log_figure(run_id, history_figure(done), "plots/optimization_history.png", save_kwargs={"dpi": 200})
    if any(trial.intermediate_values for trial in done):
        client.log_figure(run_id, curves_figure(done), "plots/learning_curves.png", save_kwargs={"dpi": 200})
    importances = importance(study)
    if importances:
        client.log_figure(run_id, importance_figure(importances), "plots/importance.png", save_kwargs={"dpi": 200})
        client.log_text(run_id, json.dumps(importances, indent=1), "importance.json")


def log_best_net(client: MlflowClient, run_id: str, model_id: str, figures: Mapping[str, Mapping[str, float]]) -> None:
    """Make the best net an output of the study's run, beside its figures on the test group.

    Args:
        client: MLflow client.
        run_id: The study's run.
        model_id: The logged model.
        figures: By protocol and metric.
    """
    now = int(time.time() * 1000)
    metrics = [
        Metric(f"{protocol}/{name}", value, now, 0)
        for protocol, group in figures.items()
        for name, value in group.items()
        if math.isfinite(value)
    ]
    client.log_batch(run_id, metrics=metrics, tags=[RunTag("fmce.best_model", f"models:/{model_id}")])
    client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])


def importance(study: optuna.Study) -> dict[str, float]:
    """Share of the validation error's variance that each hyperparameter explains (fANOVA, Hutter et al. 2014).

    Args:
        study: The study.

    Returns:
        By hyperparameter, largest first; empty where there are too few complete trials, or they do not differ.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    searched = {name for t in complete for name, distribution in t.distributions.items() if not distribution.single()}
    if len({t.value for t in complete}) < 2:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
            )
    except (ValueError, RuntimeError, ZeroDivisionError):
        return {}
    return {name: value for name, value in found.items() if name in searched and math.isfinite(value)}


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


def _log_table(client: MlflowClient, run_id: str, table: pd.DataFrame) -> None:
    """Log a table; MLflow would append to one that is there already."""
    if any(artifact.path == TABLE for artifact in client.list_artifacts(run_id)):
        client.log_text(run_id, table.to_json(orient="split", index=False), TABLE)
    else:
        client.log_table(run_id, table, TABLE)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
