"""Labels of modules in real trainings: frozen, thawed late, frozen from the middle on, cut off, fine-tuned."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import fmce_mlflow
from fmce_mlflow.fmcs_dataset.label import build_fmcs_dataset
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.runs.recordings import recorded_signals
from tests.conftest import new_run
from tests.helpers.recordings import PROBE
from tests.helpers.small_training import IMAGES, LABELS, history, train_epoch

CONFIG = ConvergenceConfig(levels=3, threshold=0.05, smoothing=0, window=1)
MODULES, EPOCHS = ("backbone", "pool", "head"), 14


class Net(nn.Module):
    """A backbone with batch norm, a pool without weights, a head that is a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.pool, self.head = nn.AvgPool2d(2), nn.Conv2d(6, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.backbone(x))).mean((2, 3))


def net() -> Net:
    torch.manual_seed(1)
    return Net()


def trained(model: Net, recorder, trains=lambda epoch: True, first: int = 1, last: int = EPOCHS, *, settles=True):
    """Train the head at each epoch, and the backbone at those that are asked for; its statistics settle or not."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1)
    for epoch in range(first, last + 1):
        model.train()
        model.backbone.requires_grad_(trains(epoch)).train(settles)
        torch.manual_seed(epoch)
        train_epoch(model, optimizer, recorder.loss)
        recorder.snapshot(epoch=epoch, val_loss=1 / epoch)


def recorded(client, model, run_id=None, said=None, **options):
    say = (lambda line: None) if said is None else said.append
    return fmce_mlflow.record(
        model,
        MODULES,
        probe=PROBE,
        run_id=run_id or new_run(client),
        client=client,
        say=say,
        convergence=CONFIG,
        **options,
    )


def labels_of(client, run_id, **options):
    """The FMCS-dataset's rows of a run, by module."""
    found = build_fmcs_dataset(client, [run_id], config=CONFIG, unconverged="keep", **options)
    return found, {module: rows for module, rows in found.table.groupby("module", sort=False)}


def losses_of(client, run_id) -> list[float]:
    return list(history(client, run_id, "train_loss").values())


@pytest.mark.parametrize("settles", [True, False], ids=["batch norm settles", "batch norm in eval mode"])
def test_a_frozen_backbone_has_0_and_the_head_on_it_the_label_of_the_loss(client, settles):
    model, said = net(), []
    with recorded(client, model, said=said) as recorder:
        trained(model, recorder, lambda epoch: False, settles=settles)
    run_id = recorder.run.id
    changes = {module: history(client, run_id, f"weight_change/{module}") for module in MODULES}
    assert changes["backbone"] == changes["pool"] == dict.fromkeys(range(1, EPOCHS + 1), 0.0)
    assert all(value > 1e-4 for value in changes["head"].values())
    assert (max(history(client, run_id, "drift/backbone").values()) > 1e-6) is settles, "maps move without weights"
    _, rows = labels_of(client, run_id)
    for module in ("backbone", "pool"):
        assert set(rows[module]["fmcs"]) == {0.0} and set(rows[module]["level"]) == {0}
        assert rows[module]["moved_from"].isna().all() and set(rows[module]["moved_until"]) == {0}
    run = assess(losses_of(client, run_id), CONFIG)
    assert run.point is not None and rows["head"]["fmcs"].tolist() == run.fmcs.tolist()
    assert set(rows["head"]["moved_from"]) == {0} and set(rows["head"]["moved_until"]) == {EPOCHS}
    assert any("By their weights, backbone never moved; pool never moved. Such a module has FMCS 0" in s for s in said)


def test_a_late_thaw_counts_from_there(client):
    """In a run that has metrics of its own; ``convergence.json`` says of weights what was logged."""
    model = net()
    with recorded(client, model, prefix="fmce/") as recorder:
        trained(model, recorder, lambda epoch: epoch > 5)
    run_id = recorder.run.id
    told = recorded_signals(client, client.get_run(run_id))
    for module in MODULES:
        logged = history(client, run_id, f"fmce/weight_change/{module}")
        assert told["weight_change"][module] == [None, *logged.values()] and list(logged) == [*range(1, EPOCHS + 1)]
    _, rows = labels_of(client, run_id)
    losses = list(history(client, run_id, "fmce/train_loss").values())
    own = assess(losses[5:], CONFIG)
    assert own.fmcs is not None
    assert rows["backbone"]["fmcs"].tolist() == rows["pool"]["fmcs"].tolist() == [*[0.0] * 5, *own.fmcs]
    assert rows["head"]["fmcs"].tolist() == assess(losses, CONFIG).fmcs.tolist()
    assert set(rows["backbone"]["moved_from"]) == {5}


def test_a_backbone_frozen_from_the_middle_on_keeps_its_label(client):
    model = net()
    with recorded(client, model) as recorder:
        trained(model, recorder, lambda epoch: epoch <= 3)
    _, rows = labels_of(client, recorder.run.id)
    run = assess(losses_of(client, recorder.run.id), CONFIG)
    assert 0 < run.fmcs[3] < 1
    assert rows["backbone"]["fmcs"].tolist() == [*run.fmcs[:4], *[run.fmcs[3]] * (EPOCHS - 3)]
    assert set(rows["backbone"]["moved_until"]) == {3} and rows["head"]["fmcs"].tolist() == run.fmcs.tolist()


def test_a_recording_that_was_cut_off_knows_still_what_never_moved(client):
    model = net()
    with pytest.raises(KeyboardInterrupt), recorded(client, model) as recorder:
        trained(model, recorder, lambda epoch: False, last=4)
        raise KeyboardInterrupt
    run_id = recorder.run.id
    with recorded(client, model, run_id) as recorder:
        trained(model, recorder, lambda epoch: False, first=5)
    changes = {module: history(client, run_id, f"weight_change/{module}") for module in MODULES}
    assert changes["backbone"] == changes["pool"] == dict.fromkeys(range(1, EPOCHS + 1), 0.0)
    assert list(changes["head"]) == [*range(1, EPOCHS + 1)], "it went on from the weights of the last snapshot"
    _, rows = labels_of(client, run_id)
    assert set(rows["backbone"]["fmcs"]) == {0.0}
    assert set(rows["head"]["moved_from"]) == {0} and set(rows["head"]["moved_until"]) == {EPOCHS}


def test_weights_between_two_processes_that_are_not_known_count_as_moving(client):
    model = net()
    with pytest.raises(KeyboardInterrupt), recorded(client, model) as recorder:
        trained(model, recorder, last=4)
        raise KeyboardInterrupt
    model.head.weight.data.mul_(1.1)
    with recorded(client, model, run_id := recorder.run.id) as recorder:
        trained(model, recorder, lambda epoch: False, first=5)
    changes = {module: history(client, run_id, f"weight_change/{module}") for module in MODULES}
    assert list(changes["head"]) == [1, 2, 3, 4, *range(6, EPOCHS + 1)] and set(changes["backbone"]) == {
        *range(1, EPOCHS + 1)
    }
    told = recorded_signals(client, client.get_run(run_id))["weight_change"]
    assert told["head"][5] is None
    _, rows = labels_of(client, run_id)
    assert set(rows["head"]["moved_until"]) == {EPOCHS} and set(rows["backbone"]["moved_until"]) == {4}


def test_a_snapshot_that_could_not_be_written_does_not_make_frozen_weights_move(client):
    def fail(sink) -> None:
        raise OSError("no room")

    model = net()
    with recorded(client, model) as recorder:
        trained(model, recorder, lambda epoch: False, last=3)
        model.head.weight.data.mul_(1.5)
        recorder.snapshot(epoch=4, val_loss=1.0, save=fail)
        assert recorder.snapshots == 4
        trained(model, recorder, lambda epoch: False, first=4)
    found = recorder.record.metrics
    assert all(one["weight_change/backbone"] == 0 for one in found[1:])
    assert "weight_change/head" not in found[4] and found[5]["weight_change/head"] > 0


def test_an_averaged_copy_has_its_own_weights(client):
    model = net()
    copy = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    with fmce_mlflow.record(
        copy, ["module.backbone", "module.head"], probe=PROBE, run_id=new_run(client), client=client, say=lambda _: None
    ) as recorder:

        class Both:
            def loss(self, loss) -> None:
                copy.update_parameters(model)
                recorder.loss(loss)

            def snapshot(self, **metrics) -> None:
                recorder.snapshot(**metrics)

        trained(model, Both(), lambda epoch: False, last=3)
    found = recorder.record.metrics[1:]
    assert [one["weight_change/module.backbone"] for one in found] == [0.0] * 3
    assert all(one["weight_change/module.head"] > 0 for one in found)


def test_weights_that_were_trained_before_have_no_label_until_t(client):
    model = net()
    with recorded(client, model, starts_trained=True) as recorder:
        trained(model, recorder, lambda epoch: False)
    found, rows = labels_of(client, recorder.run.id)
    point = assess(losses_of(client, recorder.run.id), CONFIG).point
    head = rows["head"]["fmcs"].to_numpy()
    assert point and np.isnan(head[:point]).all() and (head[point:] == 1).all()
    assert rows["backbone"]["fmcs"].isna().all() and "how far they had come is not known" in str(found.unlabelled)
    tag = json.loads(client.get_run(recorder.run.id).data.tags["fmce.recording"])
    assert tag["starts_trained"] is True
    dropped = build_fmcs_dataset(client, [recorder.run.id], config=CONFIG)
    assert dropped.table["fmcs"].tolist() == [1.0] * (EPOCHS + 1 - point) and set(dropped.table["module"]) == {"head"}


def test_frozen_as_converged_keeps_the_label_of_that_moment(client):
    model = net()
    with recorded(client, model, patience=0) as recorder:

        class Freezing:
            loss = staticmethod(recorder.loss)

            def snapshot(self, **metrics) -> None:
                recorder.snapshot(**metrics)
                recorder.freeze_converged()

        optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.5)
        loop = Freezing()
        for epoch in range(1, EPOCHS + 1):
            model.train()
            loss = F.cross_entropy(model(IMAGES), LABELS)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loop.loss(loss)
            loop.snapshot(epoch=epoch)
    frozen = recorder.record.frozen
    assert "backbone" in frozen and frozen["backbone"] < EPOCHS
    _, rows = labels_of(client, recorder.run.id)
    at, run = frozen["backbone"], assess(losses_of(client, recorder.run.id), CONFIG)
    assert set(rows["backbone"]["moved_until"]) == {at}
    expected = run.fmcs[np.minimum(np.arange(EPOCHS + 1), at)]
    assert rows["backbone"]["fmcs"].tolist() == expected.tolist()
    _, by_drift = labels_of(client, recorder.run.id, signal="drift")
    drift = by_drift["backbone"]["fmcs"].to_numpy()
    assert np.isnan(drift).all() or drift[at] == drift[-1]
