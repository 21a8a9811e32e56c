"""Commands on a run that somebody's own loop was recorded in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fmce_mlflow.cli.main import main
from fmce_mlflow.fmcs_dataset.table import load_fmcs_dataset
from tests.conftest import new_run
from tests.helpers.evaluations import tracked
from tests.recording.test_loop import loop, recorded


def run(client, *arguments):
    with tracked(client.tracking_uri):
        words = ["--tracking-uri", client.tracking_uri, "--experiment", "tests", *arguments]
        return CliRunner().invoke(main, words, prog_name="fmce")


def test_build_fmcs_takes_recordings_like_any_other_runs(client, tmp_path):
    runs = []
    for _ in range(2):
        with recorded(client, modules=["stem"]) as recorder:
            loop(recorder.model, recorder, epochs=24)
        client.set_terminated(recorder.run.id)
        runs.append(recorder.run.id)
    done = run(client, "build-fmcs", "--source-runs", ",".join(runs), "--threshold", "0.05", "--levels", "3")
    assert done.exit_code == 0, done.output
    (dataset,) = client.search_runs(
        [e.experiment_id for e in client.search_experiments()], "tags.`fmce.role` = 'fmcs_dataset'"
    )
    table = load_fmcs_dataset(client, dataset.info.run_id)
    assert set(table["run_id"]) == set(runs) and set(table["module"]) == {"stem"} and set(table["backbone"]) == {"Net"}
    assert json.loads(Path(client.download_artifacts(runs[0], "convergence.json")).read_text())["train"]["point"]


def test_resuming_a_recording_as_a_backbone_run_says_whose_loop_it_was(client):
    run_id = new_run(client)
    with pytest.raises(KeyError), recorded(client, run_id):
        raise KeyError
    refused = run(client, "train-backbone", "--resume", run_id)
    assert refused.exit_code == 1 and "Traceback" not in refused.output
    assert f"record(…, run_id={run_id!r})" in refused.output
