from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from fmce_mlflow.method.evidence.fresh import FRESH_FIGURES, fresh_copies, fresh_distance
from tests.helpers.nets import tiny


class Own(nn.Module):
    """Draws its weights like no library."""

    def __init__(self) -> None:
        super().__init__()
        self.body = tiny()
        self.init_weights()

    def init_weights(self) -> None:
        for value in self.body.parameters():
            nn.init.normal_(value, 3, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def test_there_is_a_copy_of_each_scheme_and_one_of_the_networks_own():
    network = tiny()
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    copies = list(fresh_copies(network, seed=1, build=tiny))
    weights = [one.stem.weight for one in copies]
    assert len(copies) == 4 and not any(one.training for one in copies)
    assert not any(torch.equal(one, other) for i, one in enumerate(weights) for other in weights[:i])
    assert not any(torch.equal(one, network.stem.weight) for one in weights)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    again = [one.stem.weight for one in fresh_copies(network, seed=1, build=tiny)]
    assert all(torch.equal(one, other) for one, other in zip(weights, again, strict=True))
    assert len(list(fresh_copies(network))) == 3
    assert [round(float(one.body.stem.weight.detach().mean())) for one in fresh_copies(Own())] == [0, 0, 0, 3]


def test_copies_are_made_one_at_a_time():
    copies = fresh_copies(tiny())
    next(copies)
    assert torch.isfinite(next(copies)(torch.rand(2, 3, 8, 8))).all()


def features(n: int, shift: float = 0.0) -> Tensor:
    return torch.randn(n, 400, generator=torch.Generator().manual_seed(n)) + shift


def test_one_more_fresh_copy_is_as_far_as_they_are_from_each_other():
    figures = fresh_distance(features(1)[0], features(4))
    assert tuple(figures) == FRESH_FIGURES
    assert figures["fresh mean"] == pytest.approx(math.log(2), abs=0.05)
    assert figures["fresh nearest"] == pytest.approx(math.log(2), abs=0.1)
    assert figures["fresh beyond"] == pytest.approx(2 / 5, abs=0.06)


def test_what_was_trained_is_far():
    figures = [fresh_distance(features(1, shift)[0], features(4)) for shift in (0.0, 2.0, 8.0)]
    for name in FRESH_FIGURES:
        near, far, farther = (one[name] for one in figures)
        assert near < far <= farther
    assert figures[2]["fresh beyond"] > 0.99


def test_one_of_them_has_distance_0_and_scale_of_units_cancels():
    fresh = features(4)
    assert fresh_distance(fresh[2], fresh)["fresh nearest"] == 0
    same = fresh_distance(torch.full((5,), 7.0), torch.ones(3, 5))
    assert all(math.isfinite(value) for value in same.values()) and same["fresh nearest"] > 5


def test_what_is_not_known_is_nan():
    fresh = features(3)
    for value, others in ((fresh[0], fresh[:1]), (fresh[0] * math.nan, fresh), (fresh[0], fresh * math.inf)):
        assert all(map(math.isnan, fresh_distance(value, others).values()))
    broken = torch.cat([fresh, torch.full((1, 400), math.nan)])
    assert fresh_distance(features(1)[0], broken) == fresh_distance(features(1)[0], fresh)
    with pytest.raises(ValueError, match="Features"):
        fresh_distance(fresh[0, :5], fresh)
