"""The tables of detectors and segmentation models, from recordings of a tiny network in the place of the example's."""

from __future__ import annotations

import mlflow
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn import functional as F

import fmce_mlflow
from tests.helpers.evaluations import log_model, tracked
from tests.helpers.examples import script
from tests.helpers.vision_files import write_camvid

EPOCHS = 12
IMAGES, LABELS = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x)).mean((2, 3))


def record(seed: int) -> None:
    """What the example leaves: a run with a seed and the task's metric, and versions that name their snapshot."""
    torch.manual_seed(seed)
    model = Net()
    images = IMAGES + F.one_hot(LABELS, 3)[:, :, None, None]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.6)
    with mlflow.start_run() as run:
        mlflow.log_param("seed", seed)
        with fmce_mlflow.record(model, ["backbone", "head"], probe=images[:16], dataset="camvid") as recorder:
            for epoch in range(EPOCHS + 1):
                if epoch:
                    loss = F.cross_entropy(model(images), LABELS)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
                    recorder.loss(loss)
                recorder.snapshot(epoch=epoch, miou=epoch / EPOCHS)
                if epoch in (0, EPOCHS):
                    about = {"preprocessing": {"height": 8, "width": 8, "mean": 0.0, "std": 1.0}}
                    about |= {"source_run": run.info.run_id, "snapshot": epoch}
                    log_model(model.eval(), metadata={"fmce": about}, registered_model_name="camvid")
                    model.train()


@pytest.fixture
def detectors(monkeypatch):
    return script("detectors", monkeypatch, "examples", "research")


@pytest.mark.slow
def test_its_tables_are_made_and_what_is_there_is_not_computed_again(client, detectors, tmp_path):
    data = write_camvid(tmp_path / "camvid", size=(8, 8)).parent
    with tracked(client.tracking_uri):
        mlflow.set_experiment("camvid")
        for seed in range(3):
            record(seed)
        shown = CliRunner().invoke(detectors.main, ["--experiments", "camvid", "convergence"])
        assert shown.exit_code == 0, shown.output
        assert "camvid: miou after 12 epochs, seeds [0, 1, 2]: 1.000, 1.000, 1.000" in shown.output
        lines = [line.split(" | ") for line in shown.output.splitlines() if line.startswith("| ")]
        assert [line[0] for line in lines] == ["| signal", "| train", "| backbone", "| head"]
        points = [int(point) for point in lines[1][1:4]]
        assert all(4 <= point <= EPOCHS for point in points)
        assert sum(int(line[4][0]) for line in lines[2:]) >= 3  # each seed has a last module
        words = ["--experiments", "camvid", "scores", "--data", str(data), "--passes", "1"]
        first = CliRunner().invoke(detectors.main, words)
        assert first.exit_code == 0, (first.output, first.exception)
        runs = len(client.search_runs(all_experiments(client)))
        again = CliRunner().invoke(detectors.main, words)
        assert tables(again.output) == tables(first.output)
        assert len(client.search_runs(all_experiments(client))) == runs
    assert "bundled" in first.output and "fitted" in first.output and "backbone" in first.output
    assert runs == 3 + 4 + 4 + 12  # recordings; data sets and nets of all and without each seed; versions × predictors


def all_experiments(client):
    return [one.experiment_id for one in client.search_experiments()]


def tables(output: str) -> str:
    """But for what is said while they are made."""
    return output[output.index("Versions, by the epochs") :]
