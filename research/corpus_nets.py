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


def all_cnn(num_classes: int) -> nn.Module:
    """Strided convolutions and ELU, no normalisation and no pooling: after Springenberg et al. 2015."""
    layers: list[nn.Module] = []
    channels = 3
    for width, stride in ((48, 1), (64, 2), (96, 2), (128, 2), (160, 1)):
        layers += [nn.Conv2d(channels, width, 3, stride, 1), nn.ELU()]
        channels = width
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*layers),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            head=nn.Linear(channels, num_classes),
        )
    )


class _Unnormalised(nn.Module):
    """A residual block without normalisation, which begins as the identity: after Zhang et al. 2019."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.scale = nn.Parameter(torch.full((), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.scale * self.conv2(F.gelu(self.conv1(x))))


def residual_without_norm(num_classes: int) -> nn.Module:
    """A residual network with GELU and no normalisation."""
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, 32, 3, 2, 1),
            stages=nn.Sequential(
                _Unnormalised(32),
                nn.Conv2d(32, 64, 2, 2),
                _Unnormalised(64),
                nn.Conv2d(64, 128, 2, 2),
                _Unnormalised(128),
                _Unnormalised(128),
            ),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            head=nn.Linear(128, num_classes),
        )
    )


class _Tokens(nn.Module):
    """Patches of 4 × 4 pixels as tokens, blocks over them, their mean to a linear head."""

    def __init__(self, width: int, blocks: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, 4)
        self.place = nn.Parameter(torch.randn(1, 64, width) * 0.02)
        self.blocks = blocks
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2) + self.place
        scores: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return scores


def small_transformer(num_classes: int) -> nn.Module:
    """A vision transformer of four blocks over 8 × 8 patches, pooled by their mean."""
    layers = [
        nn.TransformerEncoderLayer(96, 4, 192, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        for _ in range(4)
    ]
    return _Tokens(96, nn.Sequential(*layers), num_classes)


class _Mixer(nn.Module):
    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.over_tokens = nn.Sequential(nn.Linear(tokens, 64), nn.GELU(), nn.Linear(64, tokens))
        self.over_channels = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.over_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        mixed: Tensor = x + self.over_channels(self.norm2(x))
        return mixed


def mixer(num_classes: int) -> nn.Module:
    """An MLP-Mixer of four blocks: after Tolstikhin et al. 2021."""
    return _Tokens(96, nn.Sequential(*(_Mixer(96, 64) for _ in range(4))), num_classes)


class _Dense(nn.Module):
    def __init__(self, inward: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inward)
        self.conv = nn.Conv2d(inward, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


def dense_cnn(num_classes: int) -> nn.Module:
    """Dense connections with batch normalisation: after Huang et al. 2017, small."""
    parts: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False)]
    width = 32
    for stage in range(3):
        for _ in range(3):
            parts.append(_Dense(width, 16))
            width += 16
        if stage < 2:
            parts += [nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
    parts += [nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*parts),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            head=nn.Linear(width, num_classes),
        )
    )


BUILDERS = (plain_cnn, group_norm_resnet, all_cnn, residual_without_norm, small_transformer, mixer, dense_cnn)

if __name__ == "__main__":
    for build in BUILDERS:
        print(build.__name__, build(10)(torch.zeros(2, 3, 32, 32)).shape)
