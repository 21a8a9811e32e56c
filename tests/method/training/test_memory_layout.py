"""Images whose channels come last in memory: only for networks that give the same maps for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.method.images.input_batches import Batch
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.forward import CHANNELS_LAST_FROM, run_network, takes_channels_last
from fmce_mlflow.method.scoring.score_modules import score_modules
from tests.helpers.nets import Reads, plain

PIXELS = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_usual_network_takes_them():
    network = plain().eval()
    with capture(network, ["stage"]) as forward:
        assert takes_channels_last(forward, network, PIXELS)


@pytest.mark.parametrize("how", ["view", "as_strided"])
def test_a_network_that_looks_at_memory_is_told_from_others(how):
    network = Reads(how).eval()
    with capture(network, ["stage"]) as forward:
        assert not takes_channels_last(forward, network, PIXELS)


@pytest.mark.parametrize("how", ["view", "as_strided", "usual"])
def test_many_images_have_the_score_that_bags_of_plain_ones_have(how):
    network = Reads(how).eval() if how != "usual" else nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()
    module = "stage" if how != "usual" else "1"
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.random((CHANNELS_LAST_FROM, 3, 8, 8), np.float32))
    torch.manual_seed(0)
    net = SetNet(SetConfig(members=1)).eval()
    batches = [Batch(np.arange(i, i + 64), pixels[i : i + 64]) for i in range(0, CHANNELS_LAST_FROM, 64)]
    found = score_modules(network, [module], batches, net, images=CHANNELS_LAST_FROM, bag_sizes=[64] * 8)[module]
    with capture(network, [module]) as forward:
        maps = [run_network(forward, network, batch.pixels)[module] for batch in batches]
    assert found.fmcs == pytest.approx(np.mean([net.predict(one).fmcs for one in maps]), abs=1e-4)
