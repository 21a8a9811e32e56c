from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmce_mlflow.errors import ConvergenceError, NonFiniteLossError
from fmce_mlflow.method.convergence.drift import centered_gram, drift_sequence, linear_cka
from fmce_mlflow.method.convergence.verdict import assess


def hsic_cka(x, y):
    """CKA from the trace formula of HSIC with the centring matrix written out, in float64."""
    x, y = (np.asarray(m, dtype=np.float64).reshape(len(m), -1) for m in (x, y))
    n = len(x)
    h = np.eye(n) - np.ones((n, n)) / n

    def hsic(k, m):
        return np.trace(k @ h @ m @ h) / (n - 1) ** 2

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))


def random_maps(seed, shape, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5), (np.float16, 1e-5)], ids=str)
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_cka_equals_the_hsic_formula(dtype, tolerance, offset):
    x = (random_maps(0, (12, 5, 3, 3)) + offset).astype(dtype)
    y = (x.reshape(12, -1)[:, :20] ** 2 / 50 + random_maps(1, (12, 20))).astype(dtype)
    assert linear_cka(x, y) == pytest.approx(hsic_cka(x, y), abs=tolerance)


def test_gram_over_many_blocks_equals_the_direct_product():
    maps = random_maps(2, (6, 7, 80, 81), np.float32)  # 45360 features, three blocks
    flat = maps.reshape(6, -1).astype(np.float64)
    flat -= flat.mean(axis=0)
    gram = centered_gram(maps)
    assert gram.dtype == np.float64
    np.testing.assert_allclose(gram, flat @ flat.T, rtol=1e-5, atol=1e-2)


def test_hand_worked_cka():
    # One feature each; centred x = (-1, 0, 1), y = (-1, 1, 0): cosine 1/2, CKA its square.
    assert linear_cka([[1.0], [2.0], [3.0]], [[0.0], [2.0], [1.0]]) == pytest.approx(0.25)
    assert 1 - linear_cka([[1.0], [2.0], [3.0]], [[0.0], [2.0], [1.0]]) == pytest.approx(0.75)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100), st.integers(2, 10))
def test_cka_is_invariant_to_rotation_scale_offset_and_channel_order(seed, scale, n):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 6, 2, 2)), rng.normal(size=(n, 5))
    expected = linear_cka(x, y)
    rotation, _ = np.linalg.qr(rng.normal(size=(24, 24)))
    assert linear_cka(x.reshape(n, -1) @ rotation, y) == pytest.approx(expected, abs=1e-9)
    assert linear_cka(scale * x + 3, y) == pytest.approx(expected, abs=1e-9)
    assert linear_cka(x[:, rng.permutation(6)], y) == pytest.approx(expected, abs=1e-9)
    order = rng.permutation(n)
    assert linear_cka(x[order], y[order]) == pytest.approx(expected, abs=1e-9)
    assert linear_cka(y, x) == pytest.approx(expected, abs=1e-9)
    assert 0 <= expected <= 1
    assert 1 - linear_cka(x, -x) == pytest.approx(0, abs=1e-9)


def test_maps_without_variance():
    flat = np.full((7, 3, 2, 2), 0.1)  # 0.1 is not exact in binary: rounding must not pass for variance
    varied = random_maps(3, (7, 3, 2, 2))
    for dtype in (np.float64, np.float32, np.float16):
        assert not centered_gram(flat.astype(dtype)).any()
        assert linear_cka(flat.astype(dtype), 7 * flat.astype(dtype)) == 1.0
        assert linear_cka(flat.astype(dtype), varied) == 0.0
    assert 1 - linear_cka(flat, flat) == 0.0
    assert 1 - linear_cka(varied, flat) == 1.0


def test_half_precision_maps_do_not_overflow():
    maps = random_maps(4, (8, 4096), np.float16) * np.float16(10_000)
    assert np.isfinite(maps).all()
    assert linear_cka(maps, maps) == pytest.approx(1.0)


def test_half_precision_maps_are_read_exactly():
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    maps = halves[np.isfinite(halves)].reshape(2, -1)  # all there are, 0 and those below the normal ones among them
    for some in (maps, maps[:, ::3], np.asfortranarray(maps)):
        np.testing.assert_array_equal(centered_gram(some), centered_gram(some.astype(np.float32)))
    with pytest.raises(ConvergenceError, match="NaN or infinite"):
        centered_gram(np.array([[0.0, -np.inf], [0.0, 1.0]], np.float16))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((1, 4)), np.ones((1, 4)), "at least 2 images"),
        (np.ones(4), np.ones(4), r"shape \(4,\)"),
        (np.eye(3), np.eye(4), "got 3 and 4"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), np.eye(2), "NaN or infinite"),
        (np.array([[1.0, np.inf], [0.0, 1.0]], dtype=np.float16), np.eye(2), "65504"),
    ],
)
def test_maps_that_cannot_be_compared(x, y, message):
    with pytest.raises(ConvergenceError, match=message):
        linear_cka(x, y)


def test_drift_as_a_signal():
    drifts = [0.5 * 0.6**t for t in range(20)]
    sequence = drift_sequence(drifts)
    assert sequence.tolist() == [drifts[0], *drifts]
    assert assess(sequence, signal="drift", strict=True).converged
    with pytest.raises(NonFiniteLossError, match="feature drift of snapshot 2"):
        drift_sequence([0.1, math.nan])
    with pytest.raises(ConvergenceError, match="feature drift"):
        drift_sequence([])
