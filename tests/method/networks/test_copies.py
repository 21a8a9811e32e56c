from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import nn

from fmce_mlflow.errors import ConfigError, ModelError
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.copies import borrowed, copied
from tests.helpers.nets import tiny


def test_a_network_that_is_on_the_device_is_itself():
    net = tiny()
    for device in (None, "cpu"):
        with borrowed(net, device) as same:
            assert same is net


@pytest.mark.parametrize("device", ["meta", "cuda:77", "nowhere"])
def test_a_device_that_cannot_be_used_leaves_the_network_as_it_is(device):
    net = tiny()
    kept = copy.deepcopy(net.state_dict())
    with pytest.raises(ConfigError, match=f"device '{device}' cannot be used: "), borrowed(net, device):
        pass
    assert all(torch.equal(value, kept[name]) for name, value in net.state_dict().items())


def test_a_network_without_weights_is_told():
    with torch.device("meta"):
        net = tiny()
    with pytest.raises(ModelError, match="device meta"), borrowed(net):
        pass


def test_threads_share_a_network_that_is_in_training_mode():
    net, images, found = tiny().train(), torch.rand(4, 3, 8, 8), []
    with capture(net, ["stage"]) as forward:
        expected = forward(images)[0]

    def work() -> None:
        for _ in range(20):
            with borrowed(net) as own, capture(own, ["stage"]) as forward:
                output, maps = forward(images)
                found.append(torch.equal(output, expected) and list(maps) == ["stage"])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80 and net.training and net.norm.num_batches_tracked == 0


def test_a_copy_of_an_exported_network_has_weights_of_its_own():
    net, images = tiny().eval(), torch.rand(2, 3, 8, 8)
    exported = torch.export.unflatten(torch.export.export(net, (images,)))
    made = copied(exported)
    with torch.no_grad():
        for value in made.parameters():
            value.zero_()
    torch.testing.assert_close(exported(images), net(images))
    assert isinstance(made, nn.Module) and not made(images).any()
