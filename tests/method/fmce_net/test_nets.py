from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fmce_mlflow.errors import ConfigError, PredictorError
from fmce_mlflow.method.fmce_net.belief import BINS, soft_labels
from fmce_mlflow.method.fmce_net.config import OutlineConfig, SetConfig
from fmce_mlflow.method.fmce_net.outline_net import OutlineNet
from fmce_mlflow.method.fmce_net.set_net import SetNet, with_reference
from fmce_mlflow.method.fmce_net.statistics import FEATURES, bag_features


def set_net(**config) -> SetNet:
    torch.manual_seed(0)
    return SetNet(SetConfig(**{"members": 2, **config})).eval()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(1, 40), st.integers(1, 5), st.integers(1, 5))
def test_set_net_ignores_the_order_of_channels_and_images_and_takes_any_shape(seed, n, c, h, w):
    rng = np.random.default_rng(seed)
    net = set_net()
    maps = rng.random((n, c, h, w), dtype=np.float32)
    one = net.predict(maps)
    two = net.predict(np.ascontiguousarray(maps[rng.permutation(n)][:, rng.permutation(c)]))
    assert two.fmcs == pytest.approx(one.fmcs, abs=1e-4)
    np.testing.assert_allclose(two.levels, one.levels, atol=1e-4)
    assert 0 <= one.low <= one.fmcs <= one.high <= 1 and one.std > 0
    assert one.levels.sum() == pytest.approx(1) and one.levels.shape == (5,)


def test_members_are_averaged():
    net = set_net(members=3)
    features = torch.randn(4, FEATURES)
    seen = net.standardize(features)
    expected = sum(member(seen).softmax(1) for member in net.members) / 3
    torch.testing.assert_close(net(features), expected)


def test_quantile_scaling_gives_the_normal_deviate_of_a_rank_and_keeps_outliers_within_reach():
    net = set_net(statistics="all", scaling="quantile")
    spread = torch.linspace(1, 9, FEATURES)
    net.knots.copy_(net.deviates * spread[:, None] + 3)  # as of features that are normal around 3
    features = 3 + spread * torch.tensor([[-1.5], [0.0], [0.7], [2.0]])
    torch.testing.assert_close(net.normalize(features), torch.tensor([[-1.5], [0.0], [0.7], [2.0]]).expand(4, FEATURES))
    far = net.normalize(torch.full((1, FEATURES), 1e30))
    torch.testing.assert_close(far, net.deviates[-1].expand(1, FEATURES))
    torch.testing.assert_close(net.normalize(-torch.full((1, FEATURES), 1e30)), -far)
    seen = net.normalize(features)
    torch.testing.assert_close(net(features), sum(member(seen).softmax(1) for member in net.members) / 2)


def test_quantile_scaling_does_without_a_reference_and_sees_the_statistics_that_it_is_told_to():
    net = set_net(statistics="bag", reference=True, scaling="quantile")
    features = torch.randn(5, FEATURES)
    both = net.normalize(with_reference(features, torch.randn(FEATURES)))
    alone = net.normalize(features)
    assert both.shape == alone.shape == (5, 152)
    torch.testing.assert_close(alone[:, :76], both[:, :76])
    assert not alone[:, 76:].any() and both[:, 76:].any()


def test_summary_of_a_belief_by_hand():
    net = set_net(levels=3)
    belief = torch.zeros(2, BINS)
    belief[0, 20] = 1.0  # all at 0.5
    belief[1, 0], belief[1, 40] = 0.75, 0.25
    fmcs, std, levels = net.summarize(belief)
    assert fmcs[0].item() == pytest.approx(0.5)
    assert fmcs[1].item() == pytest.approx(0.0, abs=0.02)  # the median lies in the first bin
    assert std[1].item() == pytest.approx(np.sqrt(0.25 * 0.75))
    np.testing.assert_allclose(levels.numpy(), [[0, 1, 0], [0.75, 0, 0.25]], atol=1e-6)
    net.std_scale.fill_(2)
    assert net.summarize(belief)[1][1].item() == pytest.approx(2 * np.sqrt(0.25 * 0.75))


def test_a_bin_on_the_border_of_two_levels_is_shared():
    net = set_net(levels=5)  # borders at 0.125, …; bin 5 is 0.125 ± 0.0125
    torch.testing.assert_close(net.level_of_bin[5], torch.tensor([0.5, 0.5, 0, 0, 0]))
    torch.testing.assert_close(net.level_of_bin.sum(1), torch.ones(BINS))


@pytest.mark.parametrize("value", [0.0, 0.03, 0.5, 0.97, 1.0])
def test_soft_labels_have_their_median_at_the_label(value):
    belief = soft_labels(torch.tensor([value]), 0.03)
    assert belief.sum().item() == pytest.approx(1)
    assert set_net().summarize(belief)[0].item() == pytest.approx(value, abs=0.021)


@pytest.mark.parametrize("statistics", ["channels", "bag", "both"])
def test_statistics_that_are_left_out_do_not_matter(statistics):
    net = set_net(statistics=statistics)
    features = bag_features(torch.rand(6, 8, 3, 3))[None]
    from fmce_mlflow.method.fmce_net.statistics import POOLED_STATISTICS

    changed = features.clone()
    part = {"channels": slice(POOLED_STATISTICS, None), "bag": slice(0, POOLED_STATISTICS)}.get(statistics)
    if part is not None:
        changed[:, part] += 100
        torch.testing.assert_close(net(changed), net(features))
    else:
        changed[:, :3] += 3
        assert not torch.allclose(net(changed), net(features))


def test_outline_net_reads_channels_by_their_place_and_averages_images():
    torch.manual_seed(0)
    net = OutlineNet(OutlineConfig(channels=12, height=3, width=2, features=16)).eval()
    maps = torch.rand(6, 12, 3, 2)
    one = net.predict(maps)
    np.testing.assert_allclose(one.levels, net(maps).softmax(1).mean(0).detach().numpy(), atol=1e-6)
    assert one.fmcs == pytest.approx(float(one.levels @ np.linspace(0, 1, 5)), abs=1e-6)
    assert net.predict(maps.flip(0)).fmcs == pytest.approx(one.fmcs, abs=1e-6)
    assert abs(net.predict(maps.flip(1)).fmcs - one.fmcs) > 1e-5
    with pytest.raises(PredictorError, match=r"reads maps of 12×3×2, got 11×3×2.*kind `set`"):
        net.predict(torch.rand(6, 11, 3, 2))


@pytest.mark.parametrize("net", [set_net(), OutlineNet(OutlineConfig(channels=2, height=2, width=2)).eval()])
def test_what_is_no_bag_is_refused(net):
    for maps, message in (
        (torch.full((3, 2, 2, 2), float("nan")), "NaN"),
        (torch.zeros(1, 2, 2, 2), "at least 2"),
        (torch.zeros(3, 2), "n, C, H, W"),
    ):
        with pytest.raises(PredictorError, match=message):
            net.predict(maps)


def test_configs_name_all_that_is_wrong():
    with pytest.raises(ConfigError) as raised:
        SetConfig(levels=1, width=0, dropout=1.0, statistics="some", scaling="log")
    assert len(raised.value.problems) == 5
    with pytest.raises(ConfigError) as raised:
        OutlineConfig(channels=0, height=1, width=1, features=10, heads=4)
    assert len(raised.value.problems) == 2


def test_a_net_with_a_reference_sees_the_contrast_and_does_without_it():
    net = set_net(statistics="all", reference=True)
    maps, before = torch.rand(6, 8, 3, 3), torch.rand(6, 8, 3, 3)
    features, reference = bag_features(maps)[None], bag_features(before)
    paired = with_reference(features, reference)
    assert paired.shape == (1, 2 * FEATURES)
    torch.testing.assert_close(paired[0, FEATURES:], features[0] - reference)
    assert net.predict(maps, before).fmcs == pytest.approx(net.predict_features(paired)[0].fmcs)
    assert net.predict(maps, before).fmcs != net.predict(maps).fmcs
    net.mean[FEATURES:] = paired[0, FEATURES:]  # the corpus's mean contrast stands in for one that is missing
    assert net.predict(maps, before).fmcs == pytest.approx(net.predict(maps).fmcs)
    plain = set_net()
    assert plain.predict(maps, before).fmcs == plain.predict(maps).fmcs


def test_the_set_decides_for_the_expected_level_and_the_outline_for_the_most_probable():
    levels = np.array([0.4, 0.0, 0.1, 0.3, 0.2])  # expected: 1.9
    assert SetNet.decide(levels) == 2 and OutlineNet.decide(levels) == 0
    assert SetNet.decide(np.eye(5)[4]) == OutlineNet.decide(np.eye(5)[4]) == 4


def test_a_prediction_has_the_level_that_its_net_decides_for():
    torch.manual_seed(0)
    net = SetNet(SetConfig()).eval()
    maps = torch.randn(8, 6, 4, 4)
    found = net.predict(maps)
    assert found.level == round(float(found.levels @ np.arange(5)))
    outline = OutlineNet(OutlineConfig(channels=6, height=4, width=4)).eval()
    found = outline.predict(maps)
    assert found.level == found.levels.argmax()
