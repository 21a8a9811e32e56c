"""The recorder in anybody's loop: five lines, the run that it leaves, and what it survives."""

from __future__ import annotations

import json
import math
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fmce_mlflow
from fmce_mlflow.errors import BusyError, ConfigError, DataError, ModelError, RunError
from fmce_mlflow.fmcs_dataset.label import build_fmcs_dataset
from fmce_mlflow.recording.loop import IdleRecorder, LoopRecorder
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from fmce_mlflow.runs.recordings import CONVERGENCE, TAG
from tests.conftest import new_run
from tests.helpers.recordings import PROBE
from tests.helpers.small_training import IMAGES, LABELS, PROBE_LABELS, SOON
from tests.recording.test_recorder import net

EPOCHS = 12


def recorded(client, run_id=None, model=None, modules=("stem", "frozen"), probe=PROBE, said=None, **more):
    say = (lambda line: None) if said is None else said.append
    options = {"labels": PROBE_LABELS, "convergence": SOON, **more}
    return fmce_mlflow.record(
        model or net(), modules, probe=probe, run_id=run_id or new_run(client), client=client, say=say, **options
    )


def loop(model, recorder=None, epochs=EPOCHS, first=0, steps=3, at=None):
    """Anybody's loop, here with a validation loss; its losses to the bit."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.5)
    losses = []
    for epoch in range(first, epochs):
        model.train()
        model.frozen.eval()
        for batch in torch.arange(48).split(48 // steps):
            loss = F.cross_entropy(model(IMAGES[batch]), LABELS[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if recorder is not None:
                recorder.loss(loss)
        if recorder is not None:
            recorder.snapshot(epoch=epoch + 1, val_loss=validated(model))
        if at is not None:
            at(epoch)
    return losses


@torch.no_grad()
def validated(model):
    model.eval()
    return F.cross_entropy(model(PROBE), PROBE_LABELS).item()


def history(client, run_id, name):
    return {m.step: m.value for m in client.get_metric_history(run_id, name)}


def signals(client, run_id):
    return json.loads(Path(client.download_artifacts(run_id, CONVERGENCE)).read_text())


def test_five_lines_leave_what_a_backbone_run_leaves(tracking):
    plain, model = net(), net()
    torch.manual_seed(3)
    expected = loop(plain)
    torch.manual_seed(3)
    with mlflow.start_run() as active, recorded(tracking, active.info.run_id, model) as recorder:
        losses = loop(model, recorder)
    assert losses == expected
    run = tracking.get_run(active.info.run_id)
    assert run.info.status == "FINISHED" and run.data.tags["fmce.role"] == "backbone"
    assert run.data.tags["fmce.converged"] == "true" and not run.data.params
    means = history(tracking, run.info.run_id, "train_loss")
    assert means[0] == losses[0] and means[2] == pytest.approx(np.mean(losses[3:6]), abs=1e-12)
    assert list(means) == list(range(EPOCHS + 1)) == list(history(tracking, run.info.run_id, "epoch"))
    found = signals(tracking, run.info.run_id)
    assert found["assumed"] == ["val_loss"] and found["val"]["losses"][0] == found["val"]["losses"][1]
    assert len(found["weights"]) == EPOCHS + 1 and set(found["drift"]) == {"stem", "frozen"}
    files = {f.path for f in tracking.list_artifacts(run.info.run_id)}
    assert files == {"convergence.json", "feature_maps", "plots"}  # and no checkpoint is left
    table = build_fmcs_dataset(tracking, [run.info.run_id], config=SOON).table
    assert set(table["module"]) == {"stem", "frozen"} and table["fmcs"].max() == 1
    assert table["epoch"].tolist()[: EPOCHS + 1] == list(range(EPOCHS + 1))


def test_snapshot_0_is_the_network_before_its_first_step_and_takes_more_metrics_until_then(client):
    model = net()
    with torch.no_grad():
        expected = model.eval().stem(PROBE).half().numpy()
    model.train()
    run_id = new_run(client)
    with pytest.raises(ZeroDivisionError), recorded(client, run_id, model=model) as recorder:
        recorder.snapshot(val_loss=7.0)
        assert recorder.snapshots == 1 and history(client, run_id, "val_loss") == {0: 7.0}
        raise ZeroDivisionError
    with recorded(client, run_id, model=model) as recorder:
        recorder.snapshot(miou=0.25)  # what was told before the cut is known
        loop(model, recorder, epochs=4)
    assert history(client, run_id, "miou") == {0: 0.25}
    maps, _ = FeatureMapReader(client, recorder.run.id).read("stem", 0)
    np.testing.assert_array_equal(maps, expected)
    assert history(client, recorder.run.id, "val_loss")[0] == 7.0
    assert signals(client, recorder.run.id)["assumed"] == []


def test_a_loop_that_tells_no_loss_may_pass_it_to_the_snapshot(client):
    model = net()
    with recorded(client, model=model) as recorder:
        for epoch in range(3):
            loop(model, epochs=1)
            recorder.snapshot(train_loss=3.0 - epoch)
    assert history(client, recorder.run.id, "train_loss") == {0: 3.0, 1: 3.0, 2: 2.0, 3: 1.0}
    assert signals(client, recorder.run.id)["assumed"] == ["train_loss"]


def test_metrics_may_be_tensors_or_not_known_yet(client):
    with recorded(client) as recorder:
        recorder.loss(1.0)
        recorder.snapshot(val_loss=torch.tensor(0.5, requires_grad=True), map=None)
    assert history(client, recorder.run.id, "val_loss") == {0: 0.5, 1: 0.5}
    assert history(client, recorder.run.id, "map") == {}


def test_named_losses_are_logged_each_and_their_sum_is_the_training_loss(client):
    with recorded(client) as recorder:
        recorder.loss(box=torch.tensor(1.0), mask=2.0)
        recorder.loss(box=torch.tensor(3.0), mask=2.0)
        recorder.snapshot()
        with pytest.raises(ConfigError, match=r"box must be one number, got a tensor of shape \(2,\)"):
            recorder.loss(box=torch.zeros(2))
    assert history(client, recorder.run.id, "train_loss") == {0: 3.0, 1: 4.0}
    assert history(client, recorder.run.id, "train_loss/box") == {0: 1.0, 1: 2.0}


def test_epochs_that_do_not_count_what_was_trained_are_told_once(client):
    said = []
    with recorded(client, said=said) as recorder:
        recorder.snapshot(epoch=0, val_loss=1.0)  # more about snapshot 0
        for epoch in (0, 1, math.nan, 2):
            recorder.loss(1.0)
            recorder.snapshot(epoch=epoch, val_loss=1.0)
    assert sum("how many epochs were trained" in line for line in said) == 1
    assert signals(client, recorder.run.id)["epochs"] == [0, 0, 1, 3, 2]


def test_every_n_losses_a_snapshot_is_taken(client):
    model = net()
    with recorded(client, model=model, every=2) as recorder:
        for _ in range(5):
            recorder.loss(1.0)
    assert recorder.snapshots == 3
    with recorded(client, every="epoch") as recorder:
        recorder.loss(1.0)
    assert recorder.snapshots == 1


def test_a_snapshot_at_a_step_that_was_recorded_before_the_cut_is_not_taken_again(client):
    said, run_id = [], new_run(client)
    with pytest.raises(KeyError), recorded(client, run_id, every=2) as recorder:
        recorder.loss(0.0)
        kept = recorder.state_dict()
        for step in range(1, 5):
            recorder.loss(float(step))
        raise KeyError
    with recorded(client, run_id, every=2, said=said) as recorder:
        recorder.load_state_dict(kept)  # of a checkpoint that is behind
        for step in range(1, 7):
            recorder.loss(float(step))
    assert history(client, run_id, "train_loss") == {0: 0.0, 1: 0.5, 2: 2.5, 3: 4.5}
    assert any("up to step 4 are there already" in line for line in said)


def test_a_recording_that_was_cut_off_goes_on_with_every_snapshot_once(client):
    said, run_id = [], new_run(client)
    with pytest.raises(KeyError), recorded(client, run_id, said=said) as recorder:
        loop(recorder.model, recorder, at=lambda epoch: {3: 1}[epoch] if epoch > 2 else None, epochs=6)
    assert client.get_run(run_id).info.status == "FAILED" and f"Go on with record(…, run_id={run_id!r})" in said[-1]
    with recorded(client, run_id, said=said) as recorder:  # the loop's own checkpoint was one epoch behind
        assert recorder.snapshots == 6 and client.get_run(run_id).info.status == "RUNNING"
        loop(recorder.model, recorder, first=4, epochs=EPOCHS)
    steps = [m.step for m in client.get_metric_history(run_id, "val_loss")]
    assert sorted(steps) == list(range(EPOCHS + 1))
    assert FeatureMapReader(client, run_id).index.snapshots("stem") == tuple(range(EPOCHS + 1))
    assert signals(client, run_id)["epochs"] == list(range(EPOCHS + 1))
    assert any("up to epoch 5 are there already" in line for line in said)
    assert client.get_run(run_id).info.status == "FINISHED"  # it is not active: nobody else would say so


def test_a_recording_that_goes_on_in_the_active_run_leaves_it_open(tracking):
    for _ in range(2):
        with pytest.raises(KeyError), mlflow.start_run() as run, recorded(tracking, run.info.run_id) as recorder:
            loop(recorder.model, recorder, epochs=1, at={}.__getitem__)
        with mlflow.start_run(run_id=run.info.run_id):
            with recorded(tracking, run.info.run_id) as recorder:
                loop(recorder.model, recorder, first=1, epochs=2)
            assert tracking.get_run(run.info.run_id).info.status == "RUNNING"


def test_losses_go_on_from_a_checkpoint_within_an_epoch(client):
    """The loop's own checkpoint keeps what the recorder was told since its last snapshot, the very first loss too."""
    run_id = new_run(client)
    with pytest.raises(KeyError), recorded(client, run_id) as recorder:
        for value in (1.0, 2.0):
            recorder.loss(value, box=torch.tensor(value / 2))
        kept = json.loads(json.dumps(recorder.state_dict()))
        raise KeyError
    with recorded(client, run_id) as recorder:
        recorder.load_state_dict({})
        recorder.load_state_dict(kept)
        for value in (3.0, 4.0):
            recorder.loss(value, box=torch.tensor(value / 2))
        recorder.snapshot(epoch=1)
        assert recorder.record.steps == 4
    assert history(client, run_id, "train_loss") == {0: 1.0, 1: 2.5}
    assert history(client, run_id, "train_loss/box") == {0: 0.5, 1: 1.25}


def test_a_recording_that_goes_on_wants_the_same_images_and_modules(client):
    run_id = new_run(client)
    with pytest.raises(ZeroDivisionError), recorded(client, run_id):
        raise ZeroDivisionError
    with pytest.raises(DataError, match="not those of the recording"):
        recorded(client, run_id, probe=PROBE + 1)
    with pytest.raises(RunError, match="records stem, frozen, and this model gives stem"):
        recorded(client, run_id, modules=["stem"])
    with recorded(client, run_id, modules=()) as recorder:  # those of before
        assert recorder.modules == ("stem", "frozen")


def test_two_recorders_on_one_run(client):
    run_id = new_run(client)
    with recorded(client, run_id) as recorder:
        with pytest.raises(BusyError, match=r"recorder of this one that was not ended.*finish\(\)"):
            recorded(client, run_id)
        loop(recorder.model, recorder, epochs=2)
    assert recorder.snapshots == 3


def test_after_the_end_a_snapshot_is_refused_in_a_sentence(client):
    with recorded(client) as recorder:
        loop(recorder.model, recorder, epochs=2)
    with pytest.raises(RunError, match="has ended"):
        recorder.snapshot()
    assert recorder.finish() is None
    with pytest.raises(RunError, match="has a recording that has ended"):
        recorded(client, recorder.run.id)


def test_runs_that_cannot_be_recorded_in(client):
    with pytest.raises(RunError, match="no run 'nowhere'"):
        recorded(client, "nowhere")
    finished, deleted, other = new_run(client), new_run(client), new_run(client)
    client.set_terminated(finished)
    client.delete_run(deleted)
    client.set_tag(other, "fmce.role", "tuning")
    for run_id, text in ((finished, "is finished"), (deleted, "restore --run-id"), (other, "'tuning'")):
        with pytest.raises(RunError, match=text):
            recorded(client, run_id)


def test_without_a_run_one_is_opened_and_closed(tracking):
    said = []
    with fmce_mlflow.record(net(), ["stem"], probe=PROBE, convergence=SOON, say=said.append) as recorder:
        assert mlflow.active_run().info.run_id == recorder.run.id and "new run" in said[0]
        loop(recorder.model, recorder, epochs=2)
    assert mlflow.active_run() is None and tracking.get_run(recorder.run.id).info.status == "FINISHED"
    with (
        pytest.raises(ZeroDivisionError),
        fmce_mlflow.record(net(), ["stem"], probe=PROBE, say=said.append) as recorder,
    ):
        raise ZeroDivisionError
    assert mlflow.active_run() is None and tracking.get_run(recorder.run.id).info.status == "FAILED"
    with pytest.raises(Exception, match="steem"):
        fmce_mlflow.record(net(), ["steem"], probe=PROBE, say=said.append)
    assert mlflow.active_run() is None


def test_a_loss_that_is_nan_is_recorded_and_named_and_stops_nothing(client):
    said = []
    with recorded(client, said=said) as recorder:
        for value in (1.0, math.nan, 0.5):
            recorder.loss(torch.tensor(value))
            recorder.snapshot(val_loss=1.0)
    assert recorder.snapshots == 4
    assert any("training loss is nan at snapshot 2" in line for line in said)
    assert any("training loss of snapshot 2 is nan" in line for line in said)
    found = signals(client, recorder.run.id)
    assert found["train"]["losses"] == [1.0, 1.0, None, 0.5] and found["train"]["problem"]
    assert client.get_run(recorder.run.id).data.tags["fmce.converged"] == "false"


def test_a_network_that_became_nan_is_recorded_without_its_maps(client):
    said, model = [], net()
    with recorded(client, model=model, said=said) as recorder:
        loop(model, recorder, epochs=1)
        with torch.no_grad():
            model.stem[0].weight.fill_(math.nan)
        recorder.snapshot(train_loss=1.0)
        recorder.snapshot(train_loss=1.0)
    assert recorder.snapshots == 4
    assert FeatureMapReader(client, recorder.run.id).index.snapshots("stem") == (0, 1)
    assert sum("maps of stem are NaN" in line for line in said) == 1


def test_a_module_that_gives_no_map_any_more_is_said_once_and_the_others_go_on(client):
    said, model = [], net()
    with recorded(client, model=model, said=said) as recorder:
        loop(model, recorder, epochs=1)
        model.frozen = nn.Identity()
        kept, model.frozen.eval = model.forward, lambda: model.frozen
        model.forward = lambda x: model.head(model.stem(x).mean((2, 3)))
        recorder.snapshot(train_loss=1.0)
        recorder.snapshot(train_loss=1.0)
        assert kept is not None
    index = FeatureMapReader(client, recorder.run.id).index
    assert index.snapshots("stem") == (0, 1, 2, 3) and index.snapshots("frozen") == (0, 1)
    assert sum("no maps of frozen any more" in line for line in said) == 1


def test_a_probe_that_the_model_cannot_take_is_told_in_a_sentence(client):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = net().stem

        def forward(self, x, mask):
            return self.stem(x * mask)

    with pytest.raises(ModelError, match="forward=lambda model, batch"):
        recorded(client, model=Two(), modules=["stem"])
    with pytest.raises(ModelError, match=r"expected input.* to have 3 channels"):
        recorded(client, probe=torch.zeros(4, 1, 8, 8), labels=None)
    with pytest.raises(DataError, match="got 1 images"):
        recorded(client, probe=PROBE[:1], labels=None)
    with pytest.raises(DataError, match="got str"):
        recorded(client, probe="photos", labels=None)
    batches = [(PROBE[:5], torch.ones(5, 1, 1, 1)), (PROBE[5:], torch.ones(5, 1, 1, 1))]
    with recorded(
        client, model=Two(), modules=["stem"], probe=batches, labels=None, forward=lambda model, batch: model(*batch)
    ) as recorder:
        pass
    assert recorder.shapes == {"stem": (6, 6, 6)} and recorder.snapshots == 1


def test_doubles_and_half_networks_take_the_same_probe(client):
    for model in (net().double(), net().bfloat16()):
        with recorded(client, model=model, probe=PROBE) as recorder:
            pass
        assert recorder.snapshots == 1


def test_a_run_with_metrics_of_these_names_keeps_its_own(client):
    said, run_id = [], new_run(client)
    client.log_metric(run_id, "train_loss", 9.0, step=100)
    with recorded(client, run_id, said=said) as recorder:
        loop(recorder.model, recorder)
    assert history(client, run_id, "train_loss") == {100: 9.0} and len(history(client, run_id, "fmce/train_loss")) == 13
    client.set_terminated(run_id)
    assert len(build_fmcs_dataset(client, [run_id], config=SOON, modules=["stem"]).table) == EPOCHS + 1


def test_metrics_that_the_loop_logs_itself_do_not_change_the_labels(client):
    with recorded(client) as recorder:
        loop(recorder.model, recorder)
        for step in range(5):
            client.log_metric(recorder.run.id, "train_loss", 9.0, step=step)
    client.set_terminated(recorder.run.id)
    table = build_fmcs_dataset(client, [recorder.run.id], config=SOON, modules=["stem"]).table
    assert table["fmcs"].tolist() == signals(client, recorder.run.id)["train"]["fmcs"]


def test_names_in_the_tag_and_the_laggard(client):
    said = []
    with recorded(client, said=said, name="mine", dataset="photos") as recorder:
        loop(recorder.model, recorder)
    tag = json.loads(client.get_run(recorder.run.id).data.tags[TAG])
    assert (tag["backbone"], tag["dataset"], tag["signal"]) == ("mine", "photos", "train")
    assert any("Last to settle, by its drift" in line for line in said)


def test_a_module_that_never_moves_is_not_the_last_to_settle(client):
    said, model = [], net()
    model.stem.requires_grad_(False)
    model.frozen.requires_grad_(True)
    with recorded(client, model=model, modules=["stem.0", "stem", "frozen"], said=said) as recorder:
        optimizer = torch.optim.SGD(model.frozen.parameters(), lr=0.5)
        for _ in range(3):
            loss = F.cross_entropy(model.eval()(IMAGES), LABELS)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.loss(loss)
            recorder.snapshot()
    assert signals(client, recorder.run.id)["laggards"] == []
    assert "fmce.laggard" not in client.get_run(recorder.run.id).data.tags
    assert any("maps of stem.0, stem are the same at every snapshot" in line for line in said)
    assert not any("Last to settle" in line for line in said)


def test_a_recorder_of_a_model_that_is_not_trained_says_so(client):
    said = []
    with recorded(client, modules=["stem"], said=said) as recorder:
        loop(net(), recorder, epochs=2)
    assert any("maps of stem are the same at every snapshot" in line for line in said)


def test_a_recorder_that_was_not_entered_says_what_is_missing_once(client):
    said = []
    recorder = recorded(client, said=said)
    loop(recorder.model, recorder, epochs=2)
    assert [line.count("no snapshot of the untrained network") for line in said] == [
        1
    ] and recorder.finish() is not None
    said, recorder = [], recorded(client, said=said)
    recorder.snapshot()
    loop(recorder.model, recorder, epochs=1)
    assert not said and recorder.finish() is not None


def test_other_processes_of_a_group_record_nothing(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with fmce_mlflow.record(net(), ["stem"], probe=PROBE) as recorder:
        recorder.loss(1.0)
        recorder.snapshot(val_loss=1.0)
    assert isinstance(recorder, IdleRecorder) and isinstance(recorder, LoopRecorder) and recorder.snapshots == 0
