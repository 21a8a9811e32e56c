"""A run as an object: nested runs, JSON, and how it is closed."""

from __future__ import annotations

import json

import mlflow.artifacts
import pytest

from fmce_mlflow.errors import RunError
from fmce_mlflow.runs.run import PARENT_TAG, ROLE_TAG, Run
from fmce_mlflow.safety.interrupts import Terminated


@pytest.fixture
def run(client):
    return Run.create(client, "0", role="evaluation", name="evaluation of a test")


def test_a_new_run_has_its_role_and_its_name(run):
    found = run.fetch()
    assert (found.data.tags[ROLE_TAG], found.info.run_name, found.info.status) == (
        "evaluation", "evaluation of a test", "RUNNING",
    )  # fmt: skip


def test_a_nested_run_is_below_it_and_speaks_with_its_voice(client):
    lines: list[str] = []
    parent = Run.create(client, "0", role="tuning", say=lines.append)
    child = parent.nested("trial 0", role="fmce_net", tags={"fmce.trial": "0"})
    child.say("a line")
    tags = child.fetch().data.tags
    assert (tags[PARENT_TAG], tags[ROLE_TAG], tags["fmce.trial"], lines) == (parent.id, "fmce_net", "0", ["a line"])
    assert child.fetch().info.experiment_id == parent.fetch().info.experiment_id


@pytest.mark.parametrize("path", ["decision.json", "plots/deep/figures.json"])
def test_json_is_logged_as_the_bytes_that_are_returned(run, path, tmp_path):
    data = run.log_json({"fmcs": 0.5, "modules": ["layer4"]}, path)
    local = mlflow.artifacts.download_artifacts(
        f"runs:/{run.id}/{path}", tracking_uri=run.client.tracking_uri, dst_path=str(tmp_path)
    )
    with open(local, "rb") as file:
        assert file.read() == data
    assert json.loads(data) == {"fmcs": 0.5, "modules": ["layer4"]}


def test_json_refuses_nan(run):
    with pytest.raises(ValueError, match="JSON"):
        run.log_json({"fmcs": float("nan")}, "decision.json")
    assert not run.client.list_artifacts(run.id)


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "FINISHED"), (RunError("no"), "FAILED"), (OSError("disk"), "FAILED"), (KeyboardInterrupt(), "KILLED"),
     (Terminated(), "KILLED"), (SystemExit(2), "FAILED")],
)  # fmt: skip
def test_how_a_block_ends_is_the_runs_status(run, error, status):
    if error is None:
        with run.closing() as same:
            assert same is run
    else:
        with pytest.raises(type(error)), run.closing():
            raise error
    assert run.fetch().info.status == status


def test_an_error_that_is_a_result_finishes_the_run_and_passes_on(run):
    with pytest.raises(RunError, match="refused"), run.closing(finishes=(RunError,)):
        raise RunError("refused")
    assert run.fetch().info.status == "FINISHED"


@pytest.mark.parametrize("finishes", [(), (RunError,)])
def test_the_first_error_is_told_where_the_run_cannot_be_closed(run, finishes):
    """A run that was deleted meanwhile: MLflow refuses its status, and the user reads why the block failed."""
    with pytest.raises(RunError, match="the reason"), run.closing(finishes=finishes):
        run.client.delete_run(run.id)
        raise RunError("the reason")
