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

ROOT = Path(__file__).parents[2]
CAMVID = ["--epochs", "2", "--batch-size", "2", "--size", "32", "48"]
BCCD = ["--epochs", "2", "--batch-size", "2", "--size", "64", "64"]


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of an example, which finds its data sets beside it."""
    pytest.importorskip("torchmetrics")
    pytest.importorskip("pycocotools")
    return script(name, monkeypatch, "examples")


def script(name: str, monkeypatch: pytest.MonkeyPatch, *folders: str) -> Any:
    """The module of a script, which finds others in some folders."""
    for folder in folders:
        monkeypatch.syspath_prepend(str(ROOT / folder))
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


def train_with_a_stop(module: Any, client: MlflowClient, folder: Path, words: list[str], *, again: int = 1) -> None:
    """Two runs of a command: a whole one, and one that is stopped in its second epoch and then called again."""
    assert call(module, client, folder, *words).exit_code == 0
    for kept in (folder / "checkpoints").iterdir():
        kept.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train_one_epoch", stops_at(2, module.train_one_epoch))
        assert call(module, client, folder, *words).exit_code == 1  # as of Ctrl-C
    for _ in range(again):
        result = call(module, client, folder, *words)
        assert result.exit_code == 0, result.output


def stops_at(epoch: int, step: Callable[..., None]) -> Callable[..., None]:
    """A function that trains an epoch, which is stopped by Ctrl-C in the given one, counted from 1."""
    done = iter(range(1, epoch + 1))

    def train_one_epoch(*args: Any) -> None:
        if next(done) == epoch:
            raise KeyboardInterrupt
        step(*args)

    return train_one_epoch
