"""Principal components of feature maps as colours: what they are, and that they stay the same."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.decomposition import PCA

from fmce_mlflow.method.maps.components import MOST_ROWS, extent, fit_components, scaled_bytes


def recording(snapshots=3, n=4, channels=12, side=5, seed=0):
    """Maps whose channels have very different variances, so that the order of components is not chance."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(channels, channels)) * 0.5 ** np.arange(channels)[:, None]
    latent = rng.normal(size=(snapshots, n, side, side, channels))
    return [np.moveaxis(one @ mixing, -1, 1).astype(np.float16) for one in latent]


def rows_of(maps):
    return np.concatenate([np.moveaxis(one, 1, -1).reshape(-1, one.shape[1]) for one in maps]).astype(np.float64)


def test_they_are_those_of_a_full_decomposition():
    maps = recording()
    found, expected = fit_components(maps), PCA(3, svd_solver="full").fit(rows_of(maps))
    assert np.allclose(found.shares, expected.explained_variance_ratio_, atol=1e-5)
    cosines = (found.axes * expected.components_).sum(axis=1)
    assert np.allclose(np.abs(cosines), 1, atol=1e-4)
    theirs = expected.transform(rows_of(maps)) * np.sign(cosines)
    ours = np.concatenate([found.project(one).reshape(-1, 3) for one in maps])
    assert np.allclose(ours, theirs, atol=1e-2 * theirs.std())


def test_order_and_signs_do_not_depend_on_the_order_of_snapshots_and_images():
    maps = recording()
    found = fit_components(maps)
    assert (np.diff(found.shares) < 0).all()
    assert (found.axes[np.arange(3), np.abs(found.axes).argmax(axis=1)] > 0).all()
    other = fit_components([one[::-1] for one in reversed(maps)])
    assert np.allclose(found.axes, other.axes, atol=1e-3)
    longer = fit_components([*maps, maps[-1] + np.float16(0.01)])
    assert ((found.axes * longer.axes).sum(axis=1) > 0.9).all()


def test_the_same_features_have_the_same_colour_at_any_snapshot():
    maps = recording()
    maps[2][1] = maps[0][3]
    found = fit_components(maps)
    assert (found.colours(maps[2])[1] == found.colours(maps[0])[3]).all()
    assert len(np.unique(found.colours(maps[1]).reshape(-1, 3), axis=0)) > 50


@pytest.mark.parametrize("value", [0.0, -3.5, 60000.0])
def test_maps_that_are_the_same_everywhere_are_in_the_middle(value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_components([np.full((2, 4, 3, 3), value, np.float16)] * 2)
        colours = found.colours(np.full((2, 4, 3, 3), value, np.float16))
    assert found.axes.shape == (0, 4) and len(found.shares) == 0
    assert colours.shape == (2, 3, 3, 3) and (colours == 128).all()


def test_one_channel_is_grey_and_keeps_its_order():
    maps = [np.arange(50, dtype=np.float16).reshape(2, 1, 5, 5)]
    colours = fit_components(maps).colours(maps[0]).reshape(-1, 3)
    assert (colours == colours[:, :1]).all()
    assert (np.diff(colours[:, 0].astype(int)) >= 0).all() and {0, 255} <= set(colours[:, 0].tolist())


def test_two_channels_leave_blue_in_the_middle():
    maps = recording(channels=2)
    colours = fit_components(maps).colours(maps[0])
    assert (colours[..., 2] == 128).all() and np.ptp(colours[..., 0]) > 100


def test_two_images_of_one_position_at_one_snapshot():
    maps = [np.array([[1.0, 2, 3], [3, 2, 1]], np.float16).reshape(2, 3, 1, 1)]
    colours = fit_components(maps).colours(maps[0])
    assert colours.shape == (2, 1, 1, 3) and sorted(colours[:, 0, 0, 0].tolist()) == [0, 255]


def test_one_image_of_one_position():
    maps = [np.ones((1, 3, 1, 1), np.float16)]
    assert (fit_components(maps).colours(maps[0]) == 128).all()


def test_a_component_with_hardly_any_variance_is_not_stretched():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(4, 3, 8, 8)) * np.array([1, 1e-4, 1e-5]).reshape(1, 3, 1, 1)
    colours = fit_components([maps]).colours(maps).reshape(-1, 3).astype(int)
    assert np.ptp(colours[:, 0]) == 255 and np.ptp(colours[:, 1]) < 5 and np.ptp(colours[:, 2]) < 5


def test_of_many_positions_some_are_drawn_always_the_same():
    maps = recording(snapshots=2, n=8, channels=3, side=48)
    assert MOST_ROWS < 2 * 8 * 48 * 48
    first, second, all_rows = fit_components(maps), fit_components(maps), PCA(3).fit(rows_of(maps))
    assert (first.axes == second.axes).all() and (first.low == second.low).all()
    assert np.allclose(np.abs((first.axes * all_rows.components_).sum(axis=1)), 1, atol=0.01)


def test_outermost_values_do_not_set_the_scale_but_a_rare_one_still_shows():
    many = np.linspace(0, 1, 1000, dtype=np.float32)[:, None]
    many[-1] = 1000
    low, high = extent(many)
    assert 0 <= low[0] < 0.02 and 0.98 < high[0] < 1
    rare = np.zeros((1000, 1), np.float32)
    rare[7], rare[8:] = 5, np.linspace(0, 1e-4, 992, dtype=np.float32)[:, None]
    assert [float(v[0]) for v in extent(rare)] == [0, 5]


def test_values_beyond_the_scale_are_clipped():
    found = scaled_bytes(np.array([[-9.0], [0.5], [9.0]], np.float32), np.zeros(1, np.float32), np.ones(1, np.float32))
    assert found.ravel().tolist() == [0, 128, 255]
