"""The contract of every kind of FMCE-Net: build, fit, predict, save and load, limits."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.method.fitting.bags import collect_bags
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fitting.protocols import splits
from fmce_mlflow.method.fmce_net.config import Kind
from fmce_mlflow.method.fmce_net.kinds import KINDS, FitData, kind_named
from fmce_mlflow.predictor.flavor import Predictor, load_predictor, save_model
from tests.helpers import bags_of_noise

CONFIGS = {"set": {"members": 1, "width": 8}, "outline": {"channels": 24, "height": 2, "width": 2}}
SHAPES = {"set": {"levels": 5, "members": 1, "width": 8}, "outline": {"levels": 5, "features": 8, "heads": 2}}
WRONG = {"set": {"channels": 4}, "outline": {"members": 2}}
FIT = FitConfig(epochs=4, folds=2)

every_kind = pytest.mark.parametrize("name", KINDS)


@pytest.fixture(scope="module")
def noise() -> FitData:
    table, drawn = bags_of_noise.table(runs=3, snapshots=5), BagConfig(bag_size=6, bags_per_map=2)
    return FitData(table, bags_of_noise.read, drawn, collect_bags(table, bags_of_noise.read, drawn))


@pytest.fixture(scope="module")
def fitted(noise):
    """Each kind fitted to the first two runs of three."""
    split = splits(noise.table, "run")[2]
    return split, {name: row.fit(noise, split, SHAPES[name], FIT) for name, row in KINDS.items()}


def test_there_is_a_row_for_every_kind_that_options_name():
    assert tuple(KINDS) == get_args(Kind) and all(name == row.name for name, row in KINDS.items())
    with pytest.raises(PredictorError, match="no net of kind 'other'; there are set and outline"):
        kind_named("other")


@every_kind
def test_a_config_becomes_a_net_of_that_kind(name):
    net = kind_named(name).build(CONFIGS[name])
    assert net.kind == name and isinstance(net, torch.nn.Module)
    assert net.config.to_dict().items() >= CONFIGS[name].items()
    assert kind_named(name).build(net.config.to_dict()).config == net.config
    with pytest.raises(PredictorError, match=f"no config of a net of kind '{name}'"):
        kind_named(name).build(WRONG[name])


@every_kind
def test_what_is_fitted_to_some_runs_predicts_the_bags_of_another(noise, fitted, name):
    split, nets = fitted
    assert nets[name].net.kind == name and not nets[name].net.training and 1 <= nets[name].epochs <= FIT.epochs
    assert nets[name].calibrated == KINDS[name].calibrates == nets[name].net.calibrated
    found = KINDS[name].predict(nets[name].net, noise, split)
    assert set(found.rows["run_id"]) == {"run2"}
    assert len(found.rows) == len(found.predictions) == 5 * noise.drawn.bags_per_map
    for one in found.predictions:
        assert 0 <= one.low <= one.fmcs <= one.high <= 1 and one.level in range(5)
        assert one.levels.shape == (5,) and one.levels.sum() == pytest.approx(1)
    assert all(0 <= value <= 1 for value in found.metrics.values())


@every_kind
def test_the_net_that_is_logged_is_fitted_to_every_run(noise, name):
    one = KINDS[name].fit(noise, None, SHAPES[name], FIT).net
    again = KINDS[name].fit(noise, None, SHAPES[name], FIT).net
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), again.state_dict().values(), strict=True))


@every_kind
def test_a_net_comes_back_from_disk_and_predicts_the_same(fitted, tmp_path, name):
    net = fitted[1][name].net
    save_model(tmp_path / "model", Predictor(net))
    again = load_predictor(tmp_path / "model").net
    maps = np.random.default_rng(0).random((6, 24, 2, 2), dtype=np.float32)
    one, two = net.predict(maps), again.predict(maps)
    assert (again.kind, again.config) == (name, net.config)
    assert (one.fmcs, one.std, one.level, one.levels.tolist()) == (two.fmcs, two.std, two.level, two.levels.tolist())


@every_kind
def test_a_score_is_the_prediction_with_a_distance_where_the_kind_knows_one(fitted, name):
    net, maps = fitted[1][name].net, torch.rand(6, 24, 2, 2)
    found, distance = net.score(maps, None)
    assert found.fmcs == net.predict(maps).fmcs and np.isnan(distance) == (name == "outline")
    assert net.wants_reference is False


@every_kind
def test_baselines_see_what_the_net_sees(noise, name):
    seen = KINDS[name].seen(noise.bags, SHAPES[name]).features
    assert len(seen) == len(noise.bags.row)
    assert seen.shape[1] < noise.bags.features.shape[1] if name == "set" else seen is noise.bags.features


@every_kind
def test_maps_of_several_shapes_are_refused_by_kinds_that_read_one(noise, name):
    table = noise.table.assign(channels=np.where(noise.table["run_id"] == "run1", 48, 24))
    if KINDS[name].limits:
        with pytest.raises(PredictorError, match=r"24×2×2, 48×2×2. Use the kind `set`"):
            KINDS[name].check(table)
    else:
        KINDS[name].check(table)
    KINDS[name].check(noise.table)


@every_kind
def test_limits_are_sentences(name):
    assert all(text[0].isupper() and text.endswith(".") for text in KINDS[name].limits)
    assert bool(KINDS[name].limits) == (name == "outline")


def test_without_bags_only_kinds_that_need_none_are_fitted(noise):
    bare = FitData(noise.table, noise.read, noise.drawn, None)
    for name, row in KINDS.items():
        if row.needs_bags:
            with pytest.raises(PredictorError, match="draw them with `collect_bags`"):
                row.fit(bare, None, SHAPES[name], FIT)
        else:
            row.fit(bare, None, SHAPES[name], FitConfig(epochs=1))
