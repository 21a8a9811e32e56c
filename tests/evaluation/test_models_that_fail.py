"""What a model's own code raises, and devices that cannot be used, are one message; the model is as before."""

from __future__ import annotations

import mlflow
import pytest
import torch
from mlflow import MlflowClient
from torch import nn

from fmce_mlflow.errors import CaptureError, ConfigError, ModelError
from fmce_mlflow.evaluation.evaluate import examine
from fmce_mlflow.evaluation.options import EvaluationConfig
from fmce_mlflow.method.networks.entry import Entry
from fmce_mlflow.predictor.find import find_predictor
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.torch_models import TorchModel
from tests.helpers.evaluations import PREPROCESSING, pixels, seeded_tiny

PLAIN = Entry()


class Own(Exception):
    pass


class Raises(nn.Module):
    """Raises an error in one of its methods."""

    def __init__(self, error, where):
        super().__init__()
        self.net, self.error, self.where = seeded_tiny(), error, where

    def reset_parameters(self):
        if self.where == "reset_parameters":
            raise self.error

    def __deepcopy__(self, memo):
        if self.where == "__deepcopy__":
            raise self.error
        made = Raises(self.error, self.where)
        made.load_state_dict(self.state_dict())
        return made

    def forward(self, x):
        if self.where == "forward" or (self.where == "backward" and torch.is_grad_enabled()):
            raise self.error
        return self.net(x)


pytestmark = pytest.mark.usefixtures("tracking")


def examined(network, entry=PLAIN, **options):
    config = EvaluationConfig.read(
        {"preprocessing": PREPROCESSING, "modules": "net.stage", "saliency": False, **options}
    )
    data = mlflow.data.from_images(pixels()).to_evaluation_dataset()
    model = TorchModel(network.eval(), "models:/x/1", entry=entry)
    return examine(Run(MlflowClient(), "", print), model, data, config, find_predictor(None))


ERRORS = [KeyError("k"), AttributeError("a"), ZeroDivisionError("z"), OSError("o"), Own("own")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_forward_that_raises_what_it_likes(error):
    for modules in ("net.stage", "", "net.*"):
        with pytest.raises(ModelError, match=f"cannot take these images.*{type(error).__name__}"):
            examined(Raises(error, "forward"), modules=modules)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_forward_that_fails_with_gradients_has_no_grad_cam(error):
    found = examined(Raises(error, "backward"), saliency=None)
    assert any("no Grad-CAM" in text and type(error).__name__ in text for text in found.warnings)
    with pytest.raises(ModelError, match=type(error).__name__):
        examined(Raises(error, "backward"), saliency=4)


@pytest.mark.parametrize("where", ["__deepcopy__", "reset_parameters"])
@pytest.mark.parametrize("error", [KeyError("k"), OSError("o"), Own("own")], ids=lambda error: type(error).__name__)
def test_fresh_weights_that_cannot_be_made_are_done_without(where, error):
    found = examined(Raises(error, where))
    told = [text for text in found.warnings if "cannot be copied with fresh weights" in text]
    assert len(told) == (where == "__deepcopy__")  # weights are drawn without reset_parameters
    assert 0 <= found.modules[0].fmcs <= 1


@pytest.mark.parametrize("device", ["meta", "cuda:99", "nonsense", "vulkan"])
def test_a_device_that_cannot_be_used_leaves_the_model_as_it_was(device):
    network = seeded_tiny()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ConfigError, match=f"device '{device}' cannot be used"):
        examined(network, device=device, modules="stage")
    for name, value in network.state_dict().items():
        assert value.device.type == "cpu" and torch.equal(value, before[name])


def test_weights_that_were_never_loaded_are_told():
    with pytest.raises(ModelError, match="device meta, which keeps no values"):
        examined(seeded_tiny().to("meta"), modules="stage")


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.parametrize("entry", [PLAIN, Entry("image"), Entry(channels_last=True)], ids=str)
@pytest.mark.parametrize("modules", ["", "stage", "stage.*"])
def test_torchscript_is_refused_as_what_it_is(entry, modules):
    network = torch.jit.trace(seeded_tiny(), torch.zeros(2, 3, 8, 8))
    with pytest.raises(CaptureError, match=r"^The model is TorchScript.*eager model"):
        examined(network, entry, modules=modules)


class Draws(nn.Module):
    """Drops maps out in eval mode too."""

    def __init__(self):
        super().__init__()
        self.net = seeded_tiny()

    def forward(self, x):
        return self.net(nn.functional.dropout(x, 0.5, training=True))


def test_a_network_that_draws_random_numbers_has_one_score_and_leaves_torchs_as_they_were():
    network = Draws()
    with torch.no_grad():
        for value in network.parameters():  # as if it were trained: else its score is 0, whatever it draws
            value += 0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0))
    first = examined(network).modules[0]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    again, other = examined(network).modules[0], examined(network, seed=1).modules[0]
    assert again.fmcs == first.fmcs and again.evidence["view cosine"] != other.evidence["view cosine"]
    assert torch.equal(torch.get_rng_state(), before)
