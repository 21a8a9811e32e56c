"""Small networks drawn at random, so that a corpus holds many more kinds of them than have names.

``research.random_nets:net_17`` is the same network wherever it is asked for. Each differs from the others in its kind
of block, normalisation, activation, widths, depths, strides, and in what stands before and behind the stages. Their
last feature stage is ``features``, one in the middle ``stages.0``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Make = Callable[[int], nn.Module]

ACTIVATIONS = (nn.ReLU, nn.ReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.LeakyReLU, nn.ELU, nn.Tanh)
NORMS = ("batch", "batch", "batch", "group", "layer", "none")


class _ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of a map."""

    def forward(self, x: Tensor) -> Tensor:
        seen: Tensor = super().forward(x.movedim(1, -1)).movedim(-1, 1)
        return seen


class _Residual(nn.Module):
    def __init__(self, body: nn.Module, after: nn.Module, scale: float | None) -> None:
        super().__init__()
        self.body, self.after = body, after
        self.scale = None if scale is None else nn.Parameter(torch.full((), scale))

    def forward(self, x: Tensor) -> Tensor:
        out = self.body(x)
        seen: Tensor = self.after(x + (out if self.scale is None else self.scale * out))
        return seen


class _Gate(nn.Module):
    """Squeeze and excitation: after Hu et al. 2018."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(4, width // 4)
        self.layers = nn.Sequential(nn.Conv2d(width, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, width, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        seen: Tensor = x * self.layers(x.mean((2, 3), keepdim=True))
        return seen


class _Attention(nn.Module):
    """Self-attention over the positions of a map."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        mixed: Tensor = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return mixed.transpose(1, 2).reshape(x.shape)


class _Branches(nn.Module):
    """Branches side by side: after Szegedy et al. 2015."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class _Dense(_Branches):
    """What comes in, and what is made of it."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.branches[0](x)], 1)


def _norm(kind: str, width: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(width)
    if kind == "group":
        return nn.GroupNorm(4, width)
    return nn.GroupNorm(1, width) if kind == "layer" else nn.Identity()


def _blocks(draw: np.random.Generator, norm: str, act: Callable[[], nn.Module]) -> Make:
    """What makes blocks of one kind, which keep the width."""
    kind = str(draw.choice([
        "plain", "residual", "before", "bottleneck", "inverted", "gated", "wide-kernel", "attention", "grouped",
        "branches", "dense", "mixer",
    ]))  # fmt: skip
    scale = [None, 0.1, 0.5][draw.integers(3)] if norm != "none" else 0.2
    expand, kernel = int(draw.integers(2, 5)), int(draw.choice([3, 3, 5]))

    def conv(inward: int, outward: int, size: int = 3, groups: int = 1) -> list[nn.Module]:
        return [
            nn.Conv2d(inward, outward, size, padding=size // 2, groups=groups, bias=norm == "none"),
            _norm(norm, outward),
        ]

    def make(width: int) -> nn.Module:
        half, wide = width // 2, width * expand
        if kind == "plain":
            return nn.Sequential(*conv(width, width, kernel), act())
        if kind == "residual":
            return _Residual(nn.Sequential(*conv(width, width), act(), *conv(width, width)), act(), scale)
        if kind == "before":
            layers = [_norm(norm, width), act(), nn.Conv2d(width, width, 3, padding=1)]
            return _Residual(nn.Sequential(*layers), nn.Identity(), scale)
        if kind == "bottleneck":
            layers = [*conv(width, half, 1), act(), *conv(half, half), act(), *conv(half, width, 1)]
            return _Residual(nn.Sequential(*layers), act(), scale)
        if kind in ("inverted", "gated"):
            gate = [_Gate(wide)] if kind == "gated" else []
            layers = [
                *conv(width, wide, 1),
                act(),
                *conv(wide, wide, kernel, wide),
                act(),
                *gate,
                *conv(wide, width, 1),
            ]
            return _Residual(nn.Sequential(*layers), nn.Identity(), scale)
        if kind == "wide-kernel":
            layers = [*conv(width, width, 7, width), nn.Conv2d(width, wide, 1), act(), nn.Conv2d(wide, width, 1)]
            return _Residual(nn.Sequential(*layers), nn.Identity(), scale)
        if kind == "attention":
            mix = _Residual(nn.Sequential(_ChannelNorm(width), _Attention(width, 4)), nn.Identity(), scale)
            layers = [_ChannelNorm(width), nn.Conv2d(width, wide, 1), act(), nn.Conv2d(wide, width, 1)]
            return nn.Sequential(mix, _Residual(nn.Sequential(*layers), nn.Identity(), scale))
        if kind == "grouped":
            layers = [*conv(width, width, 1), act(), *conv(width, width, 3, 4), act(), *conv(width, width, 1)]
            return _Residual(nn.Sequential(*layers), act(), scale)
        if kind == "branches":
            one = nn.Sequential(*conv(width, half, 1), act())
            other = nn.Sequential(*conv(width, half, kernel), act())
            return _Branches(one, other)
        if kind == "dense":
            return nn.Sequential(_Dense(nn.Sequential(*conv(width, half), act())), nn.Conv2d(width + half, width, 1))
        layers = [*conv(width, width, 5, width), act()]
        mix = _Residual(nn.Sequential(*layers), nn.Identity(), None)
        return nn.Sequential(mix, *conv(width, width, 1), act())

    return make


class _Token(nn.Module):
    """A block over tokens (n, L, C): attention or a perceptron over positions, then one over channels."""

    def __init__(self, width: int, tokens: int, expand: int, mixing: bool, scale: float, act: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = None if mixing else nn.MultiheadAttention(width, 4, batch_first=True)
        self.over_tokens = nn.Sequential(nn.Linear(tokens, 48), act, nn.Linear(48, tokens)) if mixing else None
        self.over_channels = nn.Sequential(nn.Linear(width, expand * width), act, nn.Linear(expand * width, width))
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        seen = self.norm1(x)
        if self.attention is not None:
            mixed = self.attention(seen, seen, seen, need_weights=False)[0]
        else:
            mixed = self.over_tokens(seen.transpose(1, 2)).transpose(1, 2)  # type: ignore[misc]
        x = x + self.scale * mixed
        out: Tensor = x + self.scale * self.over_channels(self.norm2(x))
        return out


class _Tokens(nn.Module):
    """Patches as tokens, blocks over them, the mean or the class token to a linear head."""

    def __init__(self, draw: np.random.Generator, act: Callable[[], nn.Module], num_classes: int) -> None:
        super().__init__()
        patch, width = int(draw.choice([4, 4, 8])), int(draw.choice([48, 64, 96]))
        mixing = draw.random() < 0.3
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02) if draw.random() < 0.5 else None
        tokens = (32 // patch) ** 2 + (self.cls is not None)
        scale, expand = float(draw.choice([1.0, 1.0, 0.1])), int(draw.integers(2, 5))
        self.stem = nn.Conv2d(3, width, patch, patch)
        self.place = nn.Parameter(torch.randn(1, tokens, width) * 0.02)
        depth = int(draw.integers(2, 5))
        self.stages = nn.Sequential(*(_Token(width, tokens, expand, mixing, scale, act()) for _ in range(depth)))
        self.features = nn.LayerNorm(width) if draw.random() < 0.7 else nn.Identity()
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        if self.cls is not None:
            tokens = torch.cat([self.cls.expand(len(tokens), -1, -1), tokens], 1)
        tokens = self.features(self.stages(tokens + self.place))
        scores: Tensor = self.head(tokens.mean(1) if self.cls is None else tokens[:, 0])
        return scores


def _scaled(layers: list[nn.Module], width: int, scale: float) -> nn.Module:
    """A residual block whose body is scaled by channel: after Touvron et al. 2021."""
    body = nn.Sequential(*layers, nn.Conv2d(width, width, 1, groups=width, bias=False))
    nn.init.constant_(body[-1].weight, scale)  # type: ignore[arg-type]
    return _Residual(body, nn.Identity(), None)


def _hierarchy(draw: np.random.Generator, num_classes: int) -> nn.Module:
    """Stages of depthwise blocks: with layer normalisation after ConvNeXt, or batch normalisation after MobileNet."""
    modern = draw.random() < 0.5
    width, count = int(draw.choice([24, 32, 40])), int(draw.integers(2, 4))
    patch = int(draw.choice([2, 4])) if modern else 2
    scale, expand = float(draw.choice([1e-6, 1e-2, 1.0])), int(draw.integers(2, 5))
    act: Callable[[], nn.Module] = nn.GELU if modern else [nn.Hardswish, nn.ReLU6, nn.SiLU][draw.integers(3)]
    momentum, gate = float(draw.choice([0.1, 0.01])), draw.random() < 0.5

    def norm(channels: int) -> nn.Module:
        return _ChannelNorm(channels) if modern else nn.BatchNorm2d(channels, momentum=momentum)

    def block(channels: int) -> nn.Module:
        wide = channels * expand
        if modern:
            layers = [
                nn.Conv2d(channels, channels, 7, padding=3, groups=channels), norm(channels),
                nn.Conv2d(channels, wide, 1), act(), nn.Conv2d(wide, channels, 1),
            ]  # fmt: skip
            return _scaled(layers, channels, scale)
        layers = [
            nn.Conv2d(channels, wide, 1, bias=False), norm(wide), act(),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), norm(wide), act(),
            *([_Gate(wide)] if gate else []), nn.Conv2d(wide, channels, 1, bias=False), norm(channels),
        ]  # fmt: skip
        return _Residual(nn.Sequential(*layers), nn.Identity(), None)

    stem = [nn.Conv2d(3, width, patch, patch), norm(width), *([] if modern else [act()])]
    stages: list[nn.Module] = []
    for stage in range(count):
        parts: list[nn.Module] = []
        if stage:
            parts = [norm(width), nn.Conv2d(width, 2 * width, 2, 2)] if modern else [
                nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False), norm(2 * width), act(),
            ]  # fmt: skip
            width *= 2
        stages.append(nn.Sequential(*parts, *(block(width) for _ in range(int(draw.integers(1, 3))))))
    tail: list[nn.Module] = []
    if not modern and draw.random() < 0.6:
        tail = [nn.Conv2d(width, 3 * width, 1, bias=False), norm(3 * width), act()]
        width *= 3
    head = [nn.LayerNorm(width)] if modern else [nn.Linear(width, 64), act()] if draw.random() < 0.3 else []
    last = nn.Linear(64 if len(head) == 2 else width, num_classes)
    return _Network(nn.Sequential(*stem), nn.Sequential(*stages), nn.Sequential(*tail), nn.Sequential(*head, last))


def build(number: int, num_classes: int) -> nn.Module:
    """The network of a number.

    Args:
        number: Which one, from 0. From 200, every second one is over tokens, the others have depthwise blocks.
        num_classes: Classes.
    """
    draw = np.random.default_rng(number)
    if number >= 200 and number % 2:
        return _hierarchy(draw, num_classes)
    if number >= 200:
        return _Tokens(draw, [nn.GELU, nn.ReLU, nn.SiLU][draw.integers(3)], num_classes)
    norm = str(draw.choice(NORMS))
    act: Callable[[], nn.Module] = ACTIVATIONS[draw.integers(len(ACTIVATIONS))]
    block = _blocks(draw, norm, act)
    stem = int(draw.choice([2, 2, 2, 4]))
    width = int(draw.choice([16, 24, 32])) if stem == 2 else int(draw.choice([32, 48, 64]))
    count = int(draw.integers(2, 4)) if stem == 2 else int(draw.integers(1, 3))
    kernel = stem if draw.random() < 0.5 else 3
    layers: list[nn.Module] = [nn.Conv2d(3, width, kernel, stem, 0 if kernel == stem else 1), _norm(norm, width), act()]
    stages: list[nn.Module] = []
    pool = int(draw.integers(3))
    for number_of_stage in range(count):
        parts: list[nn.Module] = []
        if number_of_stage:
            grown = min(192, int(width * draw.choice([1.5, 2.0])) // 8 * 8)
            if pool == 0:
                parts += [nn.Conv2d(width, grown, 3, 2, 1), _norm(norm, grown), act()]
            elif pool == 1:
                parts += [nn.Conv2d(width, grown, 2, 2)]
            else:
                parts += [nn.MaxPool2d(2), nn.Conv2d(width, grown, 1), _norm(norm, grown)]
            width = grown
        parts += [block(width) for _ in range(int(draw.integers(1, 3)))]
        stages.append(nn.Sequential(*parts))
    tail: list[nn.Module] = []
    end = int(draw.integers(4))
    if end == 1:
        tail = [_norm(norm, width), act()]
    elif end == 2:
        outward = int(width * draw.choice([2, 3, 4]))
        tail = [nn.Conv2d(width, outward, 1), _norm(norm, outward), act()]
        width = outward
    elif end == 3:
        tail = [_ChannelNorm(width)]
    head: list[nn.Module] = [nn.Linear(width, num_classes)]
    if draw.random() < 0.25:
        head = [nn.Linear(width, 64), act(), nn.Linear(64, num_classes)]
    network = _Network(nn.Sequential(*layers), nn.Sequential(*stages), nn.Sequential(*tail), nn.Sequential(*head))
    if norm == "none":
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return network


class _Network(nn.Module):
    def __init__(self, stem: nn.Module, stages: nn.Module, tail: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.stem, self.stages = stem, stages
        self.features = tail
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.features(self.stages(self.stem(x))).mean((2, 3)))
        return scores


def __getattr__(name: str) -> Any:
    if name.startswith("net_") and name[4:].isdecimal():
        return partial(build, int(name[4:]))
    raise AttributeError(name)
