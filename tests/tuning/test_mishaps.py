"""What may go wrong between a worker, its storage and MLflow; nothing may be lost, doubled or left open."""

from __future__ import annotations

import signal
import time

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from optuna.storages import fail_stale_trials
from optuna.trial import TrialState

from fmce_mlflow.errors import RunError
from fmce_mlflow.runs.run import Run
from fmce_mlflow.tuning.mirror import RUN, WHY, TrialMirror
from fmce_mlflow.tuning.study import open_study, tune
from fmce_mlflow.tuning.trials import NOT_COUNTED, counted_trials, drop, reconcile, tally
from fmce_mlflow.tuning.worker import load_study, run_trials
from tests.conftest import new_run
from tests.helpers.studies import SETTINGS, Parabola
from tests.helpers.study_tools import begin, children, curve, options


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'optuna.db'}"


class Failing(MlflowClient):
    """A server that stops answering at the n-th call of a method."""

    def __init__(self, tracking_uri: str, method: str, good: int) -> None:
        super().__init__(tracking_uri)
        self._method, self._good = method, good

    def __getattribute__(self, name):
        get = super().__getattribute__
        if name == get("_method"):
            self._good -= 1
            if self._good < 0:
                raise MlflowException("connection refused")
        return get(name)


@pytest.mark.parametrize(("method", "good", "ended"), [("create_run", 1, 1), ("set_terminated", 1, 3)])
def test_mlflow_that_stops_answering_ends_the_search_and_burns_no_trial(client, url, method, good, ended):
    job, study = begin(client, url, Parabola(), 6)
    with pytest.raises(RunError, match=r"MLflow at sqlite.* failed: connection refused\. .*--resume"):
        run_trials(job, Failing(client.tracking_uri, method, good), say=lambda _: None)
    assert tally(study.trials)["failed"] == 0 and tally(study.trials)["complete"] == ended
    run_trials(job, client, say=lambda _: None)
    reconcile(study, TrialMirror(Run(client, study.user_attrs[RUN])), patience=0)
    assert tally(study.trials)["complete"] == 6
    runs = children(client, study)
    assert {runs[t.number].info.status for t in counted_trials(study.trials)} == {"FINISHED"}
    assert all(len(curve(client, run.info.run_id)) == 3 for run in runs.values())


def test_ctrl_c_waits_while_something_is_written(client, url):
    job, study = begin(client, url, lambda trial, report: Parabola()(trial, report), 3)

    class Interrupting(MlflowClient):
        def create_run(self, *args, **kwargs):
            made = super().create_run(*args, **kwargs)
            signal.raise_signal(signal.SIGINT)  # the run is made, and the trial does not know of it yet
            return made

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_trials(job, Interrupting(client.tracking_uri), say=lambda _: None)
    finally:
        signal.signal(signal.SIGINT, before)
    (trial,) = study.trials
    run = client.get_run(trial.user_attrs[RUN])
    assert trial.user_attrs[NOT_COUNTED] == "interrupted" and trial.state is TrialState.FAIL
    assert run.info.status == "FAILED" and run.data.tags["fmce.trial_reason"] == "interrupted"


def dead_trial(study: optuna.Study, **user_attrs: str) -> optuna.Trial:
    """A running trial whose worker gave its last sign of life long ago."""
    trial = study.ask()
    for name, value in user_attrs.items():
        trial.set_user_attr(name, value)
    study._storage.record_heartbeat(trial._trial_id)
    return trial


def test_a_retry_does_not_inherit_the_reason_of_the_attempt_before(client, url):
    """The worker was killed after it had written why, before the trial's end."""
    job, study = begin(client, url, Parabola(), 1)
    dead_trial(study, **{WHY: "RuntimeError: no memory"})
    time.sleep(3.1)
    run_trials(job, client, say=lambda _: None)
    (trial,) = counted_trials(study.trials)
    assert trial.state is TrialState.COMPLETE and WHY not in trial.user_attrs
    assert "fmce.trial_reason" not in children(client, study)[0].data.tags


def test_a_trial_that_was_interrupted_is_not_retried(client, url):
    """Ctrl-C, and the process was killed before it had written the trial's end."""
    job, study = begin(client, url, Parabola(), 2)
    dead_trial(study, **{NOT_COUNTED: "interrupted"})
    time.sleep(3.1)
    own, _ = load_study(job, client)
    fail_stale_trials(own)
    assert [t.state for t in study.trials] == [TrialState.FAIL]
    run_trials(job, client, say=lambda _: None)
    assert [t.number for t in counted_trials(study.trials)] == [1, 2]


def test_a_worker_whose_trial_was_dropped_meanwhile_goes_on(client, url):
    """It waited for MLflow longer than the others waited for its first sign of life."""
    job, study = begin(client, url, Parabola(), 2)

    class Slow(MlflowClient):
        def create_run(self, *args, **kwargs):
            made = super().create_run(*args, **kwargs)
            if len(study.trials) == 1:
                drop(study, TrialMirror(Run(client, study.user_attrs[RUN])), study.trials[0], "its worker died")
            return made

    lines: list[str] = []
    run_trials(job, Slow(client.tracking_uri), say=lines.append)
    assert "given to another worker" in lines[0]
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    reconcile(study, TrialMirror(Run(client, study.user_attrs[RUN])), patience=0)
    assert [run.info.status for _, run in sorted(children(client, study).items())] == ["FAILED"] + ["FINISHED"] * 2


def test_a_step_has_one_value_though_two_attempts_reported_it(client, url):
    _, study = begin(client, url, Parabola(), 1)
    mirror = TrialMirror(Run(client, study.user_attrs[RUN]))
    trial = study.ask()
    run_id = mirror.open(trial, study.trials[0])
    mirror._flushed = float("-inf")
    mirror.report(run_id, {}, {1: 0.5, 2: 0.4})
    other = TrialMirror(Run(client, study.user_attrs[RUN]))
    for step, value in ((1, 0.50001), (2, 0.40001), (3, 0.3)):
        trial.report(value, step)
    study.tell(trial, 0.3)
    for _ in range(2):
        other.close(study.trials[0])
    assert curve(client, run_id) == [(1, 0.5), (2, 0.4), (3, 0.3)]
    assert len(client.get_metric_history(run_id, "duration")) == 1


def test_a_study_whose_run_is_deleted_says_how_to_restore_it(client, url):
    _, study = begin(client, url, Parabola(), 1)
    client.delete_run(study.user_attrs[RUN])
    with pytest.raises(RunError, match=r"which is deleted\. Restore it with `mlflow runs restore --run-id"):
        open_study(client, options(url, resume=True), SETTINGS, lambda: new_run(client))


def test_who_joined_a_study_is_told_when_nobody_leads_it_any_more(client, url):
    _, study = begin(client, url, Parabola(), 2)
    lines: list[str] = []

    def leader_stops(trial, report) -> float:
        client.set_terminated(study.user_attrs[RUN], "KILLED")
        return Parabola()(trial, report)

    tune(client, options(url, 2), leader_stops, SETTINGS, lambda: new_run(client), lambda *_: "m-1", say=lines.append)
    assert lines[-1].endswith("fit the best net with --resume.")


VICTIMS = {
    "a backbone run": {"fmce.role": "backbone"},
    "a run of nobody's": {},
    "a trial of another study": {"fmce.role": "tuning", "mlflow.parentRunId": "0" * 32},
    "another study's run": {"fmce.role": "tuning"},
}


def finished_run(client, tags, **params: str) -> str:
    run_id = new_run(client, **tags)
    client.log_metric(run_id, "train_loss", 0.5)
    for name, value in params.items():
        client.log_param(run_id, name, value)
    client.set_terminated(run_id, "FINISHED")
    return run_id


def all_of(client, run_id) -> tuple[object, ...]:
    run = client.get_run(run_id)
    return run.info.status, run.info.end_time, run.data.to_dictionary(), client.list_artifacts(run_id)


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("resume", [True, False])
def test_only_its_own_run_is_gone_on_with(client, url, victim, resume):
    """Whoever can write the database chooses the run that it names."""
    params = {"study_name": "another"} if victim == "another study's run" else {}
    run_id = finished_run(client, VICTIMS[victim], **params)
    _, study = begin(client, url, Parabola(), 1)
    study.set_user_attr(RUN, run_id)
    before = all_of(client, run_id)
    with pytest.raises(RunError, match=rf"names run {run_id}, which is not its own .* Do not trust it"):
        open_study(client, options(url, resume=resume), SETTINGS, lambda: new_run(client), say=lambda _: None)
    assert all_of(client, run_id) == before


@pytest.mark.parametrize(
    "attrs",
    [
        {"fmce.settings": "{"},
        {"fmce.settings": "[]"},
        {"fmce.settings": '{"setting": 3}'},
        {"fmce.settings": 3},
        {"fmce.settings": None},
        {"fmce.trials": "many"},
        {"fmce.trials": None},
    ],
    ids=str,
)
def test_attributes_that_are_not_ours_are_told(client, url, attrs):
    _, study = begin(client, url, Parabola(), 1)
    for name, value in attrs.items():
        study.set_user_attr(name, value)
    with pytest.raises(RunError, match=r"has attributes that `fmce tune-fmce-net` did not write"):
        open_study(client, options(url, resume=True), SETTINGS, lambda: new_run(client), say=lambda _: None)


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_trial_that_names_a_foreign_run_does_not_write_to_it(client, url, victim):
    """A dead trial that is retried, one that has ended and is not written yet, one that waits."""
    run_id = finished_run(client, VICTIMS[victim])
    before = all_of(client, run_id)
    job, study = begin(client, url, Parabola(), 2)
    dead_trial(study, **{RUN: run_id})
    mirror = TrialMirror(Run(client, study.user_attrs[RUN]))
    mirror.wait(study.trials[0], "its worker died")
    study.add_trial(optuna.trial.create_trial(value=0.5, user_attrs={RUN: run_id}))
    mirror.close(study.trials[1])
    time.sleep(3.1)
    run_trials(job, client, say=lambda _: None)
    reconcile(study, mirror, patience=0)
    assert all_of(client, run_id) == before
    assert all(trial.state is TrialState.COMPLETE for trial in counted_trials(study.trials))
