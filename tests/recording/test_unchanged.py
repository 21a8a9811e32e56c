"""A training is the same to the bit with a recorder, whatever the network does in its forward and wherever it looks."""

from __future__ import annotations

import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from timm.utils import ModelEmaV3
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

import fmce_mlflow
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from tests.conftest import new_run
from tests.helpers.live_nets import LIVE
from tests.helpers.process_groups import group_of, record_shards, train
from tests.helpers.recordings import PROBE
from tests.helpers.small_training import IMAGES, LABELS, PROBE_LABELS, SOON

EPOCHS = 2


def seed():
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)


def state(model):
    """All of a model that a training depends on."""
    return {
        "modes": [module.training for module in model.modules()],
        "learns": [p.requires_grad for p in model.parameters()],
        "weights": [p.detach().clone() for p in model.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "buffers": [b.clone() for b in model.buffers()],
        "layout": [p.stride() for p in model.parameters()],
        "random": (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()),
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
    }


def assert_same(plain, recording):
    for step, ((loss, before), (other, after)) in enumerate(zip(plain, recording, strict=True)):
        assert (loss, [key for key in before if not same(before[key], after[key])]) == (other, []), f"step {step}"


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return {k: v for k, v in a.items() if not same(v, b[k])} == {} if isinstance(a, dict) else a == b


def trained(model, recorder=None, inside=nullcontext, amp=False):
    """Losses and all states of a loop; a recorder that takes every second loss looks between forward and backward.

    At the end of an epoch it looks within some context.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    dtype = next(model.parameters()).dtype
    seen = []
    for _ in range(EPOCHS):
        for batch in torch.randperm(48).split(16):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=amp):
                loss = F.cross_entropy(model(IMAGES[batch].to(dtype) + 0.1 * float(np.random.random())), LABELS[batch])
                if recorder is not None:
                    recorder.loss(loss)
            loss.backward()
            optimizer.step()
            seen.append((loss.item(), state(model)))
        if recorder is not None:
            with inside():
                recorder.snapshot()
    return seen


def recorded(client, model, said, run_id, modules=("stem",), **more):
    options = {"labels": PROBE_LABELS, "convergence": SOON, **more}
    return fmce_mlflow.record(model, modules, probe=PROBE, run_id=run_id, client=client, say=said.append, **options)


def twice(client, make, said, every=2, wrap=lambda model: model, **more):
    """What a loop gives without a recorder and with one."""
    seed()
    plain = trained(wrap(make().train()), amp=more.get("amp", False))
    run_id = new_run(client)
    seed()
    model = wrap(make().train())
    with recorded(client, model, said, run_id, every=every) as recorder:
        recording = trained(model, recorder, **more)
    return plain, recording, recorder


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", LIVE)
def test_losses_weights_gradients_modes_and_random_state_are_the_same(client, name):
    said = []
    plain, recording, recorder = twice(client, LIVE[name], said)
    assert_same(plain, recording)
    assert recorder.snapshots == 1 + 3 + EPOCHS, said
    assert FeatureMapReader(client, recorder.run.id).index.snapshots("stem") == tuple(range(recorder.snapshots))
    assert not [line for line in said if "not recorded" in line or "could not" in line]


def test_a_network_that_takes_no_other_backward_pass_is_recorded_without_grad_cam(client):
    """Reentrant checkpointing refuses ``autograd.grad``."""
    said = []
    _, _, recorder = twice(client, LIVE["checkpointed later, reentrant"], said)
    assert recorder.snapshots == 6 and sum("no saliency: RuntimeError: When use_reentrant=True" in s for s in said) == 1


@pytest.mark.parametrize("inside", [torch.no_grad, torch.inference_mode])
def test_a_loop_may_look_without_gradients_and_in_inference_mode(client, inside):
    said = []
    plain, recording, recorder = twice(client, LIVE["counting"], said, every=None, inside=inside)
    assert_same(plain, recording)
    assert recorder.snapshots == 1 + EPOCHS
    assert all("focus/stem" in metrics for metrics in recorder.record.metrics)


def test_autocast_is_the_loops_alone(client):
    """bfloat16 in the training changes nothing of the maps, taken inside of it or outside."""
    plain, recording, recorder = twice(client, LIVE["plain"], [], every=1, amp=True)
    assert_same(plain, recording)
    model, found = recorder.model, []
    for context in (nullcontext(), torch.autocast("cpu", torch.bfloat16)):
        with context, recorded(client, model, [], new_run(client)) as recorder:
            pass
        found.append((recorder.record.entries["stem", 0].sha256, recorder.record.metrics[0]["focus/stem"]))
    assert found[0] == found[1]


def test_a_run_of_its_own_and_a_loader_draw_no_number_of_the_trainings(tracking):
    """MLflow draws a run's name from ``random``, a DataLoader its workers' seed from torch."""
    loader = DataLoader(TensorDataset(PROBE, PROBE_LABELS), batch_size=4, shuffle=True)
    seed()
    plain = trained(LIVE["plain"]().train())
    seed()
    model = LIVE["plain"]().train()
    with fmce_mlflow.record(model, ["stem"], probe=loader, convergence=SOON, say=lambda line: None) as recorder:
        recording = trained(model, recorder)
    assert_same(plain, recording)
    after = state(model)
    recorder.finish()
    assert same(state(model), after)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_network_is_compiled_as_often_as_without(client, backend):
    counts = []

    def wrap(model):
        torch._dynamo.reset()
        counter = torch._dynamo.testing.CompileCounterWithBackend(backend)
        counts.append(counter)
        return torch.compile(model, backend=counter)

    plain, recording, recorder = twice(client, LIVE["plain"], [], wrap=wrap)
    assert_same(plain, recording)
    assert recorder.snapshots == 1 + 3 + EPOCHS and recorder.modules == ("stem",)
    assert counts[0].frame_count == counts[1].frame_count > 0 and counts[0].op_count == counts[1].op_count


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_of_a_group_of_processes_the_first_records_and_none_waits_for_it(client, tmp_path, compiled):
    run_id = new_run(client)
    plain = group_of(train, tmp_path, client.tracking_uri, "", compiled)
    (tmp_path / "group").unlink(missing_ok=True)
    recording = group_of(train, tmp_path, client.tracking_uri, run_id, compiled)
    for before, after in zip(plain, recording, strict=True):
        assert (before["losses"], before["modes"]) == (after["losses"], after["modes"])
    assert [one["recorder"] for one in recording] == ["LoopRecorder", "IdleRecorder"]
    assert [one["snapshots"] for one in recording] == [5, 0] and recording[0]["modules"] == ["stem"]
    assert FeatureMapReader(client, run_id).index.snapshots("stem") == (0, 1, 2, 3, 4)


def test_weights_that_are_sharded_are_refused_in_every_process(tmp_path):
    first, second = group_of(record_shards, tmp_path)
    assert first == second and first.startswith("ModelError: The model's weights are sharded over processes (FSDP)")


def test_an_averaged_copy_is_recorded_like_any_network(client):
    """Its batch norms and dropout are in eval mode already, and stay so."""
    for average in (AveragedModel, ModelEmaV3):
        model = LIVE["plain"]().train()
        copied = average(model)
        before = state(copied)
        with recorded(client, copied, [], new_run(client), modules=["module.stem"]) as recorder:
            trained(model)
            copied.update_parameters(model) if average is AveragedModel else copied.update(model)
            recorder.snapshot(train_loss=1.0)
        assert state(copied)["modes"] == before["modes"] and recorder.modules == ("module.stem",)
        assert recorder.record.metrics[1]["drift/module.stem"] > 0
