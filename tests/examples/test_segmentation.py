"""examples/segmentation.py, on a handful of generated images."""

from __future__ import annotations

import mlflow
import pytest

from fmce_mlflow.runs.feature_maps import FeatureMapReader
from tests.helpers.evaluations import tracked
from tests.helpers.examples import CAMVID, call, example, histories, runs, train_with_a_stop
from tests.helpers.vision_files import write_camvid

MODULES = ("backbone.high", "classifier.cbr", "classifier")


@pytest.fixture
def segmentation(monkeypatch):
    return example("segmentation", monkeypatch)


@pytest.fixture
def words(tmp_path):
    return ["--data", str(write_camvid(tmp_path / "camvid").parent), "--seeds", "0", *CAMVID]


def test_it_records_backbone_neck_and_head_and_registers_versions_that_can_be_scored(
    segmentation, client, tmp_path, words
):
    result = call(segmentation, client, tmp_path, *words, "--freeze-converged")
    assert result.exit_code == 0, result.output
    (run,) = runs(client, "camvid")
    found = histories(client, run)
    for name in ("train_loss", "val_loss", "miou", "epoch"):
        assert [step for step, _ in found[name]] == [0, 1, 2], name
    assert all([step for step, _ in found[f"drift/{module}"]] == [1, 2] for module in MODULES)
    assert (run.info.status, run.data.params["seed"]) == ("FINISHED", "0")
    index = FeatureMapReader(client, run.info.run_id).index
    assert index.modules == MODULES and index.snapshots("classifier") == (0, 1, 2)
    assert index.entries["classifier", 2].shape == (4, 11, 4, 6)
    versions = client.search_model_versions("name = 'camvid'")
    assert sorted(int(one.version) for one in versions) == [1, 2, 3]
    with tracked(client.tracking_uri), mlflow.start_run():
        images = mlflow.data.from_images(tmp_path / "camvid" / "test" / "images")
        scored = mlflow.models.evaluate(
            "models:/camvid/3", images, model_type="fmce", evaluators="fmce", evaluator_config={"modules": MODULES}
        )
        table = scored.tables["fmce_modules"]
    assert tuple(table["module"]) == MODULES and table["fmcs"].between(0, 1).all()
    assert set(table["preprocessing"].str.contains("32 × 48 as they are.*as the model's metadata says")) == {True}


def test_what_was_stopped_goes_on_as_if_nothing_had_been(segmentation, client, tmp_path, words):
    train_with_a_stop(segmentation, client, tmp_path, words, again=2)  # the second time there is nothing left to do
    whole, again = runs(client, "camvid")
    assert again.info.status == "FINISHED"
    assert histories(client, again) == histories(client, whole)
    assert FeatureMapReader(client, again.info.run_id).index.snapshots("classifier") == (0, 1, 2)


def test_seeds_that_are_none_are_named(segmentation, client, tmp_path, words):
    result = call(segmentation, client, tmp_path, *words, "--seeds", "0,x")
    assert result.exit_code == 2 and "expected whole numbers with commas between them, got '0,x'" in result.output
