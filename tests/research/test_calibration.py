"""Which trainings of an architecture a predictor is calibrated by, and on which others it is scored."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from research import random_nets

RUNS = pd.DataFrame(
    [
        ("first", "a", "digits", 10, "default", "all", False),
        ("seed", "a", "digits", 10, "default", "all", False),
        ("pair", "a", "digits", 2, "default", "all", False),
        ("slow", "a", "digits", 10, "slow", "all", False),
        ("other", "a", "mnist", 2, "slow", "all", False),
        ("frozen", "a", "digits", 10, "default", "head", False),
        ("drawn", "b", "digits", 10, "default", "all", True),
        ("alone", "c", "digits", 10, "default", "all", False),
    ],
    columns=["run_id", "backbone", "dataset", "classes", "recipe", "part", "random"],
)


@pytest.fixture
def pairs(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(random_nets.__file__).parent))
    from calibration import pairs

    return pairs


def test_whole_trainings_of_one_architecture_are_paired_and_what_sets_them_apart_is_said(pairs):
    found = {(by, of): kind for by, of, kind in pairs(pd.concat([RUNS, RUNS]))}
    assert len(found) == 5 * 4 and all(found[of, by] == kind for (by, of), kind in found.items())
    assert {of: found["first", of] for of in ("seed", "pair", "slow", "other")} == {
        "seed": "other seed",
        "pair": "other classes",
        "slow": "other recipe",
        "other": "other data",
    }
