"""How tokens and channels lie, by the images, the model and the maps of a pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fmce_mlflow.errors import CaptureError, ConfigError
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.config import read_token_grid
from fmce_mlflow.method.networks.layout import Known, Layout, Pass
from tests.helpers.form_nets import Detr, Tokens

WIDE = torch.zeros(2, 3, 64, 32)


def seen(images=WIDE, *grids, known=None):
    """A pass in which convolutions gave maps of 16 channels of these sizes."""
    now = Pass(images, known)
    for height, width in grids:
        now.see(torch.zeros(len(images), 16, height, width))
    return now


@pytest.mark.parametrize(
    ("length", "width", "grids", "grid", "before"),
    [
        (32, 16, [(8, 4)], (8, 4), 0),
        (33, 16, [(8, 4)], (8, 4), 1),
        (49, 16, [(8, 4)], (8, 4), 17),
        (37, 16, [(16, 8), (8, 4)], (8, 4), 5),
        (32, 64, [(16, 8)], (8, 4), 0),  # patches merged into wider ones
        (8, 64, [(16, 8)], (4, 2), 0),
        (15, 64, [(9, 5)], (5, 3), 0),  # halved up
        (4, 64, [(5, 4)], (2, 2), 0),  # halved down
    ],
)
def test_tokens_lie_as_the_map_before_them(length, width, grids, grid, before):
    assert seen(WIDE, *grids).read(torch.zeros(2, length, width)) == Layout((0, 1, 2), grid, before)


@pytest.mark.parametrize(
    ("length", "width", "why"),
    [
        (51, 16, "are not the 8×4 positions"),  # 19 before them
        (100, 16, "are not the 8×4 positions"),
        (8, 16, "are not the 8×4 positions"),  # as wide as before: some were left out, and nobody knows which
        (31, 16, "are not the 8×4 positions"),
    ],
)
def test_other_tokens_are_asked_for(length, width, why):
    found = seen(WIDE, (8, 4)).read(torch.zeros(2, length, width))
    assert why in found and "token_grid" in found


def test_what_the_model_says_comes_first():
    square = torch.zeros(2, 3, 32, 32)
    assert seen(square).read(torch.zeros(2, 9, 4)).before == 0  # 3 × 3
    assert seen(square, known=Known(before=frozenset({5}))).read(torch.zeros(2, 9, 4)) == Layout((0, 1, 2), (2, 2), 5)
    many = Known(before=frozenset({40}))
    assert seen(square, (8, 8), known=many).read(torch.zeros(2, 104, 16)) == Layout((0, 1, 2), (8, 8), 40)
    told = Known((4, 8, 2))
    assert seen(square, (8, 8), known=told).read(torch.zeros(2, 50, 16)) == Layout((0, 1, 2), (4, 8), 2)
    assert "fewer tokens than the 4×8 + 2" in seen(square, known=told).read(torch.zeros(2, 33, 16))


@pytest.mark.parametrize("queries", [100, 64])
def test_learned_queries_are_no_positions_even_where_they_are_as_many(queries):
    network, images = Detr(queries).eval(), torch.rand(2, 3, 64, 64)  # the encoder has 8 × 8 tokens
    with capture(network, ["decoder"]) as forward, pytest.raises(CaptureError, match="learned queries"):
        forward(images)
    with capture(network, ["encoder"], token_grid=(8, 8)) as forward:
        assert forward(images)[1]["encoder"].shape == (2, 16, 8, 8)


@pytest.mark.parametrize("images", [16, 32, 5])
@pytest.mark.parametrize("sequence_first", [False, True])
@pytest.mark.parametrize("grad", [False, True])
def test_tokens_of_as_many_images_are_those_of_their_images(images, sequence_first, grad):
    torch.manual_seed(0)
    network, x = Tokens(0, sequence_first=sequence_first).eval(), torch.rand(images, 3, 16, 16)  # 16 tokens
    with torch.no_grad():
        tokens = network.patch(x).flatten(2).transpose(1, 2)
        made = network.norm(network.encoder(tokens.transpose(0, 1) if sequence_first else tokens))
        wanted = (made.transpose(0, 1) if sequence_first else made).transpose(1, 2).reshape(images, 16, 4, 4)
    with capture(network, ["norm"], grad=grad) as forward:
        output, maps = forward(x)
        torch.testing.assert_close(maps["norm"].detach(), wanted)
        if grad:
            assert torch.autograd.grad(output.sum(), maps["norm"])[0].abs().sum() > 0


def test_detection_tokens_after_the_patches_are_left_out():
    torch.manual_seed(0)
    network, x = Tokens(1, 7).eval(), torch.rand(2, 3, 32, 16)
    for grad in (False, True):
        with capture(network, ["norm"], grad=grad) as forward:
            output, maps = forward(x)
        with torch.no_grad():
            patches = network.patch(x).flatten(2).transpose(1, 2)
            ends = network.first.expand(2, -1, -1), network.detection_tokens.expand(2, -1, -1)
            made = network.norm(network.encoder(torch.cat([ends[0], patches, ends[1]], 1)))
            torch.testing.assert_close(output, network.head(made.mean(1)))
        torch.testing.assert_close(maps["norm"].detach(), made[:, 1:33].transpose(1, 2).reshape(2, 16, 8, 4))


@pytest.mark.parametrize(
    ("shape", "grids", "order"),
    [
        ((2, 8, 4, 32), [(8, 4)], (0, 3, 1, 2)),
        ((2, 4, 2, 32), [(8, 4)], (0, 3, 1, 2)),
        ((2, 32, 8, 4), [(8, 4)], (0, 1, 2, 3)),
        ((2, 8, 4, 2), [(8, 4), (4, 2)], (0, 1, 2, 3)),  # both fit: 8 channels
        ((2, 8, 4, 32), [], (0, 1, 2, 3)),
    ],
)
def test_channels_that_come_last_where_images_are_not_square(shape, grids, order):
    assert seen(WIDE, *grids).read(torch.zeros(shape)) == Layout(order)


@pytest.mark.parametrize("value", ["8x", "8", "0x4", "8x4+", (8,), (8, 4, 1, 1), (8, -4), (8.0, 4), 8, True, "8x4x1"])
def test_a_token_grid_that_is_none(value):
    with pytest.raises(ConfigError, match="token-grid must be height and width"):
        read_token_grid(value)


def test_exported_models_show_the_same():
    torch.manual_seed(0)
    network, x = Tokens(4).eval(), torch.rand(2, 3, 32, 16)
    exported = torch.export.unflatten(torch.export.export(network, (x,)))
    maps = []
    for one in (network, exported):
        with capture(one, ["norm"]) as forward:
            maps.append(forward(x)[1]["norm"])
    assert maps[0].shape == (2, 16, 8, 4)
    torch.testing.assert_close(*maps)


def test_a_model_without_images_is_read_as_before():
    assert Pass(None).read(torch.zeros(3, 17, 8)) == Layout((0, 1, 2), (4, 4), 1)
    assert Known.of(nn.Linear(2, 2)) == Known()
