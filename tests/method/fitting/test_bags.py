from __future__ import annotations

import numpy as np
import pytest
import torch

from fmce_mlflow.errors import ConfigError, PredictorError
from fmce_mlflow.method.fitting.bags import collect_bags, effective_rank
from fmce_mlflow.method.fitting.config import BagConfig
from fmce_mlflow.method.fmce_net.statistics import bag_features
from tests.helpers import bags_of_noise


def test_every_bag_has_the_features_of_its_images_and_the_parts_share_none():
    table = bags_of_noise.table(runs=2, snapshots=5)
    config = BagConfig(bag_size=8, bags_per_map=2, seed=3)
    bags = collect_bags(table, bags_of_noise.read, config)
    assert len(bags.row) == len(table) * 4 and bags.test_images.sum() == len(table) * 2
    train, test = config.images(24)
    assert len(train) == len(test) == 12 and not set(train) & set(test)
    for at in (0, 3, 17):
        row = table.iloc[bags.row[at]]
        images = config.bag(int(bags.row[at]), at % 4, 24)
        assert set(images) <= set(test if bags.test_images[at] else train) and len(set(images)) == 8
        maps = bags_of_noise.read(row)[images]
        np.testing.assert_allclose(bags.features[at], bag_features(torch.from_numpy(maps)), rtol=1e-6)
        flat = maps.astype(np.float64).std(0).mean()
        assert bags.scalars[at, 0] == pytest.approx(flat, rel=1e-3)
    assert bags.fmcs[0] == 0 and list(bags.column("run_id")[[0, -1]]) == ["run0", "run1"]


def test_bags_do_not_depend_on_threads_and_do_on_the_seed():
    table = bags_of_noise.table(runs=1, snapshots=5)
    one = collect_bags(table, bags_of_noise.read, BagConfig(bag_size=6), threads=1)
    many = collect_bags(table, bags_of_noise.read, BagConfig(bag_size=6), threads=4)
    other = collect_bags(table, bags_of_noise.read, BagConfig(bag_size=6, seed=1))
    np.testing.assert_array_equal(one.features, many.features)
    assert not np.array_equal(one.features, other.features)


def test_rows_without_a_label_are_left_out_and_broken_maps_are_named():
    table = bags_of_noise.table(runs=2, snapshots=5)
    table.loc[table["run_id"] == "run1", "fmcs"] = np.nan
    done = []
    bags = collect_bags(table, bags_of_noise.read, BagConfig(bag_size=4), progress=done.append)
    assert set(bags.table["run_id"]) == {"run0"} and sum(done) == 5

    def broken(row):
        maps = bags_of_noise.read(row)
        if row.snapshot == 2:
            maps[:] = np.nan
        return maps

    with pytest.raises(PredictorError, match=r"Run run0, module layer4, snapshot 2: .*NaN"):
        collect_bags(table, broken, BagConfig(bag_size=4))
    table["fmcs"] = np.nan
    with pytest.raises(PredictorError, match="no labelled row"):
        collect_bags(table, bags_of_noise.read)


def test_too_few_probe_images_and_wrong_options():
    with pytest.raises(PredictorError, match="3 probe images cannot be cut"):
        BagConfig().images(3)
    with pytest.raises(ConfigError) as raised:
        BagConfig(bag_size=1, bags_per_map=0, test_share=1.0, seed=-1)
    assert len(raised.value.problems) == 4


def test_effective_rank_of_known_spectra():
    maps = torch.tensor([[3.0, 0, 0], [-3.0, 0, 0]])[:, :, None, None]
    assert effective_rank(maps) == pytest.approx(1.0)
    assert effective_rank(torch.ones(5, 3, 1, 1)) == 0.0
    # Singular values 2√2 and √2: shares 2/3 and 1/3.
    maps = torch.tensor([[2.0, 0], [-2.0, 0], [0, 1.0], [0, -1.0]])[:, :, None, None]
    expected = np.exp(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)))
    assert effective_rank(maps) == pytest.approx(expected, rel=1e-5)


def test_references_are_the_mean_of_snapshot_0_of_the_same_run_module_and_part():
    table = bags_of_noise.table(runs=2, snapshots=5)
    bags = collect_bags(table, bags_of_noise.read, BagConfig(bag_size=8, bags_per_map=2))
    at = 27
    same = (bags.column("run_id") == bags.column("run_id")[at]) & (bags.column("snapshot") == 0)
    same &= bags.test_images == bags.test_images[at]
    assert same.sum() == 2
    reference = bags.features[same].mean(0)
    both = bags.rows(reference=True).take(np.array([at]))[0].numpy()
    np.testing.assert_allclose(both, np.r_[bags.features[at], bags.features[at] - reference], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(both[: len(reference)] - both[len(reference) :], reference, rtol=1e-5, atol=1e-6)
    assert bags.rows(reference=False).take(np.array([at]))[0].tolist() == bags.features[at].tolist()
    later = collect_bags(table[table["snapshot"] > 0], bags_of_noise.read, BagConfig(bag_size=8))
    with pytest.raises(PredictorError, match="module layer4 of run run0 has none"):
        later.rows(reference=True)
