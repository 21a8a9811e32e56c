"""A training that stops and freezes by itself, in a plain loop: one process, one that is cut off, and two."""

from __future__ import annotations

import json
import os

import pytest
import torch
import torch.distributed as dist
from mlflow import MlflowClient
from torch import nn
from torch.nn import functional as F

import fmce_mlflow
from fmce_mlflow.errors import BackboneError
from fmce_mlflow.method.convergence.causal import verdicts
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.networks.upstream import Upstream
from fmce_mlflow.recording.freezing import Freezing
from fmce_mlflow.recording.loop import IdleRecorder
from tests.conftest import new_run
from tests.helpers.process_groups import run_ranks
from tests.helpers.recordings import PROBE
from tests.helpers.small_training import IMAGES, LABELS, PROBE_LABELS

SOON = ConvergenceConfig(levels=2, threshold=0.15, smoothing=0, window=1)
EPOCHS = 10


class Net(nn.Module):
    """Two stages with batch norm and a head."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.drop, self.head = nn.Dropout(0.1), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.drop(self.second(self.first(x)).mean((2, 3))))


class Loop:
    """Anybody's training: a learning rate that falls, momentum, weight decay, a checkpoint after each epoch."""

    def __init__(self, model, wrapped=None):
        self.model, self.wrapped = model, wrapped or model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.5, weight_decay=0.1)
        self.losses, self.checkpoint = [], None

    def restore(self, checkpoint):
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])

    def epochs(self, recorder, first=0, last=EPOCHS, freezes=True):
        for epoch in range(first, last):
            self.wrapped.train()
            self.optimizer.param_groups[0]["lr"] = 0.2 * 0.5**epoch
            torch.manual_seed(epoch)
            loss = F.cross_entropy(self.wrapped(IMAGES), LABELS)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())
            recorder.loss(loss)
            recorder.snapshot(epoch=epoch + 1)
            if freezes:
                recorder.freeze_converged()
            state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
            self.checkpoint = {part: _copied(value) for part, value in state.items()}
            yield epoch + 1


def _copied(value):
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value


def recorded(client, model, run_id=None, said=None, **more):
    options = {"labels": PROBE_LABELS, "convergence": SOON, "patience": 1, "signal": "drift", **more}
    return fmce_mlflow.record(
        model, ["second", "first"], probe=PROBE, run_id=run_id or new_run(client), client=client,
        say=(lambda line: None) if said is None else said.append, **options,
    )  # fmt: skip


def tags(client, recorder):
    return client.get_run(recorder.run.id).data.tags


def test_modules_freeze_from_the_input_on_and_do_not_move_any_more(client):
    model, states, frozen = Net(), {}, {}
    loop = Loop(model)
    with recorded(client, model) as recorder:
        for epoch in loop.epochs(recorder):
            for name in recorder.frozen:
                frozen.setdefault(name, epoch)
            states[epoch] = _copied(model.state_dict())
        assert recorder.frozen == ("first", "second") == tuple(frozen) and frozen["second"] < EPOCHS
        assert json.loads(tags(client, recorder)["fmce.frozen"]) == frozen
        drifts = {name: [one.get(f"drift/{name}") for one in recorder.record.metrics] for name in frozen}
    for name, since in frozen.items():
        assert drifts[name][since] > 0 and max(drifts[name][since + 1 :]) < 1e-9
        before = [drifts[name][1], *drifts[name][1 : since + 1]]
        assert verdicts(before, SOON, patience=1)[-1]
        for epoch in range(since, EPOCHS + 1):
            same = {key: torch.equal(value, states[epoch][key]) for key, value in states[since].items()}
            assert all(same[key] for key in same if key.startswith(name))
            assert epoch == since or not same["head.weight"]
    assert model.train().first[1].training and not model.first[1].weight.requires_grad  # the hooks are gone


def test_what_stops_it_is_the_signal_and_what_has_converged_can_be_asked(client):
    model, stopped = Net(), []
    with recorded(client, model, signal="train") as recorder:
        for epoch in Loop(model).epochs(recorder, freezes=False):
            losses = [one["train_loss"] for one in recorder.record.metrics]
            expected = verdicts(losses, SOON, patience=1)[-1]
            assert recorder.should_stop is recorder.converged() is bool(expected)
            assert recorder.converged(by="drift") is (recorder.converged("first") and recorder.converged("second"))
            stopped += [epoch] * recorder.should_stop
        assert stopped and recorder.frozen == ()
        with pytest.raises(BackboneError, match="third"):
            recorder.converged("third")


def test_a_recording_that_goes_on_freezes_the_same_again(client):
    whole = Loop(Net())
    torch.manual_seed(1)
    first = Net()
    weights = _copied(first.state_dict())
    whole.model.load_state_dict(weights)
    with recorded(client, whole.model) as recorder:
        at = {epoch: recorder.frozen for epoch in whole.epochs(recorder)}
    cut_at = next(epoch for epoch, frozen in at.items() if frozen)  # right after something was frozen
    cut = Loop(first)
    with pytest.raises(RuntimeError, match="power"), recorded(client, first) as recorder:
        for epoch in cut.epochs(recorder):
            if epoch == cut_at:
                raise RuntimeError("power")
    rest = Loop(Net())
    rest.restore(cut.checkpoint)
    with recorded(client, rest.model, recorder.run.id) as recorder:
        assert recorder.frozen == at[cut_at] and not rest.model.first[0].weight.requires_grad
        assert {epoch: recorder.frozen for epoch in rest.epochs(recorder, cut_at)} == {
            epoch: frozen for epoch, frozen in at.items() if epoch > cut_at
        }
    assert cut.losses + rest.losses == whole.losses
    assert all(torch.equal(rest.model.state_dict()[k], v) for k, v in whole.model.state_dict().items())


def test_what_would_leave_nothing_to_train_is_not_frozen(client):
    model = Net()
    model.head.requires_grad_(False)
    with recorded(client, model) as recorder:
        for _ in Loop(model).epochs(recorder):
            pass
        assert recorder.converged("second") and recorder.should_stop and recorder.frozen == ("first",)


def test_what_cannot_be_frozen_is_said_once_and_stops_nothing(client):
    class Fails(Net):
        """Its modules are called, but not where each operator is watched."""

        def forward(self, x):
            if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
                raise TypeError("no modes here")
            return super().forward(x)

    model, said = Fails(), []
    with recorded(client, model, said=said) as recorder:
        losses = len(list(Loop(model).epochs(recorder)))
    assert losses == EPOCHS and recorder.frozen == ()
    assert sum("nothing is frozen; the training goes on. TypeError: no modes here" in line for line in said) == 1


def test_of_branches_that_are_due_together_one_is_left_to_train():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    known = {name: Upstream((f"{name}.weight", f"{name}.bias"), ()) for name in model}
    known[""] = Upstream(known["a"].parameters + known["b"].parameters, ())
    assert [name for name, _ in Freezing(model, lambda: known).parts_of(["a", "b"])] == ["a"]


def _rank(rank, folder, find_unused):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    try:
        client = MlflowClient((folder / "uri").read_text())
        torch.manual_seed(1)
        model, said, answers = Net(), [], []
        run_id = (folder / "run").read_text()
        wrapped = nn.parallel.DistributedDataParallel(model, find_unused_parameters=find_unused)
        loop = Loop(model, wrapped)
        with recorded(client, model, run_id, said) if rank == 0 else IdleRecorder(model) as one:
            for _ in loop.epochs(one):
                answers.append((one.frozen, one.should_stop, one.converged("first")))
        torch.save(
            (answers, said, {k: v for k, v in model.state_dict().items() if "running" not in k}), folder / f"{rank}.pt"
        )
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("find_unused", [True, False])
def test_all_processes_get_the_same_answers_and_freeze_the_same(client, tmp_path, find_unused):
    (tmp_path / "run").write_text(new_run(client))
    (tmp_path / "uri").write_text(client.tracking_uri)
    run_ranks(_rank, tmp_path, find_unused)
    (answers, said, weights), (others, _, other_weights) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert answers == others and all(torch.equal(other_weights[k], v) for k, v in weights.items())
    assert answers[-1][2] and answers[-1][0] == (("first", "second") if find_unused else ())
    assert any("find_unused_parameters=True" in line for line in said) is not find_unused
