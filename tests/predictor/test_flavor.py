from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load, save

from fmce_mlflow.errors import IntegrityError, PredictorError
from fmce_mlflow.method.fmce_net.config import OutlineConfig, SetConfig
from fmce_mlflow.method.fmce_net.outline_net import OutlineNet
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.predictor.flavor import FOLDER, Predictor, load_predictor, log_predictor, save_model
from fmce_mlflow.runs.run import Run
from tests.conftest import new_run
from tests.helpers.progress import until


@pytest.fixture
def predictor() -> Predictor:
    torch.manual_seed(0)
    net = SetNet(SetConfig(members=2)).eval()
    net.std_scale.fill_(1.5)
    return Predictor(net, {"corpus": [{"backbone": "a"}]}, "# card")


@pytest.fixture
def saved(tmp_path: Path, predictor: Predictor) -> Path:
    save_model(tmp_path / "model", predictor)
    return tmp_path / "model"


def bag() -> np.ndarray:
    return np.random.default_rng(0).random((6, 12, 3, 3), dtype=np.float32)


def test_a_predictor_comes_back_as_it_was(saved: Path, predictor: Predictor):
    again = load_predictor(saved)
    assert (again.info, again.card) == (predictor.info, "# card") and not again.net.training
    one, two = predictor.net.predict(bag()), again.net.predict(bag())
    assert (one.fmcs, one.std, one.levels.tolist()) == (two.fmcs, two.std, two.levels.tolist())


def test_an_outline_net_comes_back_too(tmp_path: Path):
    net = OutlineNet(OutlineConfig(channels=12, height=3, width=3, features=8, heads=2)).eval()
    save_model(tmp_path / "model", Predictor(net))
    assert load_predictor(tmp_path / "model").net.predict(bag()).fmcs == net.predict(bag()).fmcs


def test_one_that_was_logged_before_the_move_names_the_old_module_and_loads(saved: Path, predictor: Predictor):
    description = (saved / "MLmodel").read_text()
    assert "loader_module: fmce_mlflow.predictor.flavor\n" in description
    (saved / "MLmodel").write_text(description.replace("fmce_mlflow.predictor.flavor", "fmce_mlflow.flavor"))
    found = mlflow.pyfunc.load_model(str(saved)).predict(bag())
    assert found["fmcs"][0] == predictor.net.predict(bag()).fmcs


def test_there_is_no_pickle_and_no_code_in_the_artifact(saved: Path):
    names = {str(p.relative_to(saved)) for p in saved.rglob("*") if p.is_file()}
    assert names == {
        "MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt",
        f"{FOLDER}/config.json", f"{FOLDER}/weights.safetensors", f"{FOLDER}/model_card.md",
    }  # fmt: skip


def test_logged_to_the_run_and_loaded_by_uri(client, predictor: Predictor, monkeypatch):
    run_id = new_run(client)
    model_id = log_predictor(Run(client, run_id), predictor)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        loaded = mlflow.pyfunc.load_model(f"models:/{model_id}")
    finally:
        mlflow.set_tracking_uri(before)
    frame = loaded.predict(bag())
    expected = predictor.net.predict(bag())
    assert frame.shape == (1, 9) and frame["fmcs"][0] == pytest.approx(expected.fmcs)
    assert frame.filter(like="level_").sum(axis=1)[0] == pytest.approx(1)
    outputs = client.get_run(run_id).outputs.model_outputs
    assert [output.model_id for output in outputs] == [model_id]
    assert client.get_logged_model(model_id).experiment_id == client.get_run(run_id).info.experiment_id
    with pytest.raises(mlflow.exceptions.MlflowException, match="shape"):
        loaded.predict(bag()[0])


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "append"])
def test_damage_is_found_before_anything_is_parsed(saved: Path, name: str, damage: str):
    file = saved / FOLDER / name
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "truncate":
        data = data[:-1]
    else:
        data += b" "
    file.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match=rf"{name} .* its sha256 should be [0-9a-f]{{64}} and is"):
        load_predictor(saved)


def edit_description(saved: Path, change) -> None:
    description = yaml.safe_load((saved / "MLmodel").read_text())
    change(description["flavors"])
    (saved / "MLmodel").write_text(yaml.safe_dump(description))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda flavors: flavors["fmce_net"].update(format_version=99), "format version 99; this release reads 1"),
        (lambda flavors: flavors.pop("fmce_net"), "no flavor fmce_net"),
        (lambda flavors: flavors["fmce_net"].pop("sha256"), "names no sha256"),
    ],
)
def test_another_format_version_or_another_model(saved: Path, change, message: str):
    edit_description(saved, change)
    with pytest.raises(PredictorError, match=message):
        load_predictor(saved)


def test_an_honest_hash_of_something_else(saved: Path):
    config = json.loads((saved / FOLDER / "config.json").read_text())
    config["config"]["members"] = 3
    data = json.dumps(config).encode()
    (saved / FOLDER / "config.json").write_bytes(data)
    edit_description(
        saved, lambda flavors: flavors["fmce_net"]["sha256"].update({"config.json": hashlib.sha256(data).hexdigest()})
    )
    with pytest.raises(PredictorError, match=r"(?s)cannot be read: .*Missing: "):
        load_predictor(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name, value: value.bool(), "not the floating-point numbers"),
        (lambda name, value: value.to(torch.int8), "not the floating-point numbers"),
        (lambda name, value: value.to(torch.complex64), "not the floating-point numbers"),
        (lambda name, value: value * (name != "scale"), "not above 0: scale"),
        (lambda name, value: -value if name == "std_scale" else value, "not above 0: std_scale"),
    ],
)
def test_weights_with_an_honest_hash_that_are_no_weights(saved: Path, change, message: str):
    change_weights(saved, change)
    with pytest.raises(PredictorError, match=rf"(?s)cannot be read: .*{message}"):
        load_predictor(saved)


def test_weights_that_give_no_number_are_told_when_they_score(saved: Path, tmp_path: Path):
    save_model(tmp_path / "outline", Predictor(OutlineNet(OutlineConfig(channels=4, height=2, width=2)).eval()))
    for folder in (saved, tmp_path / "outline"):
        change_weights(folder, lambda name, value: torch.full_like(value, 1e30) if value.is_floating_point() else value)
        with pytest.raises(PredictorError, match="gives no number for this bag"):
            load_predictor(folder).net.predict(np.ones((4, 4, 2, 2), np.float32))


def change_weights(saved: Path, change) -> None:
    path = saved / FOLDER / "weights.safetensors"
    data = save({name: change(name, value).contiguous() for name, value in load(path.read_bytes()).items()})
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    edit_description(saved, lambda flavors: flavors["fmce_net"]["sha256"].update({"weights.safetensors": digest}))


def test_missing_files(saved: Path, tmp_path: Path):
    (saved / FOLDER / "weights.safetensors").unlink()
    with pytest.raises(PredictorError, match=r"weights.safetensors is missing"):
        load_predictor(saved)
    with pytest.raises(PredictorError, match="no MLflow model"):
        load_predictor(tmp_path / "nowhere")


@pytest.mark.slow
def test_mlflow_serves_it_over_http(saved: Path, predictor: Predictor, tmp_path: Path):
    log = (tmp_path / "server.log").open("w+")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(saved), "-p", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow starts uvicorn by its name
    server = subprocess.Popen(
        [*command, "--env-manager", "local"],
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, "PATH": path},
    )
    try:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            data=json.dumps({"inputs": bag().tolist()}).encode(),
            headers={"Content-Type": "application/json"},
        )

        def answer():
            assert server.poll() is None, (tmp_path / "server.log").read_text()
            with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(request) as said:
                return json.load(said)["predictions"][0]

        found = until(answer, server, pause=0.2)
        assert found["fmcs"] == pytest.approx(predictor.net.predict(bag()).fmcs, abs=1e-5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
