"""Fit a ``SetNet``, with early stopping and calibration on groups of its own training data.

The groups that a protocol holds out for scoring are never seen here. Of the others, some are held out in turn: they say
after how many passes to stop and how wide an interval must be; then the net is fitted to all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold
from torch import Tensor

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.method.fitting.bags import Bags
from fmce_mlflow.method.fitting.config import FitConfig
from fmce_mlflow.method.fitting.fit_trees import fit_trees, group_quantile
from fmce_mlflow.method.fitting.passes import AfterPass, Fitted
from fmce_mlflow.method.fitting.row_store import Rows, in_parts
from fmce_mlflow.method.fitting.threads import seeded
from fmce_mlflow.method.fitting.together import Learner, train_together
from fmce_mlflow.method.fmce_net.belief import KNOTS, Prediction
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.interval import NORMAL_90
from fmce_mlflow.method.fmce_net.set_net import SetNet

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
    learners = [Learner(net, chosen, config.seed + i) for i in range(net_config.members)]
    *_, members = train_together(learners, rows, fmcs, config, passes)
    net.members = torch.nn.ModuleList(members)
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
    nets = [_new_net(single, rows, rest, config.seed + i) for i, (rest, _) in enumerate(folds)]
    learners = [Learner(net, rest, config.seed + i) for i, (net, (rest, _)) in enumerate(zip(nets, folds, strict=True))]
    curve: list[float] = []
    best: list[Tensor] = []
    for number, members in enumerate(train_together(learners, rows, fmcs, config, config.epochs), start=1):
        ratios, errors = [], []
        for net, member, (_, held) in zip(nets, members, folds, strict=True):
            net.members[0] = member
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


def _new_net(config: SetConfig, rows: Rows, index: NDArray[np.int64], seed: int) -> SetNet:
    """A net with the scale of its training bags."""
    with seeded(seed):
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
