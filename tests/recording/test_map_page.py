"""The page of a run: what is read, what is said of a run that is damaged, cut off or large."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest
import torch

import fmce_mlflow
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.errors import IntegrityError, RunError
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.images.split import load_images
from fmce_mlflow.recording.map_page import PAGE, log_page, run_page
from fmce_mlflow.recording.probe_pictures import PICTURES, log_pictures
from fmce_mlflow.runs.feature_index import Probe
from fmce_mlflow.runs.feature_maps import FeatureMapReader, FeatureMapWriter
from fmce_mlflow.runs.recordings import FROZEN_TAG, TAG, RecordingTag
from fmce_mlflow.runs.run import Run
from tests.conftest import fast_options, new_client, new_run
from tests.helpers.nets import tiny
from tests.helpers.reports import HOSTILE


def silent(line):
    pass


def trained(client, **options):
    """A run of `fast_options`, of two modules."""
    run = Run(client, new_run(client), silent)
    chosen = fast_options(modules=("stem", "stage"), **options)
    with run.closing():
        train_backbone(run, chosen, data=load_images(chosen))
    return run.id


@pytest.fixture(scope="module")
def store(tmp_path_factory, _empty_store):
    """A run that converged, which tests only read."""
    client = new_client(tmp_path_factory.mktemp("maps"), _empty_store)
    return client, trained(client)


def recorded(client, shapes, snapshots, labels=None, **tags):
    """A run with random maps and nothing else; ``shapes`` are (n, C, H, W) by module."""
    run_id = new_run(client, **tags)
    n = next(iter(shapes.values()))[0]
    writer = FeatureMapWriter(
        client, run_id, Probe("noise", n, "0" * 64), np.full(n, -1) if labels is None else np.asarray(labels)
    )
    rng = np.random.default_rng(0)
    for snapshot in snapshots:
        maps = {name: rng.normal(size=shape).astype(np.float16) for name, shape in shapes.items()}
        writer.write(snapshot, maps, {})
    return run_id


def artifact(client, run_id, path):
    return Path(urlparse(client.get_run(run_id).info.artifact_uri).path, path)


def data_of(html):
    return json.loads(re.search(r'id="data">(.*?)</script>', html)[1])


def test_a_run_is_shown_with_its_figures_curves_and_labels(store):
    client, run_id = store
    html = run_page(client, run_id)
    data = data_of(html)
    assert [one["name"] for one in data["modules"]] == ["stem", "stage"]
    assert [one["name"] for one in data["moments"]] == [f"Snapshot {t} of 6" for t in range(7)]
    labels = {m.step: m.value for m in client.get_metric_history(run_id, "fmcs")}
    losses = {m.step: m.value for m in client.get_metric_history(run_id, "train_loss")}
    for step, one in enumerate(data["moments"]):
        figures = dict(one["figures"])
        assert list(figures) == ["epoch", "training loss", "validation loss", "validation accuracy", "FMCS"]
        assert figures["FMCS"] == f"{labels[step]:.2f}" and figures["training loss"] == f"{losses[step]:.3g}"
    assert all(len(one["drift"]) == 7 for one in data["modules"]) and len(data["loss"]) == 7
    assert f"T = {client.get_run(run_id).data.tags['fmce.convergence_point']}" in html
    labels = FeatureMapReader(client, run_id).read("stem", 0)[1]
    assert data["captions"] == [f"image {i} ({label})" for i, label in enumerate(labels[:6], 1)]
    assert "The first 6 of 16 probe images are shown." in html and 'id="large-photo"' in html


def test_without_pictures_images_are_named_by_their_labels(client):
    run_id = recorded(client, {"a": (8, 3, 4, 4)}, [0, 1], labels=[3, 1, 4, 1, 5, 9, 2, 6])
    found = data_of(run_page(client, run_id))["captions"]
    assert found == [f"image {i} (class {label})" for i, label in enumerate((3, 1, 4, 1, 5, 9, 2, 6), 1)]


def test_modules_are_chosen_by_names_and_globs(store):
    client, run_id = store
    assert [one["name"] for one in data_of(run_page(client, run_id, ["sta*"]))["modules"]] == ["stage"]
    with pytest.raises(RunError, match=r"maps of stem, stage, and none of stagee\. Did you mean stage"):
        run_page(client, run_id, ["stagee"])


def test_the_same_run_gives_the_same_page(store):
    client, run_id = store
    assert run_page(client, run_id) == run_page(client, run_id)


def test_a_run_that_has_not_converged_has_no_labels_and_no_t(client):
    run_id = trained(client, convergence=ConvergenceConfig(levels=3, threshold=1e-9))
    html = run_page(client, run_id)
    assert "FMCS" not in dict(data_of(html)["moments"][-1]["figures"]) and "Not converged" in html
    assert 'class="t-mark"' not in html and "by a loss" not in html


def test_by_drift_each_module_has_labels_of_its_own(client):
    run_id = trained(client, signal="drift")
    html = run_page(client, run_id)
    data, found = data_of(html), json.loads(artifact(client, run_id, "convergence.json").read_text())
    assert "FMCS" not in dict(data["moments"][0]["figures"]) and "each module&#39;s own here" in html
    for one in data["modules"]:
        labels = found["drift"][one["name"]]["fmcs"]
        assert one["fmcs"] == ([] if labels is None else [f"{value:.2f}" for value in labels])
    assert any(one["fmcs"] for one in data["modules"])


def test_a_run_that_kept_its_markers_shows_those(client):
    run_id = trained(client, keep="markers")
    kept = FeatureMapReader(client, run_id).index.snapshots("stage")
    assert 2 <= len(kept) < 7
    data = data_of(run_page(client, run_id))
    assert [one["name"] for one in data["moments"]] == [f"Snapshot {t} of {kept[-1]}" for t in kept]


def test_pictures_of_the_run_are_shown_with_as_many_images(client):
    run_id = recorded(client, {"a": (8, 3, 4, 4)}, [0, 1])
    log_pictures(Run(client, run_id, silent), np.zeros((3, 9, 9, 3), np.uint8), ["cat", "dog", HOSTILE])
    html = run_page(client, run_id)
    assert (
        data_of(html)["captions"] == ["image 1 (cat)", "image 2 (dog)", f"image 3 ({HOSTILE[:100]})"]
        and html.count('class="cell"') == 3
    )
    assert html.count("<script") == 2 and 'id="large-photo"' in html


def test_a_picture_file_that_cannot_be_read_is_named_and_maps_are_shown_alone(client):
    run_id = recorded(client, {"a": (8, 3, 4, 4)}, [0, 1])
    Run(client, run_id, silent).log_bytes(b"no picture", PICTURES)
    html = run_page(client, run_id)
    assert "Maps are shown without pictures" in html and html.count('class="cell"') == 8
    assert data_of(html)["captions"] == [f"image {i}" for i in range(1, 9)]


def test_of_many_snapshots_modules_and_large_maps_some_are_shown(client):
    names = [f"layer{i}" for i in range(15)]
    shapes = {name: (9, 2, 40, 20) for name in names}
    run_id = recorded(client, shapes, range(45))
    html = run_page(client, run_id)
    data = data_of(html)
    assert len(html.encode()) < 5_000_000
    assert len(data["modules"]) == 12 and (data["modules"][0]["name"], data["modules"][-1]["name"]) == (
        "layer0",
        "layer14",
    )
    assert data["moments"][0]["name"] == "Snapshot 0 of 44" and data["moments"][-1]["name"] == "Snapshot 44 of 44"
    for note in (
        "12 of 15 modules are shown, evenly chosen.",
        f"{len(data['moments'])} of 45 snapshots are shown, evenly chosen.",
        f"The first {len(data['captions'])} of 9 probe images are shown.",
        f"<code>layer0</code> are averaged to {data['modules'][0]['size'][1]} × {data['modules'][0]['size'][0]}",
    ):
        assert note in html, note


def test_a_file_of_maps_that_was_changed_is_an_error(client):
    run_id = recorded(client, {"a": (4, 3, 4, 4)}, [0, 1, 2])
    path = artifact(client, run_id, "feature_maps/a/snapshot_00001.safetensors")
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="snapshot_00001"):
        run_page(client, run_id)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"train": 3, "val": null, "drift": {}, "signal": "train"}'])
def test_a_verdict_that_cannot_be_read_is_made_of_the_metrics(client, content):
    run_id = trained(client)
    before = data_of(run_page(client, run_id))
    artifact(client, run_id, "convergence.json").write_bytes(content)
    html = run_page(client, run_id)
    assert "convergence.json of the run cannot be used" in html
    after = data_of(html)
    assert after["loss"] == before["loss"] and "FMCS" not in dict(after["moments"][-1]["figures"])


def test_a_run_that_goes_on_is_shown_as_far_as_it_has_come(client):
    run_id = recorded(client, {"a": (4, 3, 4, 4)}, range(4))
    for step, loss in enumerate([2.0, 1.5, 1.2]):
        client.log_metric(run_id, "train_loss", loss, step=step)
    html = run_page(client, run_id)
    assert "The run has no convergence.json, because its recording has not ended" in html
    figures = [dict(one["figures"]) for one in data_of(html)["moments"]]
    assert [one.get("training loss") for one in figures] == ["2", "1.5", "1.2", None]


def test_maps_without_any_metric(client):
    data = data_of(run_page(client, recorded(client, {"a": (2, 1, 1, 1)}, [0])))
    assert data["loss"] == [] and data["moments"] == [{"name": "Snapshot 0 of 0", "figures": []}]


def test_metrics_with_a_prefix_are_found(client):
    told = RecordingTag("a net", "some photos", "fmce/").to_json()
    run_id = recorded(client, {"a": (4, 3, 4, 4)}, range(2), **{TAG: told})
    for step in range(2):
        client.log_metric(run_id, "train_loss", 9.0, step=step)
        client.log_metric(run_id, "fmce/train_loss", 2.0 - step, step=step)
    html = run_page(client, run_id)
    assert dict(data_of(html)["moments"][1]["figures"])["training loss"] == "1"
    assert "<h1>a net on some photos</h1>" in html


def test_metrics_that_the_loop_logs_itself_are_not_taken_for_the_recordings(client):
    run_id = trained(client)
    before = run_page(client, run_id)
    for step in range(9):
        client.log_metric(run_id, "train_loss", 900.0, step=step)
        client.log_metric(run_id, "epoch", 77.0, step=step)
    assert run_page(client, run_id) == before


@pytest.mark.parametrize(
    ("tag", "told"), [('{"a": 1}', True), ('{"b": 1}', False), ("[", False), ("[1]", False), ('{"a": null}', False)]
)
def test_a_module_that_was_frozen_says_since_when(client, tag, told):
    run_id = recorded(client, {"a": (4, 3, 4, 4)}, range(3), **{FROZEN_TAG: tag})
    assert ("frozen after snapshot 1" in run_page(client, run_id)) == told


def test_a_deleted_run_is_shown_and_told(client):
    run_id = recorded(client, {"a": (4, 3, 4, 4)}, [0, 1])
    client.delete_run(run_id)
    assert f"<code>mlflow runs restore --run-id {run_id}</code>" in run_page(client, run_id)


def test_a_run_without_maps_is_an_error(client):
    with pytest.raises(RunError, match="recorded no feature maps"):
        run_page(client, new_run(client))


def test_modules_without_a_common_snapshot_are_an_error(client):
    run_id = recorded(client, {"a": (4, 3, 4, 4)}, [0])
    index = FeatureMapReader(client, run_id).index
    writer = FeatureMapWriter(client, run_id, index.probe, np.full(4, -1), index.entries)
    writer.write(1, {"b": np.zeros((4, 3, 4, 4), np.float16)}, {})
    with pytest.raises(RunError, match="no snapshot at which all of a, b were recorded"):
        run_page(client, run_id)
    assert len(data_of(run_page(client, run_id, ["b"]))["moments"]) == 1


def test_hostile_names_of_a_run_stay_text(client):
    run_id = recorded(client, {"a": (2, 3, 4, 4)}, [0, 1], **{"mlflow.runName": HOSTILE})
    client.log_param(run_id, "backbone", HOSTILE)
    html = run_page(client, run_id)
    assert html.count("<script") == 2 and "<img" not in html and "&lt;script&gt;document.title" in html


def test_the_page_is_logged_to_its_run(client):
    run_id = recorded(client, {"a": (2, 3, 4, 4)}, [0, 1])
    log_page(Run(client, run_id, silent))
    assert artifact(client, run_id, PAGE).read_text(encoding="utf-8") == run_page(client, run_id)


def test_a_page_that_cannot_be_made_is_said_and_no_error(client):
    said = []
    log_page(Run(client, new_run(client), said.append))
    assert len(said) == 1 and said[0].startswith(f"note: {PAGE} cannot be made (RunError: Run ")


def test_a_recorder_logs_its_pictures_and_on_request_the_page(client):
    run_id = new_run(client)
    torch.manual_seed(0)
    net = tiny()
    said = []
    images = torch.rand(8, 3, 8, 8)
    options = {"run_id": run_id, "client": client, "say": said.append, "page": True}
    with fmce_mlflow.record(net, ["stage"], probe=images, labels=list(range(8)), **options) as recorder:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(4):
            loss = torch.nn.functional.cross_entropy(net(images), torch.arange(8))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.loss(loss)
            recorder.snapshot()
    html = artifact(client, run_id, PAGE).read_text(encoding="utf-8")
    data = data_of(html)
    assert [one["name"] for one in data["moments"]] == [f"Snapshot {t} of 4" for t in range(5)]
    assert data["captions"] == [f"image {i + 1} ({i})" for i in range(6)] and 'id="large-photo"' in html
    assert "training loss" in dict(data["moments"][1]["figures"]) and len(data["modules"][0]["drift"]) == 5
    assert not [line for line in said if "cannot be" in line]
    assert "has not ended" not in html and "<h1>Sequential</h1>" in html and "<dd>8 images</dd>" in html


def test_without_the_option_no_page_is_logged(store):
    client, run_id = store
    plots = {file.path for file in client.list_artifacts(run_id, "plots")}
    assert PICTURES in plots and PAGE not in plots
