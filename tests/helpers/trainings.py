"""Small trainings in processes of their own, which tests kill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient

from fmce_mlflow.backbone.resume import stored_options
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety import retry as upload_retry
from tests.conftest import fast_options
from tests.helpers.faults import IMPATIENT
from tests.helpers.forks import Forked


def train(uri: str, run_id: str, epochs: int, resume: bool) -> None:
    """Train in a run, or go on with one, and say so on the standard output."""
    upload_retry.FIRST_WAIT, upload_retry.LONGEST_WAIT = 0.05, 0.4
    run = Run(MlflowClient(uri), run_id, lambda text: print(text, flush=True))
    print("ready", flush=True)
    train_backbone(run, stored_options(run) if resume else fast_options(training={"epochs": epochs}))


@contextmanager
def training(uri: str, run_id: str, epochs: int, *, resume: bool = False, **more: str) -> Iterator[Forked]:
    """A process that trains in a run and has begun; gone at the end of the block.

    Args:
        uri: Of the tracking store.
        run_id: The run.
        epochs: Of a training that begins.
        resume: Whether it goes on.
        **more: For its environment.
    """
    process = Forked(train, uri, run_id, epochs, resume, **IMPATIENT, **more)
    try:
        line = process.stdout.readline()
        assert line == "ready\n", line + process.stdout.read()
        yield process
    finally:
        process.kill()
        process.wait()
