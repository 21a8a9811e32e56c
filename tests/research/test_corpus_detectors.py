"""The corpus's segmenters and detectors: their maps, losses and files, which the corpus's reader takes."""

from __future__ import annotations

import json

import mlflow
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fmce_mlflow.method.networks.capture import capture
from tests.helpers.examples import script
from tests.helpers.vision_files import write_bccd, write_camvid

NAMES = (
    "lraspp_mobilenet_v3_large",
    "deeplabv3_test_resnet",
    "fcn_test_resnet",
    "ssdlite_mobilenet_v3_large",
    "fasterrcnn_mobilenet_v3_small_fpn",
)


@pytest.fixture
def nets(monkeypatch):
    return script("corpus_detector_nets", monkeypatch, "examples", "research")


@pytest.fixture
def data(tmp_path):
    write_camvid(tmp_path / "camvid", each=30)
    write_bccd(tmp_path / "bccd", each=30)
    return tmp_path


def test_each_network_is_trained_from_two_seeds_and_ends_in_a_head(nets):
    plan = nets.plan()
    assert len({item.key for item in plan}) == len(plan) == 2 * len(NAMES)
    assert {item.backbone for item in plan} == set(NAMES) == set(nets.ROLES)
    for roles in nets.ROLES.values():
        found = [*roles.values()]
        assert found == sorted(found, key=["stage", "neck", "head"].index) and found[-1] == "head"


@pytest.mark.parametrize("name", NAMES)
def test_a_network_gives_all_its_maps_and_learns_from_its_images(nets, data, name):
    root = data / ("camvid" if name in nets.SEGMENTERS else "bccd")
    shown = nets.scenes(name, root, 0)
    torch.manual_seed(0)
    network = nets.build(name)
    with capture(network, [*nets.ROLES[name]]) as forward:
        _, maps = forward(shown.pixels[:2])
    assert [*maps] == [*nets.ROLES[name]]
    loss = nets.loss_of(network, nets.flipped(shown.train[2:4], torch.Generator().manual_seed(0)))
    loss.backward()
    assert torch.isfinite(loss)
    assert sum(float(p.grad.abs().sum()) > 0 for p in network.parameters() if p.grad is not None) > 10
    masks = shown.masks
    assert masks is None if name in nets.DETECTORS else masks.shape == (len(shown.probe), *nets.SIZES[name])


def test_a_mirrored_box_lies_around_the_same_pixels(nets):
    image = torch.zeros(3, 8, 10)
    image[:, 2:4, 1:4] = 1
    target = {"boxes": torch.tensor([[1.0, 2.0, 4.0, 4.0]]), "labels": torch.tensor([1])}
    made = nets.flipped([(image, target)] * 8, torch.Generator().manual_seed(0))
    boxes = {tuple(one["boxes"][0].int().tolist()) for _, one in made}
    assert boxes == {(1, 2, 4, 4), (6, 2, 9, 4)}
    for pixels, one in made:
        left, top, right, bottom = one["boxes"][0].int().tolist()
        assert pixels[:, top:bottom, left:right].sum() == image.sum()


@pytest.mark.slow
def test_its_files_are_read_as_the_corpus_with_necks_and_heads_apart(nets, data, tmp_path, monkeypatch):
    import corpus_detectors
    import corpus_read

    monkeypatch.setattr(nets, "PROBE", 24)
    monkeypatch.setattr(corpus_detectors, "SNAPSHOTS", 6)
    monkeypatch.setitem(corpus_detectors.EPOCHS, "camvid", 6)
    before, name = mlflow.get_tracking_uri(), "fcn_test_resnet_camvid_all_default_all-classes_0"
    words = ["--data", str(data)]
    try:
        made = CliRunner().invoke(
            corpus_detectors.main, ["train", *words, "--out", str(tmp_path / "kept"), "--only", name]
        )
        assert made.exit_code == 0 and name in made.output, (made.output, made.exception)
    finally:
        mlflow.set_tracking_uri(before)
    facts = json.loads((tmp_path / "kept" / f"{name}.json").read_text())
    assert facts["modules"] == [*nets.ROLES["fcn_test_resnet"]]
    last = facts["snapshots"][-1]
    assert last.keys() == {"train_loss", "val_loss", "weight_change", "drift"}
    assert last["weight_change"].keys() == last["drift"].keys() == set(facts["modules"])
    assert last["train_loss"] < facts["snapshots"][0]["train_loss"]
    (tmp_path / "reduced").mkdir()
    words += ["--weights", str(tmp_path / "kept"), "--out", str(tmp_path / "reduced")]
    made = CliRunner().invoke(corpus_detectors.main, ["reduce", *words])
    assert made.exit_code == 0 and f"{name}: " in made.output, (made.output, made.exception)
    bags = corpus_read.read(tmp_path / "reduced")
    assert len(bags.table) and bags.table["dense"].all() and set(bags.table["role"]) == {"stage", "head"}
    assert (bags.table["place"][bags.table["role"] == "head"] == -1).all()
    assert bags.table["place"].max() == 3 and np.isfinite(bags.table["fmcs"]).all()
