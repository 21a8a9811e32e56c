"""Trainings by several processes on the CPU, each a fork."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import fmce_mlflow
from fmce_mlflow.errors import FmceError
from tests.helpers.forks import Forked
from tests.helpers.live_nets import Live
from tests.helpers.progress import ended
from tests.helpers.small_training import history

SIZE = 2


def group_of(target: Callable[..., Any], folder: Path, *args: Any) -> list[Any]:
    """What a function returns in each process of a group, where it is called with its rank."""
    processes = [Forked(_member, target, rank, str(folder / "group"), args) for rank in range(SIZE)]
    try:
        said = [ended(process)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [json.loads(lines.splitlines()[-1]) for lines in said]


def same_when_recorded(client: MlflowClient, run_id: str, folder: Path, train: Callable[..., Any]) -> None:
    """A training of two processes that stops when it has converged has the same losses without the recorder of a run.

    ``train`` gives a completed process; it is told the URI of the store, the run or None, epochs, and a folder in which
    each process leaves its losses.
    """
    losses, epochs = {}, 60
    for recorded in (run_id, None):
        kept = folder / str(recorded)
        kept.mkdir()
        done = train(uri=client.tracking_uri, run_id=recorded, epochs=epochs, losses=str(kept))
        assert done.returncode == 0, done.stderr
        losses[recorded] = [json.loads((kept / f"{rank}.json").read_text()) for rank in range(SIZE)]
        epochs = len(losses[run_id][0]) // 2
    assert losses[run_id] == losses[None] and losses[None][0] != losses[None][1]
    assert 3 < epochs < 60
    found = history(client, run_id, "fmce/train_loss")
    expected = np.reshape(losses[None][0], (epochs, 2)).mean(1)
    assert [found[step] for step in range(1, epochs + 1)] == pytest.approx(expected)


def run_ranks(target: Callable[..., None], *args: Any) -> None:
    """Call a function in each process of a group to come, with its rank; it makes the group itself."""
    processes = [Forked(target, rank, *args) for rank in range(SIZE)]
    try:
        for process in processes:
            said = ended(process)[0]
            assert process.returncode == 0, said
    finally:
        for process in processes:
            process.kill()


def _member(target: Callable[..., Any], rank: int, file: str, args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=SIZE)
    print(json.dumps(target(rank, *args)), flush=True)
    distributed.destroy_process_group()


def live_net() -> nn.Module:
    """The same network in every process."""
    torch.manual_seed(0)
    return Live().train()


def train(rank: int, uri: str, run_id: str, compiled: bool) -> dict[str, Any]:
    """Losses of a training of each process's own images; with a run, what was recorded in it."""
    model: Any = DistributedDataParallel(live_net())
    model = torch.compile(model, backend="eager") if compiled else model
    optimizer, images = torch.optim.SGD(model.parameters(), lr=0.1), torch.Generator().manual_seed(rank)
    probe, losses, modes = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(9)), [], []
    client = MlflowClient(uri)

    def step(recorder: Any = None) -> None:
        loss = F.cross_entropy(model(torch.rand(8, 3, 8, 8, generator=images)), torch.arange(8) % 3)
        if recorder is not None:
            recorder.loss(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        modes.append([module.training for module in model.modules()])

    if not run_id:
        for _ in range(6):
            step()
        return {"losses": losses, "modes": modes, "recorder": None}
    with fmce_mlflow.record(
        model, ["stem"], probe=probe, run_id=run_id, client=client, every=2, say=lambda line: None
    ) as recorder:
        for _ in range(6):
            step(recorder)
        recorder.snapshot(val_loss=1.0)
    active = mlflow.active_run()
    assert active is None
    return {
        "losses": losses, "modes": modes, "recorder": type(recorder).__name__, "snapshots": recorder.snapshots,
        "modules": recorder.modules,
    }  # fmt: skip


def record_shards(rank: int) -> str:
    """What is said of a model whose weights are sharded, also after a forward pass, which gathers them."""
    model, images = live_net(), torch.zeros(2, 3, 8, 8)
    fully_shard(model)
    said = []
    for _ in range(2):
        try:
            fmce_mlflow.record(model, ["stem"], probe=images)
        except FmceError as error:
            said.append(f"{type(error).__name__}: {error}")
        model(images)
    assert len(set(said)) == 1 and len(said) == 2, said
    return said[0]
