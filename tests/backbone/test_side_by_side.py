"""Trainings side by side: processes of their own that train as one alone does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest

from fmce_mlflow.backbone.resume import stored_options
from fmce_mlflow.backbone.side_by_side import Job, Trainings, at_once, nested
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.errors import BackboneError, NonFiniteLossError, RunError
from fmce_mlflow.fmcs_dataset.build import build_fmcs
from fmce_mlflow.method.images.split import load_images
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.processes import cores
from tests.cli.test_concurrency import TINY, environment, figures
from tests.conftest import fast_options, new_run
from tests.helpers.progress import ended, until

LONG = 10_000  # epochs that nobody is to wait for


@pytest.fixture(scope="module")
def digits():
    return load_images(fast_options())


def jobs_of(client, *options, say=lambda line: None):
    return [Job(one, partial(Run, client, new_run(client), say)) for one in options]


def seeds(*numbers, **training):
    return [fast_options(training={"seed": number, **training}) for number in numbers]


def recorded(client, run):
    """All that a run has of its training: figures, and the maps by their hashes."""
    maps = {key: entry.sha256 for key, entry in FeatureMapReader(client, run.id).index.entries.items()}
    return figures(client, run.fetch()), maps


def test_side_by_side_they_are_the_same_to_the_bit_and_in_order(client, digits):
    lines: list[str] = []
    diverges = fast_options(training={"lr": 1e30, "optimizer": "sgd", "schedule": "constant", "warmup_epochs": 0.0})
    options = [*seeds(0), diverges, *seeds(1)]
    with Trainings(2) as trainings:
        found = list(trainings.train(jobs_of(client, *options, say=lines.append), {"digits": digits}))
    alone = list(Trainings().train(jobs_of(client, *options), {"digits": digits}))
    for one, other in zip(found[::2], alone[::2], strict=True):
        assert one.run.fetch().info.status == "FINISHED"
        assert recorded(client, one.run) == recorded(client, other.run)
        assert one.result.val_accuracy == other.result.val_accuracy
        assert one.result.convergence.point == other.result.convergence.point
    assert recorded(client, found[0].run) != recorded(client, found[2].run)
    assert isinstance(found[1].result, NonFiniteLossError) and str(found[1].result) == str(alone[1].result)
    assert found[1].run.fetch().info.status == "FAILED"
    for seed in (0, 1):
        assert any(line.startswith(f"tests.helpers.nets:tiny on digits, seed {seed}: snapshot 6/6") for line in lines)


def test_one_that_is_killed_is_named_with_the_way_on_and_the_others_end(client, digits):
    lines: list[str] = []
    parent = Run(client, new_run(client), lines.append)

    def say(line: str) -> None:
        lines.append(line)
        if "seed 1: snapshot 2/" in line:
            (process,) = [one for one in multiprocessing.active_children() if one.name == "fmce-training-1"]
            os.kill(process.pid, signal.SIGKILL)

    options = [*seeds(0, 1, epochs=8), *seeds(2)]
    with Trainings(2) as trainings, pytest.raises(RunError) as found:
        trained = trainings.train(nested(replace(parent, say=say), options), {"digits": digits})
        build_fmcs(parent, options, {}, trained=trained)
    runs = client.search_runs(parent.fetch().info.experiment_id, f"tags.`mlflow.parentRunId` = '{parent.id}'")
    by_seed = {run.data.params["seed"]: run.info for run in runs}
    assert {seed: info.status for seed, info in by_seed.items()} == {"0": "FINISHED", "1": "RUNNING", "2": "FINISHED"}
    killed = by_seed["1"].run_id
    assert f"The process that trained run {killed} ended with signal 9 (SIGKILL); the others go on." in lines
    assert f"--resume {killed}" in str(found.value) and "--workers" in str(found.value)
    assert f"--source-runs {','.join(by_seed[seed].run_id for seed in '012')}" in str(found.value)
    again = Run(client, killed, lambda line: None)
    train_backbone(again, stored_options(again), data=digits)
    found_again = build_fmcs(
        Run(client, new_run(client), lambda line: None), options, {}, unconverged="keep",
        source_runs=[by_seed[seed].run_id for seed in "012"],
    )  # fmt: skip
    assert found_again.table["run_id"].nunique() == 3


@pytest.mark.slow
def test_a_mistake_in_one_stops_the_others_which_can_be_gone_on_with(client, digits):
    lines: list[str] = []
    wrong = fast_options(modules=("nothing",))
    jobs = jobs_of(client, *seeds(0, epochs=LONG), wrong, *seeds(1), say=lines.append)
    with pytest.raises(BackboneError, match="nothing"), Trainings(2, lines.append) as trainings:
        list(trainings.train(jobs, {"digits": digits}))
    statuses = [job.begin().fetch().info.status for job in jobs]
    assert statuses == ["KILLED", "FAILED", "RUNNING"], "the last was not begun; its run is a test's own"
    assert f"Stopped. Go on with: fmce train-backbone --resume {jobs[0].begin().id}" in lines


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_command_ends_its_processes_and_their_runs(client, tmp_path, number):
    log = tmp_path / "log"
    words = [sys.executable, "-m", "fmce_mlflow.cli.main", "build-fmcs", *TINY, "--seeds", "0,1", "--workers", "2"]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*words, "--epochs", str(LONG)], cwd=tmp_path, env=environment(tmp_path, client.tracking_uri),
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    until(lambda: all(f"seed {seed}: snapshot 2/" in log.read_text() for seed in (0, 1)), process)
    (os.kill if number == signal.SIGKILL else os.killpg)(process.pid, number)
    ended(process)
    experiment = client.get_experiment_by_name("many").experiment_id
    backbones = partial(client.search_runs, [experiment], "tags.`fmce.role` = 'backbone'")
    until(lambda: [run.info.status for run in backbones()] == ["KILLED"] * 2)
    said = log.read_text()
    assert "Traceback" not in said
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number and said.count("Stopped. Go on with: fmce train-backbone") == 2
        (parent,) = client.search_runs([experiment], "tags.`fmce.role` = 'fmcs_dataset'")
        assert parent.info.status == "KILLED"
    run = Run(client, backbones()[0].info.run_id)
    assert stored_options(run).training.epochs == LONG, "it can be gone on with"


def test_how_many_at_a_time_is_as_asked_for_and_never_more_than_there_are():
    four = seeds(0, 1, 2, 3)
    assert at_once(four, None) == min(4, cores()) and at_once(four, 3) == 3 and at_once(four, 9) == 4
    assert at_once(four[:1], None) == at_once(four, 1) == at_once([], 4) == 1
