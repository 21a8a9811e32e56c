"""What may not grow: questions to the database with snapshots, memory with maps."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from fmce_mlflow.fmcs_dataset.label import build_fmcs_dataset
from fmce_mlflow.method.fitting.bags import collect_bags
from fmce_mlflow.method.fitting.config import BagConfig
from fmce_mlflow.predictor.fmcs_source import artifact_reader
from tests.helpers.examples import script

with pytest.MonkeyPatch.context() as patch:
    scaling = script("scaling", patch, "benchmarks")


def written(client: MlflowClient, runs: int, snapshots: int) -> list[str]:
    """Backbone runs with synthetic maps of three modules."""
    experiment = client.get_experiment_by_name("tests").experiment_id
    return [scaling.write_run(client, experiment, number, snapshots) for number in range(runs)]


def statements(call: Callable[[], object]) -> int:
    """How many statements reach the database meanwhile."""
    count = 0

    def counted(*_) -> None:
        nonlocal count
        count += 1

    event.listen(Engine, "before_cursor_execute", counted)
    try:
        call()
    finally:
        event.remove(Engine, "before_cursor_execute", counted)
    return count


def test_the_database_is_asked_for_each_run_and_not_for_each_map(client):
    few, many, long = written(client, 2, 10), written(client, 4, 10), written(client, 2, 30)
    built = {}

    def build(name: str, run_ids: list[str]) -> None:
        built[name] = build_fmcs_dataset(client, run_ids).table

    def read(name: str) -> None:
        reader = artifact_reader(client)
        for row in built[name].itertuples():
            reader(row)

    build("few", few)  # whatever is asked for once is asked for here
    asked = {
        name: (statements(lambda name=name, ids=ids: build(name, ids)), statements(lambda name=name: read(name)))
        for name, ids in (("few", few), ("many", many), ("long", long))
    }
    assert [len(built[name]) for name in ("few", "many", "long")] == [60, 120, 180]
    assert asked["many"] == tuple(2 * count for count in asked["few"])
    assert asked["long"] == asked["few"] and asked["few"][1] > 0


@pytest.mark.slow
def test_memory_does_not_grow_with_the_maps_that_are_read(client, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(scaling, "CHANNELS", 64)
    monkeypatch.setattr(scaling, "SIDE", 8)
    run_ids = written(client, 8, 20)
    maps = 3 * 20 * 16 * 64 * 8 * 8 * 2  # bytes of a run

    def peak(runs: int) -> int:
        table = build_fmcs_dataset(client, run_ids[:runs]).table
        tracemalloc.start()
        try:
            bags = collect_bags(table, artifact_reader(client), BagConfig(bag_size=4, bags_per_map=1))
            assert len(bags.row) == runs * 3 * 20 * 2
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # caches and imports
    few, many = peak(2), peak(8)
    assert many - few < maps / 2, (few, many)  # six more runs have 6 · maps
