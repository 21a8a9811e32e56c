"""What loading a model executes is MLflow's and torch's doing; this package adds nothing and goes round no guard."""

from __future__ import annotations

import ast
import io
import os
import zipfile
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

from fmce_mlflow.cli.main import COMMANDS, main
from fmce_mlflow.errors import ModelError
from fmce_mlflow.method.networks.archive_weights import read_weights
from fmce_mlflow.runs.torch_models import load_torch_model
from tests.helpers.watching import Watch

PACKAGE = Path(__file__).parents[2] / "fmce_mlflow"


class Harmful(torch.nn.Conv2d):
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (os.environ["FMCE_TEST_HARM"],)


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Saves models; `harm` is there once one has run code."""
    monkeypatch.setenv("FMCE_TEST_HARM", str(tmp_path / "harm"))

    def save(form: str, network: torch.nn.Module, *, harmful: bool = False) -> str:
        path = tmp_path / form
        example = np.zeros((2, 3, 8, 8), np.float32) if form == "pt2" else None
        mlflow.pytorch.save_model(
            network, str(path), serialization_format=form, input_example=example, pip_requirements=[]
        )
        if harmful and form == "pt2":
            archive = path / "data" / "model.pt2"
            with zipfile.ZipFile(archive) as file:
                parts = {name: file.read(name) for name in file.namelist()}
            payload = io.BytesIO()
            torch.save(((Harmful(3, 4, 3),), {}), payload)
            (inputs,) = (name for name in parts if "sample_inputs" in name)
            with zipfile.ZipFile(archive, "w") as file:
                for name, data in parts.items():
                    file.writestr(name, payload.getvalue() if name == inputs else data)
        return str(path)

    return save


@pytest.mark.parametrize("form", ["pt2", "pickle"])
def test_a_model_can_execute_code_and_mlflows_guard_holds_here_too(saved, form, tmp_path, monkeypatch):
    path = saved(form, Harmful(3, 4, 3) if form == "pickle" else torch.nn.Conv2d(3, 4, 3).eval(), harmful=True)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    with pytest.raises(ModelError, match="pickle"):
        load_torch_model(path)
    assert not (tmp_path / "harm").exists()
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")  # MLflow's default
    with pytest.raises(ModelError):
        load_torch_model(path)
    assert (tmp_path / "harm").exists(), "the example is harmful, so that the guard was needed"


def test_an_archive_without_pickles_is_loaded_behind_the_guard(saved, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    network = load_torch_model(saved("pt2", torch.nn.Conv2d(3, 4, 3).eval())).network
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 4, 6, 6)


def test_spectra_read_a_harmful_archive_without_executing_it(saved, tmp_path):
    path = Path(saved("pt2", torch.nn.Conv2d(3, 4, 3).eval(), harmful=True), "data", "model.pt2")
    watch = Watch(tmp_path)
    with watch.on():
        assert read_weights(path)["weight"].shape == (4, 3, 3, 3)
    assert not watch.executed and not watch.outside and not (tmp_path / "harm").exists()


LOADERS = {
    "torch.load": set(),
    "torch.export.load": {"method/networks/model_forms.py"},
    "torch.jit.load": set(),
    "mlflow.pytorch.load_model": {"runs/torch_models.py"},
    "mlflow.pyfunc.load_model": set(),
    "load_model": {"image_dataset/classifier.py"},
    "pickle.loads": {"safety/processes.py", "tuning/trial_bags.py"},
    "pickle.load": set(),
    "yaml.load": set(),
    "yaml.unsafe_load": set(),
    "np.load": set(),
    "pd.read_pickle": set(),
    "eval": set(),
    "exec": set(),
    "compile": set(),
    "__import__": set(),
    "importlib.import_module": {"method/networks/backbones.py", "cli/main.py"},  # the latter its own commands alone
    "os.system": set(),
    "subprocess.run": set(),
    "subprocess.Popen": set(),
}
"""Calls that can execute what they are given, and the only modules that make them; docs/security.md tells why."""


def test_what_can_execute_its_argument_is_called_nowhere_else():
    found: dict[str, set[str]] = {name: set() for name in LOADERS}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in found:
                found[name].add(path.relative_to(PACKAGE).as_posix())
    assert found == LOADERS


def test_the_command_line_imports_its_own_commands_alone():
    assert main.commands["sync"].name == "sync"
    for place, _ in COMMANDS.values():
        assert (PACKAGE / "cli" / f"{place.partition(':')[0]}.py").is_file(), place
    with pytest.raises(KeyError):
        main.commands["os:system"]
