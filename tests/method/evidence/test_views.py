from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fmce_mlflow.method.evidence.views import VIEW_FIGURES, VIEWS, augmented, view_agreement


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def views_of(seed: int, n: int = 7, channels: int = 5, noise: float = 0.5) -> torch.Tensor:
    return normal(seed, 1, n, channels, 2, 3) + noise * normal(seed + 1, VIEWS, n, channels, 2, 3)


def test_figures_by_hand():
    """Two images on one channel: at 1 and 3, and at 7 and 9."""
    found = view_agreement(torch.tensor([[1.0, 7.0], [3.0, 9.0]])[:, :, None, None, None])
    assert tuple(found) == VIEW_FIGURES
    assert found["view rank"] == pytest.approx(1)  # of one direction
    assert found["view within"] == pytest.approx(1 / (1 + 9))  # means 2 and 8 about 5
    assert found["view cosine"] == found["view image cosine"] == found["view neighbours"] == 1


def test_the_rank_is_that_of_the_matrix_of_discriminant_analysis():
    maps = views_of(0)
    x = maps.mean((3, 4))  # (v, n, C)
    means = x.mean(0)
    between = torch.einsum("ni,nj->ij", means - means.mean(0), means - means.mean(0)) / 7
    within = torch.einsum("vni,vnj->ij", x - means, x - means) / (VIEWS * 7)
    size, axes = torch.linalg.eigh(within + within.trace() / 5 * torch.eye(5, dtype=torch.float64))
    root = axes @ torch.diag(size**-0.5) @ axes.T
    values = torch.linalg.eigvalsh(root @ between @ root)
    shares = values / values.sum()
    rank = math.exp(-float((shares * shares.log()).sum()))
    assert view_agreement(maps)["view rank"] == pytest.approx(rank / 5, rel=1e-6)


def test_neighbours_one_by_one():
    maps = views_of(3, n=5, channels=3, noise=1.0)
    x = maps.mean((3, 4))
    x = x - x.mean((0, 1))
    each = [(image, x[view, image]) for view in range(VIEWS) for image in range(5)]
    right = 0
    for i, (image, one) in enumerate(each):
        others = [(float(torch.cosine_similarity(one, other, 0)), j) for k, (j, other) in enumerate(each) if k != i]
        right += max(others)[1] == image
    assert view_agreement(maps)["view neighbours"] == pytest.approx(right / len(each))


def test_noise_and_images_are_told_apart():
    few, many = view_agreement(views_of(5, n=32, noise=0.2)), view_agreement(views_of(5, n=32, noise=5.0))
    assert few["view within"] < many["view within"]
    assert few["view cosine"] > many["view cosine"]
    assert few["view neighbours"] > many["view neighbours"]
    flat = normal(7, 1, 32, 1, 1, 1) * normal(8, 1, 1, 5, 1, 1) + 0.01 * views_of(9, n=32)
    assert view_agreement(flat)["view rank"] < few["view rank"] / 2


@given(st.integers(0, 1000), st.sampled_from([1e-12, 1e-3, 1.0, 1e6]))
@settings(deadline=None, max_examples=25)
def test_neither_order_nor_scale_matters(seed, scale):
    maps = views_of(seed)
    draw = torch.Generator().manual_seed(seed)
    v, n, c = (torch.randperm(size, generator=draw) for size in maps.shape[:3])
    found = view_agreement(maps)
    assert view_agreement(scale * maps[v][:, n][:, :, c]) == pytest.approx(found, abs=1e-6)
    assert all(math.isfinite(value) for value in found.values())


@pytest.mark.parametrize(
    "maps",
    [
        torch.zeros(4, 5, 3, 2, 2),
        torch.ones(4, 5, 3, 2, 2),
        torch.rand(1, 5, 3, 2, 2),
        torch.rand(4, 1, 3, 2, 2),
        torch.full((4, 5, 3, 2, 2), float("nan")),
    ],
    ids=["zeros", "ones", "one view", "one image", "NaN"],
)
def test_what_cannot_be_known_is_not(maps):
    assert all(math.isnan(value) for value in view_agreement(maps).values())


def test_images_that_do_not_differ_have_no_rank():
    found = view_agreement(normal(0, 4, 1, 3, 1, 1).expand(4, 6, 3, 2, 2))
    assert math.isnan(found["view rank"])
    assert found["view within"] == pytest.approx(1)


def test_views_depend_on_the_seed_alone():
    pixels = torch.rand(6, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    one, two, other = (list(augmented(pixels, seed=seed)) for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), before)
    assert len(one) == VIEWS
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    shown = [*one, *other, pixels]
    assert not any(torch.equal(a, b) for i, a in enumerate(shown) for b in shown[:i])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64, torch.uint8])
def test_views_stay_in_the_range_and_dtype_of_the_images(dtype):
    pixels = (255 * torch.rand(4, 3, 9, 9, generator=torch.Generator().manual_seed(1))).to(dtype)
    for view in augmented(pixels, seed=0):
        assert view.dtype == dtype
        assert view.shape == pixels.shape
        assert view.amin() >= pixels.amin()
        assert view.amax() <= pixels.amax()


def test_a_view_is_the_image_a_little_changed():
    """A ramp from left to right and one from top to bottom stay ramps, since no view is a mirror image."""
    ramp = torch.linspace(0, 1, 16).expand(1, 1, 16, 16)
    pixels = torch.cat([ramp, ramp.mT]).repeat(8, 3, 1, 1)
    for view in augmented(pixels, seed=3):
        steps = view[0::2].mean((1, 2)).diff(dim=1), view[1::2].mean((1, 3)).diff(dim=1)
        for step in steps:
            assert step.mean() > 0.02
            assert step.mean() < 0.08
        assert (view - pixels).abs().mean() < 0.2
