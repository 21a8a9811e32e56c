"""What is said of a training while it goes on, and after it ended or was cut off."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import numpy as np
import pytest
from mlflow.entities import Metric

from fmce_mlflow.errors import RunError
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.recording.map_page import run_page
from fmce_mlflow.recording.progress import read_progress
from fmce_mlflow.runs.feature_index import INDEX, ROOT, Probe
from fmce_mlflow.runs.feature_maps import FeatureMapWriter
from fmce_mlflow.runs.recordings import FROZEN_TAG, TAG, RecordingTag
from fmce_mlflow.safety.reading import SEAL
from tests.conftest import new_run

CONFIG = ConvergenceConfig(threshold=0.1, smoothing=0, window=1, levels=2)
LOSSES = [2.0, 1.0, 0.5, 0.4, 0.39, 0.39]
BEGAN = 1_790_000_000
MINUTE = 60


def recorded(client, losses=LOSSES, *, prefix="", gap=0, **tags):
    """A run of two modules with a snapshot per epoch, a minute each, with a pause before the last one."""
    told = RecordingTag("net", "photos", prefix, "train", asdict(CONFIG)).to_json()
    run_id = new_run(client, **{"fmce.role": "backbone", TAG: told, **tags})
    writer = FeatureMapWriter(client, run_id, Probe("noise", 2, "0" * 64), np.zeros(2, np.int64))
    rows = []
    for t, loss in enumerate(losses):
        at = 1000 * (BEGAN + MINUTE * t + gap * (t == len(losses) - 1))
        values = {"train_loss": loss, "epoch": t}
        values |= {"drift/stem": 0.5 if t == 1 else 0.001, "drift/head": 0.5 - 0.05 * t} if t else {}
        rows += [Metric(prefix + name, value, at, t) for name, value in values.items()]
        maps = np.full((2, 1, 2, 2), t, np.float16)
        writer.write(t, {"stem": maps, "head": maps}, {})
    client.log_batch(run_id, rows)
    return run_id


def progress(client, run_id, later=30, **more):
    """What is known so many seconds after the sixth snapshot."""
    return read_progress(client, client.get_run(run_id), now=BEGAN + 5 * MINUTE + later, **more)


def test_a_training_that_goes_on(client):
    run_id = recorded(client)
    client.log_param(run_id, "epochs", "8")
    found = progress(client, run_id)
    assert found.where() == "Training: 6 snapshots, the last after epoch 5 of 8, 30 s ago."
    assert found.ahead() == "About 2.5 min left at the present pace, 60 s per epoch."
    assert found.converged() == (
        "T so far is snapshot 3: by the training loss, CQI stays below 0.1 from there. That is not yet enough for a "
        "stop, which waits 3 snapshots; later losses may change T."
    )
    assert found.modules() == {"stem": "settled at snapshot 3", "head": "still moving, CQI 0.25"}
    assert found.settled() == "Settled: stem (snapshot 3). Not: head (still moving, CQI 0.25)."


def test_the_plan_may_be_told_or_unknown_or_over(client):
    run_id = recorded(client)
    assert progress(client, run_id).ahead() == (
        "At present it takes 60 s per epoch; how many epochs are planned, the run does not say."
    )
    assert progress(client, run_id, epochs=6.0).ahead().startswith("About 30 s left")
    assert progress(client, run_id, later=90, epochs=6.0).ahead().startswith("The last epoch takes longer")
    assert progress(client, run_id, epochs=5.0).ahead().startswith("The 5 epochs that were planned are over")


@pytest.mark.parametrize("name", ["num_train_epochs", "max_epochs"])
def test_plans_of_other_trainers_count(client, name):
    run_id = recorded(client, LOSSES[:2])
    client.log_param(run_id, name, "4")
    assert read_progress(client, client.get_run(run_id), now=BEGAN + MINUTE).left == 3 * MINUTE


def test_a_pause_does_not_change_the_pace(client):
    run_id = recorded(client, gap=7200)
    assert read_progress(client, client.get_run(run_id), now=BEGAN).pace == MINUTE


def test_a_run_that_gives_no_snapshot_any_more_may_be_dead(client):
    run_id = recorded(client)
    found = progress(client, run_id, later=7200)
    assert found.where().startswith("Cut off, or slow: 6 snapshots, the last after epoch 5, 2.0 h ago.")
    assert f'record(…, run_id="{run_id}")' in found.where() and found.ahead() == ""


@pytest.mark.parametrize(
    ("status", "begins"), [("FAILED", "It failed"), ("KILLED", "It was stopped"), ("FINISHED", "It was cut off")]
)
def test_a_run_that_was_cut_off_says_how_it_goes_on(client, status, begins):
    run_id = recorded(client)
    client.delete_tag(run_id, TAG)  # as of `fmce train-backbone`
    for name, value in {**asdict(CONFIG), "signal": "train"}.items():
        client.log_param(run_id, name, value)
    client.set_terminated(run_id, status)
    found = progress(client, run_id)
    assert found.where() == (
        f"{begins} after 6 snapshots, the last after epoch 5. `fmce train-backbone --resume {run_id}` goes on with it."
    )
    assert found.ahead() == "" and found.converged().startswith("T so far is snapshot 3")


def test_a_recording_that_ended(client):
    run_id = recorded(client, **{f"{SEAL}/{ROOT}/{INDEX}": "0"})
    client.set_terminated(run_id)
    found = progress(client, run_id)
    assert found.where() == "The recording has ended: 6 snapshots, the last after epoch 5."
    assert found.converged().startswith("Converged at snapshot 3 of 5") and found.ahead() == ""


def test_few_snapshots_and_frozen_modules(client):
    assert "nothing is known of its convergence" not in progress(client, recorded(client, LOSSES[:1])).converged()
    found = progress(client, recorded(client, LOSSES[:1]))
    assert found.ahead() == "What is left can be told from the second snapshot on." and found.modules() == {}
    run_id = recorded(client, prefix="fmce/", **{FROZEN_TAG: json.dumps({"stem": 2})})
    assert progress(client, run_id).modules()["stem"] == "frozen after snapshot 2"


def test_a_run_without_a_recording_says_how_to_make_one(client):
    foreign = new_run(client)
    with pytest.raises(RunError, match=r"has no recording.*fmce_mlflow\.record"):
        read_progress(client, client.get_run(foreign))
    client.set_tag(foreign, "fmce.role", "backbone")
    assert read_progress(client, client.get_run(foreign)).where() == "No snapshot has arrived yet."


def test_the_page_of_a_training_that_goes_on_says_the_same(client):
    run_id = recorded(client)
    html = run_page(client, run_id)
    text = re.sub(r"<[^>]+>", " ", html)
    assert "So far" in text and "6 snapshots, the last after epoch 5" in text
    assert "T so far is snapshot 3" in text and "Settled: stem (snapshot 3). Not: head (still moving" in text
    assert html.count('class="chart"') == 3  # the loss, and the drift of two modules
