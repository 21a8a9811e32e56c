"""Published baselines: values that were worked out by hand, and how they are scored on architectures held out."""

from __future__ import annotations

import logging
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from fmce_mlflow.errors import FmceError
from fmce_mlflow.predictor.flavor import load_predictor
from research.baseline_scores import (
    NAMES,
    activation_deviation,
    alpha_req,
    baseline_scores,
    gdscore,
    lidar,
    rankme,
    weightwatcher_alpha,
)
from research.baselines import held_out, scalar_baselines


def with_singular_values(values, n=48, seed=0):
    """Centred features (n, len(values)) with these singular values."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(np.column_stack([np.ones(n), rng.normal(size=(n, len(values)))]))[0][:, 1:]
    turned = np.linalg.qr(rng.normal(size=(len(values), len(values))))[0]
    return torch.from_numpy(basis @ np.diag(values) @ turned)


def test_rankme_is_the_exponential_of_the_entropy_of_singular_values():
    assert rankme(with_singular_values([3.0, 1.0])) == pytest.approx(
        math.exp(-0.75 * math.log(0.75) + 0.25 * math.log(4))
    )
    assert rankme(5 * torch.eye(7)) == pytest.approx(7, abs=1e-4)
    one = torch.ones(9, 1) @ torch.rand(1, 6)
    assert rankme(one) == pytest.approx(1, abs=1e-4)  # not centred: these features are no zeros
    assert math.isnan(rankme(torch.zeros(9, 6)))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_alpha_req_is_the_exponent_of_the_eigenvalues_whatever_the_first_ones_are(alpha):
    eigenvalues = np.arange(1, 45) ** -alpha
    eigenvalues[:10] = 100 + np.arange(10)[::-1]
    found = alpha_req(7 * with_singular_values(np.sqrt(eigenvalues)) + 3)
    assert found == pytest.approx(alpha, abs=1e-6)


def test_alpha_req_is_a_line_weighted_by_one_over_the_rank():
    eigenvalues = np.exp(-np.arange(12.0))  # the first quarter is left out: ranks 4 to 12
    rank = np.arange(4, 13)
    slope = np.polyfit(np.log(rank), np.log(eigenvalues[3:]), 1, w=np.sqrt(1 / rank))[0]
    assert alpha_req(with_singular_values(np.sqrt(eigenvalues))) == pytest.approx(-slope, abs=1e-6)
    assert math.isnan(alpha_req(with_singular_values([2.0, 1.0])))


def test_activation_deviation_is_the_mean_of_the_channels_deviations():
    assert activation_deviation(torch.tensor([[0.0, 5.0, 1.0], [4.0, 5.0, 3.0]])) == pytest.approx((2 + 0 + 1) / 3)


def test_lidar_counts_the_directions_in_which_images_differ_and_their_views_do_not():
    rng = torch.Generator().manual_seed(0)
    means = torch.randn(400, 1, 6, generator=rng)
    steady = means.expand(400, 4, 6)
    assert lidar(steady) == pytest.approx(6, abs=0.1)
    noise = torch.randn(400, 4, 6, generator=rng)
    noise[..., :2] *= 0.01
    assert lidar(steady + 3 * noise) == pytest.approx(2, abs=0.3)
    assert lidar(1e-6 * (steady + 3 * noise)) == pytest.approx(lidar(steady + 3 * noise), rel=1e-4)


def test_lidar_by_hand():
    """Two images at ±1 along one axis, ±½ along another; views of them spread ±1 along the first, ±1 along both."""
    spread = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    corners = torch.tensor([[1.0, 0.5], [1.0, -0.5], [-1.0, 0.5], [-1.0, -0.5]])
    shares = np.array([1.0, 0.25]) / 1.25  # B = diag(1, ¼), W the identity
    assert lidar(corners[:, None] + spread) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-3)


def head_alone(weight):
    net = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    net.weight.data.copy_(weight)
    return net


def test_gdscore_is_the_norm_of_softmax_minus_pseudo_label_times_the_features():
    net, features = head_alone(torch.tensor([[2.0, 0.0], [0.0, 1.0]])), torch.tensor([[1.0, 0.5], [0.0, 3.0]])
    shares = [1 / (1 + math.exp(-1.5)), 1 / (1 + math.exp(-3.0))]  # of class 0 for the one, of class 1 for the other
    wrong = np.array([1 - shares[0], 1 - shares[1]])
    by_class = np.array([[-wrong[0], wrong[1]], [wrong[0], -wrong[1]]])  # softmax − pseudo-label, (class, image)
    gradient = np.abs(by_class @ features.numpy() / 2)
    assert gdscore(net, features) == pytest.approx((gradient**0.3).sum() ** (1 / 0.3), rel=1e-4)


def test_gdscore_draws_labels_of_images_that_the_network_is_not_sure_of():
    net = head_alone(torch.zeros(4, 1))  # ¼ for each class
    by_label = np.abs(np.array([[0.75, 0.25, 0.25, 0.25]]))
    assert gdscore(net, torch.ones(1, 1)) == pytest.approx((by_label**0.3).sum() ** (1 / 0.3), rel=1e-4)
    many = gdscore(net, torch.ones(20_000, 1))  # the drawn labels are all classes, so little is left
    assert many < 0.05 * gdscore(net, torch.ones(1, 1))


def test_gdscore_takes_a_head_that_is_a_convolution_and_leaves_the_network_as_it_was():
    torch.manual_seed(0)
    conv = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    linear = nn.Sequential(*conv[:3], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    linear[-1].weight.data.copy_(conv[3].weight.data.flatten(1))
    linear[-1].bias.data.copy_(conv[3].bias.data)
    conv[0].weight.requires_grad_(False)
    pixels, before = torch.randn(12, 3, 8, 8), {k: v.clone() for k, v in conv.state_dict().items()}
    assert gdscore(conv, pixels) == pytest.approx(gdscore(linear, pixels), rel=1e-3)
    assert conv.training and not conv[0].weight.requires_grad and conv[3].weight.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in conv.state_dict().items())
    assert all(parameter.grad is None for parameter in conv.parameters())
    assert math.isnan(gdscore(nn.Conv2d(3, 8, 3), pixels))  # no class scores


def test_all_of_a_network_have_their_names_and_without_weightwatcher_it_is_said_how_to_install_it():
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)
    )
    pixels = torch.randn(70, 3, 12, 12)
    views = [pixels + 0.1 * torch.randn_like(pixels) for _ in range(4)]
    handlers, level = list(logging.root.handlers), logging.root.level
    found = baseline_scores(net, "2", pixels, views=views, watch_weights=False)
    assert tuple(found) == NAMES and math.isnan(found.pop("weightwatcher_alpha"))
    assert all(map(math.isfinite, found.values()))
    assert math.isnan(baseline_scores(net, "2", pixels, views=(), watch_weights=False)["lidar"])
    assert baseline_scores(net, "2", pixels, watch_weights=False)["lidar"] > 1
    try:
        import weightwatcher  # noqa: F401
    except ImportError:
        with pytest.raises(FmceError, match="pip install weightwatcher"):
            weightwatcher_alpha(net)
    else:
        assert weightwatcher_alpha(nn.Linear(64, 64)) > 1 and math.isnan(weightwatcher_alpha(nn.LayerNorm(64)))
    assert (logging.root.handlers, logging.root.level) == (handlers, level)


def labelled(groups=4, snapshots=9):
    fmcs = np.tile(np.linspace(0, 1, snapshots), groups)
    level = np.where(np.arange(len(fmcs)) % snapshots % 2 == 0, fmcs * 4, np.nan)
    return fmcs, level, np.repeat([f"net{i}" for i in range(groups)], snapshots)


def test_a_figure_that_orders_all_networks_alike_is_right_on_one_held_out_and_one_that_says_nothing_is_not():
    fmcs, level, groups = labelled()
    rng = np.random.default_rng(0)
    values = {
        "same": np.exp(3 * fmcs),
        "falling": -(fmcs**3),
        "noise": rng.random(len(fmcs)),
        "features": np.column_stack([rng.random(len(fmcs)), fmcs, fmcs**2]),
    }
    table = scalar_baselines(values, fmcs, level, groups)
    assert table.loc["same", "mae"] == pytest.approx(0) and table.loc["same", "accuracy"] == 1
    assert table.loc["falling", "mae"] == pytest.approx(0) and table.loc["falling", "spearman"] == pytest.approx(1)
    assert table.loc["features", "mae"] < 0.1 < 0.2 < table.loc["noise", "mae"]
    assert (table["known"] == 1).all()


def test_what_is_unknown_gets_the_mean_and_rows_without_a_group_are_only_fitted_to():
    fmcs, level, groups = labelled()
    value = fmcs.copy()
    value[:9] = np.nan
    assert held_out(value, fmcs, groups)[:9] == pytest.approx(np.full(9, 0.5))
    table = scalar_baselines({"x": value}, fmcs, level, groups)
    assert table.loc["x", "known"] == 0.75 and table.loc["x", "mae"] == pytest.approx(np.abs(fmcs - 0.5)[:9].mean() / 4)
    groups = np.where(groups == "net0", "", groups)
    assert np.isnan(held_out(value, fmcs, groups)[:9]).all()
    assert scalar_baselines({"x": value}, fmcs, level, groups).loc["x", ["known", "mae"]].tolist() == pytest.approx(
        [1, 0]
    )


def test_bags_that_are_not_scored_are_fitted_to_and_trees_take_features_that_are_missing():
    fmcs, level, groups = labelled()
    once = np.arange(len(fmcs)) % 2 == 0
    features = np.column_stack([fmcs, np.where(once, fmcs**2, np.nan)])
    values = {"x": fmcs, "one network": np.where(groups == "net0", fmcs, np.nan), "features": features}
    table = scalar_baselines(values, fmcs, level, groups, scored=once & (groups == "net1"))
    assert table.loc["x", "mae"] == pytest.approx(0) and table.loc["features", "mae"] < 0.1
    assert table["known"].tolist() == [1, 0, 1]
    mean = np.abs(fmcs - 0.5)[once & (groups == "net1")].mean()  # none of its own is known
    assert table.loc["one network", "mae"] == pytest.approx(mean)


@pytest.fixture
def of_corpus(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "research"))
    import corpus_baselines

    return corpus_baselines


def test_figures_of_a_training_are_taken_on_the_images_and_with_the_statistics_of_its_bags(of_corpus):
    facts = {"plan": {"backbone": "timm:test_resnet", "dataset": "digits"}, "modules": ["conv1", "layer4"]}
    network = of_corpus.network(of_corpus.Plan(**facts["plan"]), 10)
    first, second = network.state_dict(), {k: v.clone() for k, v in network.state_dict().items()}
    second["bn1.running_mean"] += 100  # which the images' own replace
    found = of_corpus.figures(facts, [first, second], ("", "", ""), False)
    assert [tuple(one) for one in found] == [NAMES, NAMES]
    for name in NAMES[:-1]:
        assert math.isfinite(found[0][name]) and found[0][name] == pytest.approx(found[1][name], rel=1e-3)


def test_the_file_of_the_repository_is_of_the_bags_and_a_card_shows_its_baselines(of_corpus, tmp_path, monkeypatch):
    names = ["test_resnet_digits_all_default_all-classes_0", "plain_cnn_mnist_all_default_all-classes_0"]
    (tmp_path / "bags").mkdir()
    for name in names:
        shutil.copy(of_corpus.FOLDER / f"{name}.npz", tmp_path / "bags")
    bags = of_corpus.read(tmp_path / "bags")
    values = of_corpus.on_bags(bags, of_corpus.FILE)
    last = bags.table[np.isfinite(values["rankme"])]
    assert len(last) == 20 and set(last["module"]) == {"layer4", "features"} and set(last["chosen"]) == {"all"}
    assert np.isfinite(values["weightwatcher_alpha"]).sum() == 20
    root = Path(load_predictor.__code__.co_filename).with_name("resources") / "fmce_net"
    shutil.copytree(root, tmp_path / "net")
    monkeypatch.setattr("baselines.TREES", 3)
    words = ["card", "--bags", str(tmp_path / "bags"), "--predictor", str(tmp_path / "net")]
    made = CliRunner().invoke(of_corpus.main, words)
    assert made.exit_code == 0, (made.output, made.exception)
    before, after = load_predictor(root), load_predictor(tmp_path / "net")
    assert all(torch.equal(v, after.net.state_dict()[k]) for k, v in before.net.state_dict().items())
    old, new = before.info["figures"], after.info["figures"]
    assert {**new, "architecture": old["architecture"]} == old
    assert new["architecture"]["set"] == old["architecture"]["set"] and {"set", *NAMES} < new["architecture"].keys()
    for name in ("set", *NAMES, "extra-trees of maps"):
        assert f"| {name} |" in after.card
