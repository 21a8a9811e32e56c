"""What a user can get wrong with FMCE-Net: one message and an exit code, no traceback, and nothing is lost."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import mlflow
import numpy as np
import optuna
import pandas as pd
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from fmce_mlflow.cli.main import main
from fmce_mlflow.errors import PredictorError
from fmce_mlflow.fmcs_dataset.label import FmcsDataset
from fmce_mlflow.fmcs_dataset.log import log_fmcs_dataset
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.predictor.flavor import Predictor, save_model
from fmce_mlflow.runs.feature_index import INDEX, ROOT
from fmce_mlflow.runs.run import Run
from tests.conftest import new_run
from tests.predictor.test_train import logged_dataset

TRAIN = "train-fmce-net --bag-size 8 --bags-per-map 1 --width 8 --members 1 --epochs 2 --folds 2".split()
SPACE = '{"bag_size": 8, "bags_per_map": 1, "width": [8, 16], "depth": 1, "epochs": 2, "batch_size": 16}'
TUNE = ["tune-fmce-net", "--trials", "1", "--members", "1", "--folds", "2", "--space", SPACE]


@pytest.fixture
def fmce(client, own_mlflow, monkeypatch, tmp_path):
    """Runs a command on the test's own store that has to fail; gives its one message."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str, code: int | None = 1) -> str:
        words = ["--tracking-uri", client.tracking_uri, "--experiment", "tests", *args]
        result = CliRunner().invoke(main, words, prog_name="fmce")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert result.exit_code == code and "Traceback" not in result.output, result.output
        return result.stderr if code else result.output

    return run


def last_run(client):
    experiment = client.get_experiment_by_name("tests").experiment_id
    return client.search_runs([experiment], order_by=["attributes.start_time DESC"], max_results=1)[0]


def test_one_run_under_protocol_run(fmce, client):
    logged_dataset(client, runs=1)
    assert "It needs at least 2 runs: train another seed" in fmce(*TRAIN)
    assert last_run(client).info.status == "FAILED"
    runs = len(client.search_runs([client.get_experiment_by_name("tests").experiment_id]))
    assert "at least 2 runs" in fmce(*TUNE)
    assert len(client.search_runs([client.get_experiment_by_name("tests").experiment_id])) == runs
    logged_dataset(client, runs=2)
    assert "needs at least 2 of them besides the one that is kept for the test" in fmce(*TUNE)
    assert not Path("fmce_optuna.db").exists() or not optuna.get_all_study_summaries("sqlite:///fmce_optuna.db")


def test_modules_of_different_channel_counts_under_outline(fmce, client):
    tables = [logged_dataset(client, runs=1, channels=channels)[1] for channels in (24, 12)]
    run_id = new_run(client, **{"fmce.role": "fmcs_dataset"})
    both = FmcsDataset(pd.concat(tables, ignore_index=True), {}, {})
    log_fmcs_dataset(Run(client, run_id), both, config=ConvergenceConfig(), signal="train")
    text = fmce(*TRAIN, "--fmcs-run", run_id, "--net", "outline", "--protocol", "images")
    assert "24×2×2, 12×2×2" in text and "Use the kind `set`" in text


def map_files(client, run_id: str) -> tuple[Path, Path]:
    """A run's index and its map at snapshot 2."""
    folder = Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://")) / ROOT
    return folder / INDEX, folder / "layer4" / "snapshot_00002.safetensors"


def test_a_map_that_was_edited_by_hand(fmce, client):
    _, table = logged_dataset(client)
    _, path = map_files(client, table["run_id"].iloc[0])
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    for words in (TRAIN, TUNE):
        text = fmce(*words)
        assert "snapshot_00002.safetensors" in text and "its sha256 should be" in text and "Restore the file" in text
    assert last_run(client).info.status == "FAILED"
    data[-1] ^= 1
    path.write_bytes(data)
    assert "Goes on with study fmce" in fmce(*TUNE, "--resume", code=0), "the study is not lost"


def test_maps_with_nan_or_infinity_whatever_wrote_them(fmce, client):
    """With hashes that are right, as another program would have written."""
    source, table = logged_dataset(client)
    run_id = table["run_id"].iloc[0]
    index, path = map_files(client, run_id)
    tensors = load_file(path)
    tensors["maps"][3, 0, 0, 0] = np.inf
    save_file(tensors, path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    text = index.read_text()
    old = table.set_index(["run_id", "snapshot"])["sha256"][run_id, 2]
    index.write_text(text.replace(old, found))
    table.loc[(table["run_id"] == run_id) & (table["snapshot"] == 2), "sha256"] = found
    changed = new_run(client, **{"fmce.role": "fmcs_dataset"})
    log_fmcs_dataset(Run(client, changed), FmcsDataset(table, {}, {}), config=ConvergenceConfig(), signal="train")
    text = fmce(*TRAIN, "--fmcs-run", changed)
    assert f"Run {run_id}, module layer4, snapshot 2" in text and "NaN or infinite" in text
    assert source != changed


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (np.zeros((1, 8, 2, 2), np.float32), "at least 2 images, got 1"),
        (np.full((3, 8, 2, 2), np.nan, np.float32), "NaN or infinite"),
        (np.full((3, 8, 2, 2), np.inf, np.float32), "NaN or infinite"),
    ],
)
def test_bags_that_a_loaded_predictor_cannot_score(tmp_path, maps, message):
    save_model(tmp_path / "model", Predictor(SetNet(SetConfig(members=1, width=8)), {}, "# card"))
    net = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    with pytest.raises(PredictorError, match=message):
        net.predict(maps)


def test_a_storage_that_does_not_answer(fmce, client):
    logged_dataset(client)
    runs = len(client.search_runs([client.get_experiment_by_name("tests").experiment_id]))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://me:secret@127.0.0.1:{silent.getsockname()[1]}/optuna?connect_timeout=2"
        text = fmce(*TUNE, "--storage", url, code=2)
    assert "does not answer" in text and "Check host, port" in text and "secret" not in text
    assert len(client.search_runs([client.get_experiment_by_name("tests").experiment_id])) == runs


def test_a_study_whose_search_space_has_changed(fmce, client):
    logged_dataset(client)
    assert "Best FMCE-Net models:/" in fmce(*TUNE, code=0)
    ended = last_run(client)
    text = fmce(*TUNE[:-1], SPACE.replace("[8, 16]", "[8, 32]"), "--resume", "--trials", "3", code=2)
    assert "search space width: [8, 16] in the study, [8, 32] now" in text and "--study-name" in text
    assert last_run(client).info.run_id == ended.info.run_id
    assert len(optuna.load_study(study_name="fmce", storage="sqlite:///fmce_optuna.db").trials) == 1
