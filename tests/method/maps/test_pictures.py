from __future__ import annotations

import numpy as np
import pytest
import torch

from fmce_mlflow.method.maps.pictures import CHANNEL_SIDE, module_pictures, pooled, pooled_size, strongest_channels


def test_pictures_have_the_size_of_the_maps_and_tiles_at_most_sixteen():
    maps = [np.random.default_rng(t).normal(size=(3, 20, 10, 24)).astype(np.float16) for t in range(4)]
    found = module_pictures(maps)
    assert found.colours.shape == (4, 3, 10, 24, 3) and found.colours.dtype == np.uint8
    assert found.tiles.shape == (4, 3, 6, 7, CHANNEL_SIDE) and found.tiles.dtype == np.uint8
    assert len(set(found.channels)) == 6 and len(found.shares) == 3


def test_tiles_are_of_the_channels_that_are_named_on_one_scale_for_all_snapshots():
    maps = np.random.default_rng(0).uniform(size=(2, 2, 4, 6, 6))
    maps[:, :, 2] *= 5
    maps[0, :, 2] /= 10  # at the first snapshot the channel is faint
    found = module_pictures(list(maps))
    assert found.channels[0] == 2
    first, last = found.tiles[:, :, 0].astype(int).reshape(2, -1)
    assert first.max() < 40 and last.max() == 255
    assert (np.argsort(last[:5]) == np.argsort(maps[1, 0, 2].ravel()[:5])).all()


def test_fewer_channels_than_are_shown():
    found = module_pictures([np.random.default_rng(0).normal(size=(2, 3, 4, 4))])
    assert sorted(found.channels) == [0, 1, 2] and found.tiles.shape == (1, 2, 3, 4, 4)


def test_a_channel_that_is_large_and_constant_is_not_strong():
    maps = np.zeros((2, 4, 3, 3), np.float16)
    maps[:, 1] = 6e4
    maps[0, 3, 0, 0] = 2
    maps[1, 0, 0, 0] = 1
    assert strongest_channels(maps, 2) == [3, 0]


@pytest.mark.parametrize(
    ("shape", "side", "size"), [((40, 80), 32, (16, 32)), ((8, 8), 32, (8, 8)), ((1, 300), 16, (1, 16))]
)
def test_pooling_averages_and_keeps_the_ratio(shape, side, size):
    maps = np.random.default_rng(0).normal(size=(2, 3, *shape)).astype(np.float32)
    small = pooled(maps, side)
    assert small.shape[2:] == size == pooled_size(*shape, side)
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(maps), size).numpy()
    assert np.allclose(small, expected)


def test_pooling_does_not_overflow_half_precision():
    assert np.isfinite(pooled(np.full((1, 1, 64, 64), 65504, np.float16), 8)).all()
