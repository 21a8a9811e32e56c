from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.method.images.input_batches import Batch
from fmce_mlflow.method.networks.fresh_weights import reinitialised
from fmce_mlflow.method.scoring.score_modules import score_modules, untrained_features
from fmce_mlflow.predictor.find import bundled_predictor
from tests.helpers.evaluations import as_input, pixels, seeded_tiny

README = Path(__file__).parents[2] / "README.md"


pytestmark = pytest.mark.usefixtures("store")


def test_it_is_there_small_and_says_what_it_is():
    predictor = bundled_predictor()
    assert predictor is not None and predictor.net.wants_evidence and predictor.net.calibrated
    assert set(predictor.info["figures"]) == {"run", "architecture", "dataset"}
    assert len({row["backbone"] for row in predictor.info["corpus"]}) >= 6
    assert predictor.card.startswith("# FMCE-Net") and predictor.info["corpus_distance"]["far"] > 1
    folder = files("fmce_mlflow.predictor") / "resources" / "fmce_net" / "fmce_net"
    assert (folder / "weights.safetensors").stat().st_size < 2 * 2**20


def test_readmes_first_call_works_without_naming_a_predictor(store, tmp_path, monkeypatch):
    (block,) = re.findall(r"```python\n(.*?models\.evaluate.*?)```", README.read_text(encoding="utf-8"), flags=re.S)
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "photos" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    block = block.replace("models:/my-backbone/1", store.uris["pickle"])
    exec(compile(block, "README.md", "exec"), names)
    assert 0 <= names["result"].metrics["fmcs_predicted"] <= 1


def test_a_net_with_a_reference_is_shown_the_untrained_network_on_the_first_images():
    torch.manual_seed(0)
    net = SetNet(SetConfig(reference=True, members=1)).eval()
    network = seeded_tiny()
    fresh = reinitialised(network)

    def score(untrained):
        batches = [Batch(np.arange(i, i + 8), torch.from_numpy(as_input(pixels())[i : i + 8])) for i in (0, 8)]
        return score_modules(
            network, ["stage"], batches, net, images=16, bag_sizes=[8, 8], untrained=untrained
        )["stage"]  # fmt: skip

    assert score(fresh).fmcs != score(None).fmcs
    found = untrained_features(fresh, ["stage"], [torch.from_numpy(as_input(pixels())[:8])])
    assert found["stage"].shape == (len(net.mean) // 2,)
