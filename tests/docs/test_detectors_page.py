"""What docs/detectors.md shows runs as it stands there, and its modules are there."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from torchvision.models import get_model

from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.find_modules import resolve_modules
from tests.docs.test_docs import DOCS, blocks
from tests.helpers.evaluations import tracked
from tests.helpers.vision_files import write_kitti, write_nuscenes

SIZES = {"min_size": 64, "max_size": 96}
PAGE = (DOCS / "detectors.md").read_text(encoding="utf-8")


def rows() -> list[Any]:
    """Models and the names of their parts; of a row's models, the first is not slow."""
    table = re.search(r"<!-- modules -->\n(.*?)<!-- end of modules -->", PAGE, re.DOTALL)[1]
    cells = [[re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    return [
        pytest.param(model, [name for cell in parts for name in cell], marks=[pytest.mark.slow] if i else [])
        for models, *parts in cells
        for i, model in enumerate(models)
    ]


def test_its_code_runs(client, tmp_path, monkeypatch, capsys):
    write_kitti(tmp_path / "data")
    write_nuscenes(tmp_path / "nuscenes")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with tracked(client.tracking_uri):
        for block in blocks("detectors.md", "python"):
            exec(compile(block, "detectors.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "classifier.cbr" in printed and "backbone.fpn.pool" in printed
    run = client.get_run(names["run"].info.run_id)
    assert run.info.status == "FINISHED" and run.data.tags["fmce.role"] == "backbone"
    history = MlflowClient(client.tracking_uri).get_metric_history(run.info.run_id, "drift/classifier")
    assert [m.step for m in history] == [1, 2]


@pytest.mark.parametrize(("model", "names"), rows(), ids=lambda value: value if isinstance(value, str) else "")
def test_its_modules_are_there_and_give_maps(model, names):
    assert len(names) == 3
    sizes = SIZES if any(word in model for word in ("rcnn", "retinanet", "fcos")) else {}
    network = get_model(model, weights=None, weights_backbone=None, num_classes=4, **sizes).eval()
    images = torch.rand(2, 3, 64, 96)
    with capture(network, resolve_modules(network, names, example=images)) as forward:
        _, maps = forward(images)
    assert all(any(key.startswith(name.rstrip(".*")) for key in maps) for name in names)
