"""The end of a recording: done again after a failure, it is the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fmce_mlflow.fmcs_dataset.label import build_fmcs_dataset
from fmce_mlflow.recording.conclude import conclude
from fmce_mlflow.runs.recordings import CONVERGENCE, has_ended
from fmce_mlflow.runs.run import Run
from tests.conftest import new_run
from tests.helpers.recordings import begun, loop
from tests.helpers.small_training import SOON


def test_an_end_that_failed_half_way_says_the_same_when_it_is_tried_again(client):
    def fails(run, convergence):
        raise ConnectionError

    run = Run(client, new_run(client), lambda line: None)
    with begun(client, run.id, run.say) as recorder:
        loop(recorder)
        with pytest.raises(ConnectionError):
            conclude(run, recorder.about, recorder.record, [fails], finite=False)
        assert not has_ended(run.fetch().data.tags) and "cqi" not in recorder.record.metrics[-1]
    found = json.loads(Path(client.download_artifacts(run.id, CONVERGENCE)).read_text())
    assert found["assumed"] == ["val_loss"]


def test_a_recording_that_has_ended_can_be_labelled_while_its_loop_still_logs_to_the_run(client):
    run = Run(client, new_run(client), lambda line: None)
    with begun(client, run.id, run.say) as recorder:
        loop(recorder)
        with pytest.raises(Exception, match=rf"still running.*record\(…, run_id='{run.id}'\)"):
            build_fmcs_dataset(client, [run.id], config=SOON)
    assert run.fetch().info.status == "RUNNING"
    assert set(build_fmcs_dataset(client, [run.id], config=SOON).table["snapshot"]) == set(range(recorder.snapshots))
