"""examples/detection.py, on a handful of generated images."""

from __future__ import annotations

import mlflow
import pytest
import torch

from fmce_mlflow.runs.feature_maps import FeatureMapReader
from tests.helpers.evaluations import tracked
from tests.helpers.examples import BCCD, call, example, histories, runs, train_with_a_stop
from tests.helpers.vision_files import write_bccd

LEVELS = ("c3", "c4", "c5", "pool")
MODULES = (
    "backbone.body.c5",
    *(f"backbone.fpn.{level}" for level in LEVELS),
    *(f"rpn.head.cls_logits.{i}" for i in range(4)),
)
LOSSES = ("loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg")


@pytest.fixture
def detection(monkeypatch):
    return example("detection", monkeypatch)


@pytest.fixture
def words(tmp_path):
    return ["--data", str(write_bccd(tmp_path / "bccd")), "--seeds", "0", *BCCD]


def test_it_records_all_levels_and_losses_by_name_and_registers_versions_that_can_be_scored(
    detection, client, tmp_path, words
):
    result = call(detection, client, tmp_path, *words)
    assert result.exit_code == 0, result.output
    (run,) = runs(client, "bccd")
    found = histories(client, run)
    for name in ("train_loss", "map", "map_50", *(f"train_loss/{loss}" for loss in LOSSES)):
        assert [step for step, _ in found[name]] == [0, 1, 2], name
    for step in range(3):
        parts = sum(found[f"train_loss/{loss}"][step][1] for loss in LOSSES)
        assert found["train_loss"][step][1] == pytest.approx(parts, rel=1e-5)
    index = FeatureMapReader(client, run.info.run_id).index
    assert index.modules == MODULES
    assert index.entries["backbone.fpn.c3", 2].shape == (4, 64, 8, 8)
    with tracked(client.tracking_uri):
        images = mlflow.data.from_images(tmp_path / "bccd" / "JPEGImages")
        with mlflow.start_run():
            scored = mlflow.models.evaluate("models:/bccd/3", images, model_type="fmce", evaluators="fmce")
        assert list(scored.tables["fmce_modules"]["module"]) == [f"backbone.{level}" for level in LEVELS]
        with mlflow.start_run(), pytest.raises(mlflow.exceptions.MlflowException, match=r"regions .*not.* images"):
            config = {"modules": "roi_heads.box_head"}
            mlflow.models.evaluate(
                "models:/bccd/3", images, model_type="fmce", evaluators="fmce", evaluator_config=config
            )


@pytest.mark.slow
def test_what_was_stopped_goes_on_as_if_nothing_had_been(detection, client, tmp_path, words):
    train_with_a_stop(detection, client, tmp_path, words)
    whole, again = runs(client, "bccd")
    assert histories(client, again) == histories(client, whole)


def test_boxes_are_scaled_with_their_image_and_those_without_an_area_are_left_out(detection, tmp_path):
    data = detection.Bccd(write_bccd(tmp_path / "bccd"), "train", (32, 128), detection.presets(False))
    full = detection.Bccd(tmp_path / "bccd", "train", (64, 64), detection.presets(False))
    (image, target), (_, original) = data[0], full[0]
    assert image.shape == (3, 32, 128) and 0.8 < float(image.max()) <= 1
    assert target["labels"].tolist() == [detection.Bccd.classes.index("WBC")]
    torch.testing.assert_close(target["boxes"], original["boxes"] * torch.tensor([2, 0.5, 2, 0.5]))
    assert data[1][1]["boxes"].shape == (0, 4)  # an image without cells
