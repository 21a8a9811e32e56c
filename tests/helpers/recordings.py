"""A loop of anybody's that is recorded, here and in processes that tests kill."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlflow
import torch
from mlflow import MlflowClient

import fmce_mlflow
from fmce_mlflow.recording.loop import LoopRecorder
from fmce_mlflow.safety import retry as upload_retry
from tests.helpers.faults import IMPATIENT
from tests.helpers.forks import Forked
from tests.helpers.live_nets import Live
from tests.helpers.small_training import PROBE_LABELS, SOON, images_of, train_epoch

EPOCHS = 8
PROBE = images_of(PROBE_LABELS, 1)


def live() -> torch.nn.Module:
    """The same network each time."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Live().train()


def begun(client: MlflowClient | None, run_id: str | None, say: Callable[[str], None], **options: Any) -> LoopRecorder:
    """A recorder of a network that is not trained."""
    options = {"labels": PROBE_LABELS, "convergence": SOON, **options}
    return fmce_mlflow.record(live(), ["stem"], probe=PROBE, run_id=run_id, client=client, say=say, **options)


def loop(recorder: LoopRecorder, at: Callable[[int], Any] = lambda epoch: None, epochs: int = EPOCHS) -> None:
    """Train from the beginning, as deterministically as a loop that goes on from a checkpoint of its own would."""
    model: Any = recorder.model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.5)
    torch.manual_seed(2)
    for epoch in range(1, epochs + 1):
        train_epoch(model, optimizer, recorder.loss)
        recorder.snapshot(epoch=epoch, val_loss=1 / epoch)
        at(epoch)


def record_loop(uri: str, run_id: str, ending: str) -> None:
    """Record the loop in a run, or in one of its own, and say so; it may end without the recorder's being told."""
    upload_retry.FIRST_WAIT, upload_retry.LONGEST_WAIT = 0.05, 0.4
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("tests")
    client = MlflowClient(uri) if run_id else None
    recorder = begun(client, run_id or None, lambda line: print(line, flush=True))
    print(f"ready {recorder.run.id}", flush=True)
    if ending == "forgotten":
        recorder.__enter__()
        loop(recorder, epochs=4)
        atexit._run_exitfuncs()  # as an interpreter does that ends by itself; a fork does not
        return
    with recorder:
        loop(recorder, lambda epoch: print(f"epoch {epoch}", flush=True))
    print("done", flush=True)


@contextmanager
def recording(uri: str, run_id: str = "", ending: str = "") -> Iterator[tuple[Forked, str]]:
    """A process that records the loop, and its run's id; gone at the end of the block."""
    process = Forked(record_loop, uri, run_id, ending, **IMPATIENT)
    try:
        lines = []
        while not lines or not lines[-1].startswith("ready "):
            lines.append(process.stdout.readline())
            assert lines[-1], "".join(lines)
        yield process, lines[-1].split()[1]
    finally:
        process.kill()
        process.wait()
