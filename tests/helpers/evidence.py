"""A small network that was trained, and a predictor that looks at all evidence, for tests of what users are told."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from fmce_mlflow.method.evidence.groups import GROUPS
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.predictor.flavor import Predictor
from tests.helpers.evaluations import as_input

STAGES = ("one", "two", "three")


def stages(width: int = 16, num_classes: int = 4) -> nn.Module:
    """Three stages with BatchNorm, and a head."""
    sizes = zip((3, width, width), (width,) * 3, strict=True)
    layers = [nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()) for a, b in sizes]
    named = dict(zip(STAGES, layers, strict=True))
    tail = {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "head": nn.Linear(width, num_classes)}
    return nn.Sequential(OrderedDict({**named, **tail}))


def classed(n: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright quarter, which is the class: uint8 (n, 8, 8, 3), int (n,)."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 128, (n, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(n) % 4
    for image, label in zip(pixels, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 96
    return pixels, labels


def trained(steps: int = 60) -> nn.Module:
    """`stages` after a training on `classed`, in eval mode."""
    pixels, labels = classed(256, seed=1)
    inputs, targets = torch.from_numpy(as_input(pixels)), torch.from_numpy(labels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = stages()
        optimizer = torch.optim.Adam(network.parameters(), 0.01)
        for step in range(steps):
            part = slice(64 * (step % 4), 64 * (step % 4) + 64)
            optimizer.zero_grad()
            F.cross_entropy(network(inputs[part]), targets[part]).backward()
            optimizer.step()
    return network.eval()


def reset(network: nn.Module, name: str) -> nn.Module:
    """The same network, one module of which has fresh weights."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for module in network.get_submodule(name).modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    return network


def looking_predictor(**info: object) -> Predictor:
    """An FMCE-Net with random weights that looks at all groups of evidence and knows all depths."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = SetConfig(
            statistics="all", reference=True, scaling="quantile", evidence=tuple(GROUPS), members=1, width=8
        )
        net = SetNet(config).eval()
    net.scale.fill_(100)
    return Predictor(net, {"params": {"bag_size": "16"}, "depths": "all", **info}, "# card")
