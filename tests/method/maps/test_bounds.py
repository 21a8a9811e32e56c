"""What is looked at is bounded, whatever was recorded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fmce_mlflow.method.maps.bounds import (
    MOST_BYTES,
    MOST_MODULES,
    MOST_VALUES,
    bounds,
    page_bytes,
    side_in_memory,
)

SIZES = st.integers(1, 5000)
SHAPES = st.lists(st.tuples(SIZES, SIZES, SIZES), min_size=1, max_size=MOST_MODULES)


@given(SHAPES, SIZES, SIZES)
def test_any_recording_fits(shapes, snapshots, images):
    found = bounds(shapes, snapshots, images)
    assert page_bytes(shapes, found) <= MOST_BYTES
    assert 1 <= found.snapshots <= min(snapshots, 40) and 1 <= found.images <= min(images, 8)


@given(SIZES, st.integers(1, 40), st.integers(1, 8))
def test_maps_of_all_snapshots_fit_into_memory(channels, snapshots, images):
    side = side_in_memory(channels, snapshots, images, 32)
    assert 1 <= side <= 32 and channels * snapshots * images * side**2 <= MOST_VALUES


def test_a_usual_recording_is_shown_whole():
    found = bounds([(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)], 31, 8)
    assert (found.snapshots, found.images, found.side) == (31, 8, 32)
