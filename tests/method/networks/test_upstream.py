"""What maps are computed from, found against networks whose answer is known and against autograd."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torchvision import models

from fmce_mlflow.errors import BackboneError
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.upstream import upstream
from tests.helpers.nets import Tied, TwoMaps, tiny

EXAMPLE = torch.zeros(2, 3, 8, 8)


class Branches(nn.Module):
    """Two branches from a stem, one of them written into a part of a buffer in place, and a head that is not called."""

    def __init__(self):
        super().__init__()
        self.stem, self.bare = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False)
        self.left, self.right, self.unused = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1), nn.Conv2d(4, 4, 1)
        self.joined, self.scale = nn.Identity(), nn.Parameter(torch.ones(1))

    def forward(self, x):
        x = self.bare(self.stem(x))
        left = self.left(x)
        with torch.no_grad():
            right = self.right(x)
        out = torch.empty(len(x), 4, *x.shape[2:])
        out[:, :2] = left
        out[:, 2:].copy_(right)
        return self.joined(out.relu_() * self.scale).mean((2, 3))


def by_autograd(model, name, example):
    """Parameters that get a gradient from a map."""
    with capture(model, [name], grad=True) as forward:
        value = forward(example)[1][name]
    found, seen, nodes = set(), set(), [value.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        nodes += [following for following, _ in node.next_functions]
    return {key for key, parameter in model.named_parameters() if id(parameter) in found}


def test_branches_that_do_not_lead_there_are_not_before_it():
    found = upstream(Branches(), ["left", "right", "joined"], EXAMPLE)
    stem = {"stem.weight", "stem.bias"}
    assert set(found["left"].parameters) == stem | {"left.weight", "left.bias"}
    assert set(found["right"].parameters) == stem | {"right.weight", "right.bias"}  # that has no gradient, too
    sides = {f"{side}.{kind}" for side in ("left", "right") for kind in ("weight", "bias")}
    assert set(found["joined"].parameters) == stem | sides | {"scale"}
    assert all(parts.buffers == ("bare.running_mean", "bare.running_var") for parts in found.values())
    assert found[""].parameters == found["joined"].parameters  # without the head that is not called


@pytest.mark.parametrize(
    ("factory", "names", "size"),
    [
        (models.shufflenet_v2_x0_5, ("stage2", "stage3.0", "conv5"), 32),
        (models.resnet18, ("layer1", "layer3.0.conv1", "layer4"), 32),
        (models.densenet121, ("features.denseblock2",), 32),
    ],
)
def test_it_agrees_with_autograd(factory, names, size):
    model = factory(weights=None, num_classes=3)
    norms = {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    example = torch.zeros(2, 3, size, size)
    found = upstream(model, names, example)
    assert set(found.pop("").parameters) == {name for name, _ in model.named_parameters()}
    for name, parts in found.items():
        expected = by_autograd(model, name, example)
        assert set(parts.parameters) == expected
        trained = {key.rpartition(".")[0] for key in expected}
        assert {key.rpartition(".")[0] for key in parts.buffers} == trained & norms


def test_each_output_of_a_module_has_its_own():
    found = upstream(TwoMaps(), ["neck"], EXAMPLE)
    assert {name: parts.parameters for name, parts in found.items()} == {
        "neck.0": ("neck.a.weight", "neck.a.bias"),
        "neck.1": ("neck.b.weight", "neck.b.bias"),
        "": tuple(name for name, _ in TwoMaps().named_parameters()),
    }


def test_weights_that_are_computed_or_shared_lead_to_what_is_trained():
    normed = nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 1, bias=False)), nn.Conv2d(4, 4, 1))
    assert upstream(normed, ["0"], EXAMPLE)["0"].parameters == (
        "0.parametrizations.weight.original0", "0.parametrizations.weight.original1",
    )  # fmt: skip
    spectral = nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(3, 4, 1)), nn.ReLU())
    assert len(upstream(spectral, ["1"], EXAMPLE)["1"].buffers) == 2  # the vectors of its power iteration
    assert upstream(Tied(), ["first"], EXAMPLE)["first"].parameters == (
        "stage.weight", "stage.bias", "first.weight",
    )  # fmt: skip


@pytest.mark.parametrize("form", [nn.DataParallel, torch.compile], ids=lambda f: f.__name__)
def test_names_are_those_of_the_network_in_its_wrapper(form):
    plain = upstream(tiny(), ["norm"], EXAMPLE)["norm"]
    assert plain.parameters == ("stem.weight", "norm.weight", "norm.bias")
    assert upstream(form(tiny()), ["norm"], EXAMPLE)["norm"] == plain


def test_frozen_parameters_are_found_and_nothing_is_changed():
    model = tiny().train()
    model.stem.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert "stem.weight" in upstream(model, ["stage"], EXAMPLE)["stage"].parameters
    assert model.training and model.norm.training and not model.stem.weight.requires_grad
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert F.mse_loss(model(EXAMPLE), torch.zeros(2, 10)).requires_grad


def test_a_model_that_is_called_otherwise():
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny()

        def forward(self, *, image):
            return self.net(image)

    found = upstream(Pairs(), ["net.norm"], {"image": EXAMPLE}, call=lambda network, one: network(**one))
    assert found["net.norm"].buffers == ("net.norm.running_mean", "net.norm.running_var")


def test_an_unknown_module_is_named():
    with pytest.raises(BackboneError, match="stag"):
        upstream(tiny(), ["stag"], EXAMPLE)
