"""How images get into a network whose forward does not take them as one tensor (n, C, H, W)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from fmce_mlflow.errors import ModelError
from fmce_mlflow.method.networks.model_forms import probing, run, unwrap

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Entry:
    """What becomes of images (n, C, H, W) before a network's forward.

    Example:
        >>> class Net(nn.Module):
        ...     def forward(self, batch):
        ...         return batch["image"].shape
        >>> net = Net()
        >>> with Entry("image", in_dict=True, channels_last=True).open(net):
        ...     print(net(torch.zeros(1, 3, 4, 5)))
        torch.Size([1, 4, 5, 3])
    """

    name: str | None = None  # of the input, where the model's signature has one
    in_dict: bool = False  # or as an argument of that name, or the first one
    channels_last: bool = False

    @contextmanager
    def open(self, network: nn.Module) -> Iterator[None]:
        """Let a network take images (n, C, H, W) for a while."""
        if not self.channels_last and self.name is None:
            yield
            return
        handle = unwrap(network).register_forward_pre_hook(self._passed, prepend=True, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    def tried(self, network: nn.Module, pixels: Tensor) -> Entry:
        """With ``in_dict`` where a named input is no argument of the forward, and a plain tensor fails."""
        if self.name is None or self.name in _arguments(network):
            return self
        network = unwrap(network)
        for way in (self, replace(self, in_dict=True)):
            try:
                with torch.no_grad(), probing(network), way.open(network):
                    run(network, pixels)
                return way
            except Exception:  # a forward raises what it likes
                continue
        return self

    def _passed(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        images, *others = args
        if self.channels_last and isinstance(images, Tensor) and images.dim() == 4:
            images = images.permute(0, 2, 3, 1)
        if self.in_dict:
            return ({self.name: images}, *others), kwargs
        if self.name in _arguments(network):
            return tuple(others), {**kwargs, self.name: images}
        return (images, *others), kwargs


def check_inputs(network: nn.Module, named: Sequence[str] = ()) -> None:
    """See that a network wants nothing beside images.

    Raises:
        ModelError: It does; says what.
    """
    parameters = _arguments(network)
    wanted = [name for name, one in parameters.items() if one.default is one.empty and one.kind in _POSITIONAL]
    wanted = wanted if parameters else list(named)
    if len(wanted) > 1:
        raise ModelError(
            f"The model takes {len(wanted)} inputs ({', '.join(wanted)}), and fmce gives it images alone. Log a module "
            "whose forward takes the images and sets the rest itself, or give the rest defaults."
        )


def _arguments(network: nn.Module) -> dict[str, inspect.Parameter]:
    """Of its forward; nothing where that cannot be told, as of an exported network."""
    if isinstance(network := unwrap(network), torch.export.UnflattenedModule):
        return {}
    try:
        return dict(inspect.signature(network.forward).parameters)
    except (TypeError, ValueError):
        return {}
