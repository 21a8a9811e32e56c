"""What is read of a recording that has not ended: judged by its own signal and constants."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.recording.recorded import read_recording
from fmce_mlflow.runs.recordings import TAG, RecordingTag
from tests.conftest import new_run

CONFIG = ConvergenceConfig(threshold=0.5, smoothing=0, window=1, levels=2)


@pytest.mark.parametrize("said_by", ["tag", "parameters"])
def test_what_has_not_ended_is_judged_by_its_own_signal_and_constants(client, said_by):
    told = RecordingTag("net", "photos", "", "val", asdict(CONFIG)).to_json()
    run_id = new_run(client, **({TAG: told} if said_by == "tag" else {}))
    if said_by == "parameters":
        for name, value in {**asdict(CONFIG), "signal": "val"}.items():
            client.log_param(run_id, name, value)
    for step, loss in enumerate([2.0, 1.0, 0.9]):
        client.log_metric(run_id, "train_loss", loss, step=step)
        client.log_metric(run_id, "val_loss", loss + 1, step=step)
    found = read_recording(client, client.get_run(run_id), [])
    assert found.note and found.signal == "val" and found.loss is found.signals.val
    assert found.loss.config == CONFIG and found.loss.point == 2


@pytest.mark.parametrize("text", ["[]", json.dumps({"backbone": "net", "dataset": "", "prefix": "", "signal": "no"})])
def test_a_tag_of_anybodys_leaves_the_defaults(client, text):
    found = read_recording(client, client.get_run(new_run(client, **{TAG: text})), [])
    assert found.signal == "train" and found.loss is None
