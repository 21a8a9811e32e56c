from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from torch.nn import functional as F

from fmce_mlflow.method.evidence.labels import LABEL_FIGURES, label_evidence

OF_OUTPUT, OF_MAPS = LABEL_FIGURES[:3], LABEL_FIGURES[3:]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unknown(found: dict[str, float], names: tuple[str, ...]) -> bool:
    return all(math.isnan(found[name]) for name in names)


def test_figures_by_hand():
    """Classes at 1 and 3, and at 7 and 9."""
    maps = torch.tensor([1.0, 3.0, 7.0, 9.0])[:, None, None, None]
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [0.0, 4.0]])
    found = label_evidence(maps, torch.tensor([0, 0, 1, 1]), logits)
    assert tuple(found) == LABEL_FIGURES
    loss = sum(math.log1p(math.exp(-margin)) for margin in (2, -1, 3, 4)) / 4
    assert found["label loss"] == pytest.approx(loss / math.log(2))
    assert found["label accuracy"] == 0.75
    assert found["label accuracy above chance"] == 0.5
    assert found["label scatter"] == pytest.approx(math.log(4 / 36))  # 4 · 1² within, 4 · 3² between
    assert found["label variance"] == pytest.approx(1 - (4 / 2) / (40 / 3))
    assert found["label nearest mean"] == 1


def test_the_nearest_mean_is_that_without_the_image():
    maps = torch.tensor([0.0, 10.0, 4.0, 5.0, 20.0])[:, None, None, None]
    # 0: own 10, other 4.5, wrong; 10: own 0, 4.5, wrong; 4: own 5, other 5, right; 5: own 4, 5 away from 5, wrong
    found = label_evidence(maps, torch.tensor([0, 0, 1, 1, 2]), None)
    x = maps.flatten().tolist()
    right = [
        min((abs(x[0] - m), c) for m, c in ((10, 0), (4.5, 1), (20, 2)))[1] == 0,
        min((abs(x[1] - m), c) for m, c in ((0, 0), (4.5, 1), (20, 2)))[1] == 0,
        min((abs(x[2] - m), c) for m, c in ((5, 0), (5, 1), (20, 2)))[1] == 1,
        min((abs(x[3] - m), c) for m, c in ((5, 0), (4, 1), (20, 2)))[1] == 1,
    ]
    accuracy = sum(right) / 4
    assert found["label nearest mean"] == pytest.approx((accuracy - 1 / 3) / (2 / 3))


def test_the_loss_is_that_of_scikit_learn():
    logits, targets = normal(0, 20, 5), torch.arange(20) % 5
    expected = log_loss(targets, logits.softmax(1), labels=range(5)) / math.log(5)
    for output in (logits, logits + 9, logits.softmax(1)):
        assert label_evidence(normal(1, 20, 3, 1, 1), targets, output)["label loss"] == pytest.approx(expected)


def test_random_classes_explain_no_variance():
    draws = [
        label_evidence(normal(seed, 16, 8, 1, 1), torch.arange(16) % 8, None)["label variance"] for seed in range(50)
    ]
    assert abs(sum(draws) / 50) < 0.05
    assert min(draws) < 0 < max(draws)


@pytest.mark.parametrize(
    "targets",
    [
        torch.tensor([0, 1, 2, 5]),
        torch.tensor([0, 1, -1, 1]),
        torch.tensor([0, 1, 0]),
        torch.tensor([0.0, 1.0, 0.0, 1.0]),
        torch.zeros(4, 2, 2, dtype=torch.long),
    ],
    ids=["too large", "negative", "too few", "floats", "masks"],
)
def test_targets_that_do_not_fit_the_output(targets):
    assert unknown(label_evidence(normal(0, 4, 3, 2, 2), targets, normal(1, 4, 5)), OF_OUTPUT)


def test_maps_are_known_without_an_output_and_with_targets_that_do_not_fit_it():
    maps, targets = normal(0, 6, 3, 2, 2), torch.tensor([0, 0, 1, 1, 9, 9])
    for logits in (None, normal(1, 6, 5), torch.full((6, 10), float("nan"))):
        found = label_evidence(maps, targets, logits)
        assert unknown(found, OF_OUTPUT)
        assert not unknown(found, OF_MAPS)


@pytest.mark.parametrize(
    ("maps", "targets"),
    [
        (normal(0, 4, 3, 1, 1), torch.zeros(4, dtype=torch.long)),
        (normal(0, 4, 3, 1, 1), torch.arange(4)),
        (torch.ones(4, 3, 1, 1), torch.tensor([0, 0, 1, 1])),
        (torch.zeros(4, 3, 1, 1), torch.tensor([0, 0, 1, 1])),
        (torch.full((4, 3, 1, 1), float("inf")), torch.tensor([0, 0, 1, 1])),
        (normal(0, 5, 3, 1, 1), torch.tensor([0, 0, 1, 1])),
        (normal(0, 0, 3, 1, 1), torch.zeros(0, dtype=torch.long)),
        (normal(0, 4, 3, 1, 1), torch.tensor([0.0, 0.0, 1.0, 1.0])),
    ],
    ids=["one class", "one image each", "alike", "zeros", "infinite", "too few targets", "no image", "floats"],
)
def test_maps_of_which_nothing_is_known(maps, targets):
    assert unknown(label_evidence(maps, targets, None), OF_MAPS)


def test_collapsed_classes_are_as_far_as_it_goes():
    targets = torch.arange(8) % 2
    found = label_evidence(targets[:, None, None, None] * torch.ones(8, 3, 2, 2), targets, None)
    assert found["label scatter"] == -10
    assert found["label variance"] == found["label nearest mean"] == 1


@given(st.integers(0, 1000), st.sampled_from([1e-12, 1e-3, 1e6]))
@settings(deadline=None, max_examples=25)
def test_neither_order_nor_scale_nor_shift_matters(seed, scale):
    maps, logits, targets = normal(seed, 12, 5, 2, 2), normal(seed + 1, 12, 4), torch.arange(12) % 4
    draw = torch.Generator().manual_seed(seed)
    images, channels = torch.randperm(12, generator=draw), torch.randperm(5, generator=draw)
    found = label_evidence(maps, targets, logits)
    assert all(math.isfinite(value) for value in found.values())
    other = label_evidence(scale * (maps[images][:, channels] + 0.5), targets[images], logits[images])
    assert other == pytest.approx(found, abs=1e-6)


def test_dense_outputs_and_masks():
    draw = torch.Generator().manual_seed(0)
    logits, masks = normal(0, 3, 4, 6, 6), torch.randint(4, (3, 6, 6), generator=draw)
    masks[0, 0] = 255
    maps = F.one_hot(masks.clamp_max(3), 4).movedim(3, 1).double()
    found = label_evidence(maps, masks, logits)
    known = masks != 255
    scores, right = logits.movedim(1, 3)[known], masks[known]
    assert found["label loss"] == pytest.approx(float(F.cross_entropy(scores, right)) / math.log(4))
    assert found["label accuracy"] == pytest.approx(float((scores.argmax(1) == right).double().mean()))
    assert found["label scatter"] == -10
    assert found["label nearest mean"] == 1
    small = label_evidence(F.avg_pool2d(maps, 3), masks, logits)
    assert -10 < small["label scatter"] < 10
    masks[:] = 255
    assert unknown(label_evidence(maps, masks, logits), LABEL_FIGURES)
