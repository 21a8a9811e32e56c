"""FeatureMapRecorder in trainings of both packages of Lightning: nothing of them changes, and what it leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fmce_mlflow.errors import BackboneError, ConfigError, ModelError
from fmce_mlflow.fmcs_dataset.label import build_fmcs_dataset
from tests.conftest import new_run
from tests.helpers.evaluations import tracked
from tests.helpers.faults import everything
from tests.helpers.forks import Forked
from tests.helpers.process_groups import same_when_recorded
from tests.helpers.small_training import HELD_OUT, HELD_OUT_LABELS, SOON, history, maps_of, net, recorded_maps

pytest.importorskip("lightning")
pytest.importorskip("pytorch_lightning")

from tests.helpers.lightning_training import EVERY_STEP, PACKAGES, QUIET, loaders, main, module, package, recorder

NAMES = {"lightning.pytorch": "lightning", "pytorch_lightning": "pytorch_lightning"}
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=PACKAGES, ids=NAMES.get)
def both(request):
    return package(request.param)


@pytest.fixture
def lightning():
    return package(PACKAGES[0])


@pytest.fixture
def logger(client):
    """Of the tests' store, which the trainer's logger makes MLflow's current one."""
    with tracked(client.tracking_uri):
        yield lambda pl, **more: pl.loggers.MLFlowLogger("tests", tracking_uri=client.tracking_uri, **more)


def fit(pl, model, *, epochs=4, callbacks=(), ckpt_path=None, **options):
    options = {"logger": False, "enable_checkpointing": False, **QUIET, **EVERY_STEP, **options}
    trainer = pl.Trainer(max_epochs=epochs, callbacks=[*callbacks], **options)
    torch.manual_seed(3)
    trainer.fit(model, *loaders(), ckpt_path=ckpt_path)
    return trainer


def test_losses_and_weights_are_equal_to_the_bit_and_the_run_has_everything(both, client, logger):
    pl, cls = both
    plain, watched = module(pl), module(pl)
    fit(pl, plain)
    expected = torch.get_rng_state()
    callback, untrained = recorder(cls, modules=["net.stem", "net.frozen"]), maps_of(watched, "net.stem")
    trainer = fit(pl, watched, callbacks=[callback], logger=logger(pl))
    assert watched.losses == plain.losses
    assert all(torch.equal(watched.state_dict()[k], v) for k, v in plain.state_dict().items())
    assert torch.equal(torch.get_rng_state(), expected)

    run = client.get_run(trainer.logger.run_id)
    assert (run.info.status, run.data.tags["fmce.role"]) == ("FINISHED", "backbone")
    means = np.reshape(plain.losses, (4, 3)).mean(1)
    found = history(client, run.info.run_id, "fmce/train_loss")
    assert list(found) == [0, 1, 2, 3, 4] and found[0] == plain.losses[0]
    assert [found[s] for s in (1, 2, 3, 4)] == pytest.approx(means, rel=1e-6)
    assert history(client, run.info.run_id, "fmce/epoch") == {s: s for s in range(5)}
    assert list(history(client, run.info.run_id, "train_loss").values()) == pytest.approx(plain.losses)
    logged = list(history(client, run.info.run_id, "val_loss").values())
    ours = history(client, run.info.run_id, "fmce/val_loss")
    assert [ours[s] for s in (1, 2, 3, 4)] == logged
    maps = recorded_maps(client, run.info.run_id, "net.stem")
    np.testing.assert_array_equal(maps[0], untrained)
    np.testing.assert_array_equal(maps[4], maps_of(watched, "net.stem"))
    assert callback.signals.train.losses.tolist() == list(found.values())
    table = build_fmcs_dataset(client, [run.info.run_id], config=SOON, unconverged="keep").table
    assert set(table["module"]) == {"net.stem", "net.frozen"} and len(table) == 10


def test_without_a_logger_the_active_run_is_recorded_in_or_one_of_its_own(lightning, client):
    pl, cls = lightning
    with tracked(client.tracking_uri):
        mlflow.set_experiment("tests")
        with mlflow.start_run() as active:
            callback = recorder(cls)
            fit(pl, module(pl), callbacks=[callback])
            assert callback.recorder.run.id == active.info.run_id
            assert client.get_run(active.info.run_id).info.status == "RUNNING"
        fit(pl, module(pl), callbacks=[callback := recorder(cls)])
        run = client.get_run(callback.recorder.run.id)
        assert run.info.run_id != active.info.run_id and run.info.status == "FINISHED"
        assert mlflow.active_run() is None


def test_the_run_of_mlflows_autolog_is_the_run(lightning, client):
    pl, cls = lightning
    with tracked(client.tracking_uri):
        mlflow.set_experiment("tests")
        mlflow.pytorch.autolog(log_models=False, silent=True)
        try:
            fit(pl, module(pl), callbacks=[callback := recorder(cls)])
        finally:
            mlflow.pytorch.autolog(disable=True)
    (run,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert run.info.run_id == callback.recorder.run.id and run.info.status == "FINISHED"
    assert {"train_loss", "fmce/train_loss"} <= set(run.data.metrics) and run.data.params["optimizer_name"] == "SGD"


def ours(client, run_id):
    """All that a recording left in a run: what the logger logs of steps that are made again comes again."""
    found = everything(client, run_id)
    return {**found, "metrics": {k: v for k, v in found["metrics"].items() if k.startswith("fmce/")}}


def in_a_process(**told):
    command = [sys.executable, "-m", "tests.helpers.lightning_training", json.dumps(told)]
    return subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)


def test_a_training_that_was_killed_and_goes_on_has_every_snapshot_once(client, tmp_path):
    uri, undisturbed, killed = client.tracking_uri, new_run(client), new_run(client)
    told = {"name": PACKAGES[0], "uri": uri, "run_id": killed, "keep": {"dirpath": str(tmp_path / "kept")}}
    died = Forked(main, *told.values(), 7)
    said, _ = died.communicate()
    assert died.returncode == -signal.SIGKILL, said
    assert list(history(client, killed, "fmce/val_loss")) == [1, 2]
    with tracked(uri):
        main(**{**told, "run_id": undisturbed, "keep": {"dirpath": str(tmp_path / "other")}})
        main(**told, checkpoint=str(tmp_path / "kept" / "step=6.ckpt"))
    for run_id in (undisturbed, killed):
        assert list(history(client, run_id, "fmce/train_loss")) == [0, 1, 2, 3, 4]
    assert ours(client, killed) == ours(client, undisturbed)


def test_a_checkpoint_that_came_before_its_snapshot_gives_that_snapshot(lightning, client, logger, tmp_path):
    """Checkpoints of a validation are written before the epoch has ended."""
    pl, cls = lightning

    class Fails(pl.Callback):
        def on_train_epoch_end(self, trainer, *_):
            if trainer.current_epoch == 1:
                raise OSError("the disk is gone")

    def model():
        made = module(pl)
        made.net.drop.p = 0.0
        return made

    keep = pl.callbacks.ModelCheckpoint(tmp_path, "{step}", save_on_train_epoch_end=False, save_top_k=-1)
    undisturbed = fit(pl, model(), callbacks=[recorder(cls)], logger=logger(pl)).logger.run_id
    callbacks = [Fails(), first := recorder(cls), keep]
    with pytest.raises(OSError, match="disk"):
        fit(pl, model(), callbacks=callbacks, logger=logger(pl), enable_checkpointing=True)
    run_id = first.recorder.run.id
    assert first.recorder.snapshots == 2
    options = {"logger": logger(pl, run_id=run_id), "ckpt_path": tmp_path / "step=6.ckpt"}
    fit(pl, model(), callbacks=[recorder(cls, say=print)], **options)
    found, whole = ours(client, run_id), ours(client, undisturbed)
    steps = whole["metrics"]["fmce/weight_change/net.stem"]
    assert found["metrics"]["fmce/weight_change/net.stem"] == [row for row in steps if row[0] != 2]
    for each in (found, whole):  # the weights of snapshot 1 died with the process, so the step to 2 is not known
        del each["metrics"]["fmce/weight_change/net.stem"]
        del each["convergence"]["weight_change"]["net.stem"][2]
    assert found == whole


@pytest.mark.parametrize(
    ("name", "error", "seen"),
    [(PACKAGES[0], OSError("the disk is gone"), OSError), (PACKAGES[1], KeyboardInterrupt(), SystemExit)],
    ids=["failed", "Ctrl-C"],
)
def test_a_training_that_was_cut_off_goes_on_in_its_run_whatever_the_logger_of_now(
    name, error, seen, client, logger, tmp_path
):
    pl, cls = package(name)

    class Fails(pl.Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 7:
                raise error

    keep = {"dirpath": tmp_path, "filename": "{epoch}-{step}", "every_n_train_steps": 2, "save_top_k": -1}
    callbacks = [Fails(), first := recorder(cls), pl.callbacks.ModelCheckpoint(**keep)]
    try:
        with pytest.raises(seen):
            fit(pl, module(pl), callbacks=callbacks, logger=logger(pl), enable_checkpointing=True)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores the next ones
    run_id = first.recorder.run.id
    assert client.get_run(run_id).info.status == "FAILED"
    assert list(history(client, run_id, "fmce/train_loss")) == [0, 1, 2]

    said = []
    again = recorder(cls, say=said.append)
    trainer = fit(pl, module(pl), callbacks=[again], logger=logger(pl), ckpt_path=tmp_path / "epoch=1-step=4.ckpt")
    assert again.recorder.run.id == run_id != trainer.logger.run_id
    assert f"The recording is in run {run_id}, and the trainer logs to run {trainer.logger.run_id}." in said
    assert list(history(client, run_id, "fmce/train_loss")) == [0, 1, 2, 3, 4]
    assert history(client, run_id, "fmce/epoch") == {s: s for s in range(5)}


def test_a_checkpoint_of_the_failure_itself_knows_the_run(lightning, client, logger, tmp_path):
    pl, cls = lightning

    class Fails(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 7:
                raise OSError("the disk is gone")

    callbacks = [first := recorder(cls), Fails(), pl.callbacks.OnExceptionCheckpoint(tmp_path, "failure")]
    with pytest.raises(OSError, match="disk"):
        fit(pl, module(pl), callbacks=callbacks, logger=logger(pl), enable_checkpointing=True)
    again = recorder(cls)
    fit(pl, module(pl), callbacks=[again], logger=logger(pl), ckpt_path=tmp_path / "failure.ckpt")
    assert again.recorder.run.id == first.recorder.run.id
    assert list(history(client, again.recorder.run.id, "fmce/epoch")) == [0, 1, 2, 3, 4]


def test_a_training_that_goes_on_after_its_recording_had_ended_is_recorded_anew(lightning, client, logger, tmp_path):
    pl, cls = lightning
    keep, said = pl.callbacks.ModelCheckpoint(tmp_path, "{step}"), []
    options = {"enable_checkpointing": True, "callbacks": [first := recorder(cls), keep]}
    fit(pl, module(pl), logger=logger(pl), **options)
    longer = {"epochs": 7, "ckpt_path": tmp_path / "step=12.ckpt"}
    trainer = fit(pl, module(pl), callbacks=[again := recorder(cls, say=said.append)], logger=logger(pl), **longer)
    assert again.recorder.run.id == trainer.logger.run_id != first.recorder.run.id
    assert history(client, trainer.logger.run_id, "fmce/epoch") == {0: 4, 1: 5, 2: 6, 3: 7}
    assert any("so a new one begins" in line and "has a recording that has ended" in line for line in said)


def test_losses_of_an_epoch_go_on_from_a_checkpoint_within_it(lightning, client, logger, tmp_path):
    """Lightning itself begins the epoch's data anew then, so what is recorded is what was trained on."""
    pl, cls = lightning
    keep = pl.callbacks.ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1)
    model, run = module(pl), logger(pl)
    fit(pl, model, epochs=1, callbacks=[recorder(cls), keep], logger=run, enable_checkpointing=True)
    state = torch.load(tmp_path / "step=2.ckpt", weights_only=False)["callbacks"]["FeatureMapRecorder"]
    assert state["run_id"] == run.run_id
    resumed = recorder(cls)
    resumed.load_state_dict({"recorder": state["recorder"]})
    rest = module(pl)
    fit(pl, rest, epochs=1, callbacks=[resumed], logger=logger(pl))
    found = history(client, resumed.recorder.run.id, "fmce/train_loss")
    assert found == {0: model.losses[0], 1: pytest.approx(np.mean(model.losses[:2] + rest.losses))}


def test_the_training_stops_when_it_has_converged(lightning, client, logger):
    pl, cls = lightning
    callback = recorder(cls, stop_when_converged=True, patience=1)
    trainer = fit(pl, module(pl), epochs=60, callbacks=[callback], logger=logger(pl))
    assert callback.recorder.should_stop and 3 < trainer.current_epoch < 60
    assert callback.recorder.snapshots == trainer.current_epoch + 1
    assert client.get_run(trainer.logger.run_id).data.tags["fmce.converged"] == "true"


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_precisions_and_gradients_added_up(lightning, client, logger, precision):
    pl, cls = lightning
    options = {"precision": precision, "accumulate_grad_batches": 2}
    plain, watched = module(pl), module(pl)
    fit(pl, plain, **options)
    fit(pl, watched, callbacks=[callback := recorder(cls)], logger=logger(pl), **options)
    assert watched.losses == plain.losses
    found = history(client, callback.recorder.run.id, "fmce/train_loss")
    assert [found[s] for s in (1, 2, 3, 4)] == pytest.approx(np.reshape(plain.losses, (4, 3)).mean(1), rel=1e-2)


@pytest.mark.slow
def test_two_processes_train_as_without_it_stop_together_and_the_first_records(client, tmp_path):
    same_when_recorded(client, new_run(client), tmp_path, in_a_process)


@pytest.mark.slow
def test_a_compiled_module_is_recorded_as_it_was(lightning, client, logger):
    pl, cls = lightning
    plain, watched = module(pl), module(pl)
    fit(pl, torch.compile(plain, backend="eager"))
    fit(pl, torch.compile(watched, backend="eager"), callbacks=[callback := recorder(cls)], logger=logger(pl))
    assert watched.losses == plain.losses
    last = recorded_maps(client, callback.recorder.run.id, "net.stem")[4]
    np.testing.assert_array_equal(last, maps_of(watched.net, "stem"))


def test_a_fast_dev_run_leaves_nothing(lightning, client, logger):
    pl, cls = lightning
    said = []
    fit(pl, module(pl), callbacks=[recorder(cls, say=said.append)], fast_dev_run=True, logger=logger(pl))
    assert said == ["Nothing is recorded in a fast_dev_run."]
    assert not client.search_runs([client.get_experiment_by_name("tests").experiment_id])


def test_a_snapshot_every_n_batches(lightning, client, logger):
    pl, cls = lightning
    model = module(pl)
    fit(pl, model, callbacks=[callback := recorder(cls, every=2)], logger=logger(pl))
    epochs = history(client, callback.recorder.run.id, "fmce/epoch")
    assert list(epochs.values()) == pytest.approx([n / 3 for n in range(0, 13, 2)])
    found = history(client, callback.recorder.run.id, "fmce/train_loss")
    assert [found[s] for s in range(1, 7)] == pytest.approx(np.reshape(model.losses, (6, 2)).mean(1))


def test_a_validation_loss_stands_at_the_snapshot_that_it_was_measured_for(lightning, client, logger):
    """Not at those between two validations, and not that of the sanity check unless it saw all there is."""
    pl, cls = lightning
    fit(pl, module(pl), callbacks=[callback := recorder(cls)], logger=logger(pl), check_val_every_n_epoch=2)
    assert list(history(client, callback.recorder.run.id, "fmce/val_loss")) == [2, 4]
    untrained = float(F.cross_entropy(net().eval()(HELD_OUT), HELD_OUT_LABELS))
    fit(pl, module(pl), callbacks=[callback := recorder(cls)], logger=logger(pl), num_sanity_val_steps=-1)
    found = history(client, callback.recorder.run.id, "fmce/val_loss")
    assert list(found) == [0, 1, 2, 3, 4] and found[0] == pytest.approx(untrained)
    said = []
    fit(pl, module(pl), callbacks=[recorder(cls, monitor="val_los", say=said.append)], logger=logger(pl))
    line = "No validation loss is recorded: the module has logged no 'val_los'. Did you mean val_loss or train_loss?"
    assert [one for one in said if "validation loss is recorded" in one] == [line]


def test_losses_of_manual_optimization_and_steps_without_one(lightning, client, logger):
    pl, cls = lightning

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.losses.append(loss.item())
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return {"loss": loss} if batch_idx else None

    model = module(pl, training_step=training_step, automatic_optimization=False)
    fit(pl, model, callbacks=[callback := recorder(cls)], logger=logger(pl))
    found = history(client, callback.recorder.run.id, "fmce/train_loss")
    assert [found[s] for s in (1, 2, 3, 4)] == pytest.approx(np.reshape(model.losses, (4, 3))[:, 1:].mean(1))


def test_a_module_without_a_forward_says_how_it_is_called(lightning, client, logger):
    pl, cls = lightning
    with pytest.raises(ModelError, match=r"forward=lambda model, batch"):
        fit(pl, module(pl, forward=pl.LightningModule.forward), callbacks=[recorder(cls)], logger=logger(pl))
    model = module(pl, forward=pl.LightningModule.forward)
    callback = recorder(cls, forward=lambda module, batch: module.net(batch))
    fit(pl, model, callbacks=[callback], logger=logger(pl))
    last = recorded_maps(client, callback.recorder.run.id, "net.stem")[4]
    np.testing.assert_array_equal(last, maps_of(model.net, "stem"))


def test_mistakes_are_told_before_the_first_step(lightning, client, logger):
    pl, cls = lightning
    with pytest.raises(ConfigError, match="every must be at least 1, got 0"):
        recorder(cls, every=0)
    with pytest.raises(BackboneError, match=r"net\.stm"):
        fit(pl, model := module(pl), callbacks=[recorder(cls, modules=["net.stm"])], logger=logger(pl))
    assert model.losses == []


def test_one_callback_needs_no_list_and_states_are_those_of_the_class(both):
    """What Lightning asks of a callback's class: that it is one of its own package."""
    pl, cls = both
    callback = recorder(cls)
    assert callback in pl.Trainer(callbacks=callback, logger=False, enable_checkpointing=False, **QUIET).callbacks
    assert callback.state_key == "FeatureMapRecorder" and callback.state_dict() == {}
