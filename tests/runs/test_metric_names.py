"""What metrics of a module are called: MLflow takes the names, and no two modules share one."""

from __future__ import annotations

import itertools
import random

import pytest

from fmce_mlflow.runs.metric_names import OF_MODULES, logged_name, metric_name
from tests.conftest import new_run

ORDINARY = ["layer4", "backbone.body.layer4", "features.0.conv-1", "0", "a_b", "x" * 235, "-123", "a-0123456789ab.b"]
OTHER = [
    "a@b", "a/b", "a\\b", "a+b", "a,b", "/etc", "//up//", "../x", "é %00", "head@1", "名", "\ud800", "a_b-0123456789ab",
    "x" * 236, "x" * 237, "x" * 5000, "block." * 60 + "a", "block." * 60 + "b", "b" + "block." * 60,
]  # fmt: skip


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_name_stays(name):
    assert metric_name(name) == name


def test_no_two_modules_share_a_name_not_even_one_that_has_the_others_name():
    rng = random.Random(0)
    drawn = {"".join(rng.choices("ab@/_-.", k=rng.randint(1, 6))) for _ in range(2000)}
    first = [*ORDINARY, *OTHER, *drawn]
    modules = {*first, *map(metric_name, first)}  # a module may be called what another's metrics are called
    assert len({metric_name(module) for module in modules}) == len(modules)


def test_mlflow_takes_them_all(client):
    run_id = new_run(client)
    names = [f"{kind}/{metric_name(name)}" for kind, name in itertools.product(OF_MODULES, [*ORDINARY, *OTHER])]
    for name in names:
        client.log_metric(run_id, name, 1.0)
    assert set(client.get_run(run_id).data.metrics) == set(names)


def test_only_the_metrics_of_modules_are_renamed():
    assert logged_name("focus/a@b") == f"focus/{metric_name('a@b')}"
    assert [logged_name(name) for name in ("train_loss", "team/a@b", "focus", "drift/layer4")] == [
        "train_loss", "team/a@b", "focus", "drift/layer4",
    ]  # fmt: skip
