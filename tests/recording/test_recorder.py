"""A recorder in plain PyTorch loops: what it changes of them (nothing) and what it leaves in the run."""

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
from fmce_mlflow.errors import BackboneError, CaptureError, ConvergenceError, NonFiniteLossError, RunError
from fmce_mlflow.fmcs_dataset.label import build_fmcs_dataset
from fmce_mlflow.method.convergence.drift import linear_cka
from fmce_mlflow.recording.conclude import DRIFT_PLOT, PLOT
from fmce_mlflow.recording.probe import probe_images
from fmce_mlflow.recording.probe_pictures import PICTURES
from fmce_mlflow.recording.recorder import SALIENCY, Recorder
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from fmce_mlflow.runs.metric_names import metric_name
from fmce_mlflow.runs.recordings import CONVERGENCE
from fmce_mlflow.runs.run import Run
from tests.conftest import new_run
from tests.helpers.form_nets import Tokens
from tests.helpers.recordings import PROBE
from tests.helpers.small_training import IMAGES, LABELS, PROBE_LABELS, SOON


class Net(nn.Module):
    """A batch norm that trains and one that is frozen in eval mode, and dropout."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.frozen = nn.BatchNorm2d(6)
        self.drop, self.head = nn.Dropout(0.1), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.drop(self.frozen(self.stem(x)).mean((2, 3))))


def net():
    torch.manual_seed(1)
    model = Net().train()
    model.frozen.eval().requires_grad_(False)
    return model


def trained(model, at=lambda loss: None, epochs=12):
    """A loop of anybody's: its losses to the bit."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.5)
    losses = []
    at(F.cross_entropy(model(IMAGES), LABELS).item())
    for _ in range(epochs):
        loss = F.cross_entropy(model(IMAGES), LABELS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        at(loss.item())
    return losses


def recorder_of(client, model, modules=("stem",), probe=None, **more):
    more = {"convergence": SOON, **more}
    probe = probe or probe_images(PROBE, PROBE_LABELS)
    return Recorder(model, modules, probe, Run(client, new_run(client), lambda line: None), **more)


def metric(recorder, name):
    history = recorder.run.client.get_metric_history(recorder.run.id, name)
    return {m.step: m.value for m in history}


def test_losses_with_and_without_a_recorder_are_equal_to_the_bit(client):
    plain, watched = net(), net()
    torch.manual_seed(3)
    expected = trained(plain)
    state = torch.get_rng_state()
    recorder = recorder_of(client, watched, ("stem", "frozen"))
    torch.manual_seed(3)
    assert trained(watched, lambda loss: recorder.snapshot(train_loss=loss)) == expected
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(watched.state_dict()[k], v) for k, v in plain.state_dict().items())


def test_a_look_leaves_modes_gradients_and_random_state_as_they_were(client):
    model = net()
    model.drop.eval()
    F.cross_entropy(model(IMAGES), LABELS).backward()
    modes = {name: module.training for name, module in model.named_modules()}
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    before = torch.get_rng_state()
    recorder_of(client, model).snapshot(train_loss=1.0)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert modes["drop"] is modes["frozen"] is False and modes["stem.1"]
    for name, p in model.named_parameters():
        assert p.grad is None if grads[name] is None else torch.equal(p.grad, grads[name])
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    assert torch.equal(torch.get_rng_state(), before)


def test_what_a_recording_leaves_in_its_run(client):
    model = net()
    recorder = recorder_of(client, model, ("stem", "frozen"), name="plain")
    maps = []

    def at(loss):
        with torch.no_grad():
            model.eval()
            maps.append(model.stem(PROBE).half().numpy())
            model.train()
            model.frozen.eval()
        recorder.snapshot(train_loss=loss, lr=0.2)

    trained(model, at)
    found = recorder.finish()
    run = recorder.run.fetch()
    assert run.info.status == "RUNNING"  # whoever opened it closes it
    assert found.val is None and found.train.losses.tolist() == list(metric(recorder, "train_loss").values())
    assert list(found.drift) == ["stem", "frozen"] and run.data.tags["fmce.converged"] == "true"
    assert metric(recorder, "epoch") == {s: s for s in range(13)} and set(metric(recorder, "lr").values()) == {0.2}
    assert len(metric(recorder, "focus/stem")) == 13
    reader = FeatureMapReader(client, recorder.run.id)
    assert reader.index.probe == recorder.probe.identity and reader.index.snapshots("frozen") == tuple(range(13))
    for snapshot, expected in enumerate(maps):
        values, labels = reader.read("stem", snapshot)
        np.testing.assert_array_equal(values, expected)
        assert labels.tolist() == PROBE_LABELS.tolist()
    drift = metric(recorder, "drift/stem")
    assert drift[3] == pytest.approx(1 - linear_cka(maps[2], maps[3]), abs=1e-9)
    record = json.loads(Path(client.download_artifacts(recorder.run.id, CONVERGENCE)).read_text())
    assert record["val"] is None and record["disagreement"] is None and record["signal"] == "train"
    assert {file.path for file in client.list_artifacts(recorder.run.id, "plots")} == {
        PLOT,
        DRIFT_PLOT,
        SALIENCY,
        PICTURES,
    }


def test_a_plain_loop_of_five_lines_becomes_an_fmcs_dataset(client):
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        with mlflow.start_run(experiment_id=client.get_experiment_by_name("tests").experiment_id) as active:
            model = net()
            recorder = fmce_mlflow.record(
                model, ["stem"], probe=PROBE, labels=PROBE_LABELS, convergence=SOON, say=lambda line: None
            )
            trained(model, lambda loss: recorder.snapshot(train_loss=loss))
            recorder.finish()
    finally:
        mlflow.set_tracking_uri(before)
    dataset = build_fmcs_dataset(client, [active.info.run_id], config=SOON)
    assert dataset.table["snapshot"].tolist() == list(range(13)) and dataset.table["fmcs"].iloc[-1] == 1
    assert set(dataset.table["module"]) == {"stem"} and set(dataset.table["backbone"]) == {"Net"}
    assert fmce_mlflow.Recorder is Recorder


def test_a_record_on_another_server_says_that_it_needs_a_run(client):
    with pytest.raises(RunError, match="start_run"):
        fmce_mlflow.record(net(), ["stem"], probe=PROBE, client=client)


def test_a_loss_that_is_not_finite_names_its_snapshot_and_writes_nothing(client):
    recorder = recorder_of(client, net())
    recorder.snapshot(train_loss=1.0, val_loss=1.0)
    with pytest.raises(NonFiniteLossError, match="validation loss of snapshot 1 is nan"):
        recorder.snapshot(train_loss=1.0, val_loss=math.nan)
    assert FeatureMapReader(client, recorder.run.id).index.snapshots("stem") == (0,)
    assert list(metric(recorder, "train_loss")) == [0]


def test_a_signal_that_was_not_recorded_is_a_clear_error(client):
    recorder = recorder_of(client, net(), signal="val")
    trained(recorder.model, lambda loss: recorder.snapshot(train_loss=loss), epochs=2)
    with pytest.raises(ConvergenceError, match="judged by its validation loss, which was not recorded"):
        recorder.finish()


def test_modules_by_glob_and_outputs_have_names_of_their_own(client):
    recorder = recorder_of(client, net(), ("stem.*",))
    assert recorder.shapes == {"stem.0": (6, 6, 6), "stem.1": (6, 6, 6), "stem.2": (6, 6, 6)}
    with pytest.raises(BackboneError, match="steem"):
        recorder_of(client, net(), ("steem",))


class Stages(nn.Sequential):
    """As torchvision's feature extractors: outputs are numbered, and so are modules, in another order."""

    def forward(self, x):
        found = [x := module(x) for module in self]
        return {"0": found[1], "1": found[2]}


def test_an_output_that_has_the_name_of_a_module_is_recorded_and_not_that_module(client):
    body = Stages(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 3), nn.Conv2d(5, 6, 3))
    said = []
    run = Run(client, new_run(client), said.append)
    recorder = Recorder(nn.Sequential(body), ["0"], probe_images(PROBE, PROBE_LABELS), run)
    recorder.snapshot(train_loss=1.0)
    maps, _ = FeatureMapReader(client, run.id).read("0.0", 0)
    expected = body(PROBE)["0"].detach()
    assert recorder.shapes == {"0.0": (5, 6, 6), "0.1": (6, 4, 4)}
    np.testing.assert_allclose(maps, expected, atol=2e-3)
    assert [line for line in said if line.startswith("0.0 is an output or a call of 0 here")]


def test_a_module_whose_name_is_too_long_for_a_metric_is_recorded_and_labelled_by_its_drift(client):
    """A folder's name may have 255 characters, a metric's 250."""
    model, name = net(), "m" * 255
    model.add_module(name, model.stem)
    model.stem = nn.Identity()
    model.forward = lambda x: model.head(getattr(model, name)(x).mean((2, 3)))
    said = []
    run = Run(client, new_run(client), said.append)
    recorder = Recorder(model, [name], probe_images(PROBE, PROBE_LABELS), run, convergence=SOON, signal="drift")
    assert said == [f"The metrics of module {name} are called …/{metric_name(name)}."]
    run.set_role("backbone")
    trained(model, lambda loss: recorder.snapshot(train_loss=loss))
    recorder.finish()
    client.set_terminated(run.id)
    assert {f"drift/{metric_name(name)}", f"focus/{metric_name(name)}"} <= set(run.fetch().data.metrics)
    table = build_fmcs_dataset(client, [run.id], config=SOON, signal="drift", unconverged="keep").table
    assert set(table["module"]) == {name} and len(table) == 13


def test_a_probe_without_labels_has_maps_and_no_saliency(client):
    said = []
    recorder = recorder_of(client, net(), probe=probe_images(PROBE))
    recorder.run = Run(client, recorder.run.id, said.append)
    trained(recorder.model, lambda loss: recorder.snapshot(train_loss=loss))
    recorder.finish()
    assert FeatureMapReader(client, recorder.run.id).read("stem", 0)[1].tolist() == [-1] * 10
    assert any("no saliency: the probe images have no labels" in line for line in said)


def test_a_recording_is_told_how_tokens_lie(client):
    probe = probe_images(torch.rand(4, 3, 16, 16), labels=[0, 1, 2, 3])
    with pytest.raises(CaptureError, match="token_grid"):
        recorder_of(client, Tokens(40), ["norm"], probe)
    recorder = recorder_of(client, Tokens(40), ["norm"], probe, token_grid="4x4+40")
    assert recorder.shapes == {"norm": (16, 4, 4)}
    recorder.snapshot(train_loss=1.0)
    assert recorder.take_maps().maps["norm"].shape == (4, 16, 4, 4)
    assert metric(recorder, "focus/norm")


def test_maps_that_float16_would_lose_are_kept_and_their_drift_is_that_of_the_maps(client):
    """The last maps of deep untrained networks are of the order of 1e-8."""
    model = net()
    recorder = recorder_of(client, model, ("stem.0",))
    with torch.no_grad():
        for weight in model.stem[0].parameters():
            weight.mul_(2.0**-30)
        small = model.stem[0](PROBE)
    recorder.snapshot(train_loss=1.0)
    with torch.no_grad():
        for weight in model.stem[0].parameters():
            weight.mul_(2.0**32)
    recorder.snapshot(train_loss=1.0)
    maps, _ = FeatureMapReader(client, recorder.run.id).read("stem.0", 0)
    entries = FeatureMapReader(client, recorder.run.id).index.entries
    exponent = entries["stem.0", 0].exponent
    assert 25 < exponent < 35 and entries["stem.0", 1].exponent == 0
    np.testing.assert_allclose(maps, small.numpy() * 2.0**exponent, rtol=1e-3, atol=1e-4)
    assert metric(recorder, "drift/stem.0")[1] < 1e-5


def test_a_probe_that_changes_its_number_is_refused(client):
    probe = probe_images(PROBE, PROBE_LABELS)
    recorder = recorder_of(client, net(), probe=probe)
    probe.batches.append(PROBE)
    with pytest.raises(CaptureError, match="more images than the 10"):
        recorder.snapshot(train_loss=1.0)
