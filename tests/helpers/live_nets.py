"""Small networks whose forward, mode or weights a look at them could change."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint


class Live(nn.Module):
    """A batch norm that trains, one that is frozen in eval mode, and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.frozen = nn.BatchNorm2d(6).eval().requires_grad_(False)
        self.drop, self.head = nn.Dropout(0.1), nn.Linear(6, 3)

    def features(self, x: Tensor) -> Tensor:
        return self.frozen(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.features(x).mean((2, 3))))


class Checkpointed(Live):
    """Computes its stem twice, or what comes after it."""

    def __init__(self, part: str, reentrant: bool) -> None:
        super().__init__()
        self.part, self.reentrant = part, reentrant

    def features(self, x: Tensor) -> Tensor:
        for name in ("stem", "frozen"):
            module = getattr(self, name)
            x = checkpoint(module, x.requires_grad_(), use_reentrant=self.reentrant) if name == self.part else module(x)
        return x


class Freezing(Live):
    """Its ``train`` freezes what is to be frozen, as mmengine's backbones do, and lets the rest learn."""

    def train(self, mode: bool = True) -> Live:
        super().train(mode)
        self.frozen.eval()
        self.stem.requires_grad_(mode)
        return self


class Counting(Live):
    """Counts and averages in its buffers, in whichever mode it is."""

    calls: Tensor
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(3, 1, 1))

    def features(self, x: Tensor) -> Tensor:
        self.calls += 1  # in place
        self.mean = 0.5 * self.mean + 0.5 * x.detach().mean((0, 2, 3)).view(3, 1, 1)  # another tensor
        return super().features(x - self.mean) * (1 + 0.01 * self.calls)


class Noisy(Live):
    """Draws from every generator, in whichever mode it is."""

    def features(self, x: Tensor) -> Tensor:
        return super().features(x + 0.1 * torch.rand_like(x) + 0.1 * float(np.random.random()) + 0.1 * random.random())


class LowRank(nn.Conv2d):
    """Merges its low-rank part into its weights for ``eval``, and takes it out of them again for ``train``."""

    def __init__(self) -> None:
        super().__init__(3, 6, 3)
        self.a, self.b = nn.Parameter(torch.randn(6, 2)), nn.Parameter(torch.randn(2, 27))
        self.merged = False

    def train(self, mode: bool = True) -> LowRank:
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (-1 if mode else 1) * (self.a @ self.b).detach().view_as(self.weight)
            self.merged = not mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        low = 0 if self.merged else nn.functional.conv2d(x, (self.a @ self.b).view_as(self.weight))
        return super().forward(x) + low


def _with_stem(conv: Callable[[], nn.Module]) -> Live:
    net = Live()
    net.stem[0] = conv()
    return net


LIVE: dict[str, Callable[[], nn.Module]] = {
    "plain": Live,
    "checkpointed": lambda: Checkpointed("stem", reentrant=False),
    "checkpointed, reentrant": lambda: Checkpointed("stem", reentrant=True),
    "checkpointed later, reentrant": lambda: Checkpointed("frozen", reentrant=True),
    "channels last": lambda: Live().to(memory_format=torch.channels_last),
    "spectral norm": lambda: _with_stem(lambda: spectral_norm(nn.Conv2d(3, 6, 3))),
    "spectral norm, parametrized": lambda: _with_stem(lambda: parametrizations.spectral_norm(nn.Conv2d(3, 6, 3))),
    "weight norm": lambda: _with_stem(lambda: weight_norm(nn.Conv2d(3, 6, 3))),
    "weight norm, parametrized": lambda: _with_stem(lambda: parametrizations.weight_norm(nn.Conv2d(3, 6, 3))),
    "freezing": Freezing,
    "counting": Counting,
    "noisy": Noisy,
    "low rank": lambda: _with_stem(LowRank),
    "sync batch norm": lambda: nn.SyncBatchNorm.convert_sync_batchnorm(Live()),
    "doubles": lambda: Live().double(),
}
