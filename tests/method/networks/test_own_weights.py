from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from fmce_mlflow.method.networks.own_weights import drawn_anew
from tests.helpers.nets import tiny


class Methods(nn.Module):
    """Parts with a method of each kind; ``skip`` leaves one parameter out."""

    def __init__(self, *, skip: bool = False) -> None:
        super().__init__()
        self.conv, self.norm, self.skip = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), skip
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def init_weights(self) -> None:
        nn.init.normal_(self.conv.weight, 5, 0.02)
        if not self.skip:
            nn.init.constant_(self.scale, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) * self.scale


class ByPart(nn.Module):
    """As in transformers: what is called with each part."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 9, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x).mean((2, 3)))


def test_methods_of_the_modules_draw_all_weights():
    network = nn.Sequential(Methods(), nn.PReLU()).train()
    before = copy.deepcopy(network.state_dict())
    one, two, other = (drawn_anew(network, seed=seed) for seed in (1, 1, 2))
    assert one[0].conv.weight.mean() > 4 and (one[0].scale == 0.5).all() and not one.training
    assert torch.equal(one[0].conv.weight, two[0].conv.weight)
    assert not torch.equal(one[0].conv.weight, other[0].conv.weight)
    assert network.training and all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert drawn_anew(ByPart()).head.weight.mean() > 8


def raising() -> nn.Module:
    raise OSError("no such file")


def seeding() -> nn.Module:
    torch.manual_seed(0)
    return tiny()


TRAINED = tiny().state_dict()


def loading() -> nn.Module:
    network = tiny()
    network.load_state_dict(TRAINED)
    return network


@pytest.mark.parametrize("build", [raising, seeding, loading, lambda: tiny(3), nn.Identity])
def test_a_factory_that_fails_or_draws_nothing_or_makes_another_network_is_not_used(build):
    assert drawn_anew(tiny(), build=build) is None


def test_methods_that_leave_a_parameter_out_or_raise_are_not_used():
    class Raises(Methods):
        def init_weights(self) -> None:
            raise RuntimeError

    assert drawn_anew(Methods(skip=True)) is None and drawn_anew(Raises()) is None


def test_layers_of_pytorch_alone_and_exported_networks_have_no_drawing_of_their_own():
    assert drawn_anew(tiny()) is None
    exported = torch.export.unflatten(torch.export.export(Methods().eval(), (torch.zeros(2, 3, 4, 4),)))
    assert drawn_anew(exported) is None


def test_a_factory_gives_the_weights_and_the_network_its_dtype():
    network = nn.DataParallel(tiny().double().requires_grad_(False))
    made, state = drawn_anew(network, build=tiny), torch.get_rng_state()
    assert made.stem.weight.dtype == torch.float64 and (made.norm.running_var == 1).all()
    assert not torch.equal(made.stem.weight, network.module.stem.weight)
    torch.testing.assert_close(drawn_anew(network, build=tiny).state_dict(), made.state_dict())
    assert torch.equal(torch.get_rng_state(), state)
