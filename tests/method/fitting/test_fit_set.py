from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fmce_mlflow.errors import ConfigError, PredictorError
from fmce_mlflow.method.fitting.bags import collect_bags
from fmce_mlflow.method.fitting.baselines import as_predictions, run_baselines
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fitting.fit_outline import fit_outline, fit_outline_split, outline_shape, predict_outline
from fmce_mlflow.method.fitting.fit_set import KNOT_FLOOR, fit_set, predict_bags
from fmce_mlflow.method.fitting.protocols import score, splits
from fmce_mlflow.method.fmce_net.config import OutlineConfig, SetConfig
from tests.helpers import bags_of_noise
from tests.helpers.nets import spectral_alpha

FAST = FitConfig(epochs=25, patience=25, folds=3)
SMALL = SetConfig(members=2, width=24)


@pytest.fixture(scope="module")
def bags():
    return collect_bags(bags_of_noise.table(runs=6), bags_of_noise.read, BagConfig(bag_size=10, bags_per_map=3))


def split_of(bags, held="run0"):
    runs = bags.column("run_id")
    return (runs != held) & ~bags.test_images, np.flatnonzero((runs == held) & bags.test_images), runs


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_set_net_scores_a_run_it_has_not_seen_and_beats_the_majority(bags, scaling):
    train, test, runs = split_of(bags)
    fitted = fit_set(bags, train, runs, replace(SMALL, scaling=scaling), FAST)
    found = predict_bags(fitted.net, bags, test)
    rows = bags.table.iloc[bags.row[test]].reset_index(drop=True)
    m = score(rows, found, 5).metrics
    assert m["mae"] < 0.08 and m["spearman"] > 0.9 and m["within_one"] == 1.0
    assert m["coverage"] > 0.7 and fitted.calibrated
    assert fitted.epochs == int(np.argmin(fitted.validation)) + 1
    baselines = run_baselines(bags, np.flatnonzero(train), test, 5)
    assert score(rows, baselines["majority_level"], 5).metrics["mae"] > 2 * m["mae"]
    assert set(baselines) == {"majority_level", "activation_deviation", "effective_rank", "extra_trees"}


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_the_held_out_group_is_never_looked_at(bags, scaling):
    train, _, runs = split_of(bags)
    shape = replace(SMALL, scaling=scaling)
    one = fit_set(bags, train, runs, shape, FitConfig(epochs=3))
    features = bags.features.copy()
    features[runs == "run0"] = np.nan
    table = bags.table.copy()
    table.loc[table["run_id"] == "run0", "fmcs"] = 0.123
    other = fit_set(replace(bags, features=features, table=table), train, runs, shape, FitConfig(epochs=3))
    for a, b in zip(one.net.state_dict().values(), other.net.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_the_same_seed_gives_the_same_net_and_global_random_state_is_left_alone(bags):
    train, test, runs = split_of(bags)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = fit_set(bags, train, runs, SMALL, FitConfig(epochs=4))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    two = fit_set(bags, train, runs, SMALL, FitConfig(epochs=4))
    other = fit_set(bags, train, runs, SMALL, FitConfig(epochs=4, seed=1))
    assert one.validation == two.validation != other.validation
    assert [p.fmcs for p in predict_bags(one.net, bags, test)] == [p.fmcs for p in predict_bags(two.net, bags, test)]


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_inputs_too_many_to_keep_are_reckoned_in_every_pass_and_are_the_same(bags, monkeypatch, scaling):
    train, _, runs = split_of(bags)
    shape = replace(SMALL, scaling=scaling, reference=True)
    kept = fit_set(bags, train, runs, shape, FitConfig(epochs=3))
    monkeypatch.setattr("fmce_mlflow.method.fitting.together.IN_MEMORY", 0)
    again = fit_set(bags, train, runs, shape, FitConfig(epochs=3))
    assert kept.validation == again.validation
    for a, b in zip(kept.net.state_dict().values(), again.net.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_quantiles_of_features_that_do_not_vary_are_spread(bags):
    constant = replace(bags, features=np.full_like(bags.features, 0.5))
    train, _, runs = split_of(constant)
    net = fit_set(constant, train, runs, replace(SMALL, scaling="quantile"), FitConfig(epochs=1)).net
    assert (net.knots.diff(dim=1) > 0).all()
    found = net.normalize(0.5 + KNOT_FLOOR * torch.tensor([[-1.0], [0.0], [1.0]]).expand(3, bags.features.shape[1]))
    torch.testing.assert_close(found, torch.tensor([[-1.0], [0.0], [1.0]]).expand_as(found), atol=1e-3, rtol=0)


def test_a_single_group_is_fitted_without_validation(bags):
    train, _, runs = split_of(bags)
    fitted = fit_set(bags, train & (runs == "run1"), runs, SMALL, FitConfig(epochs=3))
    assert (fitted.epochs, fitted.validation, fitted.calibrated) == (3, [], False)
    with pytest.raises(PredictorError, match="no bag to train on"):
        fit_set(bags, np.zeros(len(runs), dtype=bool), runs)


def test_training_stops_when_the_validation_error_no_longer_falls(bags):
    train, _, runs = split_of(bags)
    passes = []
    config = FitConfig(epochs=60, patience=2, lr=0.05, averaging=0.0)
    fitted = fit_set(bags, train, runs, SMALL, config, report=lambda number, figures: passes.append((number, figures)))
    assert len(passes) == len(fitted.validation) < 60
    assert len(passes) == fitted.epochs + config.patience
    assert [figures["validation_mae"] for _, figures in passes] == fitted.validation


def test_a_report_that_raises_stops_the_fit(bags):
    train, _, runs = split_of(bags)

    def stop(number, figures):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_set(bags, train, runs, SMALL, FAST, report=stop)


def test_outline_net_knows_unseen_images_of_its_own_runs_on_the_same_bags():
    table = bags_of_noise.table(runs=3, n=40)
    config, options = BagConfig(bag_size=12, bags_per_map=2), {"features": 16, "blocks": 1, "heads": 2}
    fit = FitConfig(epochs=20, lr=5e-3)
    (images,) = splits(table, "images")
    net = fit_outline_split(table, bags_of_noise.read, images, config, options, fit).net
    seen = predict_outline(net, table, bags_of_noise.read, images, config)
    m = score(seen.rows, seen.predictions, 5).metrics
    assert m["accuracy"] > 0.9 and seen.metrics["image_accuracy"] > 0.6
    bags = collect_bags(table, bags_of_noise.read, config)
    expected = table.iloc[bags.row[bags.test_images]].reset_index(drop=True)
    assert seen.rows[["run_id", "snapshot"]].equals(expected[["run_id", "snapshot"]])


def test_outline_net_keeps_the_weights_of_its_best_pass():
    maps, levels = torch.rand(40, 3, 2, 2), torch.arange(40) % 5
    passes = []
    fitted = fit_outline(
        maps, levels, OutlineConfig(channels=3, height=2, width=2, features=8, heads=2, blocks=0),
        FitConfig(epochs=6, lr=0.3, patience=6), validation=(maps[:10], levels[:10]),
        report=lambda number, figures: passes.append(figures["validation_loss"]),
    )  # fmt: skip
    assert fitted.epochs == int(np.argmin(passes)) + 1
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(fitted.net(maps[:10]), levels[:10]).item()
    assert loss == pytest.approx(min(passes), rel=1e-5)


def test_outline_net_refuses_modules_of_different_shapes():
    table = bags_of_noise.table(runs=2)
    table.loc[table["run_id"] == "run1", "channels"] = 48
    with pytest.raises(PredictorError, match=r"24×2×2, 48×2×2. Use the kind `set`"):
        outline_shape(table)


def test_predictions_of_baselines_are_the_nearest_level_without_an_interval():
    one, two = as_predictions(np.array([0.36, 1.7]), 5)
    assert (one.fmcs, one.level, one.std, two.fmcs, two.level) == (0.36, 1, 0.0, 1.0, 4)


def test_spectral_alpha_finds_the_exponent_of_a_known_power_law():
    rng = np.random.default_rng(0)
    values = (1 - rng.random(400)) ** (-1 / (3.0 - 1))  # density ∝ x⁻³ from 1 on
    module = torch.nn.Linear(400, 400, bias=False)
    basis, _ = np.linalg.qr(rng.normal(size=(400, 400)))
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy((basis * np.sqrt(values)) @ basis.T))
    assert spectral_alpha(module) == pytest.approx(3.0, abs=0.4)
    assert np.isnan(spectral_alpha(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(4, 4))))


def test_config_names_all_that_is_wrong():
    with pytest.raises(ConfigError) as raised:
        FitConfig(epochs=0, lr=0.0, folds=-1, averaging=1.0, noise=-0.1)
    assert len(raised.value.problems) == 5
