"""The command `fmce evaluate`: how its run ends."""

from __future__ import annotations

import signal

import mlflow
import pytest
from click.testing import CliRunner

from fmce_mlflow.cli.main import main
from tests.conftest import new_client
from tests.helpers.evaluations import log_model, pixels, tracked, write_files
from tests.helpers.nets import Signalled


@pytest.fixture
def client(tmp_path, _empty_store, monkeypatch):
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    found = new_client(tmp_path, _empty_store)
    with tracked(found.tracking_uri):
        yield found


@pytest.fixture
def evaluate(client, tmp_path):
    """Runs a command on a folder of images."""
    folder = tmp_path / "images"
    write_files(folder, pixels())

    def run(*words, command="evaluate"):
        arguments = ["--tracking-uri", client.tracking_uri, "--experiment", "tests", command, *words]
        result = CliRunner().invoke(main, [*arguments, "--dataset", f"folder:{folder}"], prog_name="fmce")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return run


def runs(client):
    return client.search_runs([client.get_experiment_by_name("tests").experiment_id])


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [("evaluate", signal.SIGTERM, 143), ("evaluate", signal.SIGINT, 130), ("promote", signal.SIGTERM, 143)],
)
def test_a_signal_closes_every_run(client, evaluate, command, number, code):
    before = signal.getsignal(number)
    mlflow.set_experiment("tests")
    with mlflow.start_run():
        log_model(Signalled(number), input_example=None, registered_model_name="net")
    words = ["--alias", "champion"] if command == "promote" else []
    result = evaluate("--model", "models:/net/1", *words, "--preprocessing", "scale", command=command)
    assert (result.exit_code, result.stderr) == (code, "Error: Stopped.\n"), result.output
    assert [run.info.status for run in runs(client)] == ["KILLED"] * (2 if command == "promote" else 1) + ["FINISHED"]
    assert signal.getsignal(number) == before


def test_scores_are_logged_before_grad_cam_takes_its_time(client, evaluate):
    mlflow.set_experiment("tests")
    with mlflow.start_run():
        log_model(Signalled(signal.SIGTERM, only_with_gradients=True), input_example=None, registered_model_name="net")
    result = evaluate("--model", "models:/net/1", "--preprocessing", "scale")
    run, _ = runs(client)
    assert result.exit_code == 143 and run.info.status == "KILLED"
    assert {"fmcs_predicted/stage", "fmcs_std/stage"} <= set(run.data.metrics)
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"fmce_modules.json", "fmce_samples.json", "fmce_report.html"}
