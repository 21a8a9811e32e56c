from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fmce_mlflow.backbone.record import probe_of
from fmce_mlflow.backbone.resume import stored_options
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.saliency.grad_cam import focus, grad_cam
from fmce_mlflow.method.saliency.history import IMAGES, LARGEST, SaliencyHistory, input_images, spread_snapshots
from fmce_mlflow.recording.recorder import SALIENCY
from fmce_mlflow.report.saliency_figure import history_figure
from fmce_mlflow.runs.run import Run
from tests.conftest import FAST_TRAINING, fast_options, new_run
from tests.helpers import nets
from tests.helpers.faults import dying
from tests.helpers.watched import watched


def history_of(data, modules, kept=None):
    """The history of a training on `data`, empty or going on after what was kept."""
    shown = probe_of(data, fast_options()).shown
    labels = [int(label) for label in data.probe.labels[: len(shown)]]
    return SaliencyHistory(shown, labels, tuple(modules), dict(kept or {}))


class Restless(nn.Module):
    """Draws random numbers in eval mode too."""

    def forward(self, x):
        return nn.functional.dropout(x, 0.1, training=True)


def restless(num_classes=10):
    net = nets.tiny(num_classes)
    net.drop = Restless()
    return net


def trained(data, seeded, factory, *, look):
    """Losses of a training, its weights, and the metrics of the history where one looks."""
    model, found = seeded(factory), []
    torch.manual_seed(0)
    history = history_of(data, ["norm", "stage"])
    losses = []
    for snapshot in watched(model, data, FAST_TRAINING, ["stage"]):
        losses += [snapshot.train_loss, snapshot.val_loss]
        if look:
            found.append(history.take(model))
    return losses, model.state_dict(), found, torch.get_rng_state()


@pytest.mark.parametrize("factory", [nets.tiny, restless])
def test_looking_changes_nothing_of_the_training(data, seeded, factory):
    losses, weights, found, state = trained(data, seeded, factory, look=True)
    plain, unwatched, _, untouched = trained(data, seeded, factory, look=False)
    assert losses == plain
    assert all(torch.equal(weights[k], unwatched[k]) for k in weights) and torch.equal(state, untouched)
    assert len(found) == 5 and all(0 < value < 1 for metrics in found for value in metrics.values())


def test_what_is_kept_is_grad_cam_of_the_probe(data, seeded):
    model = seeded(nets.tiny).train()
    history = history_of(data, ["stem", "stage"])
    first = history.take(model)
    with torch.no_grad():
        model.head.weight.mul_(-1)
    history.take(model)
    assert model.training and all(p.grad is None for p in model.parameters())
    assert {m: kept.shape for m, kept in history.kept.items()} == {"stem": (2, 6, 8, 8), "stage": (2, 6, 4, 4)}
    now = grad_cam(model, "stage", history.inputs, history.labels)
    maps = history.at([0, 1, 2], last=1)["stage"]
    assert list(maps) == [0, 1]
    np.testing.assert_allclose(maps[1], now, atol=0.01)
    assert first["stage"] == pytest.approx(focus(maps[0]).mean(), abs=0.01)
    images = input_images(history.inputs, data.preprocessing)
    assert images.shape == (IMAGES, 8, 8, 3) and images.dtype == np.uint8 and np.ptp(images) > 200
    assert history.labels == [data.probe[i][1] for i in range(IMAGES)]


def test_large_maps_are_kept_small():
    history = SaliencyHistory(torch.rand(2, 3, 96, 96), [0, 1], ("0",))
    history.take(nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    assert history.kept["0"].shape == (1, 2, LARGEST, LARGEST)


def test_it_goes_on_behind_what_was_kept_also_by_a_release_that_kept_nothing(data, seeded):
    model = seeded(nets.tiny)
    before = history_of(data, ["stage"])
    before.take(model)
    resumed = history_of(data, ["stage"], before.kept)
    resumed.take(model)
    assert resumed.kept["stage"].shape[0] == 2 and before.kept["stage"].shape[0] == 1
    late = history_of(data, ["stage"], {})
    late.take(model)
    assert list(late.at([0, 4, 8], last=8)["stage"]) == [8]


class Detached(nn.Module):
    """No gradient goes from its output to its stage."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.stage, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.stage(x).mean((2, 3)).detach())


def test_a_network_without_grad_cam_is_no_mistake(client, data, monkeypatch):
    monkeypatch.setattr(nets, "Detached", Detached, raising=False)
    said = []
    options = fast_options(backbone="tests.helpers.nets:Detached", training={"epochs": 1})
    result = train_backbone(Run(client, new_run(client), said.append), options, data=data)
    assert client.get_run(result.run_id).info.status == "FINISHED"
    assert sum("no saliency: What the images are asked about does not depend" in line for line in said) == 1
    assert "focus/stage" not in client.get_run(result.run_id).data.metrics
    assert SALIENCY not in [file.path for file in client.list_artifacts(result.run_id, "plots")]


def panel(client, run_id):
    return Path(client.download_artifacts(run_id, SALIENCY)).read_bytes()


def test_a_killed_run_draws_the_panel_of_an_undisturbed_one(client, data):
    said = []
    whole = train_backbone(Run(client, new_run(client), said.append), fast_options(), data=data, name="run").run_id
    run_id = new_run(client)
    with dying("fmce_mlflow.method.saliency.history.SaliencyHistory.take", 4, before=True):
        train_backbone(Run(client, run_id, said.append), fast_options(), data=data, name="run")
    train_backbone(Run(client, run_id, said.append), stored_options(Run(client, run_id)), data=data, name="run")
    assert panel(client, run_id) == panel(client, whole)
    histories = [[(m.step, m.value) for m in client.get_metric_history(r, "focus/stage")] for r in (run_id, whole)]
    assert histories[0] == histories[1] and [step for step, _ in histories[0]] == list(range(7))


def test_a_run_that_has_not_converged_has_a_panel_up_to_its_last_snapshot(client, data, monkeypatch):
    drawn = []

    def draw(*args, **more):
        drawn.append((args, more))
        return history_figure(*args, **more)

    monkeypatch.setattr("fmce_mlflow.recording.recorder.history_figure", draw)
    options = fast_options(convergence=ConvergenceConfig(threshold=1e-9, levels=4))
    result = train_backbone(Run(client, new_run(client), lambda line: None), options, data=data)
    (((_, saliency, _), more),) = drawn
    assert list(saliency["stage"]) == [0, 2, 4, 6] and more["fmcs"] == dict.fromkeys([0, 2, 4, 6])
    assert panel(client, result.run_id).startswith(b"\x89PNG")


@pytest.mark.parametrize(("last", "count", "found"), [(24, 5, (0, 6, 12, 18, 24)), (2, 5, (0, 1, 2)), (1, 2, (0, 1))])
def test_spread_snapshots(last, count, found):
    assert spread_snapshots(last, count) == found


def test_the_panel_names_snapshots_scores_and_focus():
    maps = np.zeros((3, 8, 8), np.float32)
    bright = maps.copy()
    bright[:, 0, 0] = 1
    saliency = {name: {0: maps, 4: bright} for name in ("a", "b")}
    figure = history_figure(
        np.zeros((3, 8, 8, 3), np.uint8), saliency, ["x", "y", "z"], fmcs={0: 0.0, 4: 1.0}, title="t"
    )
    above = {"a", "b", "snapshot 0\nFMCS 0\nmean focus 0.00", "snapshot 4\nFMCS 1\nmean focus 0.98"}
    texts = figure.axes[0].texts
    titles = [text.get_text() for text in sorted(texts, key=lambda text: text.get_position()[::-1])]
    one, two = sorted(above - {"a", "b"})
    assert [title for title in titles if title in above] == ["a", one, two, "b", one, two]
    assert titles.count("nothing") == 6 and titles.count("focus 0.98") == 6


def test_a_panel_of_many_modules_stays_drawable():
    maps = np.ones((6, 8, 8), np.float32)
    saliency = {f"module{i}": {0: maps, 1: maps} for i in range(9)}
    figure = history_figure(
        np.zeros((6, 8, 8, 3), np.uint8), saliency, list("abcdef"), fmcs={0: None, 1: None}, title="t"
    )
    assert len(figure.axes[0].images) == 6 * 2 * 3
