"""Several processes that run a study's trials on one machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from fmce_mlflow.errors import RunError
from fmce_mlflow.safety.processes import Child, Orders, Send, begin, cores, end, watch
from fmce_mlflow.tuning.worker import Job, run_trials

if TYPE_CHECKING:
    from mlflow import MlflowClient


def run_workers(job: Job, client: MlflowClient, workers: int, *, say: Callable[[str], None] = print) -> None:
    """Run a study's trials in this process, or in several where there are more ``workers``.

    Raises:
        FmceError: What a worker raised; a ``RunError`` if every worker was killed.
        KeyboardInterrupt: At Ctrl-C, once every worker has ended.
    """
    if workers == 1:
        run_trials(job, client, say=say)
        return
    children: list[Child] = []
    try:
        for number in range(workers):
            own = replace(job, seed=(job.seed + number) % 2**32)
            threads = max(1, cores() // workers)
            children.append(begin(_work, own, name=f"fmce-worker-{number}", threads=threads))
        _watch(children, say)
    except KeyboardInterrupt:
        say("Stopping: the running trials are given up.")
        raise
    finally:
        end(children)


def _watch(children: list[Child], say: Callable[[str], None]) -> None:
    """Pass on what workers say until all have ended; one that is killed leaves its trial to the others."""
    alive = list(children)
    finished, killed = 0, []
    while alive:
        watch(alive)
        ended = [child for child in alive if not child.alive]  # before its last words are read
        for child in alive:
            for message in child.words():
                say(message)
        alive = [child for child in alive if child not in ended]
        for child in ended:
            if child.process.exitcode == 0:
                finished += 1
                continue
            killed.append(f"worker {children.index(child)} {child.how_it_ended()}")
            if alive:
                say(f"W{killed[-1][1:]}; the others go on and retry its trial.")
    if not finished:
        raise RunError(
            f"Every worker was killed: {'; '.join(killed)}. Often it is memory: go on with --resume and fewer "
            "--workers."
        )


def _work(send: Send, orders: Orders, job: Job) -> None:
    """A worker process."""
    import mlflow
    from mlflow import MlflowClient

    mlflow.set_tracking_uri(job.tracking_uri)
    run_trials(job, MlflowClient(job.tracking_uri), say=send, stop=lambda: orders.closed)
