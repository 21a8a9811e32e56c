from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import googlenet, resnet18

from fmce_mlflow.errors import BackboneError
from fmce_mlflow.method.evidence.weights import weight_evidence
from fmce_mlflow.method.evidence.weights_before import weights_before
from fmce_mlflow.method.networks.model_forms import unflattened

IMAGES = torch.zeros(2, 3, 64, 64)


def test_what_has_weights_has_its_own(seeded):
    network = seeded(resnet18)
    found = weights_before(network, ["layer4", "layer1"], IMAGES)
    assert list(found) == ["layer4", "layer1"]
    assert repr(found["layer4"]) == repr(weight_evidence(network, "layer4"))


@pytest.mark.parametrize("exported", [False, True], ids=["eager", "exported"])
def test_a_pool_or_an_activation_has_those_of_the_last_module_before_it(seeded, exported):
    network = seeded(resnet18).eval()
    nn.init.uniform_(network.layer4[1].bn2.weight)  # as if trained
    state = torch.get_rng_state()
    given = unflattened(torch.export.export(network, (IMAGES,))) if exported else network
    found = weights_before(given, ["relu", "maxpool", "avgpool"], IMAGES)
    assert found["relu"].untouched == found["maxpool"].untouched == 1
    assert found["avgpool"].untouched == weight_evidence(network, "layer4").untouched < 1
    assert found["avgpool"].said[0] == "It has no weights; the last before it are those of layer4."
    assert torch.equal(state, torch.get_rng_state()) and not network.training


def test_a_branch_that_does_not_lead_to_it_is_not_before_it(seeded):
    """The pool of an inception block is called after the three branches beside it."""
    network = seeded(lambda: googlenet(aux_logits=False, init_weights=False))
    found = weights_before(network, ["inception3a.branch4.0"], IMAGES)["inception3a.branch4.0"]
    assert found.said[0] == "It has no weights; the last before it are those of conv3."


class Twice(nn.Module):
    """One activation, called after each of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.act = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.ReLU()
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.second(self.act(self.first(self.pool(x)))))


def test_each_call_of_an_activation_has_its_own_and_a_pool_at_the_beginning_has_none(seeded):
    found = weights_before(nn.DataParallel(seeded(Twice)), ["act.0", "act.1", "pool"], IMAGES)
    assert [found[name].said[0].split()[-1] for name in ("act.0", "act.1")] == ["first.", "second."]
    assert found["pool"].untouched is None and found["pool"].said == ("It has no weights, and none come before it.",)


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(BackboneError, match="no module 'layer9'"):
        weights_before(resnet18(), ["layer9"], IMAGES)
