"""Promotions in processes of their own; loads no torch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from mlflow import MlflowClient

from fmce_mlflow.promotion.options import PromotionOptions
from fmce_mlflow.promotion.promote import promote
from fmce_mlflow.promotion.turns import one_at_a_time
from fmce_mlflow.runs.run import Run
from tests.helpers.forks import FORKS
from tests.helpers.progress import taken, until


def quiet(client: MlflowClient, run_id: str) -> Run:
    """A run that says nothing."""
    return Run(client, run_id, lambda text: None)


def promote_in_rounds(uri: str, experiment: str, rounds: list[dict[str, Any]], barrier: Any, results: Any) -> None:
    """One promotion per round, at the same moment as that of the other process."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    client = MlflowClient(uri)
    for one in rounds:
        options = PromotionOptions(**one)
        run_id = client.create_run(experiment).info.run_id
        barrier.wait()
        try:
            promote(quiet(client, run_id), options)
            results.put("promoted")
        except Exception as error:  # told to the test
            results.put(f"{type(error).__name__}: {error}")
        barrier.wait()
        barrier.wait()


def race(
    client: MlflowClient,
    experiment: str,
    rounds: Sequence[tuple[dict[str, Any], dict[str, Any]]],
    before: Callable[[int], None],
    after: Callable[[int], None],
) -> list[list[str]]:
    """Let two processes promote at once, once per round.

    Args:
        client: MLflow client.
        experiment: The experiment of their runs.
        rounds: For each round the options of both promotions.
        before: Called with the round's number before it starts.
        after: Called with it once both have ended.

    Returns:
        What became of both, by round.
    """
    barrier, results = FORKS.Barrier(3), FORKS.Queue()
    arguments = [(client.tracking_uri, experiment, [both[i] for both in rounds], barrier, results) for i in range(2)]
    processes = [FORKS.Process(target=promote_in_rounds, args=one) for one in arguments]
    for process in processes:
        process.start()
    said = []

    def meet() -> None:
        until(lambda: barrier.n_waiting == len(processes), *processes, what="both processes", pause=0.01)
        barrier.wait()

    try:
        for i in range(len(rounds)):
            before(i)
            meet()
            meet()
            said.append([taken(results, *processes) for _ in processes])
            after(i)
            meet()
    finally:
        barrier.abort()
        for process in processes:
            process.join(20)
            if process.is_alive():
                process.kill()
    return said


def die_in_turn(uri: str, name: str) -> None:
    """Take a turn and never give it back."""
    client = MlflowClient(uri)
    with one_at_a_time(client, name):
        print("inside", flush=True)
        time.sleep(60)
