"""The hook for mmengine that the docs show, where mmengine is installed: it is no dependency of this package."""

from __future__ import annotations

from collections import OrderedDict

import mlflow
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.docs.test_docs import blocks
from tests.helpers.evaluations import tracked
from tests.helpers.small_training import IMAGES, LABELS, PROBE, history, net, recorded_maps

pytest.importorskip("mmengine")

from mmengine.model import BaseModel
from mmengine.runner import Runner


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        parts = dict(net().named_children())
        self.backbone = nn.Sequential(OrderedDict(layer4=parts.pop("stem"), **parts))
        self.losses: list[float] = []

    def forward(self, x, y=None, mode="tensor"):
        scores = self.backbone(x)
        if mode != "loss":
            return scores
        loss = F.cross_entropy(scores, y)
        self.losses.append(loss.item())
        return {"loss": loss}


def trained(folder, name, *, recorded):
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=16)
    model = Model()
    runner = Runner(
        model, str(folder), loader, train_cfg={"by_epoch": True, "max_epochs": 3}, randomness={"seed": 3},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.2, "momentum": 0.5}}, experiment_name=name,
    )  # fmt: skip
    if recorded:
        (hook,) = [block for block in blocks("integrations.md", "python") if "mmengine" in block]
        exec(compile(hook, "integrations.md", "exec"), {"runner": runner, "images": PROBE})
    else:
        runner.train()
    return model


def test_losses_are_equal_to_the_bit_and_each_epoch_is_a_snapshot(client, tmp_path):
    plain = trained(tmp_path, "plain", recorded=False)
    with tracked(client.tracking_uri):
        mlflow.set_experiment("tests")
        with mlflow.start_run() as run:
            watched = trained(tmp_path, "watched", recorded=True)
    assert watched.losses == plain.losses and len(plain.losses) == 9
    assert all(torch.equal(watched.state_dict()[k], v) for k, v in plain.state_dict().items())
    found = history(client, run.info.run_id, "train_loss")
    assert [found[s] for s in (1, 2, 3)] == pytest.approx(np.reshape(plain.losses, (3, 3)).mean(1))
    assert len(recorded_maps(client, run.info.run_id, "backbone.layer4")) == 4
