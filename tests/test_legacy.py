"""What the release before the move to rooms wrote is read, gone on with and evaluated; `tests/data/make_legacy.py`
made it."""

from __future__ import annotations

import json

import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from fmce_mlflow.cli.main import main
from fmce_mlflow.fmcs_dataset.table import load_fmcs_dataset
from fmce_mlflow.predictor.flavor import load_predictor
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from tests.helpers.evaluations import tracked
from tests.helpers.legacy import SOURCE, put_back
from tests.helpers.servers import tracking_server

LABELS = ("--levels", "3", "--threshold", "0.25", "--smoothing", "0", "--window", "1")
NET = ("--bag-size", "8", "--bags-per-map", "2", "--folds", "2", "--epochs", "4", "--baselines", "false")
pytestmark = pytest.mark.usefixtures("own_mlflow")
CURVES = ("train_loss", "val_loss", "val_accuracy", "fmcs", "drift/stage")


@pytest.fixture
def legacy(tmp_path, monkeypatch):
    """A copy of everything, in whose folder commands run."""
    made = put_back(tmp_path / "legacy")
    monkeypatch.chdir(made.folder)
    return made


def fmce(uri: str, *words: str) -> str:
    """What a command says; it must succeed."""
    result = CliRunner().invoke(main, ["--tracking-uri", uri, *words], prog_name="fmce")
    assert result.exit_code == 0, (result.output, result.exc_info)
    return result.output


def latest(client: MlflowClient, role: str):
    """The newest run of a role that has no parent."""
    found = client.search_runs(
        [one.experiment_id for one in client.search_experiments()], f"tags.`fmce.role` = '{role}'",
        order_by=["start_time DESC"],
    )  # fmt: skip
    return next(run for run in found if "mlflow.parentRunId" not in run.data.tags)


def curves(client: MlflowClient, run_id: str) -> dict[str, list[tuple[int, float]]]:
    return {name: sorted((m.step, m.value) for m in client.get_metric_history(run_id, name)) for name in CURVES}


def assert_same_run(client: MlflowClient, run_id: str, other: MlflowClient, expected: str) -> None:
    """Two runs have the same curves (as far as another processor gives them) and the same maps."""
    assert client.get_run(run_id).info.status == "FINISHED"
    found, wanted = curves(client, run_id), curves(other, expected)
    for name in CURVES:
        assert [step for step, _ in found[name]] == [step for step, _ in wanted[name]]
        assert [v for _, v in found[name]] == pytest.approx([v for _, v in wanted[name]], rel=0.05, abs=0.05)
    reader, before = FeatureMapReader(client, run_id), FeatureMapReader(other, expected)
    assert reader.index.entries.keys() == before.index.entries.keys() and len(reader.index.entries) == 9
    for module, snapshot in reader.index.entries:
        maps, labels = reader.read(module, snapshot)
        assert maps.shape == (16, 4, 4, 4) and np.isfinite(maps).all()
        assert (labels == before.read(module, snapshot)[1]).all()


def test_no_path_of_the_machine_that_made_it_is_in_it():
    made_in = (b"/tmp/", b"/home/", b"/root/", b"/Users/", b"site-packages/fmce")
    for path in SOURCE.rglob("*"):
        assert path.is_dir() or not [place for place in made_in if place in path.read_bytes()], path


def test_a_finished_run_is_labelled_as_it_was(legacy):
    client, about = legacy.client, legacy.about
    fmce(client.tracking_uri, "build-fmcs", "--source-runs", ",".join(about["backbones"]), *LABELS)
    again = latest(client, "fmcs_dataset").info.run_id
    assert again != about["fmcs_dataset"]
    before = load_fmcs_dataset(client, about["fmcs_dataset"])
    pd.testing.assert_frame_equal(load_fmcs_dataset(client, again), before)
    assert len(before) == 21, "two runs with all maps, one with those of its markers"


def test_a_killed_run_goes_on_from_its_checkpoint(legacy):
    client, about = legacy.client, legacy.about
    assert client.get_run(about["killed"]).info.status == "RUNNING"
    said = fmce(client.tracking_uri, "train-backbone", "--resume", about["killed"])
    assert "snapshot 8/8" in said and "snapshot 0/8" not in said
    assert_same_run(client, about["killed"], client, about["backbones"][0])


@pytest.mark.parametrize("kind", ["set", "outline"])
def test_a_predictor_scores_a_registered_model_as_it_did(legacy, kind):
    client, about = legacy.client, legacy.about
    words = ["--model", "models:/legacy/1", "--predictor", f"models:/legacy-{kind}/1", "--modules", "stage"]
    fmce(client.tracking_uri, "evaluate", *words, "--bag-size", "8", "--saliency", "false", "--probe-size", "64")
    run = latest(client, "evaluation")
    assert run.info.run_id != about[f"evaluation_{kind}"]
    before = client.get_run(about[f"evaluation_{kind}"]).data.metrics
    for name in ("fmcs_predicted", "fmcs_predicted/stage", "fmcs_std/stage", "fmcs_measured"):
        assert run.data.metrics[name] == pytest.approx(before[name], abs=1e-3), name


@pytest.mark.parametrize("name", ["legacy-set", "legacy-outline", "legacy-tuned"])
def test_a_logged_predictor_is_loaded_by_its_folder_and_by_mlflow(legacy, name):
    """Its MLmodel names `fmce_mlflow.flavor`, where its loader was."""
    client = legacy.client
    model = client.get_model_version(name, "1").source.removeprefix("models:/")
    location = client.get_logged_model(model).artifact_location
    predictor = load_predictor(location)
    assert predictor.card and predictor.info["params"]["bags.bag_size"] == "8"
    maps = np.abs(np.random.default_rng(0).normal(size=(8, 4, 4, 4))).astype(np.float32)
    with tracked(client.tracking_uri):
        loaded = mlflow.pyfunc.load_model(f"models:/{name}/1")
    assert 0 <= float(np.ravel(loaded.predict(maps)["fmcs"])[0]) <= 1


def test_a_predictor_is_trained_on_an_old_dataset(legacy):
    client, about = legacy.client, legacy.about
    fmce(client.tracking_uri, "train-fmce-net", *NET, "--fmcs-run", about["fmcs_dataset"], "--members", "1")
    run = latest(client, "fmce_net")
    assert run.data.params["fmcs_run_used"] == about["fmcs_dataset"] and 0 <= run.data.metrics["run/mae"] <= 1


def test_a_study_goes_on(legacy):
    client, study = legacy.client, legacy.about["study"]
    words = ["--trials", "4", "--members", "1", "--folds", "2", "--storage", "sqlite:///optuna.db"]
    space = {"width": 16, "depth": 1, "bag_size": 8, "bags_per_map": 2, "epochs": 12, "statistics": "both"}
    said = fmce(client.tracking_uri, "tune-fmce-net", *words, "--resume", "true", "--space", json.dumps(space))
    assert "Trial 3 " in said and "Trial 0 " not in said
    below = client.search_runs([client.get_run(study).info.experiment_id], f"tags.`mlflow.parentRunId` = '{study}'")
    assert [run.data.tags["fmce.trial_state"] for run in below if "fmce.trial_state" in run.data.tags] == [
        "complete"
    ] * 4
    assert client.get_run(study).info.status == "FINISHED"


def test_what_waits_for_a_server_is_uploaded_and_its_run_completed(tmp_path, monkeypatch):
    legacy = put_back(tmp_path / "legacy")
    monkeypatch.chdir(legacy.folder)
    run_id = legacy.about["stranded"]
    with tracking_server(legacy.folder / "server") as uri:
        client = MlflowClient(uri)
        assert client.get_run(run_id).info.status == "RUNNING"
        fmce(uri, "sync", str(legacy.folder / "spool" / run_id))
        assert_same_run(client, run_id, legacy.client, legacy.about["backbones"][0])
    assert not (legacy.folder / "spool" / run_id).exists()


def test_a_version_is_promoted_by_its_old_evaluation(legacy):
    words = ["--model", "models:/legacy/1", "--alias", "champion", "--require", "fmcs_predicted>=0.1"]
    fmce(legacy.client.tracking_uri, "promote", *words, "--evaluation-run", legacy.about["evaluation_set"])
    assert str(legacy.client.get_model_version_by_alias("legacy", "champion").version) == "1"
