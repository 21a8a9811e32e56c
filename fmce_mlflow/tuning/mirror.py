"""Every trial of a study as an MLflow run, nested under the study's.

A trial has one run, however often it is retried: the run's id is in the trial's ``user_attrs``, which Optuna hands on
to a retry. What is written comes from the trial itself and can be written again, so a worker may die at any moment.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, Trial, TrialState

from fmce_mlflow.runs.run import PARENT_TAG, Run
from fmce_mlflow.safety.credentials import hide_credentials
from fmce_mlflow.tuning.storage import quiet

RUN = "fmce.run"  # in a trial's user_attrs, its MLflow run; in a study's, the study's
WHY = "fmce.why"  # in a trial's user_attrs, why it was pruned or failed
METRIC = "validation_mae"
STATES = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
_STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}
_FLUSH_SECONDS = 5.0


def origin(trial: FrozenTrial) -> int:
    """Number of the trial that this one retries, or its own."""
    with quiet():
        number = RetryHeartbeatStaleTrialCallback.retried_trial_number(trial)
    return trial.number if number is None else number


def retries(trial: FrozenTrial) -> int:
    """How often it was retried before."""
    with quiet():
        return len(RetryHeartbeatStaleTrialCallback.retry_history(trial))


class TrialMirror:
    """Writes trials to MLflow, as runs below the study's."""

    def __init__(self, study_run: Run) -> None:
        self.client, self.study_run = study_run.client, study_run
        self.experiment = study_run.fetch().info.experiment_id
        self._logged: dict[str, set[int]] = {}
        self._flushed = 0.0
        self._pool = ThreadPoolExecutor(1, "fmce-mirror")
        self._pending: Future[None] | None = None

    def open(self, trial: Trial, frozen: FrozenTrial) -> str:
        """The id of the run of a trial that begins: a new one, or that of the trial it retries."""
        run_id = self.run_of(frozen)
        retried = retries(frozen)
        if retried and run_id is None:
            run_id = self.find(origin(frozen))
        if run_id is None:
            tags = {PARENT_TAG: self.study_run.id, "fmce.trial": str(origin(frozen)), "fmce.trial_state": "running"}
            name = f"trial {origin(frozen):03d}"
            run_id = Run.create(self.client, self.experiment, role="tuning", name=name, tags=tags).id
            self._logged[run_id] = set()
        if frozen.user_attrs.get(RUN) != run_id:
            trial.set_user_attr(RUN, run_id)
        if retried:
            self.client.update_run(run_id, status="RUNNING")
            self._tag(run_id, {"fmce.trial_state": "running", "fmce.trial_retries": str(retried)})
        self._flushed = time.monotonic()
        return str(run_id)

    def run_of(self, trial: FrozenTrial) -> str | None:
        """The run that a trial names, if it is one below the study's: whoever can write the database chooses it."""
        run_id = trial.user_attrs.get(RUN)
        if run_id is None or run_id in self._logged:
            return run_id
        try:
            parent = self.client.get_run(str(run_id)).data.tags.get(PARENT_TAG)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            return None
        return str(run_id) if parent == self.study_run.id else None

    def find(self, number: int) -> str | None:
        """The run of a trial whose id was not kept: its worker died right after it had made the run."""
        runs = self.client.search_runs(
            [self.experiment],
            f"tags.`{PARENT_TAG}` = '{self.study_run.id}' and tags.`fmce.trial` = '{number}'",
            max_results=1,
        )
        return str(runs[0].info.run_id) if runs else None

    def report(self, run_id: str, params: Mapping[str, Any], values: Mapping[int, float]) -> None:
        """Log a running trial's values by step, if the last time is some seconds ago."""
        if time.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self._log(run_id, params, values, [], {})
            self._flushed = time.monotonic()

    def close(self, trial: FrozenTrial, why: str = "", *, run_id: str | None = None) -> None:
        """Write all of a finished trial and end its run; ``why`` and ``run_id`` where the trial does not say them."""
        run_id = self.run_of(trial) or run_id
        if run_id is None:
            return
        metrics = []
        if trial.duration is not None and trial.datetime_complete is not None:
            at = int(trial.datetime_complete.timestamp() * 1000)  # the same metrics however often this is written
            metrics.append(Metric("duration", trial.duration.total_seconds(), at, 0))
            if trial.state is TrialState.COMPLETE and trial.value is not None:
                metrics.append(Metric(f"best_{METRIC}", trial.value, at, 0))
        tags = {"fmce.trial_state": STATES[trial.state]}
        if why := trial.user_attrs.get(WHY, why):
            tags["fmce.trial_reason"] = str(why)[:4000]
        self._log(run_id, trial.params, trial.intermediate_values, metrics, tags)
        self.client.set_terminated(run_id, _STATUS[trial.state])
        self._logged.pop(run_id, None)

    def close_soon(self, trial: FrozenTrial) -> None:
        """As :meth:`close`, but while the next trial runs: MLflow commits five times, and waits for the disk each time.

        What goes wrong is raised by the next call, or by :meth:`flush`.
        """
        self.flush()
        self._pending = self._pool.submit(self.close, trial)

    def flush(self) -> None:
        """Wait for what :meth:`close_soon` began."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def wait(self, trial: FrozenTrial, why: str) -> None:
        """Say that a trial's worker died and that it will be retried."""
        if run_id := self.run_of(trial):
            self._tag(run_id, {"fmce.trial_state": "waiting", "fmce.trial_retried_because": why})

    def _tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        self.client.log_batch(run_id, tags=[RunTag(k, hide_credentials(v)) for k, v in tags.items()])

    def _log(
        self,
        run_id: str,
        params: Mapping[str, Any],
        values: Mapping[int, float],
        more: list[Metric],
        tags: Mapping[str, str],
    ) -> None:
        """Log what is not there yet, in as few calls as there can be; a step that is there keeps its value."""
        now = int(time.time() * 1000)
        if run_id not in self._logged:
            self._logged[run_id] = {m.step for m in self.client.get_metric_history(run_id, METRIC)}
        known = self._logged[run_id]
        new = {step: value for step, value in values.items() if step not in known and math.isfinite(value)}
        metrics = [*(Metric(METRIC, value, now, step) for step, value in new.items()), *more]
        given = [Param(k, hide_credentials(v)) for k, v in params.items()]
        self.client.log_batch(run_id, metrics, given, [RunTag(k, hide_credentials(v)) for k, v in tags.items()])
        known.update(new)
