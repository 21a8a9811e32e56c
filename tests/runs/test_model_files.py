"""Files of models, from the server of an explicit client, while MLflow's own URIs stay as they are."""

from __future__ import annotations

import threading

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from fmce_mlflow.predictor.find import find_predictor
from fmce_mlflow.predictor.flavor import log_predictor
from fmce_mlflow.runs.model_files import fetch_model
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.torch_models import load_torch_model
from tests.conftest import new_run


@pytest.fixture
def elsewhere(tracking):
    """MLflow's global URI names another store."""
    return tracking.tracking_uri


@pytest.fixture
def uris(evaluation_store):
    """Every form in which the same model can be named."""
    client: MlflowClient = evaluation_store.client
    model = client.get_logged_model(evaluation_store.uris["pickle"].removeprefix("models:/"))
    run = client.get_run(model.source_run_id)
    return {
        "logged model": evaluation_store.uris["pickle"],
        "version": "models:/tiny/1",
        "alias": "models:/tiny@champion",
        "latest": "models:/tiny/latest",
        "of its run": f"runs:/{run.info.run_id}/{model.name}",
        "folder": model.artifact_location.removeprefix("file://"),
        "file": model.artifact_location,
    }


NAMES = ["logged model", "version", "alias", "latest", "of its run", "folder", "file"]


@pytest.mark.parametrize("name", NAMES)
def test_every_form_of_uri_is_asked_of_the_client(evaluation_store, uris, elsewhere, tmp_path, name):
    client = evaluation_store.client
    one = fetch_model(uris[name], tmp_path, client, file="MLmodel")
    assert one.name == "MLmodel" and "pytorch" in one.read_text()
    (tmp_path / "whole").mkdir()
    assert list((fetch_model(uris[name], tmp_path / "whole", client) / "data").glob("model.*"))
    assert mlflow.get_tracking_uri() == elsewhere


def test_artifacts_of_a_run_that_are_no_logged_model(evaluation_store, elsewhere, tmp_path):
    client = evaluation_store.client
    run_id = client.create_run(client.search_experiments()[0].experiment_id).info.run_id
    client.log_text(run_id, "flavors: {}", "there/it's/MLmodel")
    assert fetch_model(f"runs:/{run_id}/there/it's", tmp_path, client, file="MLmodel").read_text() == "flavors: {}"


@pytest.mark.parametrize(
    "uri", ["models:/none/1", "models:/tiny@none", "models:/m-none", "runs:/none/model", "/nowhere"]
)
def test_what_does_not_exist(evaluation_store, elsewhere, tmp_path, uri):
    with pytest.raises((MlflowException, OSError)):
        fetch_model(uri, tmp_path, evaluation_store.client)


def test_threads_with_servers_of_their_own_get_their_own_models(evaluation_store, client, elsewhere):
    """`tracking` pointed MLflow's global state at one server for all threads."""
    bundled = find_predictor(None).predictor
    predictor = f"models:/{log_predictor(Run(client, new_run(client), lambda _: None), bundled)}"
    errors: list[BaseException] = []

    def work(load, uri, server) -> None:
        try:
            for _ in range(5):
                load(uri, server)
                assert mlflow.get_tracking_uri() == elsewhere
        except BaseException as error:
            errors.append(error)

    jobs = [
        (load_torch_model, evaluation_store.uris["pickle"], evaluation_store.client),
        (find_predictor, predictor, client),
    ]
    threads = [threading.Thread(target=work, args=job) for job in jobs * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
