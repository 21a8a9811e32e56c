"""Images get into a forward as its signature says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fmce_mlflow.errors import ModelError
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.entry import Entry, check_inputs
from fmce_mlflow.method.networks.forward import as_input, told_if_refused
from tests.helpers.form_nets import ChannelsLast, Classifier, Mixed, OfDict, OfKeyword, OfTwo

X = torch.rand(2, 3, 16, 16)


@pytest.mark.parametrize(
    ("kind", "entry", "found"),
    [
        (OfDict, Entry("image"), Entry("image", in_dict=True)),
        (OfKeyword, Entry("image"), Entry("image")),
        (Classifier, Entry("pixels"), Entry("pixels")),  # a tensor after all
        (Classifier, Entry("images"), Entry("images")),
        (ChannelsLast, Entry(channels_last=True), Entry(channels_last=True)),
    ],
)
def test_a_forward_gets_its_images(kind, entry, found):
    torch.manual_seed(0)
    plain = Classifier().eval()
    network = kind().eval()
    network.load_state_dict(plain.state_dict())
    assert entry.tried(network, X) == found
    with found.open(network), capture(network, ["stage"]) as forward:
        output, maps = forward(X)
    with torch.no_grad():
        torch.testing.assert_close(output, plain(X))
    assert maps["stage"].shape == (2, 16, 4, 4)
    assert not network._forward_pre_hooks


def test_the_hook_goes_after_an_error_and_wrappers_are_looked_through():
    network = nn.DataParallel(OfDict().eval())
    with pytest.raises(KeyError), Entry("pixels", in_dict=True).open(network), capture(network, ["stage"]) as forward:
        forward(X)
    assert not network.module._forward_pre_hooks and not network._forward_pre_hooks


def test_a_second_input_is_told():
    with pytest.raises(ModelError, match=r"takes 2 inputs \(image, metadata\)"):
        check_inputs(OfTwo())
    for kind in (Classifier, OfDict, OfKeyword):
        check_inputs(kind(), ["image"])
    exported = torch.export.unflatten(torch.export.export(OfTwo().eval(), (X, torch.zeros(2))))
    with pytest.raises(ModelError, match=r"takes 2 inputs \(image, mask\)"):
        check_inputs(exported, ["image", "mask"])


def test_images_take_the_dtype_of_the_first_convolution():
    assert as_input(Mixed(), X).dtype == torch.bfloat16
    assert as_input(nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 3).double()), X).dtype == torch.float64
    assert as_input(nn.PReLU().half(), X).dtype == torch.float16
    assert as_input(nn.ReLU(), X) is X


class Own(Exception):
    pass


@pytest.mark.parametrize(
    "error", [KeyError("k"), AttributeError("a"), ZeroDivisionError("z"), OSError("o"), Own("own"), RuntimeError("r")]
)
def test_whatever_a_forward_raises_is_one_message(error):
    with (
        pytest.raises(
            ModelError, match=rf"cannot take these images, float32 of shape \(2, 3, 16, 16\): .*{error.args[0]}"
        ),
        told_if_refused(X),
    ):
        raise error


def test_a_wrong_dtype_is_not_blamed_on_the_images_size():
    with pytest.raises(ModelError, match=r"several dtypes.*float\(\)"), told_if_refused(X):
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1).double())(X)
