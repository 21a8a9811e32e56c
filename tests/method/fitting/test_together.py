"""Members that are trained as one batched network learn what each would learn alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fmce_mlflow.method.evidence.groups import NAMES
from fmce_mlflow.method.fitting import together
from fmce_mlflow.method.fitting.bags import collect_bags
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fitting.fit_set import fit_set
from fmce_mlflow.method.fitting.hidden import hidden_groups, without_some_groups
from fmce_mlflow.method.fitting.passes import optimizer
from fmce_mlflow.method.fitting.threads import Stopped, fits_at_once
from fmce_mlflow.method.fitting.together import Learner, train_together
from fmce_mlflow.method.fmce_net.belief import soft_labels
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.set_net import SetNet
from tests.helpers import bags_of_noise

PASSES = 6
CONFIG = FitConfig(epochs=12, batch_size=16, averaging=0.9)


@pytest.fixture(scope="module")
def bags():
    found = collect_bags(bags_of_noise.table(runs=3), bags_of_noise.read, BagConfig(bag_size=10, bags_per_map=2))
    evidence = np.random.default_rng(0).normal(size=(len(found.row), len(NAMES))).astype(np.float32)
    return replace(found, evidence=np.where(evidence > 1, np.nan, evidence))


def alone(learner, rows, fmcs, config):
    """A member's averaged weights after each pass: the plain loop."""
    factors = optimizer([torch.zeros(1)], config, -(-len(learner.index) // config.batch_size))[1].lr_lambdas
    torch.manual_seed(learner.seed)
    member = SetNet(replace(learner.net.config, members=1)).members[0].train()
    averaged = AveragedModel(member, multi_avg_fn=get_ema_multi_avg_fn(config.averaging))
    steps = AdamW(member.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    schedule = LambdaLR(steps, factors[0])
    hidden = hidden_groups(learner.net.config)
    for _ in range(PASSES):
        for batch in torch.randperm(len(learner.index)).split(config.batch_size):
            chosen = learner.index[batch.numpy()]
            seen = without_some_groups(learner.net.normalize(rows.take(chosen)), hidden)
            if config.noise:
                seen = seen + config.noise * torch.randn_like(seen)
            loss = F.cross_entropy(member(seen), soft_labels(fmcs[chosen], config.label_width))
            steps.zero_grad()
            loss.backward()
            steps.step()
            schedule.step()
            averaged.update_parameters(member)
        yield [value.detach().clone() for value in averaged.module.parameters()]


SHAPES = {
    "plain": (SetConfig(), CONFIG),
    "deep": (SetConfig(depth=3, width=16, dropout=0.0), replace(CONFIG, noise=0.1, averaging=0.0)),
    "shallow": (SetConfig(depth=0, input_dropout=0.0), CONFIG),
    "evidence": (SetConfig(reference=True, evidence=("weights", "labels"), scaling="quantile"), CONFIG),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kept", [True, False])
def test_each_learns_what_it_learns_alone(bags, monkeypatch, shape, kept):
    """Of 60, 50 and 17 bags, which are 4, 4 and 2 steps: the tolerance is that of float32 after so many."""
    monkeypatch.setattr(together, "IN_MEMORY", together.IN_MEMORY if kept else 0)
    net_config, config = SHAPES[shape]
    rows = bags.rows(reference=net_config.reference, evidence=bool(net_config.evidence))
    fmcs = torch.from_numpy(bags.fmcs).float()
    net = SetNet(replace(net_config, members=1))
    order = np.random.default_rng(1).permutation(len(bags.row))
    learners = [Learner(net, order[:60], 3), Learner(net, order[-50:], 4), Learner(net, order[20:37], 5)]
    torch.manual_seed(7)
    before = torch.get_rng_state()
    found = [
        [[value.detach().clone() for value in member.parameters()] for member in members]
        for members in train_together(learners, rows, fmcs, config, PASSES)
    ]
    assert torch.equal(torch.get_rng_state(), before), "what others draw is left alone"
    for learner, own in zip(learners, zip(*found, strict=True), strict=True):
        for now, expected in zip(own, alone(learner, rows, fmcs, config), strict=True):
            for a, b in zip(now, expected, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5)
    assert not torch.equal(found[0][0][0], found[-1][0][0])


def test_fits_in_threads_are_those_of_one_after_another(bags):
    runs = bags.column("run_id")
    fit = partial(fit_set, bags, groups=runs, net_config=SetConfig(width=16, members=2), config=FitConfig(epochs=6))
    masks = [runs != held for held in dict.fromkeys(runs)]
    with fits_at_once() as fits, ThreadPoolExecutor(3) as more:  # more threads than torch has here
        found = [*fits.map(fit, masks), *more.map(fit, masks)]
    for one, other in zip(found, [fit(mask) for mask in masks] * 2, strict=True):
        assert one.validation == other.validation and one.epochs == other.epochs
        for a, b in zip(one.net.state_dict().values(), other.net.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_fit_that_nobody_waits_for_ends_with_its_pass(bags):
    began = threading.Event()
    config = FitConfig(epochs=10**6, patience=10**6, lr=1e-6)
    with pytest.raises(KeyboardInterrupt), fits_at_once() as fits:
        waiting = fits.submit(
            fit_set, bags, bags.fmcs >= 0, bags.column("run_id"), SetConfig(width=4), config,
            report=lambda number, _: began.set(),
        )  # fmt: skip
        began.wait()
        raise KeyboardInterrupt
    assert isinstance(waiting.exception(), Stopped)
