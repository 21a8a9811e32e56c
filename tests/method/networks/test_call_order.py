"""Where modules stand in a network, in every form of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fmce_mlflow.method.networks.call_order import in_order, namesakes, weightless
from tests.helpers.nets import TwoMaps, tiny

EXAMPLE = torch.zeros(2, 3, 8, 8)


def exported(network):
    return torch.export.unflatten(torch.export.export(network, (EXAMPLE,)))


class Backwards(nn.Module):
    """Modules that are registered in another order than they are called in, one of them never, one twice."""

    def __init__(self):
        super().__init__()
        self.never, self.last = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.twice, self.first = nn.ReLU(), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.twice(self.last(self.twice(self.first(x))))


@pytest.mark.parametrize("form", [nn.Identity, exported, nn.DataParallel, torch.compile], ids=lambda f: f.__name__)
def test_modules_stand_in_the_order_of_their_calls(form):
    network = tiny().eval()
    network = network if form is nn.Identity else form(network)
    names = ("head", "stage", "pool", "stage.0", "norm", "stem")
    assert in_order(network, names, example=EXAMPLE) == ("stem", "norm", "stage.0", "stage", "pool", "head")
    assert set(weightless(network, names)) == {"pool"}
    assert in_order(network, names, example=EXAMPLE)[0] == "stem"  # hooks are gone, so it can be asked again


def test_neither_registration_nor_a_second_call_moves_a_module():
    found = in_order(Backwards(), ("never", "last", "twice", "first"), example=EXAMPLE)
    assert found == ("first", "twice", "last", "never")
    assert weightless(Backwards(), ("last", "twice")) == ("twice",)


def test_outputs_stand_where_their_module_stands():
    assert in_order(TwoMaps().eval(), ("neck.1", "head", "neck.0"), example=EXAMPLE) == ("neck.1", "neck.0", "head")


def test_names_that_were_asked_for_are_what_they_say():
    network = nn.Sequential(tiny())
    assert namesakes(network, ["0.stage.0", "0"], ["0.stage.0", "0.other"]) == []
    (line,) = namesakes(torch.compile(network), ["_orig_mod.0.stage"], ["_orig_mod.0.stage.0", "_orig_mod.0.stage.9"])
    assert line.startswith("_orig_mod.0.stage.0 is an output or a call of _orig_mod.0.stage here")
