"""FeatureMapRecorder in trainings of YOLO, where Ultralytics is installed: it is no dependency of this package."""

from __future__ import annotations

import os
import pickle
import tempfile
from dataclasses import replace

import mlflow
import numpy as np
import pytest
import torch
from PIL import Image

from fmce_mlflow.recording.integrations.ultralytics import FeatureMapRecorder
from tests.helpers.evaluations import tracked
from tests.helpers.small_training import SOON, history, recorded_maps

os.environ.setdefault(
    "YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="yolo-")
)  # not the user's settings, which tests change
ultralytics = pytest.importorskip("ultralytics")

PROBE = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def data(tmp_path):
    """White squares on noise, 8 images to train on and 4 held out, as a data set of Ultralytics."""
    random = np.random.default_rng(0)
    for part, n in (("train", 8), ("val", 4)):
        for kind in ("images", "labels"):
            (tmp_path / kind / part).mkdir(parents=True)
        for i in range(n):
            pixels = random.integers(0, 100, (32, 32, 3), dtype=np.uint8)
            x, y = random.integers(2, 18, 2)
            pixels[y : y + 12, x : x + 12] = 255
            Image.fromarray(pixels).save(tmp_path / "images" / part / f"{i}.png")
            box = f"0 {(x + 6) / 32} {(y + 6) / 32} {12 / 32} {12 / 32}\n"
            (tmp_path / "labels" / part / f"{i}.txt").write_text(box)
    path = tmp_path / "data.yaml"
    path.write_text(f"path: {tmp_path}\ntrain: images/train\nval: images/val\nnames: [square]\n")
    return path


@pytest.fixture
def store(client):
    """Without Ultralytics' own MLflow callbacks, but for tests that want them."""
    ultralytics.settings.update({"mlflow": False})
    with tracked(client.tracking_uri):
        mlflow.set_experiment("tests")
        yield client


def trained(data, recorder=None, *, epochs=3, model="yolov8n.yaml", **options):
    """A trained YOLO, and the losses of its batches."""
    yolo, losses = ultralytics.YOLO(model), []
    yolo.add_callback("on_train_batch_end", lambda trainer: losses.append(trainer.loss.item()))
    if recorder is not None:
        recorder.add_to(yolo)
    fixed = {"imgsz": 32, "batch": 4, "device": "cpu", "workers": 0, "plots": False, "verbose": False, "seed": 0}
    yolo.train(data=str(data), epochs=epochs, project=str(data.parent / "runs"), **{**fixed, **options})
    return yolo, losses


def recorder(**options):
    return FeatureMapRecorder(**{"modules": ["model.4", "model.9"], "probe": PROBE, "convergence": SOON, **options})


def test_losses_are_equal_to_the_bit_and_each_epoch_is_a_snapshot(data, store):
    plain, expected = trained(data)
    with mlflow.start_run() as run:
        watched, losses = trained(data, callback := recorder())
    assert losses == expected and len(losses) == 6
    weights = watched.trainer.model.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in plain.trainer.model.state_dict().items())
    run_id = run.info.run_id
    assert callback.recorder.run.id == run_id
    assert history(store, run_id, "fmce/epoch") == {s: s for s in range(4)}
    found = history(store, run_id, "fmce/train_loss")
    assert [found[s] for s in (1, 2, 3)] == pytest.approx(np.reshape(losses, (3, 2)).mean(1) / 4)  # per image
    assert {"fmce/train_loss/box_loss", "fmce/val_loss"} <= set(store.get_run(run_id).data.metrics)
    maps = recorded_maps(store, run_id, "model.9")
    assert len(maps) == 4 and maps[0].shape == (3, 256, 1, 1)
    assert callback.recorder.model is watched.trainer.ema.ema


def test_a_training_that_goes_on_records_in_the_same_run(data, store):
    def fail(trainer):
        if trainer.epoch == 2:
            raise OSError("the disk is gone")

    yolo, first = ultralytics.YOLO("yolov8n.yaml"), recorder(every=1)
    first.add_to(yolo)
    yolo.add_callback("on_train_epoch_start", fail)
    fixed = {"imgsz": 32, "batch": 4, "device": "cpu", "workers": 0, "plots": False, "verbose": False}
    with pytest.raises(OSError, match="disk"):
        yolo.train(data=str(data), epochs=4, project=str(data.parent / "runs"), name="cut", **fixed)
    run_id = first.recorder.run.id
    assert store.get_run(run_id).info.status == "FAILED" and mlflow.active_run() is None
    again = recorder(every=1)
    trained(data, again, model=str(data.parent / "runs" / "cut" / "weights" / "last.pt"), epochs=4, resume=True)
    assert again.recorder.run.id == run_id and store.get_run(run_id).info.status == "FINISHED"
    assert list(history(store, run_id, "fmce/epoch").values()) == [n / 2 for n in range(9)]


def test_the_training_stops_when_it_has_converged(data, store):
    options = {"convergence": replace(SOON, threshold=9.0), "patience": 0, "signal": "drift"}
    trained(data, callback := recorder(stop_when_converged=True, **options), epochs=9)
    assert callback.recorder.should_stop and 1 < callback.recorder.snapshots < 9


def test_mlflow_run_of_its_own_callbacks_is_the_run(data, store):
    """They log nothing in a test that is not called so."""
    ultralytics.settings.update({"mlflow": True})
    try:
        trained(data, callback := recorder(averaged=False), epochs=1)
    finally:
        ultralytics.settings.update({"mlflow": False})
    run = store.get_run(callback.recorder.run.id)
    assert run.info.status == "FINISHED" and {"metrics/mAP50B", "fmce/train_loss"} <= set(run.data.metrics)


def test_callbacks_can_be_sent_to_other_processes(data, store):
    yolo = ultralytics.YOLO("yolov8n.yaml")
    callback = recorder()
    callback.add_to(yolo)
    sent = pickle.loads(pickle.dumps(yolo.callbacks["on_train_start"][-1])).__self__
    assert torch.equal(sent.options["probe"], PROBE) and sent.modules == ["model.4", "model.9"]
