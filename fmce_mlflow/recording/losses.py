"""Running means of a loop's losses, kept where the losses are: nothing waits for a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from fmce_mlflow.errors import ConfigError

TOTAL = "train_loss"


class RunningLoss:
    """Means of what was told since the last time they were asked for; of nothing, the means of that time.

    Example:
        >>> losses = RunningLoss()
        >>> losses.add(None, {"box": torch.tensor(1.0), "mask": 2.0})
        >>> losses.add(None, {"box": torch.tensor(2.0), "mask": 2.0})
        >>> losses.first(), losses.take()
        ({'train_loss': 3.0, 'train_loss/box': 1.0, 'train_loss/mask': 2.0}, \
{'train_loss': 3.5, 'train_loss/box': 1.5, 'train_loss/mask': 2.0})
        >>> losses.told, losses.take()["train_loss"]
        (False, 3.5)
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor | float, int]] = {}
        self._first: dict[str, Tensor | float] = {}
        self._last: dict[str, float] = {}

    def add(self, total: Any, parts: dict[str, Any]) -> None:
        """Take the losses of a step; without a total it is the sum of the parts.

        Raises:
            ConfigError: If a loss is not one number, or there is none.
        """
        found = {f"{TOTAL}/{name}": number(name, value) for name, value in parts.items()}
        if total is None and not found:
            raise ConfigError("loss(…) needs the loss of the step, as loss(value) or loss(box=value, mask=value)")
        whole = number("loss", total) if total is not None else sum(found.values())
        found = {TOTAL: whole, **found}
        self._first = self._first or dict(found)
        for name, value in found.items():
            before, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = before + value, count + 1

    def state(self) -> dict[str, list[Any]]:
        """All of it in types of JSON; here a GPU is waited for."""
        sums = [[name, float(total), count] for name, (total, count) in self._sums.items()]
        first = [[name, float(value)] for name, value in self._first.items()]
        return {"sums": sums, "first": first, "last": list(self._last.items())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._sums = {name: (total, count) for name, total, count in state["sums"]}
        self._first, self._last = dict(state["first"]), dict(state["last"])

    @property
    def told(self) -> bool:
        """Whether any loss was told since the means were taken."""
        return bool(self._sums)

    def first(self) -> dict[str, float]:
        """The first losses of all: those of the network as it was then."""
        return {name: float(value) for name, value in self._first.items()}

    def take(self) -> dict[str, float]:
        """The means since they were taken last; here a GPU is waited for."""
        if self._sums:
            self._last = {name: float(total) / count for name, (total, count) in self._sums.items()}
            self._sums.clear()
        return dict(self._last)


def number(name: str, value: Any) -> Tensor | float:
    """One number, which stays where it is, without its graph.

    Raises:
        ConfigError: If it is something else.
    """
    if isinstance(value, Tensor) and value.numel() == 1:
        precise = value.device.type != "mps"  # which has no float64
        return value.detach().reshape(()).to(torch.float64 if precise else torch.float32)
    if isinstance(value, Real) and not isinstance(value, Tensor):
        return float(value)
    found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.80}"
    raise ConfigError(f"{name} must be one number, got {found}. Tell its mean or its sum.")
