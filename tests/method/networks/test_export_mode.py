"""Exports made in training mode are found by what their operators are, not by a list of layers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import convnext_tiny
from torchvision.ops import DropBlock2d, StochasticDepth

from fmce_mlflow.errors import CaptureError
from fmce_mlflow.method.networks.export_mode import training_operator
from fmce_mlflow.method.networks.model_forms import probing

IMAGES = torch.zeros(2, 3, 8, 8)


class Attention(nn.Module):
    def __init__(self, need_weights: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 3, dropout=0.3, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens, need_weights=self.need_weights)[0]


class MovingAverage(nn.Module):
    """Keeps one in a buffer, as a codebook or a momentum encoder does: no random operator, no norm."""

    mean: Tensor

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.how == "in place":
            self.mean.mul_(0.9).add_(x.mean((0, 2, 3)), alpha=0.1)
        elif self.training:
            with torch.no_grad():
                self.mean.copy_(x.mean((0, 2, 3)))
        return x - self.mean[:, None, None]


TRAINS: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: nn.Dropout(0.5),
    "dropout2d": lambda: nn.Dropout2d(0.5),
    "alpha dropout": lambda: nn.AlphaDropout(0.5),
    "feature alpha dropout": lambda: nn.FeatureAlphaDropout(0.5),
    "stochastic depth": lambda: StochasticDepth(0.5, "row"),
    "drop block": lambda: DropBlock2d(0.5, 3),
    "rrelu": nn.RReLU,
    "batch norm": lambda: nn.BatchNorm2d(3),
    "tracked instance norm": lambda: nn.InstanceNorm2d(3, track_running_stats=True),
    "attention": lambda: Attention(need_weights=False),
    "attention with weights": lambda: Attention(need_weights=True),
    "spectral norm by hook": lambda: torch.nn.utils.spectral_norm(nn.Conv2d(3, 3, 1)),
    "spectral norm by parametrization": lambda: torch.nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 3, 1)),
    "average in place": lambda: MovingAverage("in place"),
    "average under no_grad": lambda: MovingAverage("no_grad"),
}
ALIKE: dict[str, Callable[[], nn.Module]] = {
    "instance norm": lambda: nn.InstanceNorm2d(3),
    "batch norm without statistics": lambda: nn.BatchNorm2d(3, track_running_stats=False),
    "dropout of nothing": lambda: nn.Dropout(0.0),
    "in place": lambda: nn.ReLU(inplace=True),
    "norms": lambda: nn.Sequential(nn.GroupNorm(1, 3), nn.LayerNorm(8)),
}


def exported(network: nn.Module, *, training: bool) -> nn.Module:
    whole = nn.Sequential(nn.Conv2d(3, 3, 1), network).train(training)
    return torch.export.unflatten(torch.export.export(whole, (IMAGES,)))


def operators(network: nn.Module) -> list[str]:
    return list(filter(None, map(training_operator, network.modules())))


@pytest.mark.parametrize("name", TRAINS)
def test_what_an_export_does_in_training_only_is_found(name):
    assert operators(exported(TRAINS[name](), training=True))
    assert not operators(exported(TRAINS[name](), training=False))


@pytest.mark.parametrize("name", ALIKE)
def test_what_does_not_care_for_the_mode_is_taken(name):
    assert not operators(exported(ALIKE[name](), training=True))


def test_operators_after_decomposition_are_found_too():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5))
    for training in (True, False):
        program = torch.export.export(net.train(training), (IMAGES,)).run_decompositions()
        assert bool(operators(torch.export.unflatten(program))) is training


def test_a_torchvision_network_exported_without_eval_is_refused():
    net = convnext_tiny(num_classes=2, stochastic_depth_prob=0.5)
    net.features = nn.Sequential(*net.features[:2])  # two stages do, and are quick
    net.avgpool, net.classifier = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    program = torch.export.export(net.train(), (torch.zeros(2, 3, 16, 16),))
    told = r"features\.1\.\d.*exported in training mode.*bernoulli.*model\.eval\(\)"
    with pytest.raises(CaptureError, match=told), probing(torch.export.unflatten(program)):
        pass
