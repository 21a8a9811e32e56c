"""Studies on a real Optuna database and a real MLflow store, with real processes that are really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import matplotlib
import mlflow
import numpy as np
import optuna
import pandas as pd
import pytest
from mlflow import MlflowClient
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from fmce_mlflow.errors import ConfigError, PredictorError, RunError
from fmce_mlflow.fmcs_dataset.table import COLUMNS, PARQUET, load_fmcs_dataset
from fmce_mlflow.method.fitting.bags import Bags, collect_bags
from fmce_mlflow.method.fitting.config import BagConfig
from fmce_mlflow.method.fitting.fit_set import fit_set
from fmce_mlflow.predictor.fmcs_source import artifact_reader
from fmce_mlflow.runs.feature_index import Probe
from fmce_mlflow.runs.feature_maps import FeatureMapWriter
from fmce_mlflow.runs.run import Run
from fmce_mlflow.tuning.figures import curves_figure, importance_figure, trials_figure
from fmce_mlflow.tuning.mirror import RUN, TrialMirror, origin
from fmce_mlflow.tuning.net_study import _possible, tune_fmce_net
from fmce_mlflow.tuning.objective import NetObjective, tuning_rows
from fmce_mlflow.tuning.options import Fixed, StudyOptions, TuneOptions
from fmce_mlflow.tuning.results import importance
from fmce_mlflow.tuning.search_space import DEFAULT_SPACE, canonical, parse_space, suggest
from fmce_mlflow.tuning.study import open_study, tune
from fmce_mlflow.tuning.trial_bags import FmcsBags
from fmce_mlflow.tuning.trials import NOT_COUNTED, TOTAL, counted_trials, reconcile, tally
from fmce_mlflow.tuning.worker import run_trials
from fmce_mlflow.tuning.workers import run_workers
from tests.conftest import new_client, new_run
from tests.helpers.bags_of_noise import read
from tests.helpers.bags_of_noise import table as noise_table
from tests.helpers.progress import ended, until
from tests.helpers.studies import LONG, SETTINGS, Parabola, Scripted, Sleeps
from tests.helpers.study_tools import begin, children, curve, kill_a_worker, options

ROOT = Path(__file__).parents[2]


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'optuna.db'}"


def no_refit(run_id, trial) -> str:
    raise AssertionError("there is nothing to fit")


# --- the mirror


def test_every_trial_is_a_run_below_the_studys_with_what_optuna_has(client, url):
    job, study = begin(client, url, Parabola(), 4)
    run_trials(job, client, say=lambda _: None)
    runs = children(client, study)
    assert sorted(runs) == [0, 1, 2, 3]
    for trial in study.trials:
        run = runs[trial.number]
        assert trial.state is TrialState.COMPLETE and run.info.status == "FINISHED"
        assert run.info.run_id == trial.user_attrs[RUN]
        assert run.data.tags["fmce.role"] == "tuning" and run.data.tags["fmce.trial_state"] == "complete"
        assert "fmce.trial_reason" not in run.data.tags
        assert float(run.data.params["x"]) == trial.params["x"]
        x = trial.params["x"]
        assert curve(client, run.info.run_id) == [(s, pytest.approx((x - 0.3) ** 2 + 1 / s)) for s in (1, 2, 3)]
        assert run.data.metrics["best_validation_mae"] == pytest.approx((x - 0.3) ** 2)
        assert run.data.metrics["duration"] == pytest.approx(trial.duration.total_seconds())


def test_a_hopeless_trial_is_pruned_and_says_where(client, url):
    job, study = begin(client, url, Scripted((0.1,) * 5 + (0.9,)), 6)
    run_trials(job, client, say=lambda _: None)
    run = children(client, study)[5]
    assert study.trials[5].state is TrialState.PRUNED
    assert run.info.status == "KILLED" and run.data.tags["fmce.trial_state"] == "pruned"
    last = study.trials[5].last_step
    assert 10 <= last < 20 and [step for step, _ in curve(client, run.info.run_id)] == list(range(1, last + 1))
    assert run.data.tags["fmce.trial_reason"].startswith(f"0.9000 at step {last} is worse")
    assert "best_validation_mae" not in run.data.metrics


def test_failures_are_told_with_their_reason_and_the_others_go_on(client, url):
    lines: list[str] = []
    job, study = begin(client, url, Scripted((RuntimeError("no memory"), float("nan"), 0.2)), 3)
    run_trials(job, client, say=lines.append)
    runs = children(client, study)
    assert [run.info.status for _, run in sorted(runs.items())] == ["FAILED", "FAILED", "FINISHED"]
    assert runs[0].data.tags["fmce.trial_reason"] == "RuntimeError: no memory"
    assert runs[1].data.tags["fmce.trial_reason"] == "ArithmeticError: the trial's value is nan"
    assert tally(study.trials) == {
        "waiting": 0, "running": 0, "complete": 1, "pruned": 0, "failed": 2, "retried": 0
    }  # fmt: skip
    assert "Trial 0 failed" in lines[0] and "no memory" in lines[0]


def test_a_mistake_that_every_trial_would_meet_ends_the_study(client, url):
    job, study = begin(client, url, Scripted((0.1, PredictorError("a map is damaged"))), 5)
    with pytest.raises(PredictorError, match="a map is damaged"):
        run_trials(job, client, say=lambda _: None)
    run = children(client, study)[1]
    assert run.info.status == "FAILED" and run.data.tags["fmce.trial_reason"] == "PredictorError: a map is damaged"
    assert len(study.trials) == 2 and len(counted_trials(study.trials)) == 1, "it does not count as one of the study's"


def test_long_curves_are_logged_whole_and_in_few_calls(client, url):
    job, study = begin(client, url, Parabola(steps=950), 1)
    calls = []

    class Counting(MlflowClient):
        def log_batch(self, *args, **kwargs):
            calls.append(args)
            return super().log_batch(*args, **kwargs)

    run_trials(job, Counting(client.tracking_uri), say=lambda _: None)
    assert len(curve(client, children(client, study)[0].info.run_id)) == 950
    assert len(calls) <= 20


def test_a_trial_that_ended_unwritten_is_written_later(client, url):
    """As if its worker had been killed between the two."""
    job, study = begin(client, url, Parabola(), 1)
    run_trials(job, client, say=lambda _: None)
    run_id = study.trials[0].user_attrs[RUN]
    client.update_run(run_id, status="RUNNING")
    mirror = TrialMirror(Run(client, study.user_attrs[RUN]))
    reconcile(study, mirror, patience=0)
    reconcile(study, mirror, patience=0)
    assert client.get_run(run_id).info.status == "FINISHED" and len(curve(client, run_id)) == 3


# --- workers that die, several at once


def test_the_trial_of_a_killed_worker_is_retried_in_its_own_run(client, url, tmp_path):
    job, study = begin(client, url, Sleeps(str(tmp_path), hangs=True), 3)
    kill_a_worker(job, tmp_path)
    (killed,) = study.trials
    assert killed.state is TrialState.RUNNING
    run_trials(job, client, say=lambda _: None)
    trials = study.trials
    assert trials[0].state is TrialState.FAIL and len(trials) == 4
    found = counted_trials(trials)
    assert [t.state for t in found] == [TrialState.COMPLETE] * 3
    assert found[0].params == killed.params and found[0].user_attrs[RUN] == killed.user_attrs[RUN]
    runs = children(client, study)
    assert sorted(runs) == [origin(t) for t in found] and len(runs) == 3  # the retry is trial 3, or 2 on a slow machine
    assert runs[0].info.status == "FINISHED" and runs[0].data.tags["fmce.trial_state"] == "complete"
    assert runs[0].data.tags["fmce.trial_retries"] == "1"
    assert "no sign of life for 2 s (attempt 1 of 3)" in runs[0].data.tags["fmce.trial_retried_because"]
    assert [step for step, _ in curve(client, runs[0].info.run_id)] == [1, 2, 3]


def test_a_trial_that_dies_too_often_has_failed_and_says_so(client, url, tmp_path):
    job, study = begin(client, url, Sleeps(str(tmp_path), hangs=True), 2, retries=0)
    kill_a_worker(job, tmp_path)
    run_trials(job, client, say=lambda _: None)
    runs = children(client, study)
    assert {n: r.info.status for n, r in runs.items()} == {0: "FAILED", 1: "FINISHED"}
    assert "no sign of life for 2 s (attempt 1 of 1)" in runs[0].data.tags["fmce.trial_reason"]
    assert tally(study.trials)["failed"] == 1


def test_a_trial_whose_worker_died_before_its_first_sign_of_life_is_replaced(client, url):
    job, study = begin(client, url, Parabola(), 2)
    study.ask()  # running, without a heartbeat: Optuna by itself would wait for it forever
    orphan = TrialMirror(Run(client, study.user_attrs[RUN]))
    run_id = client.create_run(
        orphan.experiment, tags={"mlflow.parentRunId": orphan.study_run.id, "fmce.trial": "0"}
    ).info.run_id
    run_trials(job, client, say=lambda _: None)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert tally(study.trials)["complete"] == 2 and tally(study.trials)["failed"] == 0
    run = client.get_run(run_id)
    assert run.info.status == "FAILED" and "died before it began" in run.data.tags["fmce.trial_reason"]


def test_a_worker_that_lost_its_trial_leaves_it_to_the_other(client, url):
    """It hung for longer than the grace period and was taken for dead."""

    def hangs(trial, report) -> float:
        report(1, 0.5)
        if trial.number == 0:
            frozen = study.get_trials(deepcopy=False)[0]
            study._storage.set_trial_state_values(frozen._trial_id, TrialState.FAIL)
            optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=2)(study, study.trials[0])
        report(2, 0.4)
        return 0.4

    lines: list[str] = []
    job, study = begin(client, url, hangs, 1)
    run_trials(job, client, say=lines.append)
    assert "given to another worker" in lines[0]
    (run,) = children(client, study).values()
    assert run.info.status == "FINISHED" and curve(client, run.info.run_id) == [(1, 0.5), (2, 0.4)]
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]


@pytest.mark.slow
def test_two_workers_lose_no_trial_and_do_none_twice(client, url, tmp_path):
    job, study = begin(client, url, Sleeps(str(tmp_path), seconds=0.2), 30)
    run_workers(job, client, 2, say=lambda _: None)
    found = counted_trials(study.trials)
    assert len(found) == 30 and all(t.state is TrialState.COMPLETE for t in found)
    assert len(children(client, study)) == 30
    assert len({t.params["x"] for t in found}) == 30
    assert len({t.user_attrs["pid"] for t in found}) == 2


def test_a_study_survives_the_kill_of_one_of_its_workers(client, url, tmp_path):
    lines: list[str] = []
    job, study = begin(client, url, Sleeps(str(tmp_path), hangs=True), 4)

    def say(text: str) -> None:
        lines.append(text)

    def kill() -> None:
        until((tmp_path / "hung").exists)
        time.sleep(0.2)
        os.kill(int((tmp_path / "hung").read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    run_workers(job, client, 2, say=say)
    killer.join()
    assert any("signal 9 (SIGKILL); the others go on" in line for line in lines)
    assert tally(study.trials)["complete"] == 4 and tally(study.trials)["retried"] == 1
    assert len(children(client, study)) == 4


# --- beginning, joining, resuming


def run_study(client, url, objective, trials, refit=lambda run_id, trial: "m-1", lines=None, **more):
    say = (lambda _: None) if lines is None else lines.append
    return tune(
        client, options(url, trials, **more), objective, SETTINGS, lambda: new_run(client), refit, say=say
    )  # fmt: skip


def test_resuming_goes_on_counting_and_draws_other_trials(client, url, tmp_path):
    first = run_study(client, url, Parabola(), 3)
    second = run_study(client, url, Parabola(), 7, resume=True)
    assert first.run_id == second.run_id and not second.joined
    study = optuna.load_study(study_name="fmce", storage=url)
    assert [t.number for t in study.trials] == list(range(7))
    assert len({t.params["x"] for t in study.trials}) == 7
    assert len(children(client, study)) == 7
    run = client.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["trials/complete"] == 7 and second.value == min(t.value for t in study.trials)
    table = pd.read_json(client.download_artifacts(first.run_id, "trials.json", str(tmp_path)), orient="split")
    assert list(table["trial"]) == list(range(7)) and set(table["state"]) == {"complete"}


def test_a_study_that_has_ended_is_not_touched_without_resume(client, url):
    run_study(client, url, Parabola(), 2)
    with pytest.raises(ConfigError, match=r"has ended: 2 of 2 trials ended .*--resume .*--study-name"):
        run_study(client, url, Parabola(), 4)
    assert len(optuna.load_study(study_name="fmce", storage=url).trials) == 2


def test_resume_of_a_study_that_is_not_there_names_those_that_are(client, url):
    run_study(client, url, Parabola(), 1, study_name="maps")
    with pytest.raises(ConfigError, match=r"no study 'map' .* Did you mean maps\?"):
        run_study(client, url, Parabola(), 1, study_name="map", resume=True)


def test_a_running_study_is_joined_and_left_to_the_one_that_leads_it(client, url):
    _, study = begin(client, url, Parabola(), 3)
    lines: list[str] = []
    result = run_study(client, url, Parabola(), 3, refit=no_refit, lines=lines)
    assert result.joined and result.run_id == study.user_attrs[RUN] and result.model_uri == ""
    assert lines[0].startswith("Joins study fmce: 0 of 3 trials ended")
    assert len(study.trials) == 3 and len(children(client, study)) == 3
    assert client.get_run(result.run_id).info.status == "RUNNING"
    led = run_study(client, url, Parabola(), 3, resume=True)
    assert not led.joined and client.get_run(led.run_id).info.status == "FINISHED" and len(study.trials) == 3


def test_a_changed_search_space_is_refused_and_named(client, url):
    begin(client, url, Parabola(), 1)
    changed = {"search space": {"x": "[0, 2]", "y": "[0, 1]"}, "setting": {"fmcs_run": "abc"}}
    for resume in (False, True):
        with pytest.raises(ConfigError) as error:
            open_study(client, options(url, resume=resume), changed, lambda: new_run(client))
        text = str(error.value)
        assert "search space x: [0, 1] in the study, [0, 2] now" in text
        assert "search space y: absent in the study, [0, 1] now" in text and "--study-name" in text
        assert "fmcs_run" not in text


def test_a_study_of_another_tracking_server_or_program_is_told(client, url, tmp_path, _empty_store):
    begin(client, url, Parabola(), 1)
    (tmp_path / "other").mkdir()
    other = new_client(tmp_path / "other", _empty_store)
    with pytest.raises(RunError, match="--tracking-uri"):
        open_study(other, options(url), SETTINGS, lambda: new_run(other))
    foreign = optuna.create_study(storage=url, study_name="foreign")
    foreign.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(RunError, match="not one of `fmce tune-fmce-net`"):
        open_study(client, options(url, study_name="foreign"), SETTINGS, lambda: new_run(client))


def test_all_failed_is_an_error_with_the_reason_and_a_closed_run(client, url):
    with pytest.raises(RunError, match=r"No trial .* is complete: 2 of 2 trials ended .*ValueError: too wide"):
        run_study(client, url, Scripted((ValueError("too wide"),) * 2), 2, refit=no_refit)
    study = optuna.load_study(study_name="fmce", storage=url)
    run = client.get_run(study.user_attrs[RUN])
    assert run.info.status == "FAILED" and run.data.metrics["trials/failed"] == 2


def test_options_out_of_range_are_all_named():
    with pytest.raises(ConfigError) as error:
        StudyOptions(trials=0, workers=0, heartbeat=5, grace=5, study_name=" ", retries=-1)
    assert len(error.value.problems) == 5
    with pytest.raises(ConfigError) as error:
        Fixed(protocol="colour", folds=1, patience=0, members=0, seed=-1)  # type: ignore[arg-type]
    assert [p.split()[0] for p in error.value.problems] == ["protocol", "folds", "patience", "members", "seed"]


# --- Ctrl-C

INTERRUPTED = """
import signal
import sys
from mlflow import MlflowClient
from fmce_mlflow.cli.main import friendly_errors
from fmce_mlflow.tuning.options import StudyOptions
from fmce_mlflow.tuning.study import tune
from tests.helpers.studies import SETTINGS, Sleeps

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where these tests run in the background
    uri, url, folder, workers = sys.argv[1:]
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tests").experiment_id
    with friendly_errors():
        tune(
            client, StudyOptions(storage=url, trials=500, workers=int(workers), heartbeat=1, grace=2),
            Sleeps(folder, 0.05), SETTINGS, lambda: client.create_run(experiment).info.run_id,
            lambda run_id, trial: "m-1", say=lambda text: print(text, flush=True),
        )
"""


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_ends_with_what_was_found(client, url, tmp_path, workers):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    words = [sys.executable, str(script), client.tracking_uri, url, str(tmp_path), str(workers)]
    process = subprocess.Popen(
        words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip

    assert process.stdout is not None
    seen: list[str] = []
    while sum(" complete after " in line for line in seen) < 3:
        seen.append(process.stdout.readline())
        assert seen[-1], process.communicate()[1]
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
    out, err = ended(process)
    assert process.returncode == 130, err
    assert "Traceback" not in err and "Error: Stopped." in err
    assert "--resume" in out and "Best trial" in out
    study = optuna.load_study(study_name="fmce", storage=url)
    run = client.get_run(study.user_attrs[RUN])
    assert run.info.status == "KILLED"
    assert run.data.metrics["best_validation_mae"] == min(t.value for t in study.trials if t.value is not None)
    plots = {artifact.path for artifact in client.list_artifacts(run.info.run_id, "plots")}
    assert "plots/optimization_history.png" in plots
    assert not any(t.state is TrialState.RUNNING for t in study.trials)
    stopped = [t for t in study.trials if t.user_attrs.get(NOT_COUNTED) == "interrupted"]
    assert len(stopped) <= workers and all(t not in counted_trials(study.trials) for t in stopped)
    assert all(run.info.status != "RUNNING" for run in children(client, study).values())


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_workers_in_a_long_step(client, url, tmp_path):
    """One of them would report in ten minutes."""
    job, study = begin(client, url, Sleeps(str(tmp_path), hangs=True), 500)

    def interrupt() -> None:
        until((tmp_path / "hung").exists)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_workers(job, client, 2, say=lambda _: None)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.time() - (tmp_path / "hung").stat().st_mtime < LONG / 10
    trials = study.trials
    assert not any(t.state is TrialState.RUNNING for t in trials)
    assert 1 <= sum(t.user_attrs.get(NOT_COUNTED) == "interrupted" for t in trials) <= 2
    assert all(run.info.status != "RUNNING" for run in children(client, study).values())


# --- the search space


def test_the_default_space_holds_nothing_that_cannot_be_used():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        Fixed().configs(suggest(study.ask(), DEFAULT_SPACE), levels=5)


def test_a_space_is_narrowed_widened_and_fixed():
    space = parse_space('{"width": [8, 16], "depth": 2, "lr": {"low": 1e-3, "high": 1e-2, "log": true}, "bag_size": '
                        '{"low": 16, "high": 64, "step": 16}}')  # fmt: skip
    assert space["width"] == CategoricalDistribution([8, 16]) and space["depth"] == CategoricalDistribution([2])
    assert space["lr"] == FloatDistribution(1e-3, 1e-2, log=True)
    assert space["bag_size"] == IntDistribution(16, 64, step=16)
    assert space["noise"] == DEFAULT_SPACE["noise"] and list(space) == list(DEFAULT_SPACE)
    assert canonical(space)["bag_size"] == '{"high": 64, "low": 16, "step": 16}'
    assert parse_space(json.dumps({k: json.loads(v) for k, v in canonical(space).items()})) == space
    assert canonical(space) != canonical(DEFAULT_SPACE) == canonical(dict(reversed(DEFAULT_SPACE.items())))


def test_a_space_that_cannot_be_used_names_every_mistake():
    with pytest.raises(ConfigError) as error:
        parse_space(
            json.dumps({"widht": [8], "lr": {"low": -1, "high": 1}, "depth": {"low": 3}, "statistics": ["every"],
                        "dropout": {"low": 0.5, "high": 0.1}, "batch_size": []})
        )  # fmt: skip
    text = str(error.value)
    assert len(error.value.problems) == 6 and "Did you mean width" in text and "space of lr: lr must be above 0" in text
    for broken in ("{", "[1]"):
        with pytest.raises(ConfigError, match="space"):
            parse_space(broken)


# --- the objective


def small_bags(config: BagConfig) -> Bags:
    return collect_bags(noise_table(4, 5, n=16), read, config)


SMALL = parse_space(json.dumps({
    "bag_size": [8], "bags_per_map": [1, 2], "width": [8], "depth": 1, "epochs": [4], "lr": {"low": 0.01, "high": 0.02},
    "batch_size": [16],
}))  # fmt: skip


def test_bags_are_drawn_once_for_all_workers_and_are_those_that_training_draws(client, tmp_path):
    source = logged_dataset(client, tmp_path)
    folder = tmp_path / "bags"
    folder.mkdir()
    space = parse_space('{"bags_per_map": [1, 3]}')
    ours, other = (FmcsBags.of_space(client.tracking_uri, source, space, str(folder)) for _ in range(2))
    table = load_fmcs_dataset(client, source)
    for n in (3, 1, 4):
        config = BagConfig(bag_size=4, bags_per_map=n)
        expected = collect_bags(table, artifact_reader(client), config)
        for bags in (ours(config), other(config)):
            assert not bags.test_images.any()
            np.testing.assert_array_equal(bags.features, expected.features[~expected.test_images])
            np.testing.assert_array_equal(bags.row, expected.row[~expected.test_images])
            assert isinstance(bags.features, np.memmap) == (n > 1), "as many as were drawn are mapped, fewer are taken"
    assert len(list(folder.glob("*.bags"))) == 2, "one for 1 and 3, one for 4"


def test_a_trial_is_the_validation_error_of_fit_set_at_its_best_pass(client, url):
    fixed = Fixed(folds=3, members=1)
    job, study = begin(client, url, NetObjective(small_bags, fixed, SMALL), 1)
    run_trials(job, client, say=lambda _: None)
    (trial,) = study.trials
    bag_config, net, fit = fixed.configs(trial.params, levels=5)
    bags = small_bags(bag_config)
    train = tuning_rows(bags.table, fixed)[bags.row] & ~bags.test_images
    fitted = fit_set(bags, train, bags.column("run_id"), net, fit)
    assert list(trial.intermediate_values.values()) == pytest.approx(fitted.validation)
    assert trial.value == pytest.approx(min(fitted.validation)) and len(fitted.validation) == 4


def test_neither_the_test_group_nor_a_test_image_is_ever_in_a_trial(client, url):
    """Features and labels that no trial may see are made NaN; a trial that saw one would fail."""

    def poisoned(config: BagConfig) -> Bags:
        bags = small_bags(config)
        unseen = ~tuning_rows(bags.table, Fixed())[bags.row] | bags.test_images
        assert 0 < unseen.sum() < len(unseen)
        features = np.where(unseen[:, None], np.float32(np.nan), bags.features)
        return replace(bags, features=features)

    job, study = begin(client, url, NetObjective(poisoned, Fixed(folds=3), SMALL), 2)
    run_trials(job, client, say=lambda _: None)
    assert tally(study.trials)["complete"] == 2


def test_a_trial_that_diverges_fails_with_the_pass(client, url):
    def broken(config: BagConfig) -> Bags:
        bags = small_bags(config)
        return replace(bags, features=np.full_like(bags.features, np.nan))

    job, study = begin(client, url, NetObjective(broken, Fixed(), SMALL), 1)
    run_trials(job, client, say=lambda _: None)
    run = children(client, study)[0]
    assert "the validation error of pass 1 is nan" in run.data.tags["fmce.trial_reason"]


def test_too_few_groups_to_validate_on_says_what_is_needed():
    with pytest.raises(RunError, match=r"at least 2 of them besides the one .* has 1\. .*build-fmcs"):
        tuning_rows(noise_table(2), Fixed())
    assert tuning_rows(noise_table(3), Fixed()).sum() == 2 * 9
    assert tuning_rows(noise_table(2), Fixed(protocol="images")).all()


# --- the whole


def logged_dataset(client: MlflowClient, folder: Path, runs: int = 4) -> str:
    """An FMCS-dataset run with its maps as artifacts."""
    table = noise_table(runs, 5, n=16, channels=8)
    for name in table["run_id"].unique():
        mine = table["run_id"] == name
        run_id = new_run(client)
        writer = FeatureMapWriter(client, run_id, Probe("noise", 16, "a" * 64), np.arange(16))
        for row in table[mine].itertuples():
            writer.write(int(row.snapshot), {"layer4": read(row)}, {})
        hashes = [writer.index.entries["layer4", int(s)].sha256 for s in table.loc[mine, "snapshot"]]
        table.loc[mine, "sha256"] = hashes
        table.loc[mine, "run_id"] = run_id
    run_id = new_run(client, **{"fmce.role": "fmcs_dataset"})
    table.reindex(columns=list(COLUMNS)).astype(COLUMNS).to_parquet(folder / PARQUET, index=False)
    client.log_artifact(run_id, str(folder / PARQUET))
    client.set_terminated(run_id)
    return run_id


def test_the_best_net_is_scored_once_fitted_to_all_logged_and_registered(client, url, tmp_path, tracking):
    source = logged_dataset(client, tmp_path)
    fixed = Fixed(folds=3, members=1)
    chosen = TuneOptions(study=options(url, 4), fixed=fixed, space=SMALL, register_as="tuned")
    result = tune_fmce_net(client, chosen, lambda: new_run(client), say=lambda _: None)
    run = client.get_run(result.run_id)
    assert run.info.status == "FINISHED" and run.data.tags["fmce.role"] == "tuning"
    assert run.data.params["fixed.fmcs_run"] == source
    assert {k: run.data.tags[f"best.{k}"] for k in result.best} == {k: str(v) for k, v in result.best.items()}
    assert 0 <= run.data.metrics["run/mae"] <= 1 and run.data.metrics["trials/complete"] == 4
    found = mlflow.pyfunc.load_model(result.model_uri).predict(np.ones((4, 8, 2, 2), np.float32))
    assert 0 <= found["fmcs"][0] <= 1
    assert [output.model_id for output in run.outputs.model_outputs] == [result.model_uri.removeprefix("models:/")]
    assert [v.source for v in client.search_model_versions("name = 'tuned'")] == [result.model_uri]
    children_of = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{result.run_id}'")
    (net_run,) = [child for child in children_of if child.data.tags["fmce.role"] == "fmce_net"]
    assert net_run.info.status == "FINISHED" and net_run.data.params["net.width"] == "8"
    artifacts = {a.path for a in client.list_artifacts(result.run_id)}
    assert {"trials.json", "best_trial.json", "plots"} <= artifacts
    best = json.loads(mlflow.artifacts.load_text(f"runs:/{result.run_id}/best_trial.json"))
    assert best["params"] == result.best and best["validation_mae"] == result.value
    with pytest.raises(ConfigError, match="setting protocol: run in the study, images now"):
        again = replace(chosen, fixed=replace(fixed, protocol="images"), study=options(url, 4, resume=True))
        tune_fmce_net(client, again, lambda: new_run(client), say=lambda _: None)


def test_references_are_not_tried_where_a_module_has_no_maps_from_before_training():
    table, lines = noise_table(3, 4), []
    assert _possible(DEFAULT_SPACE, table, lines.append) is DEFAULT_SPACE and not lines
    partial = table[(table["run_id"] != "run1") | (table["snapshot"] > 0)]
    space = _possible(DEFAULT_SPACE, partial, lines.append)
    assert space["reference"] == CategoricalDistribution([False]) and "module layer4 of run run1" in lines[0]
    assert {**space, "reference": None} == {**DEFAULT_SPACE, "reference": None}
    without = parse_space('{"reference": false}')
    assert _possible(without, partial, lines.append) is without and len(lines) == 1


# --- plots


def a_study(values: list[float | None]) -> optuna.Study:
    study = optuna.create_study()
    for i, value in enumerate(values):
        study.add_trial(
            optuna.trial.create_trial(
                params={"x": i / len(values)}, distributions={"x": FloatDistribution(0, 1)},
                state=TrialState.FAIL if value is None else TrialState.COMPLETE, value=value,
            )
        )  # fmt: skip
    return study


def test_the_history_shows_every_trial_and_the_best_so_far():
    study = a_study([0.3, None, 0.2, 0.25])
    lines = {line.get_label(): line.get_xydata().tolist() for line in trials_figure(study.trials).axes[0].lines}
    assert lines["complete"] == [[0, 0.3], [2, 0.2], [3, 0.25]]
    assert lines["best so far"] == [[0, 0.3], [2, 0.2], [3, 0.2], [3, 0.2]]
    assert [x for x, _ in lines["failed"]] == [1]


def test_the_history_shows_values_of_any_size():
    axes = trials_figure(a_study([0.04, 5.0, 0.0]).trials).axes[0]
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "log" and 0 < low < 1e-5 and high > 5


def test_learning_curves_show_where_trials_were_given_up_and_which_is_the_best():
    study = optuna.create_study()
    for values, state in (([0.5, 0.3], "COMPLETE"), ([0.6, 0.2, 0.25], "COMPLETE"), ([0.9], "PRUNED"), ([], "FAIL")):
        given = dict(enumerate(values, start=1))
        value = min(values) if state == "COMPLETE" else None
        study.add_trial(optuna.trial.create_trial(state=TrialState[state], value=value, intermediate_values=given))
    lines = curves_figure(study.trials).axes[0].lines
    curves = {line.get_label(): line.get_ydata().tolist() for line in lines if not line.get_label().startswith("_")}
    assert curves == {"pruned or failed": [0.9], "complete": [0.5, 0.3], "best, trial 1": [0.6, 0.2, 0.25]}
    assert [line.get_xydata().tolist() for line in lines if line.get_marker() == "x"] == [[[1, 0.9]]]


@pytest.mark.parametrize("values", [[], [0.1], [None, 0.2], [0.2, 0.2, 0.2]])
def test_importance_needs_two_complete_trials_that_differ(values):
    assert importance(a_study(values)) == {}


def test_importance_tells_what_matters():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(
        lambda t: t.suggest_float("x", 0, 1) + 0.01 * t.suggest_float("y", 0, 1) + t.suggest_int("kept", 1, 1),
        n_trials=30,
    )
    found = importance(study)
    assert list(found) == ["x", "y"] and found["x"] > 0.9 and sum(found.values()) == pytest.approx(1)


def test_importance_is_drawn_largest_on_top():
    before = dict(matplotlib.rcParams)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda t: t.suggest_float("weight_decay", 0, 1) + 0.1 * t.suggest_int("width", 0, 9), n_trials=20)
    axes = importance_figure(study, ["weight_decay", "width"]).axes[0]
    shown = {label.get_text(): bar.get_width() for label, bar in zip(axes.get_yticklabels(), axes.patches, strict=True)}
    assert shown == pytest.approx(importance(study)) and list(shown.values()) == sorted(shown.values())
    assert dict(matplotlib.rcParams) == before, "other figures keep their style"


def test_the_total_of_a_study_is_kept_in_it(client, url):
    _, study = begin(client, url, Parabola(), 5)
    assert study.user_attrs[TOTAL] == 5
