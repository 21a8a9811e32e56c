"""Fit a ``SetNet``, with early stopping and calibration on groups of its own training data.

The groups that a protocol holds out for scoring are never seen here. Of the others, some are held out in turn: they say
after how many passes to stop and how wide an interval must be; then the net is fitted to all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.method.evidence.groups import columns
from fmce_mlflow.method.fitting.bags import Bags
from fmce_mlflow.method.fitting.config import FitConfig
from fmce_mlflow.method.fitting.fit_trees import fit_trees, group_quantile
from fmce_mlflow.method.fitting.passes import AfterPass, Fitted, optimizer
from fmce_mlflow.method.fitting.row_store import IN_MEMORY, Rows
from fmce_mlflow.method.fmce_net.belief import KNOTS, NORMAL_90, Prediction, soft_labels
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.set_net import SetNet, seen_features
from fmce_mlflow.method.fmce_net.statistics import FEATURES

REFERENCE_DROPOUT = 0.15
"""Share of training bags whose contrast with the untrained module is hidden from a net that sees references."""

HIDDEN = {"labels": 0.5}
"""The same of groups of evidence that are often missing."""

PART = 2**12  # bags whose features are read at a time
SCALE_FLOOR = 1e-2
"""Added to a feature's deviation, so that one that hardly varies in training is not blown up elsewhere."""

KNOT_FLOOR = 1e-3  # deviation by which a feature's quantiles are spread, for the same reason


def fit_set(
    bags: Bags,
    train: NDArray[np.bool_],
    groups: NDArray[Any],
    net_config: SetConfig | None = None,
    config: FitConfig | None = None,
    *,
    report: AfterPass | None = None,
) -> Fitted[SetNet]:
    """Fit a ``SetNet`` to some of the bags.

    Args:
        bags: Statistics of N bags.
        train: Bags to train on, bool (N,).
        groups: Group of each bag, (N,); validation folds hold out whole groups.
        net_config: Shape of the net.
        config: How to fit.
        report: Called after each pass over the validation folds; may raise to stop.

    Raises:
        PredictorError: If there is no bag to train on.
    """
    net_config, config = net_config or SetConfig(), config or FitConfig()
    chosen = np.flatnonzero(train)
    if not len(chosen):
        raise PredictorError("There is no bag to train on. Check the protocol and the FMCS-dataset.")
    rows, fmcs = rows_of(bags, net_config), torch.from_numpy(bags.fmcs).float()
    if net_config.trees:
        return _fit_trees(rows, bags.fmcs[chosen], chosen, groups[chosen], net_config, config)
    folds = [(chosen[rest], chosen[held]) for rest, held in _folds(groups[chosen], config.folds)]
    curve: list[float] = []
    ratios: list[Tensor] = []
    if folds:
        curve, ratios = _validate(rows, fmcs, folds, net_config, config, report)
    passes = int(np.argmin(curve)) + 1 if folds else config.epochs
    net = _new_net(net_config, rows, chosen, config.seed)
    for i in range(net_config.members):
        *_, member = _training(net, rows, fmcs, chosen, config, config.seed + i, passes)
        net.members[i] = member
    if folds:
        _calibrate(net, torch.cat(ratios))
    return Fitted(net.eval(), passes, curve, bool(folds))


def _fit_trees(
    rows: Rows,
    fmcs: NDArray[np.float64],
    chosen: NDArray[np.int64],
    groups: NDArray[Any],
    net_config: SetConfig,
    config: FitConfig,
) -> Fitted[SetNet]:
    net = _new_net(net_config, rows, chosen, config.seed)
    raw = torch.cat([net.raw(rows.take(part)) for part in in_parts(chosen)]).numpy()
    ratios = fit_trees(net, raw, fmcs, groups, config)
    held_out = np.isfinite(ratios)
    if len(ratios):
        net.std_scale.fill_(max(1e-3, group_quantile(ratios[held_out], groups[held_out], 0.9) / NORMAL_90))
    return Fitted(net.eval(), net_config.trees, [], bool(len(ratios)))


def predict_bags(net: SetNet, bags: Bags, index: NDArray[np.int64]) -> list[Prediction]:
    """Predictions of a set net in eval mode for the bags at some positions, int64 (B,)."""
    rows = rows_of(bags, net.config)
    return [found for part in in_parts(index) for found in net.predict_features(rows.take(part))]


def rows_of(bags: Bags, config: SetConfig) -> Rows:
    """What a net of this shape is given of bags."""
    return bags.rows(reference=config.reference, evidence=bool(config.evidence))


def _folds(groups: NDArray[Any], most: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Bags to train on and to hold out, by fold, as positions in ``groups``; whole groups, none held out twice."""
    count = min(most, len(set(groups)))
    return list(GroupKFold(count).split(groups, groups=groups)) if count > 1 else []


def _validate(
    rows: Rows,
    fmcs: Tensor,
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    net_config: SetConfig,
    config: FitConfig,
    report: AfterPass | None,
) -> tuple[list[float], list[Tensor]]:
    """Fit one net per fold, side by side: errors on held-out bags after each pass, and the best pass's by fold.

    The latter are in units of the net's own deviation, (held,).
    """
    single = replace(net_config, members=1)
    runs = []
    for i, (rest, held) in enumerate(folds):
        net = _new_net(single, rows, rest, config.seed + i)
        runs.append((net, _training(net, rows, fmcs, rest, config, config.seed + i, config.epochs), held))
    curve: list[float] = []
    best: list[Tensor] = []
    for number in range(1, config.epochs + 1):
        ratios, errors = [], []
        for net, training, held in runs:
            net.members[0] = next(training)
            found, std = summaries(net.eval(), rows, held)
            apart = (found - fmcs[held]).abs()
            ratios.append(apart / std)
            errors.append(float(apart.mean()))
        curve.append(float(np.mean(errors)))
        if curve[-1] == min(curve):
            best = ratios
        if report is not None:
            report(number, {"validation_mae": curve[-1]})
        if number - 1 - int(np.argmin(curve)) >= config.patience:
            break
    return curve, best


@torch.no_grad()
def summaries(net: SetNet, rows: Rows, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """FMCS and its deviation for some bags, (B,) each."""
    found = [net.summarize(net(rows.take(part)))[:2] for part in in_parts(index)]
    fmcs, std = zip(*found, strict=True)
    return torch.cat(fmcs), torch.cat(std)


def in_parts(index: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Positions of bags in parts whose features take tens of megabytes."""
    yield from (index[start : start + PART] for start in range(0, len(index), PART))


def _training(
    net: SetNet, rows: Rows, fmcs: Tensor, index: NDArray[np.int64], config: FitConfig, seed: int, passes: int
) -> Iterator[torch.nn.Module]:
    """Train one new member of a net on some bags; yields it with its averaged weights after each pass.

    Its random numbers are its own, whatever else is trained between two passes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        member = SetNet(replace(net.config, members=1)).members[0].train()
        state = torch.get_rng_state()
    averaged = AveragedModel(member, multi_avg_fn=get_ema_multi_avg_fn(config.averaging))
    steps, schedule = optimizer(member, config, -(-len(index) // config.batch_size))
    inputs = _inputs(net, rows, index)
    hidden = hidden_groups(net.config)
    for _ in range(passes):
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(state)
            for batch in torch.randperm(len(index)).split(config.batch_size):
                chosen = index[batch.numpy()]
                seen = net.normalize(rows.take(chosen)) if inputs is None else inputs[batch]
                seen = without_some_groups(seen, hidden)
                if config.noise:
                    seen = seen + config.noise * torch.randn_like(seen)
                loss = F.cross_entropy(member(seen), soft_labels(fmcs[chosen], config.label_width))
                steps.zero_grad()
                loss.backward()
                steps.step()
                schedule.step()
                averaged.update_parameters(member)
            state = torch.get_rng_state()
        yield averaged.module.eval()


@torch.no_grad()
def _inputs(net: SetNet, rows: Rows, index: NDArray[np.int64]) -> Tensor | None:
    """What members take in of some bags, float32 (B, F), so that it is not computed in every pass; None of too many."""
    if 4 * len(index) * len(net.mean) > IN_MEMORY:
        return None
    return torch.cat([net.normalize(rows.take(part)) for part in in_parts(index)])


def hidden_groups(config: SetConfig) -> list[tuple[float, Tensor]]:
    """What is hidden in some training bags, so that the net learns to do without: how often, and its columns."""
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


def without_some_groups(inputs: Tensor, hidden: list[tuple[float, Tensor]]) -> Tensor:
    """Some bags without some groups of their columns."""
    if hidden:
        inputs = inputs.clone()
    for share, own in hidden:
        chosen = torch.rand(len(inputs), 1) < share
        inputs[:, own] = torch.where(chosen, 0.0, inputs[:, own])
    return inputs


def _new_net(config: SetConfig, rows: Rows, index: NDArray[np.int64], seed: int) -> SetNet:
    """A net with the scale of its training bags."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SetNet(config)
    mean, deviation = rows.moments(index)
    net.mean.copy_(mean)
    net.scale.copy_(deviation + SCALE_FLOOR)
    if config.scaling == "quantile":
        shares = (torch.arange(KNOTS, dtype=torch.float64) + 0.5) / KNOTS
        net.knots.copy_(rows.quantiles(index, shares) + KNOT_FLOOR * net.deviates)
    return net


@torch.no_grad()
def _calibrate(net: SetNet, ratios: Tensor) -> None:
    """Scale the net's deviation so that ±1.645 of it held 90 % of what the folds' nets had not seen.

    Split conformal prediction with the deviation as the scale of the residual (Lei et al. 2018); ``ratios`` are errors
    in units of the deviation, (held,).
    """
    rank = min(1.0, 0.9 * (len(ratios) + 1) / len(ratios))
    net.std_scale.fill_(max(1e-3, float(np.quantile(ratios.numpy(), rank)) / NORMAL_90))
