"""Frozen parts do not move by one bit, whatever the loop does; the rest trains on."""

from __future__ import annotations

import copy
import io
import os
import pickle

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from fmce_mlflow.errors import ModelError
from fmce_mlflow.method.networks.freeze import Frozen, check_freezable
from fmce_mlflow.method.networks.upstream import upstream
from tests.helpers.nets import tiny
from tests.helpers.process_groups import run_ranks

IMAGES, LABELS = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 10
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "fused": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, fused=True),
}
BEFORE = {"stem.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"}
BEFORE |= {"norm.num_batches_tracked"}


def net():
    torch.manual_seed(0)
    return tiny()


def steps(model, optimizer, n=3, *, to_none=True):
    for _ in range(n):
        model.train()  # as loops do at each epoch
        loss = F.cross_entropy(model(IMAGES), LABELS)
        optimizer.zero_grad(set_to_none=to_none)
        loss.backward()
        optimizer.step()


def frozen_at(model, name="norm"):
    held = Frozen(model)
    held.freeze(upstream(model, [name], IMAGES[:2])[name])
    return held


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def moved(model, before):
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("to_none", [True, False])
def test_what_is_frozen_does_not_move_by_one_bit_and_all_else_does(make, to_none):
    model = net()
    optimizer = make(model.parameters())
    steps(model, optimizer)  # momentum is there
    F.cross_entropy(model(IMAGES), LABELS).backward()  # and gradients of a step that is not done
    frozen_at(model)
    before = state(model)
    steps(model, optimizer, to_none=to_none)
    assert moved(model, before) == set(before) - BEFORE
    assert all(model.get_parameter(name).grad is None for name in BEFORE if "running" not in name and "num" not in name)


def test_backward_ends_where_what_is_frozen_ends():
    model = net()
    frozen_at(model)
    maps = {}
    model.norm.register_forward_hook(lambda module, args, output: maps.update(norm=output))
    model.train()(IMAGES)
    assert not maps["norm"].requires_grad


def test_the_map_of_a_frozen_module_stays_as_it_is():
    model = net()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    steps(model, optimizer)
    frozen_at(model, "norm")
    want = model.eval().norm(model.stem(IMAGES))
    steps(model, optimizer)
    assert torch.equal(model.train().norm(model.stem(IMAGES)), want)


@pytest.mark.parametrize(
    "rouse",
    [
        lambda model: model.train(),
        lambda model: model.norm.train(),
        lambda model: setattr(model.norm, "training", True),
        lambda model: [setattr(one, "training", True) for one in model.modules()],
    ],
)
def test_norm_layers_stay_in_eval_mode_and_others_follow(rouse):
    model = net().eval()
    frozen_at(model)
    before = state(model)
    model.train()
    rouse(model)
    model(IMAGES)
    assert model.drop.training and not model.norm.training and not moved(model, before)


def test_a_second_module_adds_to_the_first_and_the_last_that_trains_is_seen():
    model = net()
    found = upstream(model, ["norm", "stage"], IMAGES[:2])
    held, whole = Frozen(model), upstream(model, ["norm"], IMAGES[:2])[""]
    assert held.leaves_any([found["stage"]], whole)
    held.freeze(found["norm"])
    held.freeze(found["stage"])
    assert {name for name, one in model.named_parameters() if one.requires_grad} == {"head.weight", "head.bias"}
    model.head.requires_grad_(False)
    model.add_module("spare", torch.nn.Linear(2, 2))  # trains, but no output is made of it
    assert not held.leaves_any([found["stage"]], whole)


def test_copies_and_pickles_work_and_released_modules_know_nothing_of_it():
    model = net()
    held = frozen_at(model)
    twin = copy.deepcopy(model)
    before = state(twin)
    steps(twin, OPTIMIZERS["sgd"](twin.parameters()))  # the copy is held, and by itself
    assert moved(twin, before) == set(before) - BEFORE and model.norm is not twin.norm
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(again.eval()(IMAGES), model.eval()(IMAGES))
    held.release()
    data = io.BytesIO()
    torch.save(model, data)
    assert b"fmce_mlflow" not in data.getvalue() and "train" not in vars(model.norm)
    assert model.train().norm.training and not model.norm.weight.requires_grad


def test_a_compiled_network_is_held_too():
    model = net()
    compiled = torch.compile(model, backend="eager")
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    steps(compiled, optimizer, 2)
    held = Frozen(compiled)
    held.freeze(upstream(compiled, ["norm"], IMAGES[:2])["norm"])
    before = state(model)
    steps(compiled, optimizer)
    assert moved(model, before) == set(before) - BEFORE


def _rank(rank, world, folder, find_unused):
    os.environ.update(MASTER_ADDR="127.0.0.1", GLOO_SOCKET_IFNAME="lo")
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    torch.set_num_threads(1)
    try:
        model = net()
        wrapped = nn.parallel.DistributedDataParallel(model, find_unused_parameters=find_unused)
        optimizer = OPTIMIZERS["sgd"](model.parameters())
        steps(wrapped, optimizer, 2)
        held = Frozen(wrapped)
        try:
            held.freeze(upstream(wrapped, ["norm"], IMAGES[:2])["norm"])
        except ModelError as error:
            steps(wrapped, optimizer)  # and nothing was frozen
            torch.save({"error": str(error)}, f"{folder}/{rank}.pt")
            return
        before = state(model)
        steps(wrapped, optimizer)
        torch.save({"moved": moved(model, before), "state": state(model)}, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("find_unused", [True, False])
def test_under_ddp_it_works_where_parameters_may_be_unused_and_is_refused_elsewhere(tmp_path, find_unused):
    run_ranks(_rank, 2, str(tmp_path), find_unused)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    if not find_unused:
        assert all("find_unused_parameters=True" in one["error"] for one in found)
        return
    first, second = found
    assert first["moved"] == second["moved"] == set(first["state"]) - BEFORE
    weights = [name for name in first["state"] if "running" not in name]
    assert all(torch.equal(first["state"][name], second["state"][name]) for name in weights)


def test_an_averaged_copy_is_refused():
    with pytest.raises(ModelError, match="averaged copy, which nothing trains"):
        check_freezable(torch.optim.swa_utils.AveragedModel(net()))


def test_a_plain_model_can_be_frozen():
    check_freezable(net())
    check_freezable(nn.DataParallel(net()))
