"""Train several members of a ``SetNet`` as one batched network: nets so small that calls cost more than numbers.

Each learns what it would learn alone, up to the rounding of batched products: it has its own bags, random numbers and
averaged weights, and what is drawn for it is what ``torch.randperm`` and ``nn.Dropout`` would draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import stack_module_state
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fmce_mlflow.method.fitting.config import FitConfig
from fmce_mlflow.method.fitting.hidden import hidden_groups, without_some_groups
from fmce_mlflow.method.fitting.passes import optimizer
from fmce_mlflow.method.fitting.row_store import IN_MEMORY, PART, Rows, in_parts
from fmce_mlflow.method.fitting.threads import ALONE, raise_stopped, seeded
from fmce_mlflow.method.fmce_net.belief import soft_labels
from fmce_mlflow.method.fmce_net.set_net import SetNet


@dataclass(frozen=True, slots=True, eq=False)
class Learner:
    """A member that is to be trained.

    Attributes:
        net: Has the scale of its bags; it is not changed.
        index: Positions of its bags, int64 (N,).
        seed: Of its initial weights, of the order of bags and of all else that is drawn.
    """

    net: SetNet
    index: NDArray[np.int64]
    seed: int


def train_together(
    learners: Sequence[Learner], rows: Rows, fmcs: Tensor, config: FitConfig, passes: int
) -> Iterator[list[nn.Module]]:
    """Train a new member for each learner; yield them with their averaged weights, in eval mode, after each pass.

    Those whose passes have as many steps, as those of runs of one length have, are one batched network.

    Args:
        learners: Of nets of one shape.
        rows: Features of all bags.
        fmcs: Labels of all bags, float32.
        config: How to train.
        passes: Over each learner's bags.
    """
    students = [_Student(learner, rows, fmcs) for learner in learners]
    by_steps: dict[int, list[_Student]] = {}
    for one in students:
        by_steps.setdefault(-(-len(one.index) // config.batch_size), []).append(one)
    classes = [_Class(together, config, steps) for steps, together in by_steps.items()]
    for _ in range(passes):
        raise_stopped()
        for each in classes:
            each.pass_over()
        yield [one.member for one in students]


class _Student:
    """A learner with its member, and what that takes in."""

    def __init__(self, learner: Learner, rows: Rows, fmcs: Tensor) -> None:
        self.net, self.index, self.rows, self.fmcs = learner.net, learner.index, rows, fmcs
        with seeded(learner.seed):
            made: Any = SetNet(replace(learner.net.config, members=1)).members[0]
            self.generator = torch.Generator()
            self.generator.set_state(torch.get_rng_state())
        self.member: nn.Sequential = made.eval()
        few = 4 * len(self.index) * len(self.net.mean) <= IN_MEMORY
        self._inputs = torch.cat([self._read(part) for part in in_parts(self.index)]) if few else None

    def order(self) -> Tensor:
        """Places of its bags in the order of another pass."""
        return torch.randperm(len(self.index), generator=self.generator)

    def inputs(self, places: Tensor) -> Tensor:
        """What its member takes in of some bags, float32 (b, F)."""
        return self._read(self.index[places.numpy()]) if self._inputs is None else self._inputs[places]

    def labels(self, places: Tensor) -> Tensor:
        """FMCS of some bags, (b,)."""
        return self.fmcs[self.index[places.numpy()]]

    @torch.no_grad()
    def _read(self, index: NDArray[np.int64]) -> Tensor:
        return self.net.normalize(self.rows.take(index))


class _Class:
    """Students that learn in step, whose members are one batched network."""

    def __init__(self, students: Sequence[_Student], config: FitConfig, steps: int) -> None:
        self.students, self.config = students, config
        self.hidden = hidden_groups(students[0].net.config)
        self._weights = stack_module_state([one.member for one in students])[0]  # (M, …) each, by name
        with ALONE:
            self._optimizer, self._schedule = optimizer(self._weights.values(), config, steps)
        self._averaged: list[Tensor] = []
        self._average: Any = get_ema_multi_avg_fn(config.averaging)

    def pass_over(self) -> None:
        """Learn from all bags once, and give each member its averaged weights."""
        for seen, truth, sizes in self._batches():
            logits = self._logits(seen, sizes).flatten(0, 1)
            losses = F.cross_entropy(logits, truth.flatten(0, 1), reduction="none")
            self._optimizer.zero_grad()
            (losses @ _shares(tuple(sizes), seen.shape[1])).backward()
            self._optimizer.step()
            self._schedule.step()
            self._remember()
        with torch.no_grad():
            for place, one in enumerate(self.students):
                for own, averaged in zip(one.member.parameters(), self._averaged, strict=True):
                    own.copy_(averaged[place])

    @torch.no_grad()
    def _remember(self) -> None:
        now = list(self._weights.values())
        if self._averaged:
            self._average(self._averaged, now, 0)
        else:
            self._averaged = [value.detach().clone() for value in now]

    def _batches(self) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
        """Inputs (M, b, F), beliefs that they stand for (M, b, BINS), and how many there are of each student."""
        orders, size = [one.order() for one in self.students], self.config.batch_size
        part = size * max(1, PART // size)
        for parts in zip(*(order.split(part) for order in orders), strict=True):
            inputs = pad_sequence([one.inputs(at) for one, at in zip(self.students, parts, strict=True)], True)
            labels = pad_sequence([one.labels(at) for one, at in zip(self.students, parts, strict=True)], True)
            truth = soft_labels(labels.flatten(), self.config.label_width).unflatten(0, labels.shape)
            for start in range(0, inputs.shape[1], size):
                sizes = [min(size, len(at) - start) for at in parts]
                yield self._disturbed(inputs[:, start : start + size], sizes), truth[:, start : start + size], sizes

    def _disturbed(self, inputs: Tensor, sizes: Sequence[int]) -> Tensor:
        """With some groups hidden, and with noise."""
        if not self.hidden and not self.config.noise:
            return inputs
        seen = inputs.clone()
        for part, one, size in zip(seen, self.students, sizes, strict=True):
            part[:size] = without_some_groups(part[:size], self.hidden, one.generator)
            if self.config.noise:
                part[:size] += self.config.noise * torch.randn(part[:size].shape, generator=one.generator)
        return seen

    def _logits(self, seen: Tensor, sizes: Sequence[int]) -> Tensor:
        """What the members make of their inputs, layer by layer: (M, b, BINS)."""
        for name, layer in self.students[0].member.named_children():
            if isinstance(layer, nn.Linear):
                weight, bias = (self._weights[f"{name}.{part}"] for part in ("weight", "bias"))
                seen = torch.baddbmm(bias[:, None], seen, weight.transpose(1, 2))
            elif isinstance(layer, nn.Dropout):
                seen = self._dropped(seen, layer.p, sizes)
            else:
                seen = layer(seen)
        return seen

    def _dropped(self, seen: Tensor, share: float, sizes: Sequence[int]) -> Tensor:
        """As ``nn.Dropout`` of each student's part."""
        if not share:
            return seen
        kept = torch.empty(seen.shape)
        for part, one, size in zip(kept, self.students, sizes, strict=True):
            part[:size].bernoulli_(1 - share, generator=one.generator)
            part[size:] = 0
        return seen * kept.div_(1 - share)


@lru_cache(maxsize=16)
def _shares(sizes: tuple[int, ...], most: int) -> Tensor:
    """By which losses are summed to the mean of each student's batch, float32 (M · most,); 0 where there is no bag."""
    shares = torch.zeros(len(sizes), most)
    for row, size in zip(shares, sizes, strict=True):
        row[:size] = 1 / size
    return shares.flatten()
