"""Calibrate a ``SetNet`` to recorded runs of the one architecture that it will score.

A net of trees gets more of them, fitted to what it misses of the bags of these runs, one in each pass. The members of
another go on from their weights for a few passes, held near to where they began. How many passes is chosen on runs
that are left out, where there are several; then the interval is set on these too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.method.fitting.bags import Bags
from fmce_mlflow.method.fitting.config import CalibrationConfig
from fmce_mlflow.method.fitting.fit_set import predict_bags, rows_of, summaries
from fmce_mlflow.method.fitting.hidden import hidden_groups, without_some_groups
from fmce_mlflow.method.fitting.passes import Fitted
from fmce_mlflow.method.fitting.row_store import Rows
from fmce_mlflow.method.fmce_net.belief import Prediction, soft_labels
from fmce_mlflow.method.fmce_net.forest import Forest
from fmce_mlflow.method.fmce_net.interval import NORMAL_90
from fmce_mlflow.method.fmce_net.set_net import SetNet

BLOCKS = 4
"""Parts of the snapshots of a single run that are held out in turn, to see how wide its interval has to be."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Bags of runs that a calibration was not fitted to, what the predictor said of them before, and what after."""

    index: NDArray[np.int64]  # (B,), positions of bags
    before: list[Prediction]
    after: list[Prediction]


@dataclass(frozen=True, slots=True)
class Calibrated(Fitted[SetNet]):
    """A calibrated net, and what it was worth on runs that were left out, each in turn; None of a single run."""

    held_out: HeldOut | None = field(default=None, kw_only=True)


def calibrated(net: SetNet, bags: Bags, config: CalibrationConfig | None = None) -> Calibrated:
    """Calibrate a net to bags of runs of one architecture; the given one is left alone.

    With one run ``config.passes`` are made, and the interval is widened where snapshots that are held out ask for it.
    With more, each is left out in turn: the number of passes is that which was best for them. What is said of a run
    that was left out is never chosen on it: for it, passes are chosen on the others, ``config.passes`` where there is
    but one other.

    Args:
        net: In eval mode, with or without evidence.
        bags: With column ``run_id`` in their table.
        config: How.

    Raises:
        PredictorError: If there is no bag.

    Returns:
        The net; ``epochs`` are the passes, ``validation`` is the mean error on held-out runs before the first pass and
        after each.
    """
    config = config or CalibrationConfig()
    if not len(bags.row):
        raise PredictorError("There is no bag to calibrate to. Name runs that have converged.")
    task = _Task(net, bags, config)
    runs = list(dict.fromkeys(bags.column("run_id").tolist()))
    if len(runs) == 1:
        made = task.fitted(np.arange(len(bags.row)), config.passes)
        _widen(made, task.ratios_of_blocks(), least=1.0)
        return Calibrated(made, config.passes)
    curves = {run: task.curve([run])[run] for run in runs}
    chosen = task.passes_without(runs)
    held: dict[str, tuple[NDArray[np.int64], SetNet]] = {}
    ratios = []
    for run in runs:
        index, made = task.of(run), task.fitted(task.but([run]), chosen[run])
        held[run] = index, made
        ratios.append(task.ratios(made, index))
    mean = np.mean(list(curves.values()), axis=0)
    passes = int(np.argmin(mean))
    made = task.fitted(np.arange(len(bags.row)), passes)
    _widen(made, ratios)
    for _, other in held.values():
        other.std_scale.copy_(made.std_scale)
    index = np.concatenate([index for index, _ in held.values()])
    after = [one for index_, other in held.values() for one in predict_bags(other, bags, index_)]
    return Calibrated(made, passes, mean.tolist(), True, held_out=HeldOut(index, predict_bags(net, bags, index), after))


class _Task:
    """A net and what it is fitted to."""

    def __init__(self, net: SetNet, bags: Bags, config: CalibrationConfig) -> None:
        self.net, self.bags, self.config = net, bags, config
        self.rows: Rows = rows_of(bags, net.config)
        self.fmcs: Tensor = torch.from_numpy(bags.fmcs).float()
        self.run: NDArray[Any] = bags.column("run_id")
        self.hidden = hidden_groups(net.config)

    def of(self, run: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.run == run)

    def but(self, runs: Sequence[str]) -> NDArray[np.int64]:
        return np.flatnonzero(~np.isin(self.run, runs))

    def fitted(self, index: NDArray[np.int64], passes: int) -> SetNet:
        """The net after some passes over some bags."""
        *_, made = self._passes(index, passes)
        return made

    def curve(self, runs: Sequence[str]) -> dict[str, list[float]]:
        """Mean errors on runs that are left out, before the first pass and after each."""
        found: dict[str, list[float]] = {run: [] for run in runs}
        for net in self._passes(self.but(runs), self.config.most):
            for run in runs:
                found[run].append(float(self._errors(net, self.of(run))[0].mean()))
        return found

    def passes_without(self, runs: Sequence[str]) -> Mapping[str, int]:
        """For each run, the passes that are best for the others, each of which was left out beside it."""
        if len(runs) == 2:
            return dict.fromkeys(runs, self.config.passes)
        found: dict[str, list[list[float]]] = {run: [] for run in runs}
        for i, one in enumerate(runs):
            for other in runs[i + 1 :]:
                curves = self.curve([one, other])
                found[one].append(curves[other])
                found[other].append(curves[one])
        return {run: int(np.argmin(np.mean(curves, axis=0))) for run, curves in found.items()}

    def ratios(self, net: SetNet, index: NDArray[np.int64]) -> Tensor:
        """Errors in units of the net's deviation."""
        errors, std = self._errors(net, index)
        return errors / std

    def ratios_of_blocks(self) -> list[Tensor]:
        """Of snapshots in a row that are left out, in turn."""
        snapshot = self.bags.column("snapshot")
        blocks = np.array_split(np.unique(snapshot), min(BLOCKS, len(np.unique(snapshot))))
        held = [np.isin(snapshot, block) for block in blocks]
        return [
            self.ratios(self.fitted(np.flatnonzero(~out), self.config.passes), np.flatnonzero(out))
            for out in held
            if not out.all()
        ]

    def _errors(self, net: SetNet, index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        found, std = summaries(net, self.rows, index)
        return (found - self.fmcs[index]).abs(), std

    def _passes(self, index: NDArray[np.int64], passes: int) -> Iterator[SetNet]:
        """The net as it is, then after each pass: the same object, in eval mode. Random numbers are its own."""
        if self.net.config.trees:
            yield from self._boosted(index, passes)
            return
        net, config = copy.deepcopy(self.net).eval(), self.config
        yield net
        start = [value.detach().clone() for value in net.members.parameters()]
        with torch.no_grad():
            inputs = net.normalize(self.rows.take(index))
        truth = soft_labels(self.fmcs[index], config.label_width)
        steps = Adam(net.members.parameters(), lr=config.lr)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            state = torch.get_rng_state()
        for _ in range(passes):
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                torch.set_rng_state(state)
                net.members.train()
                for batch in torch.randperm(len(index)).split(config.batch_size):
                    losses = [
                        F.cross_entropy(member(without_some_groups(inputs[batch], self.hidden)), truth[batch])
                        for member in net.members
                    ]
                    steps.zero_grad()
                    torch.stack(losses).sum().backward()
                    steps.step()
                    _drawn_back(net, start, config.lr * config.pull)
                state = torch.get_rng_state()
            yield net.eval()

    def _boosted(self, index: NDArray[np.int64], passes: int) -> Iterator[SetNet]:
        """The net as it is, then with one more tree after another, fitted to what it misses of these bags."""
        yield copy.deepcopy(self.net).eval()
        if not passes:
            return
        with torch.no_grad():
            raw = self.net.raw(self.rows.take(index))
            missed = (self.fmcs[index] - self.net.location(raw)).double().numpy()
        rows, leaves = np.where(raw.isnan().all(0).numpy(), 0.0, raw.numpy()), self.net.config.leaves
        model = HistGradientBoostingRegressor(
            loss="absolute_error", max_iter=passes, max_leaf_nodes=leaves, learning_rate=self.config.shrinkage,
            max_features=0.1, min_samples_leaf=5, early_stopping=False, random_state=self.config.seed,
        ).fit(rows, missed)  # fmt: skip
        for number in range(1, passes + 1):
            yield _with_trees(self.net, model, number)


@torch.no_grad()
def _with_trees(net: SetNet, model: HistGradientBoostingRegressor, number: int) -> SetNet:
    """A net with the first trees of a model besides its own."""
    own = net.config.trees
    made = SetNet(replace(net.config, trees=own + number))
    more = Forest(number, net.config.leaves)
    more.take(model)
    state = net.state_dict()
    for name, value in made.state_dict().items():
        if name.startswith("location.") and value.dim():
            value[:own], value[own:] = state[name], more.state_dict()[name.removeprefix("location.")]
        elif name == "location.base":
            value.copy_(state[name] + more.base)
        elif value.shape == state[name].shape:
            value.copy_(state[name])
        else:  # the spread has room for more trees, which stay empty
            value[: len(state[name])] = state[name]
    return made.eval()


@torch.no_grad()
def _drawn_back(net: SetNet, start: Sequence[Tensor], share: float) -> None:
    for value, before in zip(net.members.parameters(), start, strict=True):
        value.lerp_(before, min(1.0, share))


@torch.no_grad()
def _widen(net: SetNet, groups: Sequence[Tensor], *, least: float = 0.0) -> None:
    """Scale the net's deviation so that ±1.645 of it held 90 % of the bags of 90 % of the groups, (B,) each.

    Bags of a run are alike, so what counts is the run: below ten of them, the worst.
    """
    if not groups:
        return
    each = [float(np.quantile(one.numpy(), min(1.0, 0.9 * (len(one) + 1) / len(one)))) / NORMAL_90 for one in groups]
    factor = float(np.quantile(each, min(1.0, 0.9 * (len(each) + 1) / len(each))))
    net.std_scale.mul_(max(1e-3, least, factor))
