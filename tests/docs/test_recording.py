"""The page on recording one's own training runs as it stands there."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import mlflow
import torch
from torch import nn

from fmce_mlflow.recording.options import RecordingOptions
from fmce_mlflow.runs.recordings import CONVERGENCE
from tests.docs.test_docs import DOCS, blocks
from tests.docs.test_readme import blocks as readme_blocks
from tests.helpers.evaluations import tracked
from tests.helpers.small_training import SOON


def somebodys() -> dict:
    """What the first lines stand in: a training of anybody's."""
    parts = OrderedDict(layer3=nn.Conv2d(3, 4, 3), layer4=nn.Conv2d(4, 4, 3))
    backbone, neck = nn.Sequential(parts), nn.Conv2d(4, 4, 1)
    model = nn.Sequential(OrderedDict(backbone=backbone, neck=neck, head=nn.Sequential(nn.Flatten(), nn.Linear(64, 3))))
    model.layer3, model.layer4 = parts["layer3"], parts["layer4"]
    model.forward = lambda x: model.head(neck(backbone(x)))
    batches = [(torch.rand(6, 3, 8, 8), torch.arange(6) % 3)] * 2
    return {
        "model": model, "images": torch.rand(4, 3, 8, 8), "epochs": 2, "batches": batches, "loss": torch.tensor(1.0),
        "criterion": nn.CrossEntropyLoss(), "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "validate": lambda model: 1.0,
    }  # fmt: skip


def test_the_lines_on_the_first_screen_of_the_readme_run(client):
    (lines,) = [block for block in readme_blocks("python") if "fmce_mlflow.record(" in block]
    with tracked(client.tracking_uri):
        run_id = mlflow.set_experiment("tests") and mlflow.start_run().info.run_id
        exec(compile(lines, "README.md", "exec"), somebodys())
        mlflow.end_run()
    assert set(client.get_run(run_id).data.metrics) >= {"train_loss", "val_loss", "drift/backbone.layer4", "drift/neck"}


def test_every_option_of_a_recording_is_on_the_page():
    text = (DOCS / "recording.md").read_text(encoding="utf-8")
    assert [one.name for one in fields(RecordingOptions) if f"\n| `{one.name}` |" not in text] == []


def test_the_training_on_the_page_is_recorded_and_its_model_known(client, monkeypatch):
    # To find requirements takes MLflow a process that imports all anew.
    monkeypatch.setattr(mlflow.pytorch, "log_model", partial(mlflow.pytorch.log_model, pip_requirements=[]))
    lines, whole, again = blocks("recording.md", "python")
    with tracked(client.tracking_uri):
        mlflow.set_experiment("tests")
        names: dict = {"SOON": replace(SOON, levels=2)}
        soon = whole.replace("range(20)", "range(8)").replace(
            "labels=val_y[:128]", "labels=val_y[:128], convergence=SOON"
        )
        exec(compile(soon, "recording.md", "exec"), names)
        run = client.get_run(names["run"].info.run_id)
        assert run.data.tags["fmce.converged"] == "true" and run.info.status == "FINISHED"
        found = json.loads(Path(client.download_artifacts(run.info.run_id, CONVERGENCE)).read_text())
        assert found["assumed"] == [] and len(found["epochs"]) == 9
        data = mlflow.data.from_images(names["val_x"].numpy()[:32], targets=names["val_y"].numpy()[:32])
        uri = f"models:/{client.search_logged_models([run.info.experiment_id])[0].model_id}"
        scored = mlflow.models.evaluate(
            uri, data, model_type="fmce", evaluators="fmce", evaluator_config={"saliency": False, "modules": "stage"}
        )
        exec(compile(lines, "recording.md", "exec"), somebodys())
    assert scored.metrics["fmcs_measured"] == found["train"]["fmcs"][-1] > 0
    assert "run_id=RUN_ID" in again
