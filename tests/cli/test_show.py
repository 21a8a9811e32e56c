"""The command `fmce show`: what it writes, and what it says of mistakes."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner

from fmce_mlflow.cli.main import main
from fmce_mlflow.recording.map_page import PAGE
from fmce_mlflow.runs.feature_index import Probe
from fmce_mlflow.runs.feature_maps import FeatureMapWriter
from tests.conftest import new_run
from tests.helpers.evaluations import PREPROCESSING, log_model, pixels, seeded_tiny, write_files


@pytest.fixture
def client(client, own_mlflow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(client.tracking_uri)
    return client


@pytest.fixture
def show(client):
    def run(*words):
        result = CliRunner().invoke(main, ["--tracking-uri", client.tracking_uri, "show", *words], prog_name="fmce")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return run


@pytest.fixture
def run_id(client):
    made = new_run(client)
    writer = FeatureMapWriter(client, made, Probe("noise", 4, "0" * 64), np.arange(4))
    for snapshot in range(3):
        maps = np.random.default_rng(snapshot).normal(size=(4, 3, 5, 5)).astype(np.float16)
        writer.write(snapshot, {"layer3": maps, "layer4": maps}, {})
    return made


@pytest.fixture
def model(client, tmp_path):
    """A model, and a folder of images for it."""
    write_files(tmp_path / "images", pixels())
    mlflow.set_experiment("tests")
    with mlflow.start_run():
        log_model(seeded_tiny(), metadata={"fmce": {"preprocessing": PREPROCESSING}}, registered_model_name="net")
    return ["--model", "models:/net/1", "--dataset", f"folder:{tmp_path / 'images'}"]


def test_a_run_becomes_a_file(show, client, run_id, tmp_path):
    client.set_tag(run_id, "mlflow.runName", 1000 * "é")  # of two bytes each
    result = show("--run", run_id)
    size = (tmp_path / "feature_maps.html").stat().st_size
    assert result.output == f"Wrote feature_maps.html, {size / 1000:,.0f} kB. Open it in a browser.\n"
    html = (tmp_path / "feature_maps.html").read_text(encoding="utf-8")
    assert "Snapshot 2 of 2" in html and html.count('class="cell"') == 8


def test_some_modules_into_a_named_file_and_the_run(show, client, run_id, tmp_path):
    result = show("--run", run_id, "--modules", "*4", "--out", "maps.html", "--log", "true")
    assert result.exit_code == 0 and f"It is the run's artifact {PAGE} too." in result.output
    data = (tmp_path / "maps.html").read_bytes()
    assert data.count(b'class="cell"') == 4
    assert Path(urlparse(client.get_run(run_id).info.artifact_uri).path, PAGE).read_bytes() == data


def test_a_model_becomes_a_file_without_a_run(show, client, model, tmp_path):
    runs = len(client.search_runs([client.get_experiment_by_name("tests").experiment_id]))
    result = show(*model, "--modules", "stem,stage")
    assert result.exit_code == 0, result.output
    html = (tmp_path / "feature_maps.html").read_text(encoding="utf-8")
    assert html.count('class="cell"') == 16 and 'type="range"' not in html
    assert "models:/net/1" in html and "8 of 24 images are used, drawn with seed 0." in html
    assert len(client.search_runs([client.get_experiment_by_name("tests").experiment_id])) == runs


def test_the_seed_draws_the_images(show, model, tmp_path):
    pages = []
    for seed in ("0", "0", "1"):
        assert show(*model, "--modules", "stem", "--seed", seed).exit_code == 0
        pages.append((tmp_path / "feature_maps.html").read_text(encoding="utf-8"))
    assert pages[0] == pages[1] != pages[2]


def test_an_unknown_module_of_a_model_names_the_near_one(show, model):
    result = show(*model, "--modules", "stagee")
    assert result.exit_code == 1 and "stage" in result.stderr and "Did you mean" in result.stderr


def test_all_mistakes_are_named_at_once(show, tmp_path):
    (tmp_path / "folder").mkdir()
    result = show("--out", str(tmp_path / "folder"), "--dataset", "digitts", "--seed", "-1")
    assert result.exit_code == 2
    for problem in (
        "show takes either --run or --model, got neither; as in --run RUN_ID, or --model models:/NAME/1",
        "out must be the name of a file",
        "(a folder)",
        "dataset 'digitts' is unknown. Did you mean digits?",
        "seed must not be negative, got -1",
    ):
        assert problem in result.stderr, problem


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--run", "a", "--model", "b"], "show takes either --run or --model, got run 'a' and model 'b'"),
        (["--run", "a", "--dataset", "digits"], "dataset goes with --model"),
        (["--model", "b", "--log", "true"], "log goes with --run"),
        (["--run", "a", "--out", "nowhere/maps.html"], "out is in a folder that is not there, nowhere"),
        (["--run", "a", "--out", " "], "out must be the name of a file"),
        (["--run", "a", "--module", "x"], "There is no option --module. Did you mean --modules"),
    ],
)
def test_a_mistake_says_what_to_do(show, words, problem):
    result = show(*words)
    assert result.exit_code == 2 and problem in result.stderr


def test_a_run_that_is_not_there(show):
    result = show("--run", "f00d")
    assert result.exit_code == 1 and result.stderr.startswith("Error: There is no run 'f00d' on sqlite:///")


def test_a_run_without_maps(show, client, tmp_path):
    result = show("--run", new_run(client))
    assert result.exit_code == 1 and "recorded no feature maps" in result.stderr
    assert not (tmp_path / "feature_maps.html").exists()


def test_a_damaged_file_of_maps_leaves_no_page(show, client, run_id, tmp_path):
    folder = Path(urlparse(client.get_run(run_id).info.artifact_uri).path, "feature_maps", "layer3")
    (folder / "snapshot_00001.safetensors").write_bytes(b"no maps")
    result = show("--run", run_id)
    assert result.exit_code == 1 and "snapshot_00001.safetensors" in result.stderr
    assert not (tmp_path / "feature_maps.html").exists()
