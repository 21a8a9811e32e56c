"""What is hidden from a ``SetNet`` in some training bags, so that it learns to do without it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fmce_mlflow.method.evidence.groups import columns
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.set_net import seen_features
from fmce_mlflow.method.fmce_net.statistics import FEATURES

REFERENCE_DROPOUT = 0.15
"""Share of training bags whose contrast with the untrained module is hidden from a net that sees references."""

HIDDEN = {"labels": 0.5}
"""The same of groups of evidence that are often missing."""


def hidden_groups(config: SetConfig) -> list[tuple[float, Tensor]]:
    """What is hidden: how often, and its columns."""
    with torch.device("cpu"):
        maps = seen_features(torch.zeros(1, 2 * FEATURES), replace(config, evidence=(), reference=False)).shape[1]
    found, start = [], maps
    if config.reference:
        found.append((REFERENCE_DROPOUT, torch.arange(start, start + maps)))
        start += maps
    places = columns(config.evidence)
    flags = start + len(places)
    for group in config.evidence:
        own = torch.tensor([start + places.index(place) for place in columns([group])])
        found.append((HIDDEN.get(group, REFERENCE_DROPOUT), own))
    if config.evidence:
        found = [(share, torch.cat([own, torch.tensor([flags + i])])) for i, (share, own) in enumerate(found)]
    return found


def without_some_groups(
    inputs: Tensor, hidden: list[tuple[float, Tensor]], generator: torch.Generator | None = None
) -> Tensor:
    """Some bags without some groups of their columns."""
    if hidden:
        inputs = inputs.clone()
    for share, own in hidden:
        chosen = torch.rand(len(inputs), 1, generator=generator) < share
        inputs[:, own] = torch.where(chosen, 0.0, inputs[:, own])
    return inputs
