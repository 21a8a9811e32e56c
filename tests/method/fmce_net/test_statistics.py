from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kurtosis, skew

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.method.fmce_net.channel_statistics import CHANNEL_STATISTICS, channel_statistics
from fmce_mlflow.method.fmce_net.image_statistics import COSINE_QUANTILES, SPECTRUM
from fmce_mlflow.method.fmce_net.statistics import (
    BAG_STATISTICS,
    CLUSTER_STATISTICS,
    FEATURES,
    POOLED_STATISTICS,
    ReducedBag,
    _sums,
    bag_features,
    check_bag,
    reduce_bag,
)


def maps_of(seed: int, n: int = 9, c: int = 6, h: int = 3, w: int = 2, relu: bool = True) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, c, h, w)).astype(np.float32)
    return np.maximum(x, 0) if relu else x


def positions(maps: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(maps).flatten(2).mT.contiguous()  # (n, P, C)


def parts_of_features(maps: np.ndarray) -> list[np.ndarray]:
    """Pooled, of the bag as a whole, and of clusters."""
    sizes = [POOLED_STATISTICS, BAG_STATISTICS, CLUSTER_STATISTICS]
    return [part.numpy() for part in bag_features(torch.from_numpy(maps)).split(sizes)]


def squash(v):
    return np.sign(v) * np.log1p(np.abs(v))


def slow_channel_statistics(maps: np.ndarray) -> np.ndarray:
    """Channel by channel, from the definitions, in float64."""
    maps = maps.astype(np.float64)
    maps = maps / np.sqrt((maps**2).mean())
    rows = []
    for c in range(maps.shape[1]):
        x = maps[:, c].reshape(len(maps), -1)  # (n, P)
        image_means = x.mean(1)
        row = [
            x.mean(),
            x.std(),
            image_means.std(),
            np.sqrt(np.mean([part.var() for part in x])),
            x.max(1).mean(),
            x.max(1).std(),
            np.mean(np.abs(x) < 1e-3),
            np.mean(x > 0),
            np.clip(skew(x.ravel()), -10, 10) / 3 if x.std() else 0,
            np.sqrt(np.clip(kurtosis(x.ravel(), fisher=False), 0, 100)) if x.std() else 0,
            *np.quantile(image_means, [0.1, 0.5, 0.9]),
        ]
        rows.append(squash(np.array(row)))
    return np.array(rows)


def slow_view(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float64)
    n = len(vectors)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]

    def cosines(v):
        return np.quantile(
            [v[i] @ v[j] / np.linalg.norm(v[i]) / np.linalg.norm(v[j]) for i, j in pairs], COSINE_QUANTILES
        )

    centred = vectors - vectors.mean(0)
    values = np.linalg.svd(centred, compute_uv=False)[: n - 1] ** 2
    shares = np.zeros(n - 1)
    shares[: len(values)] = values / values.sum()
    entropy = -sum(p * np.log(p) for p in shares if p > 1e-12) / np.log(n - 1)
    spectrum = np.zeros(SPECTRUM)
    spectrum[: min(SPECTRUM, n - 1)] = shares[:SPECTRUM]
    norms = np.linalg.norm(vectors, axis=1) / np.linalg.norm(vectors, axis=1).mean()
    return np.concatenate(
        [
            cosines(vectors),
            cosines(centred),
            np.log(spectrum + 1e-4),
            [
                (centred**2).sum() / (vectors**2).sum(),
                entropy,
                1 / (shares**2).sum() / (n - 1),
                norms.std(),
                norms.max(),
                norms.min(),
            ],
        ]
    )


def slow_spatial(maps: np.ndarray) -> np.ndarray:
    alike, spread = [], []
    for image in maps.astype(np.float64):
        v = image.reshape(image.shape[0], -1).T  # (P, C)
        norms = np.linalg.norm(v, axis=1)
        p = len(v)
        alike.append(np.mean([v[i] @ v[j] / norms[i] / norms[j] for i in range(p) for j in range(p) if i != j]))
        spread.append(norms.std() / norms.mean())
    return np.array([*np.quantile(alike, [0.1, 0.5, 0.9]), np.mean(spread)])


@pytest.mark.parametrize("shape", [(9, 6, 3, 2), (5, 300, 2, 2), (30, 4, 1, 1)])
@pytest.mark.parametrize("relu", [True, False])
def test_channel_statistics_equal_the_slow_ones(shape, relu):
    maps = maps_of(1, *shape, relu=relu)
    found = channel_statistics(positions(maps)).numpy()
    np.testing.assert_allclose(found, slow_channel_statistics(maps), atol=2e-4)


@pytest.mark.parametrize("n", [5, 30])
def test_bag_statistics_equal_the_slow_ones(n):
    maps = maps_of(2, n, 7, 3, 3) + 0.05
    expected = np.concatenate([slow_view(maps.reshape(n, -1)), slow_view(maps.mean((2, 3))), slow_spatial(maps)])
    found = parts_of_features(maps)[1]
    assert found.shape == (BAG_STATISTICS,)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_pooling_over_channels_by_hand():
    maps = maps_of(3)
    each = channel_statistics(positions(maps)).numpy()
    expected = np.concatenate([each.mean(0), each.std(0), *np.quantile(each, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)])
    np.testing.assert_allclose(parts_of_features(maps)[0], expected, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(2, 12),
    st.integers(4, 20),
    st.integers(1, 4),
    st.floats(1e-3, 1e3),
)
def test_order_of_channels_and_images_and_scale_do_not_matter(seed, n, c, side, scale):
    rng = np.random.default_rng(seed)
    maps = maps_of(seed, n, c, side, side) + 0.01
    other = maps[rng.permutation(n)][:, rng.permutation(c)] * np.float32(scale)
    first, second = (bag_features(torch.from_numpy(np.ascontiguousarray(m))) for m in (maps, other))
    assert first.shape == (FEATURES,) and torch.isfinite(first).all()
    torch.testing.assert_close(first, second, atol=5e-3, rtol=1e-3)


@pytest.mark.parametrize("exponent", [-1000, -140, -100, -40, -27, 60, 100, 125, 1000])
@pytest.mark.parametrize("shape", [(9, 6, 3, 2), (9, 6, 9, 8), (9, 6, 1, 1)])
def test_maps_of_any_scale_have_the_same_features(shape, exponent):
    """From 1e18 on LAPACK failed, below 1e-8 other statistics came out."""
    maps = torch.from_numpy(maps_of(1, *shape))
    kept = maps.clone()
    scaled = maps.double() * 2.0**exponent if not -126 < exponent < 127 else maps * 2.0**exponent
    assert torch.equal(bag_features(scaled), bag_features(maps)) and torch.equal(maps, kept)


@pytest.mark.parametrize("maps", [torch.zeros(4, 3, 2, 2), torch.ones(4, 3, 2, 2), torch.ones(2, 1, 1, 1)])
def test_maps_without_any_variation_give_finite_features(maps):
    assert torch.isfinite(bag_features(maps)).all()


def test_half_precision_at_its_limits_does_not_overflow():
    maps = torch.full((8, 32, 4, 4), 65504.0, dtype=torch.float16)
    maps[::2] *= -1
    assert torch.isfinite(bag_features(maps)).all()


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (torch.zeros(4, 3, 2), r"\(n, C, H, W\), got \(4, 3, 2\)"),
        (torch.zeros(1, 3, 2, 2), "at least 2 images, got 1"),
        (torch.zeros(4, 0, 2, 2), "got \\(4, 0, 2, 2\\)"),
        (torch.full((2, 1, 1, 1), float("nan")), "NaN or infinite"),
        (torch.tensor([float("inf"), -float("inf")]).view(2, 1, 1, 1), "NaN or infinite"),
    ],
)
def test_what_is_no_bag(maps, message):
    with pytest.raises(PredictorError, match=message):
        check_bag(maps)


def test_names_and_columns_agree():
    assert channel_statistics(torch.rand(3, 4, 5)).shape == (5, len(CHANNEL_STATISTICS))


def slow_clusters(vectors: np.ndarray) -> np.ndarray:
    x = vectors.astype(np.float64)
    x = x - x.mean(0)
    n = len(x)
    lengths = np.linalg.norm(x, axis=1)
    others = [[j for j in range(n) if j != i] for i in range(n)]
    near = np.array(
        [sorted((x[i] @ x[j] / lengths[i] / lengths[j] for j in others[i]), reverse=True) for i in range(n)]
    )
    far = np.array([sorted(((x[i] - x[j]) ** 2).sum() for j in others[i]) for i in range(n)])
    picked = [near[:, min(k, n - 1) - 1] for k in (1, 3, 6, 11)]
    picked += [far[:, min(k, n - 1) - 1] / far.mean() for k in (1, 3, 6)]
    values = np.linalg.svd(x, compute_uv=False)[: n - 1] ** 2
    shares = np.cumsum(values / values.sum())
    return np.concatenate(
        [
            *(np.quantile(np.array(picked), q, axis=1) for q in (0.1, 0.5, 0.9)),
            [shares[min(k, n - 1, len(shares)) - 1] for k in (1, 2, 3, 5, 7, 9, 12, 16, 24)],
            [(near > limit).mean() for limit in (0.3, 0.5, 0.7, 0.9)],
            [(near**power).mean() for power in (2, 3, 4)],
        ]
    )


@pytest.mark.parametrize("n", [2, 5, 30])
def test_cluster_statistics_by_their_definitions(n):
    maps = maps_of(4, n=n)
    expected = np.concatenate([slow_clusters(maps.reshape(n, -1)), slow_clusters(maps.mean((2, 3)))])
    found = parts_of_features(maps)[2]
    assert found.shape == (CLUSTER_STATISTICS,)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_large_maps_are_pooled_before_they_are_read():
    maps = torch.rand(6, 5, 8, 8)
    pooled = torch.nn.functional.avg_pool2d(maps, 2)
    torch.testing.assert_close(bag_features(maps), bag_features(pooled))


SHAPES = [(9, 6, 3, 2), (9, 300, 4, 4), (9, 6, 1, 1), (9, 6, 7, 7), (9, 6, 4, 16)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_gpu_need_not_be_waited_for(shape):
    """Tensors without values refuse every question about one."""
    assert all(value.is_meta for value in _sums(torch.empty(shape, device="meta")))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_way_of_a_gpu_gives_the_same_features(shape, dtype):
    maps = torch.from_numpy(maps_of(1, *shape)).to(dtype)
    found = ReducedBag(maps.shape, _sums(maps, ask=False)).features()
    torch.testing.assert_close(found, bag_features(maps), atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_gpu_gives_the_features_of_the_cpu(shape):
    maps = torch.from_numpy(maps_of(1, *shape))
    torch.testing.assert_close(bag_features(maps.cuda()), bag_features(maps), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_how_maps_lie_in_memory_does_not_matter(shape):
    maps = torch.from_numpy(maps_of(1, *shape))
    last = maps.to(memory_format=torch.channels_last)
    torch.testing.assert_close(bag_features(last), bag_features(maps), atol=2e-3, rtol=1e-5)


def test_a_reduced_bag_says_that_its_maps_were_not_finite():
    maps = torch.ones(4, 3, 2, 2)
    maps[0, 0, 0, 0] = torch.inf
    with pytest.raises(PredictorError, match="NaN or infinite"):
        reduce_bag(maps).features()
