"""FeatureMapRecorder in trainings of the Hugging Face Trainer, of networks from a configuration."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

from fmce_mlflow.errors import BackboneError
from fmce_mlflow.fmcs_dataset.label import build_fmcs_dataset
from tests.conftest import new_run
from tests.helpers.evaluations import tracked
from tests.helpers.process_groups import same_when_recorded
from tests.helpers.small_training import (
    HELD_OUT,
    HELD_OUT_LABELS,
    IMAGES,
    LABELS,
    PROBE,
    PROBE_LABELS,
    SOON,
    history,
    recorded_maps,
)

pytest.importorskip("transformers")

import transformers

from fmce_mlflow.recording.integrations.transformers import FeatureMapRecorder
from tests.helpers.trainer_processes import Watched, classifier

pytestmark = pytest.mark.filterwarnings("ignore")


def vit():
    torch.manual_seed(1)
    config = transformers.ViTConfig(
        image_size=8, patch_size=4, hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        num_labels=3,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


def segmenter():
    torch.manual_seed(1)
    config = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 12], patch_sizes=[3, 3], strides=[2, 2],
        num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=8, num_labels=3,
    )  # fmt: skip
    return transformers.SegformerForSemanticSegmentation(config)


def detector():
    torch.manual_seed(1)
    config = transformers.YolosConfig(
        image_size=[8, 8], patch_size=4, hidden_size=12, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, num_detection_tokens=3, num_labels=3, use_mid_position_embeddings=False,
    )  # fmt: skip
    return transformers.YolosForObjectDetection(config)


def rows(images, labels):
    return [{"pixel_values": x, "labels": int(y)} for x, y in zip(images, labels, strict=True)]


def masked(images, labels):
    return [{"pixel_values": x, "labels": torch.full((8, 8), int(y))} for x, y in zip(images, labels, strict=True)]


def boxed(images, labels):
    box = torch.tensor([[0.5, 0.5, 0.4, 0.4]])
    return [
        {"pixel_values": x, "labels": {"class_labels": torch.tensor([int(y)]), "boxes": box}}
        for x, y in zip(images, labels, strict=True)
    ]


def collated(batch):
    return {"pixel_values": torch.stack([r["pixel_values"] for r in batch]), "labels": [r["labels"] for r in batch]}


def trainer_of(model, folder, *, data=rows, cls=Watched, **options):
    given = {"per_device_train_batch_size": 16, "num_train_epochs": 4, "learning_rate": 0.02, "report_to": []}
    given |= {"eval_strategy": "epoch", "save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "seed": 3}
    args = transformers.TrainingArguments(str(folder), **{**given, **options})
    more = {"data_collator": collated} if data is boxed else {}
    return cls(model, args, train_dataset=data(IMAGES, LABELS), eval_dataset=data(HELD_OUT, HELD_OUT_LABELS), **more)


def recorded(trainer, modules=(), **options):
    given = {"probe": PROBE, "labels": PROBE_LABELS, "convergence": SOON, "say": lambda line: None}
    callback = FeatureMapRecorder(trainer, modules, **{**given, **options})
    trainer.add_callback(callback)
    return callback


@pytest.fixture
def store(client):
    with tracked(client.tracking_uri):
        mlflow.set_experiment("tests")
        yield client


FORMS = {
    "classifier": (classifier, rows, ["resnet.encoder.stages.1"], {}),
    "vit": (vit, rows, ["vit.layers.1"], {"gradient_accumulation_steps": 2}),
    "segmenter": (segmenter, masked, ["segformer.stages.1", "decode_head"], {"bf16": True}),
    "detector": (detector, boxed, ["vit.encoder.layer.1"], {"remove_unused_columns": False}),
}


@pytest.mark.parametrize("form", FORMS)
def test_losses_are_equal_to_the_bit_and_the_run_has_everything(form, store, tmp_path):
    make, data, modules, options = FORMS[form]
    if form == "detector":
        pytest.importorskip("scipy")
    plain = trainer_of(make(), tmp_path, data=data, **options)
    plain.train()
    watched = trainer_of(make(), tmp_path, data=data, **options)
    callback = recorded(watched, modules, token_grid="2x2+1" if form == "detector" else None)
    watched.train()
    assert watched.losses == plain.losses and len(plain.losses) == 12
    weights = watched.model.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in plain.model.state_dict().items())
    run = store.get_run(callback.recorder.run.id)
    assert run.info.status == "FINISHED"
    accumulated = 2 if form == "vit" else 1
    steps = [
        sum(plain.losses[i : min(i + accumulated, e + 3)])
        for e in range(0, 12, 3)
        for i in range(e, e + 3, accumulated)
    ]
    found = history(store, run.info.run_id, "fmce/train_loss")
    assert list(found.values()) == pytest.approx([steps[0], *np.reshape(steps, (4, -1)).mean(1)])
    logged = [row["eval_loss"] for row in watched.state.log_history if "eval_loss" in row]
    assert list(history(store, run.info.run_id, "fmce/val_loss").values())[1:] == pytest.approx(logged)
    assert len(recorded_maps(store, run.info.run_id, modules[0])) == 5
    assert "training_step" not in vars(watched)
    table = build_fmcs_dataset(store, [run.info.run_id], config=SOON, unconverged="keep").table
    assert set(table["module"]) == set(modules)


def test_the_trainers_own_mlflow_run_is_the_run(store, tmp_path):
    trainer = trainer_of(classifier(), tmp_path, report_to=["mlflow"], logging_steps=1)
    callback = recorded(trainer)
    trainer.train()
    (run,) = store.search_runs([store.get_experiment_by_name("tests").experiment_id])
    assert callback.recorder.run.id == run.info.run_id and run.info.status == "FINISHED"
    assert len(history(store, run.info.run_id, "loss")) == 12
    assert len(history(store, run.info.run_id, "fmce/train_loss")) == 5


@pytest.mark.parametrize("saved", ["epoch", "steps"])
def test_a_training_that_failed_goes_on_from_its_checkpoint(saved, store, tmp_path):
    options = {"save_strategy": saved, "save_steps": 4}
    whole = trainer_of(classifier(), tmp_path / "whole", **options)
    undisturbed = recorded(whole)
    whole.train()

    class Fails(Watched):
        def compute_loss(self, *args, **kwargs):
            if self.state.global_step == 7 and self.model.training:
                raise OSError("the disk is gone")
            return super().compute_loss(*args, **kwargs)

    first = trainer_of(classifier(), tmp_path / "cut", cls=Fails, **options)
    cut = recorded(first)
    with pytest.raises(OSError, match="disk"):
        first.train()
    run_id = cut.recorder.run.id
    assert store.get_run(run_id).info.status == "FAILED" and mlflow.active_run() is None

    second = trainer_of(classifier(), tmp_path / "cut", **options)
    again = recorded(second)
    second.train(resume_from_checkpoint=True)
    assert again.recorder.run.id == run_id and store.get_run(run_id).info.status == "FINISHED"
    for name in ("train_loss", "val_loss", "epoch", "drift/resnet.encoder"):
        expected = history(store, undisturbed.recorder.run.id, f"fmce/{name}")
        assert history(store, run_id, f"fmce/{name}") == pytest.approx(expected), name


def test_the_same_trainer_goes_on_after_its_data_failed(store, tmp_path):
    """It tells callbacks no errors: the recording is left when the next training begins."""
    trainer, fails = trainer_of(classifier(), tmp_path, save_strategy="epoch"), [True]

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return len(IMAGES)

        def __getitem__(self, index):
            if fails and trainer.state.epoch == 2.0:
                raise OSError("the disk is gone")
            return {"pixel_values": IMAGES[index], "labels": int(LABELS[index])}

    trainer.train_dataset = Images()
    callback = recorded(trainer)
    with pytest.raises(OSError, match="disk"):
        trainer.train()
    run_id = callback.recorder.run.id
    fails.clear()
    trainer.train(resume_from_checkpoint=True)
    assert callback.recorder.run.id == run_id and store.get_run(run_id).info.status == "FINISHED"
    assert list(history(store, run_id, "fmce/train_loss")) == [0, 1, 2, 3, 4]


def test_the_training_stops_when_it_has_converged(store, tmp_path):
    trainer = trainer_of(classifier(), tmp_path, num_train_epochs=60)
    callback = recorded(trainer, stop_when_converged=True, patience=1)
    trainer.train()
    assert callback.recorder.should_stop and 3 < trainer.state.epoch < 60
    assert callback.recorder.snapshots == trainer.state.epoch + 1


def test_a_snapshot_every_n_steps_has_the_loss_and_the_evaluation_of_its_steps(store, tmp_path):
    options = {"eval_strategy": "steps", "eval_steps": 4, "eval_on_start": True, "label_smoothing_factor": 0.1}
    trainer = trainer_of(classifier(), tmp_path, **options)
    callback = recorded(trainer, every=2)
    trainer.train()
    run_id = callback.recorder.run.id
    epochs = list(history(store, run_id, "fmce/epoch").values())
    assert epochs == pytest.approx([n / 3 for n in range(0, 13, 2)], abs=1e-5)
    found = list(history(store, run_id, "fmce/train_loss").values())
    assert found == pytest.approx([trainer.losses[0], *np.reshape(trainer.losses, (6, 2)).mean(1)])
    logged = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    assert history(store, run_id, "fmce/val_loss") == dict(zip([0, 2, 4, 6], map(pytest.approx, logged), strict=True))


def test_one_of_several_evaluations_is_the_validation(store, tmp_path):
    trainer = trainer_of(classifier(), tmp_path)
    held_out = trainer.eval_dataset
    trainer.eval_dataset = {"near": held_out[:8], "far": held_out[8:]}
    somebodys = trainer.training_step = partial(trainer.training_step)  # a wrapper of somebody else's stays
    callback = recorded(trainer, monitor="eval_far_loss")
    trainer.train()
    assert trainer.training_step is somebodys
    logged = [row["eval_far_loss"] for row in trainer.state.log_history if "eval_far_loss" in row]
    found = history(store, callback.recorder.run.id, "fmce/val_loss")
    assert [found[s] for s in (1, 2, 3, 4)] == pytest.approx(logged)


@pytest.mark.slow
def test_two_processes_train_as_without_it_stop_together_and_the_first_records(client, tmp_path):
    def train(**told):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
        command += ["tests.helpers.trainer_processes", json.dumps(told)]
        return subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)

    same_when_recorded(client, new_run(client), tmp_path, train)


def test_mistakes_are_told_before_the_first_step(store, tmp_path):
    trainer = trainer_of(classifier(), tmp_path)
    recorded(trainer, ["resnet.encodr"])
    with pytest.raises(BackboneError, match=r"Did you mean resnet\.encoder"):
        trainer.train()
    assert "losses" not in vars(trainer)
