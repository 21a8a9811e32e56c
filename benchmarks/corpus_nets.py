"""Networks of the corpus that torchvision and timm do not have at this size."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def plain_cnn(num_classes: int) -> nn.Module:
    """Convolutions and ReLU, no normalisation: after VGG, narrow."""
    layers: list[nn.Module] = []
    channels = 3
    for width, twice in ((32, False), (64, False), (128, True), (192, True)):
        for _ in range(1 + twice):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2) if width < 192 else nn.Identity())
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*layers),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            head=nn.Linear(channels, num_classes),
        )
    )


class _Residual(nn.Module):
    def __init__(self, inward: int, outward: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inward, outward, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(8, outward)
        self.conv2 = nn.Conv2d(outward, outward, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(8, outward)
        self.short = nn.Conv2d(inward, outward, 1, stride, bias=False) if stride > 1 or inward != outward else None

    def forward(self, x: Tensor) -> Tensor:
        seen = F.silu(self.norm1(self.conv1(x)))
        seen = self.norm2(self.conv2(seen))
        return F.silu(seen + (x if self.short is None else self.short(x)))


class _GroupNormResNet(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 3, 2, 1, bias=False)
        self.stages = nn.Sequential(_Residual(24, 32, 1), _Residual(32, 64, 2), _Residual(64, 128, 2))
        self.head = nn.Linear(128, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.stages(self.stem(x)).mean((2, 3)))
        return scores


def group_norm_resnet(num_classes: int) -> nn.Module:
    """A small residual network with group normalisation and SiLU."""
    return _GroupNormResNet(num_classes)


if __name__ == "__main__":
    for build in (plain_cnn, group_norm_resnet):
        print(build.__name__, build(10)(torch.zeros(2, 3, 32, 32)).shape)
