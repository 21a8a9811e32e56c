from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.method.images.input_batches import Batch
from fmce_mlflow.method.networks.forward import CHANNELS_LAST_FROM
from fmce_mlflow.method.networks.fresh_weights import reinitialised
from fmce_mlflow.method.scoring.module_finding import ModuleFinding
from fmce_mlflow.method.scoring.score_modules import score_modules


class Begins(nn.Module):
    """Normalises, or cuts off below 0, in place or not; then a network that works in place."""

    def __init__(self, how: str, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how, self.in_place = how, in_place
        self.first = nn.ReLU(inplace=in_place)
        self.stage = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=in_place))

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "relu":
            return self.stage(self.first(x))
        return self.stage(x.sub_(0.4).div_(0.2) if self.in_place else (x - 0.4) / 0.2)


@pytest.fixture(scope="module")
def net() -> SetNet:
    torch.manual_seed(0)
    return SetNet(SetConfig(members=1, reference=True, statistics="all")).eval()


def score(network: nn.Module, net: SetNet, images: Tensor, known: int) -> ModuleFinding:
    parts = [Batch(np.arange(start, start + 8), images[start : start + 8]) for start in (0, 8)]
    made = reinitialised(network)
    return score_modules(network.eval(), ["stage"], parts, net, images=known, bag_sizes=[16], untrained=made)["stage"]


@pytest.mark.parametrize("known", [16, CHANNELS_LAST_FROM], ids=["one pass", "layouts compared"])
@pytest.mark.parametrize("how", ["relu", "normalises"])
def test_a_network_that_changes_its_input_has_the_score_of_one_that_does_not(net, how, known):
    """Passes shared a batch: the trained network saw images that were normalised two to four times."""
    images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    kept = images.clone()
    found, expected = (score(Begins(how, in_place), net, images, known) for in_place in (True, False))
    assert torch.equal(images, kept)
    assert (found.fmcs, found.std, found.distance) == (expected.fmcs, expected.std, expected.distance)


@pytest.mark.parametrize("exponent", [-80, -30, 70, 110])
def test_the_scale_of_maps_does_not_matter(net, exponent):
    images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    plain, scaled = Begins("relu", False), Begins("relu", False)
    with torch.no_grad():
        scaled.stage[1].weight.mul_(2.0**exponent)
        scaled.stage[1].bias.mul_(2.0**exponent)
    assert score(scaled, net, images, 16).fmcs == score(plain, net, images, 16).fmcs


class Cropped(nn.Module):
    """Its maps are as large as its images."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.stage(x)


def test_maps_that_differ_in_shape_are_told_with_their_shapes(net):
    parts = [Batch(np.arange(2), torch.rand(2, 3, size, size)) for size in (8, 10)]
    with pytest.raises(PredictorError, match="stage: the maps of images differ in shape: 4×6×6 and 4×8×8"):
        score_modules(Cropped(), ["stage"], parts, net, images=4, bag_sizes=[4])
