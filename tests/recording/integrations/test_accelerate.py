"""A loop with a real Accelerator needs no adapter: prepared models, mixed precision, accumulated gradients."""

from __future__ import annotations

import mlflow
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import fmce_mlflow
from tests.helpers.evaluations import tracked
from tests.helpers.small_training import IMAGES, LABELS, PROBE, PROBE_LABELS, SOON, history, maps_of, net, recorded_maps


@pytest.fixture(params=["no", "bf16"])
def precision(request):
    AcceleratorState._reset_state(reset_partial_state=True)
    yield request.param
    AcceleratorState._reset_state(reset_partial_state=True)


def trained(precision, recorded=None):
    """Three epochs of three batches, whose gradients are added up by two; the network and its losses to the bit."""
    accelerator = Accelerator(cpu=True, mixed_precision=precision, gradient_accumulation_steps=2)
    torch.manual_seed(3)
    model, losses = net(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.5)
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=16, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    recorder = None if recorded is None else recorded(model)
    for epoch in range(3):
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = F.cross_entropy(model(x), y)
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            losses.append(loss.item())
            if recorder is not None:
                recorder.loss(loss)
        if recorder is not None:
            recorder.snapshot(epoch=epoch + 1)
    if recorder is not None:
        recorder.finish()
    return accelerator.unwrap_model(model, keep_fp32_wrapper=False), losses, torch.get_rng_state()


def test_losses_are_equal_to_the_bit(precision, client):
    plain, expected, state = trained(precision)

    def recorded(model):
        options = {"probe": PROBE, "labels": PROBE_LABELS, "convergence": SOON, "say": lambda line: None}
        return fmce_mlflow.record(model, ["stem", "frozen"], **options).__enter__()

    with tracked(client.tracking_uri):
        mlflow.set_experiment("tests")
        with mlflow.start_run() as run:
            watched, losses, after = trained(precision, recorded)
    assert losses == expected and torch.equal(after, state)
    assert all(torch.equal(watched.state_dict()[k], v) for k, v in plain.state_dict().items())
    found = history(client, run.info.run_id, "train_loss")
    assert found == pytest.approx({0: losses[0], **dict(enumerate(np.reshape(losses, (3, 3)).mean(1), 1))})
    maps = recorded_maps(client, run.info.run_id, "stem")
    assert len(maps) == 4
    np.testing.assert_allclose(maps[3], maps_of(watched, "stem"), rtol=0.02, atol=0.02)  # bfloat16 has 8 bits
