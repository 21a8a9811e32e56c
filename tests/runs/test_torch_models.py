from __future__ import annotations

import mlflow
import numpy as np
import pytest
import torch
from mlflow.pyfunc import PythonModel
from torch import nn

from fmce_mlflow.errors import ModelError
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.runs.torch_models import TrainingFacts, load_torch_model, torch_model_of
from tests.helpers.evaluations import PREPROCESSING, as_input, log_model, pixels, seeded_tiny
from tests.helpers.nets import Branching, tiny

FORMATS = ["pickle", "pt2", "pt2 of one image"]


pytestmark = pytest.mark.usefixtures("store")


def maps_of(model, images) -> torch.Tensor:
    with capture(model.network, ["stage"]) as forward:
        return forward(images)[1]["stage"]


def expected(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.from_numpy(as_input(pixels(n)))
    with capture(seeded_tiny(), ["stage"]) as forward:
        return images, forward(images)[1]["stage"]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_a_network_whose_hooks_are_called(store, form):
    model = load_torch_model(store.uris[form])
    images, maps = expected(model.fixed_batch or 3)
    torch.testing.assert_close(maps_of(model, images), maps, rtol=1e-4, atol=1e-5)
    assert model.uri == store.uris[form] and f"models:/{model.model_id}" == store.uris[form]
    assert model.input_shape == (3, 8, 8) and model.fixed_batch == (1 if form == "pt2 of one image" else None)
    assert model.facts.preprocessing == PREPROCESSING and model.facts.modules == ("stage",)


@pytest.mark.parametrize("uri", ["models:/tiny/1", "models:/tiny@champion", "models:/tiny/latest", "runs"])
def test_every_form_of_uri(store, uri):
    if uri == "runs":
        run_id = mlflow.models.get_model_info(store.uris["pickle"]).run_id
        uri = f"runs:/{run_id}/model"
    assert isinstance(load_torch_model(uri).network, nn.Module)


@pytest.mark.parametrize("form", FORMATS)
def test_a_loaded_pyfunc_model(store, form):
    loaded = mlflow.pyfunc.load_model(store.uris[form])
    model = torch_model_of(loaded)
    assert f"models:/{model.model_id}" == store.uris[form]
    images, maps = expected(model.fixed_batch or 2)
    torch.testing.assert_close(maps_of(model, images), maps, rtol=1e-4, atol=1e-5)
    assert (model.network is loaded._model_impl.pytorch_model) == (form == "pickle")


def test_an_explicit_client_is_asked_and_mlflow_keeps_its_own_server(store):
    mlflow.set_tracking_uri("sqlite:///nowhere.db")
    assert load_torch_model(store.uris["pickle"], store.client).input_shape == (3, 8, 8)
    assert mlflow.get_tracking_uri() == "sqlite:///nowhere.db"


def test_a_folder(store, tmp_path):
    folder = mlflow.artifacts.download_artifacts(store.uris["pt2"], dst_path=str(tmp_path))
    assert load_torch_model(folder).input_shape == (3, 8, 8)


def test_a_model_without_signature_has_the_channels_of_its_example(store):
    with mlflow.start_run(experiment_id=store.experiment):
        info = log_model(tiny().eval(), signature=False)
    assert info.signature is None
    assert load_torch_model(info.model_uri).input_shape == (3, None, None)
    assert torch_model_of(mlflow.pyfunc.load_model(info.model_uri)).input_shape == (3, None, None)


def test_neither_signature_nor_example(store):
    with mlflow.start_run(experiment_id=store.experiment):
        info = log_model(Branching().eval(), input_example=None)
    assert load_torch_model(info.model_uri).input_shape is None


# What is no PyTorch model


class Sum(PythonModel):
    def predict(self, context, model_input, params=None):
        return np.asarray(model_input).sum(1)


def test_another_flavour_is_named(store):
    with mlflow.start_run(experiment_id=store.experiment):
        info = mlflow.pyfunc.log_model(name="sum", python_model=Sum(), pip_requirements=[])
    with pytest.raises(ModelError, match=r"no PyTorch model: its MLflow flavors are python_function.*log_model"):
        load_torch_model(info.model_uri)
    with pytest.raises(ModelError, match="no PyTorch model"):
        torch_model_of(mlflow.pyfunc.load_model(info.model_uri))


def test_a_function_and_predictions_alone(store):
    from mlflow.models.evaluation.base import _get_model_from_function

    with pytest.raises(ModelError, match="given a Python function or an endpoint"):
        torch_model_of(_get_model_from_function(lambda x: x))
    with pytest.raises(ModelError, match="given predictions alone"):
        torch_model_of(None)


def test_a_model_that_is_not_there(store):
    with pytest.raises(ModelError, match=r"'models:/tiny/9' cannot be fetched: .*Expected models:/NAME/VERSION"):
        load_torch_model("models:/tiny/9")
    with pytest.raises(ModelError, match="cannot be fetched"):
        load_torch_model("nowhere")


def test_a_pickle_whose_code_is_gone(store, tmp_path, monkeypatch):
    (tmp_path / "gone_package.py").write_text(
        "import torch\n\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        return x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import gone_package

    with mlflow.start_run(experiment_id=store.experiment):
        uri = log_model(gone_package.Net()).model_uri
    monkeypatch.delitem(__import__("sys").modules, "gone_package")
    (tmp_path / "gone_package.py").unlink()
    with pytest.raises(ModelError, match=r"needs the Python module 'gone_package'.*code_paths.*pt2"):
        load_torch_model(uri)


def test_a_damaged_archive(store, tmp_path):
    folder = mlflow.artifacts.download_artifacts(store.uris["pt2"], dst_path=str(tmp_path))
    (tmp_path / "data" / "model.pt2").write_bytes(b"no archive")
    with pytest.raises(ModelError, match=r"cannot be loaded: .*cannot be read as a torch.export archive"):
        load_torch_model(folder)


@pytest.mark.parametrize(
    "metadata", [None, {}, {"fmce": "digits"}, {"fmce": {"snapshot": True, "modules": 3, "preprocessing": []}}]
)
def test_metadata_of_others_says_nothing(metadata):
    assert TrainingFacts.read(metadata) == TrainingFacts()
