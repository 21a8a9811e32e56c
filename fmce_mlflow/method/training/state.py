"""The state of a training at a snapshot, as tensors by name, and back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from fmce_mlflow.method.training.config import TrainingConfig


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What is needed to go on from a snapshot."""

    snapshot: int
    model: dict[str, Tensor]  # the network's state dict, on the CPU
    optimizer: dict[str, Tensor]  # its state, by "<parameter>.<name>"
    scaler: dict[str, float] = field(default_factory=dict)  # state of the fp16 gradient scaler; empty otherwise


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a model weights from a file, where a state dict's versions of modules are lost; they stay the model's own.

    Example:
        >>> net = nn.BatchNorm1d(2)
        >>> load_weights(net, {name: value.clone() for name, value in net.state_dict().items()})
    """
    state = OrderedDict(weights)
    state._metadata = getattr(model.state_dict(), "_metadata", {})  # type: ignore[attr-defined]
    model.load_state_dict(state)


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimizer of a network's trainable parameters."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def training_state(index: int, model: nn.Module, optimizer: Any, accelerator: Accelerator) -> TrainingState:
    """The state at a snapshot, copied to the CPU."""
    moments = optimizer.state_dict()["state"]
    return TrainingState(
        snapshot=index,
        model={k: _kept(v) for k, v in model.state_dict().items()},
        optimizer={
            f"{i}.{k}": _kept(torch.as_tensor(v))
            for i, values in moments.items()
            for k, v in values.items()
            if v is not None
        },
        scaler={k: float(v) for k, v in accelerator.scaler.state_dict().items()} if accelerator.scaler else {},
    )


def _kept(value: Tensor) -> Tensor:
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def load_optimizer(optimizer: Any, state: TrainingState, accelerator: Accelerator) -> None:
    """Give an optimizer and the fp16 scaler the state that they had."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in state.optimizer.items():
        i, _, name = key.partition(".")
        moments.setdefault(int(i), {})[name] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    if accelerator.scaler is not None and state.scaler:
        accelerator.scaler.load_state_dict(
            {k: int(v) if k in ("growth_interval", "_growth_tracker") else v for k, v in state.scaler.items()}
        )
