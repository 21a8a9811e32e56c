"""The command `fmce evaluate`: how its run ends, and on which images."""

from __future__ import annotations

import re
import signal
import tempfile

import mlflow
import pytest
from click.testing import CliRunner

from fmce_mlflow.cli.main import main
from tests.helpers.evaluations import PREPROCESSING, log_model, pixels, seeded_tiny, write_files
from tests.helpers.evidence import reset, trained
from tests.helpers.nets import Signalled


@pytest.fixture
def client(client, own_mlflow):
    mlflow.set_tracking_uri(client.tracking_uri)
    return client


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
    result = evaluate("--model", "models:/net/1", "--preprocessing", "scale", "--modules", "stage")
    run, _ = runs(client)
    assert result.exit_code == 143, result.output
    assert run.info.status == "KILLED"
    assert {"fmcs_predicted/stage", "fmcs_std/stage"} <= set(run.data.metrics)
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"fmce_modules.json", "fmce_samples.json", "fmce_evidence.json", "fmce_report.html"}


# Without --dataset


def logged_by_a_run(client, *, role="backbone", source=True, **params):
    """A registered model of a run with parameters; its metadata names the run, or MLflow alone does."""
    mlflow.set_experiment("tests")
    with mlflow.start_run(tags={"fmce.role": role}) as run:
        mlflow.log_params(params)
        facts = {"preprocessing": PREPROCESSING, **({"source_run": run.info.run_id} if source else {})}
        log_model(seeded_tiny(), metadata={"fmce": facts}, registered_model_name="net")
    return run.info.run_id


def call(client, *words):
    arguments = ["--tracking-uri", client.tracking_uri, "--experiment", "tests", *words]
    result = CliRunner().invoke(main, arguments, prog_name="fmce")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


@pytest.mark.parametrize("source", [True, False])
def test_the_images_are_those_that_the_run_that_trained_the_model_held_out(client, tmp_path, source):
    """Issue 16: a model of photographs was scored on the digits, 0.12, and "train further"."""
    for part, n in (("train", 20), ("test", 6)):
        for label in "ab":
            (tmp_path / "photos" / part / label).mkdir(parents=True)
            write_files(tmp_path / "photos" / part / label, pixels(n, seed=n))
    run_id = logged_by_a_run(client, source=source, dataset=f"folder:{tmp_path / 'photos'}", split_seed="3")
    result = call(client, "evaluate", "--model", "models:/net/1", "--saliency", "false")
    assert result.exit_code == 0, result.output
    assert (
        f"No data set is named, so these are images that run {run_id}, which trained the model, held out."
        in result.output
    )
    evaluation = runs(client)[0]
    (images,) = evaluation.inputs.dataset_inputs
    assert evaluation.data.tags["fmce.image_set"] == f"12 images of {images.dataset.name}"
    assert f"Evaluated on 12 images of {images.dataset.name}." in result.output
    assert f"Evaluated on 12 images of {images.dataset.name}." in evaluation.data.tags["mlflow.note.content"]
    words = ("--model", "models:/net/1", "--alias", "champion", "--require", "fmcs_predicted/stage>=2")
    result = call(client, "promote", *words, "--saliency", "false")
    assert result.exit_code == 3 and f", on 12 images of {images.dataset.name}." in result.stderr
    (promotion,) = [one for one in runs(client) if one.data.tags["fmce.role"] == "promotion"]
    record = mlflow.artifacts.load_dict(f"runs:/{promotion.info.run_id}/promotion.json")
    assert record["images"] == f"12 images of {images.dataset.name}"
    assert f"Evaluated on 12 images of {images.dataset.name}, in run {record['evaluation_run']}" in result.stdout


def test_held_out_digits_are_the_runs_own(client):
    """By its split seed; what the user names goes before."""
    logged_by_a_run(client, dataset="digits", split_seed="5")
    found = {}
    for words in ((), ("--split-seed", "5"), ("--split-seed", "0"), ("--dataset", "digits")):
        result = call(client, "evaluate", "--model", "models:/net/1", "--saliency", "false", *words)
        assert result.exit_code == 0 and "digits, held out." in result.output, result.output
        assert ("No data set is named" in result.output) == ("--dataset" not in words)
        found[words] = runs(client)[0].data.tags["fmce.images"]
    assert found[()] == found["--split-seed", "5"] != found["--split-seed", "0"] == found["--dataset", "digits"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"role": "backbone", "dataset": "images"}, "does not name a data set that can be loaded"),
        ({"role": "training", "dataset": "digits"}, "does not name a data set that can be loaded"),
        ({"role": "backbone"}, "does not name a data set that can be loaded"),
        (
            {"role": "backbone", "dataset": "folder:/nowhere/photos"},
            "/nowhere/photos.*which trained the model.*Name others",
        ),
    ],
)
@pytest.mark.parametrize("command", [("evaluate",), ("promote", "--alias", "champion")])
def test_where_nothing_says_which_images_they_have_to_be_named(client, command, more, why):
    logged_by_a_run(client, **more)
    before = len(runs(client))
    result = call(client, *command, "--model", "models:/net/1")
    assert result.exit_code in (1, 2) and re.search(why, result.stderr, re.DOTALL), result.stderr
    assert "--dataset" in result.stderr and len(runs(client)) == before and "Traceback" not in result.output


def test_a_model_whose_run_is_away_or_that_has_none(client, tmp_path):
    mlflow.pytorch.save_model(
        seeded_tiny(), str(tmp_path / "model"), serialization_format="pickle", pip_requirements=[], input_example=None,
        metadata={"fmce": {"source_run": "0" * 32}},
    )  # fmt: skip
    mlflow.pytorch.save_model(
        seeded_tiny(), str(tmp_path / "bare"), serialization_format="pickle", pip_requirements=[], input_example=None
    )
    for name, why in (
        ("model", "is not on this server"),
        ("bare", "the model names no run"),
        ("none", "cannot be fetched"),
    ):
        result = call(client, "evaluate", "--model", str(tmp_path / name))
        assert result.exit_code in (1, 2) and why in result.stderr and runs(client) == []


@pytest.mark.parametrize("store", ["a file in place of its folder", "a kind that MLflow does not know"])
def test_an_artifact_store_that_cannot_be_used_closes_the_run_and_keeps_the_results(
    client, tmp_path, monkeypatch, store
):
    mlflow.set_experiment("tests")
    with mlflow.start_run():
        log_model(seeded_tiny(), registered_model_name="net")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    location = "nosuch://bucket/x" if "kind" in store else (tmp_path / "file" / "x").as_uri()
    experiment = client.create_experiment("elsewhere", artifact_location=location)
    write_files(tmp_path / "photos", pixels())
    words = ["--tracking-uri", client.tracking_uri, "--experiment", "elsewhere", "evaluate", "--model", "models:/net/1"]
    words += ["--dataset", f"folder:{tmp_path / 'photos'}", "--preprocessing", "scale", "--modules", "stage"]
    result = CliRunner().invoke(main, [*words, "--saliency", "false"], prog_name="fmce")
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.exc_info
    assert "does not take the evaluation" in result.stderr
    (kept,) = tmp_path.glob("fmce_evaluation_*")
    assert str(kept) in result.stderr and (kept / "fmce_report.html").exists()
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FAILED"


# Without images


@pytest.mark.parametrize("form", ["pickle", "pt2"])
def test_weights_alone_say_what_was_never_trained(client, form):
    mlflow.set_experiment("tests")
    with mlflow.start_run():
        model = log_model(reset(trained(), "two"), serialization_format=form, registered_model_name="net")
    result = call(client, "evaluate", "--model", "models:/net/1", "--no-images")
    assert result.exit_code == 0, result.output
    assert "No module is named, so all stages are looked at: one, two, three, head." in result.stdout
    assert "two: Its weights are as an initialisation left them: it was never trained." in result.stdout
    assert "two was never trained, though other modules were" in result.stdout
    run = runs(client)[0]
    assert run.info.status == "FINISHED" and run.data.tags["fmce.role"] == "evaluation"
    assert (
        run.data.tags["fmce.modules"] == "one,two,three,head"
        and "never trained" in run.data.tags["mlflow.note.content"]
    )
    assert run.data.metrics["fmce_untouched/two"] == run.data.metrics["fmce_untouched"] == 1
    assert run.data.metrics["fmce_untouched/one"] < 1 and not any("fmcs" in name for name in run.data.metrics)
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"fmce_weights.json", "fmce_report.html"}
    table = mlflow.load_table("fmce_weights.json", run_ids=[run.info.run_id])
    assert table["module"].tolist() == ["one", "two", "three", "head"] and table["untouched"][1] == 1
    tied = {m.key for m in client.get_logged_model(model.model_id).metrics}
    assert "fmce_untouched/two" in tied


def test_without_images_modules_are_chosen_by_name_and_those_without_weights_are_said(client, tmp_path):
    mlflow.set_experiment("tests")
    with mlflow.start_run():
        log_model(seeded_tiny(), registered_model_name="net")
    words = ("evaluate", "--model", "models:/net/1", "--no-images")
    result = call(client, *words, "--modules", "st*,act")
    assert result.exit_code == 0, result.output
    assert "Warning: act has no weights: without images nothing is known of it." in result.stdout
    assert runs(client)[0].data.tags["fmce.modules"] == "stem,stage,act"
    result = call(client, *words, "--modules", "stagee")
    assert result.exit_code == 1 and "no module 'stagee'. Did you mean stage" in result.stderr
    assert runs(client)[0].info.status == "FAILED"
    before = len(runs(client))
    result = call(client, *words, "--dataset", "digits", "--batch-size", "0")
    assert result.exit_code == 2 and "dataset must be auto, got 'digits'" in result.stderr
    assert "batch-size must be at least 1" in result.stderr and len(runs(client)) == before
