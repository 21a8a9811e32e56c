"""Networks of a few hundred parameters, for tests: named as `tests.helpers.nets:tiny` where a backbone is asked for."""

import signal
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from fmce_mlflow.method.evidence.spectral_alpha import mean_alpha


def tiny(num_classes: int = 10) -> nn.Module:
    """BatchNorm and dropout; modules `stem`, `norm`, `stage` have maps."""
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, 8, 3, padding=1, bias=False),
            norm=nn.BatchNorm2d(8),
            act=nn.ReLU(),
            drop=nn.Dropout(0.1),
            stage=nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU()),
            pool=nn.AdaptiveAvgPool2d(2),
            flat=nn.Flatten(),
            head=nn.Linear(64, num_classes),
        )
    )


def plain(num_classes: int = 10) -> nn.Module:
    """Neither BatchNorm nor dropout: the loss of a batch is the mean of the losses of its parts."""
    return nn.Sequential(
        OrderedDict(
            stage=nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU()),
            flat=nn.Flatten(),
            head=nn.Linear(128, num_classes),
        )
    )


def normed(num_classes: int = 10) -> nn.Module:
    """BatchNorm, no dropout."""
    return nn.Sequential(
        OrderedDict(
            stage=nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
            flat=nn.Flatten(),
            head=nn.Linear(128, num_classes),
        )
    )


class Tied(nn.Module):
    """Two names for one weight."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.stage = nn.Conv2d(3, 4, 3, padding=1)
        self.first, self.second = nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 4, 1, bias=False)
        self.second.weight = self.first.weight
        self.head = nn.Linear(4, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.first(self.stage(x)).relu()).mean((2, 3)))


class Reads(nn.Module):
    """Its second stage looks at the memory of its input, by ``view`` or ``as_strided``; for 8 × 8 pixels."""

    def __init__(self, how: str, num_classes: int = 10) -> None:
        super().__init__()
        self.how = how
        self.first, self.stage = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.first(x)
        if self.how == "view":
            maps = maps.view(len(maps), -1).view(len(maps), 8, 8, 8)
        else:
            maps = maps.as_strided((len(maps), 8, 8, 8), (512, 64, 8, 1))
        return self.stage(maps).mean((2, 3))


class Gives(nn.Module):
    """Gives what a function makes of its input."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


class Pair(nn.Module):
    """Gives two maps."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 6, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.a(x).relu(), self.b(x).relu()


class TwoMaps(nn.Module):
    """A functional module, `neck`, with two outputs."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.neck, self.head = Pair(), nn.Linear(10, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([part.mean((2, 3)) for part in self.neck(x)], 1))


class Signalled(nn.Module):
    """Its process gets a signal while it runs, or only where gradients are recorded, as for Grad-CAM."""

    def __init__(self, number: int, *, only_with_gradients: bool = False) -> None:
        super().__init__()
        self.number, self.only = number, only_with_gradients
        self.stage = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or not self.only:
            signal.raise_signal(self.number)
        return self.stage(x).mean((2, 3))


class Branching(nn.Module):
    """Control flow that depends on the data, which torch.export refuses."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.stage, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.stage(x)
        return self.head((maps.relu() if maps.sum() > 0 else maps.abs()).mean((2, 3)))


def spectral_alpha(module: nn.Module) -> float:
    """Of a module's linear and ungrouped convolution weights."""
    return mean_alpha(
        part.weight
        for part in module.modules()
        if isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.groups == 1)
    )


def parametrized(num_classes: int = 10) -> nn.Module:
    """Weights that torch computes of others at every use; module `stage`."""
    model = plain(num_classes)
    nn.utils.parametrizations.weight_norm(model.stage[0])
    nn.utils.parametrizations.spectral_norm(model.head)
    return model


class Locked(nn.Module):
    """Has a lock, which no pickle takes; it can be copied."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.stage, self.head, self.lock = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, num_classes), threading.Lock()

    def __deepcopy__(self, memo: object) -> nn.Module:
        made = type(self)(self.head.out_features)
        made.load_state_dict(self.state_dict())
        return made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stage(x).relu().mean((2, 3)))


class LockedAndBranching(Locked):
    """Neither a pickle nor torch.export takes it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x if x.sum() > 0 else -x)
