"""Run an example on generated images, as its command would."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.helpers.evaluations import tracked

EXAMPLES = Path(__file__).parents[2] / "examples"
CAMVID = ["--epochs", "2", "--batch-size", "2", "--size", "32", "48"]
BCCD = ["--epochs", "2", "--batch-size", "2", "--size", "64", "64"]


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of an example, which finds its data sets beside it."""
    pytest.importorskip("torchmetrics")
    pytest.importorskip("pycocotools")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module(name)


def call(module: ModuleType | Any, client: MlflowClient, folder: Path, *words: str) -> Any:
    """What a command of it comes to, in a store; checkpoints are in the folder."""
    with tracked(client.tracking_uri), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(module.main, [*words, "--checkpoints", str(folder / "checkpoints")])


def runs(client: MlflowClient, experiment: str) -> list[Run]:
    """The runs of an experiment, the first one first."""
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(reversed(client.search_runs([found.experiment_id])))


def histories(client: MlflowClient, run: Run) -> dict[str, list[tuple[int, float]]]:
    """Metrics of a run, by name: step and value; not how long it took."""
    names = client.get_run(run.info.run_id).data.metrics.keys() - {"cpu_seconds"}
    return {name: sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)) for name in names}


def stops_at(epoch: int, step: Callable[..., None]) -> Callable[..., None]:
    """A function that trains an epoch, which is stopped by Ctrl-C in the given one, counted from 1."""
    done = iter(range(1, epoch + 1))

    def train_one_epoch(*args: Any) -> None:
        if next(done) == epoch:
            raise KeyboardInterrupt
        step(*args)

    return train_one_epoch
