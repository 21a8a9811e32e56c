from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from fmce_mlflow.errors import ConfigError, RunError
from fmce_mlflow.method.fitting.protocols import score, splits
from fmce_mlflow.method.fmce_net.belief import Prediction
from tests.helpers import bags_of_noise


def prediction(fmcs: float, level: int, half: float = 0.1) -> Prediction:
    return Prediction(fmcs, half / 1.645, max(0, fmcs - half), min(1, fmcs + half), np.eye(5)[level], level)


@pytest.mark.parametrize(
    ("protocol", "column", "groups"), [("run", "run_id", 8), ("architecture", "backbone", 2), ("dataset", "dataset", 2)]
)
def test_each_group_is_held_out_once_and_wholly(protocol, column, groups):
    table = bags_of_noise.table(runs=8, snapshots=5, datasets=("x", "y"))
    found = splits(table, protocol)
    assert len(found) == groups
    assert sorted(split.held_out for split in found) == sorted(table[column].unique())
    for split in found:
        assert not (split.train & split.test).any() and (split.train | split.test).all()
        assert set(table[column][split.test]) == {split.held_out}
        assert split.held_out not in set(table[column][split.train])
    single = splits(table, protocol, cross_validate=False, seed=4)
    assert len(single) == 1 and single[0].held_out in {split.held_out for split in found}


def test_images_takes_all_rows_on_both_sides():
    (split,) = splits(bags_of_noise.table(runs=1), "images")
    assert split.train.all() and split.test.all()


def test_too_few_groups_say_what_is_needed():
    with pytest.raises(RunError, match="at least 2 runs: train another seed"):
        splits(bags_of_noise.table(runs=1), "run")
    with pytest.raises(RunError, match=r"one backbone .* it has 1 only"):
        splits(bags_of_noise.table(runs=2, backbones=("a",)), "architecture")
    with pytest.raises(ConfigError, match="protocol must be one of images, run"):
        splits(bags_of_noise.table(), "seed")


def test_figures_by_hand():
    rows = pd.DataFrame(
        {
            "run_id": "r",
            "backbone": "a",
            "dataset": "x",
            "module": "m",
            "snapshot": [0, 1, 2, 3, 4, 5],
            "fmcs": [0.0, 0.25, 0.5, 0.75, 1.0, 1.0],
            "level": pd.array([0, 1, 2, 3, 4, None], dtype="Int64"),
        }
    )
    found = [prediction(*p) for p in ((0.0, 0), (0.3, 1), (0.9, 4), (0.7, 3), (0.85, 3), (0.4, 2))]
    scores = score(rows, found, 5)
    m = scores.metrics
    assert m["accuracy"] == pytest.approx(3 / 5)
    assert m["within_one"] == pytest.approx(4 / 5)
    assert m["mae"] == pytest.approx((0 + 0.05 + 0.4 + 0.05 + 0.15 + 0.6) / 6)
    # Level 3: found twice, right once; levels 2 and 4: nothing right.
    assert m["level_3/precision"] == pytest.approx(0.5) and m["level_3/recall"] == 1
    assert m["precision"] == pytest.approx((1 + 1 + 0 + 0.5 + 0) / 5)
    assert m["recall"] == pytest.approx(3 / 5)
    assert m["f1"] == pytest.approx((1 + 1 + 0 + 2 / 3 + 0) / 5)
    # ρ over snapshots 0 … T = 4: the wild value after T does not count.
    assert m["spearman"] == pytest.approx(spearmanr([0, 0.3, 0.9, 0.7, 0.85], range(5)).statistic)
    assert m["coverage"] == pytest.approx(3 / 6) and m["width"] == pytest.approx((0.1 + 0.2 * 5) / 6)
    assert scores.confusion.tolist()[2] == [0, 0, 0, 0, 1] and scores.confusion.sum() == 5


def test_a_constant_prediction_has_no_order_and_no_interval_no_coverage():
    table = bags_of_noise.table(runs=2, snapshots=5)
    m = score(table, [Prediction(0.5, 0, 0.5, 0.5, np.eye(5)[2], 2)] * len(table), 5).metrics
    assert m["spearman"] == 0 and "coverage" not in m and m["accuracy"] == pytest.approx(0.2)


def test_a_module_that_never_moved_has_no_order_and_takes_none_from_others():
    table = bags_of_noise.table(runs=2, snapshots=5)
    still = table["run_id"] == table["run_id"].iloc[0]
    table.loc[still, "fmcs"], table.loc[still, "level"] = 0.0, 0
    scores = score(table, [prediction(0.1 * s, 0) for s in table["snapshot"]], 5)
    assert scores.by_run["spearman"].isna().tolist() == [True, False]
    assert scores.metrics["spearman"] == pytest.approx(1)
    alone = score(table[still], [prediction(0.1 * s, 0) for s in table["snapshot"][still]], 5)
    assert alone.metrics["spearman"] == 0 and alone.metrics["mae"] == pytest.approx(0.2)


def test_the_order_of_a_module_that_stopped_counts_up_to_where_it_did():
    table = bags_of_noise.table(runs=1, snapshots=5)
    table["fmcs"] = [0.0, 0.25, 0.5, 0.5, 0.5]
    found = [prediction(f, 0) for f in (0.1, 0.2, 0.3, 0.0, 0.9)]
    assert score(table, found, 5).metrics["spearman"] == 1


def test_without_markers_there_is_no_accuracy():
    table = bags_of_noise.table(runs=1, snapshots=5)
    table["level"] = pd.array([None] * 5, dtype="Int64")
    scores = score(table, [prediction(f, 0) for f in table["fmcs"]], 5)
    assert "accuracy" not in scores.metrics and scores.metrics["mae"] == 0
