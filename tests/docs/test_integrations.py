"""What the page on other people's trainers shows runs as it stands there, where the library is installed."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path

import mlflow
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.docs.test_docs import DOCS, blocks
from tests.helpers.evaluations import tracked

PAGE = "integrations.md"
LIBRARIES = ("lightning", "transformers", "accelerate", "ultralytics", "mmengine")
pytestmark = pytest.mark.filterwarnings("ignore")


def network() -> nn.Sequential:
    parts = {"layer3": nn.Conv2d(3, 4, 3), "layer4": nn.Conv2d(4, 4, 3), "pool": nn.AdaptiveAvgPool2d(1)}
    return nn.Sequential(OrderedDict(**parts, flat=nn.Flatten(), head=nn.Linear(4, 3)))


def somebodys() -> dict:
    """What every block stands in."""
    data = TensorDataset(torch.rand(8, 3, 32, 32), torch.arange(8) % 3)
    model = network()
    return {
        "images": torch.rand(4, 3, 32, 32), "model": model, "criterion": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "train_loader": DataLoader(data, batch_size=4), "val_loader": DataLoader(data, batch_size=4),
    }  # fmt: skip


def for_lightning(folder: Path) -> dict:
    import lightning.pytorch as pl

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = network()

        def forward(self, x):
            return self.model(x)

        def training_step(self, batch, _):
            return F.cross_entropy(self.model(batch[0]), batch[1])

        def validation_step(self, batch, _):
            self.log("val_loss", F.cross_entropy(self.model(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return {"module": Module()}


def for_transformers(folder: Path) -> dict:
    import transformers

    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=3
    )
    rows = [{"pixel_values": torch.rand(3, 32, 32), "labels": i % 3} for i in range(8)]
    return {
        "classifier": transformers.ResNetForImageClassification(config), "train_images": rows, "val_images": rows
    }  # fmt: skip


def for_ultralytics(folder: Path) -> dict:
    for i in range(4):
        for kind in ("images", "labels"):
            (folder / kind).mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (60 * i, 0, 0)).save(folder / "images" / f"{i}.png")
        (folder / "labels" / f"{i}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (folder / "data.yaml").write_text(f"path: {folder}\ntrain: images\nval: images\nnames: [square]\n")
    return {}


def for_mmengine(folder: Path) -> dict:
    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = network()[:2], nn.Linear(4, 3)

        def forward(self, x, y=None, mode="tensor"):
            scores = self.head(self.backbone(x).mean((2, 3)))
            return {"loss": F.cross_entropy(scores, y)} if mode == "loss" else scores

    runner = Runner(
        Model(), str(folder), somebodys()["train_loader"], train_cfg={"by_epoch": True, "max_epochs": 2},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}}, experiment_name="docs",
    )  # fmt: skip
    return {"runner": runner}


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_block_of_a_library_runs(library, client, tmp_path, monkeypatch):
    pytest.importorskip(library)
    (block,) = [block for block in blocks(PAGE, "python") if re.search(rf"^(from|import) {library}\b", block, re.M)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tests")
    with tracked(client.tracking_uri):
        mlflow.set_experiment("tests")
        names = {**somebodys(), **globals().get(f"for_{library}", lambda folder: {})(tmp_path)}
        exec(compile(block, PAGE, "exec"), names)
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    (run,) = [run for run in runs if "fmce.recording" in run.data.tags]
    assert run.info.status == "FINISHED" and "fmce.converged" in run.data.tags
    assert {name.removeprefix("fmce/") for name in run.data.metrics} >= {"train_loss", "epoch"}


def test_every_block_is_run():
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    assert len(blocks(PAGE, "python")) == text.count("```python") == len(LIBRARIES)
