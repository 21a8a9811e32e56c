"""What tuning costs besides the trials: bookkeeping, a second worker, the death of a worker.

    python benchmarks/tuning.py

Bookkeeping: trials of ten reports that compute nothing, on sqlite, with their MLflow runs and in plain Optuna; they
take turns, a study each, so that a busy machine slows both. The bar is on all that a trial takes with its MLflow run.

Workers: the same study of trials that sleep, with one worker and with two. Trials per second are taken from the first
trial's begin to the last one's end, so a process's start is left out; it is printed.

Survival: a worker is killed with SIGKILL within a trial; the study must still have every trial, each with one run.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import signal
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import optuna
from mlflow import MlflowClient

from fmce_mlflow.tuning.mirror import RUN
from fmce_mlflow.tuning.options import StudyOptions
from fmce_mlflow.tuning.storage import open_storage
from fmce_mlflow.tuning.study import open_study
from fmce_mlflow.tuning.trials import counted_trials, tally
from fmce_mlflow.tuning.worker import Job, run_trials
from fmce_mlflow.tuning.workers import run_workers

BOOKKEEPING_BAR = 0.100
WORKERS_BAR = 1.7
REPORTS = 10


@dataclass(frozen=True)
class Nothing:
    """Reports and returns."""

    def __call__(self, trial, report) -> float:
        x = trial.suggest_float("x", 0, 1)
        for step in range(REPORTS):
            report(step + 1, x)
        return x


@dataclass(frozen=True)
class Sleeps:
    """Sleeps; where there is a folder, its first trial says who runs it and then hangs."""

    seconds: float
    folder: str = ""

    def __call__(self, trial, report) -> float:
        x = trial.suggest_float("x", 0, 1)
        report(1, x)
        mark = Path(self.folder, "worker")
        if self.folder and not mark.exists():
            mark.write_text(str(os.getpid()))
            time.sleep(600)
        time.sleep(self.seconds)
        return x


def begin(folder: Path, objective, name: str, trials: int, **more) -> tuple[Job, MlflowClient, optuna.Study]:
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    found = client.get_experiment_by_name("benchmark")
    experiment = found.experiment_id if found else client.create_experiment("benchmark", (folder / "a").as_uri())
    storage = f"sqlite:///{folder / 'optuna.db'}"
    options = StudyOptions(study_name=name, storage=storage, trials=trials, **more)
    opened = open_study(client, options, {}, lambda: client.create_run(experiment).info.run_id, say=lambda _: None)
    job = Job(tracking_uri=client.tracking_uri, options=options, objective=objective, seed=0)
    return job, client, opened.study


def plain(folder: Path, name: str, trials: int) -> float:
    """Seconds per trial in Optuna alone, with the same storage, sampler and pruner."""
    storage = open_storage(f"sqlite:///{folder / 'plain.db'}", heartbeat=10, grace=30)
    sampler = optuna.samplers.TPESampler(seed=0, constant_liar=True)
    study = optuna.create_study(storage=storage, study_name=name, sampler=sampler, pruner=optuna.pruners.NopPruner())

    def objective(trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        for step in range(REPORTS):
            trial.report(x, step + 1)
        return x

    started = time.perf_counter()
    study.optimize(objective, n_trials=trials)
    return (time.perf_counter() - started) / trials


def bookkeeping(rounds: int, trials: int) -> bool:
    whole, alone = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i in range(rounds + 1):  # the first one warms up
            job, client, _ = begin(folder, Nothing(), f"study {i}", trials)
            started = time.perf_counter()
            run_trials(job, client, say=lambda _: None)
            seconds = (time.perf_counter() - started) / trials
            other = plain(folder, f"study {i}", trials)
            if i:
                whole.append(seconds)
                alone.append(other)
    found, base = statistics.median(whole), statistics.median(alone)
    passed = found < BOOKKEEPING_BAR
    print(
        f"bookkeeping: {found * 1000:.0f} ms per trial with its MLflow run ({min(whole) * 1000:.0f} to "
        f"{max(whole) * 1000:.0f}), {base * 1000:.0f} ms in Optuna alone, difference {(found - base) * 1000:.0f} ms; "
        f"medians of {rounds} studies of {trials} trials with {REPORTS} reports; bar {BOOKKEEPING_BAR * 1000:.0f} ms: "
        f"{'passed' if passed else 'FAILED'}",
        flush=True,
    )
    return passed


def rate(trials: list[optuna.trial.FrozenTrial]) -> float:
    """Trials per second, from the first one's begin to the last one's end."""
    begun = min(t.datetime_start for t in trials)
    return len(trials) / (max(t.datetime_complete for t in trials) - begun).total_seconds()


def workers(trials: int, seconds: float) -> bool:
    rates, walls = [], []
    for count in (1, 2):
        with tempfile.TemporaryDirectory() as name:
            job, client, study = begin(Path(name), Sleeps(seconds), "study", trials)
            started = time.perf_counter()
            run_workers(job, client, count, say=lambda _: None)
            walls.append(time.perf_counter() - started)
            found = counted_trials(study.trials)
            assert len(found) == trials == tally(found)["complete"], tally(found)
            rates.append(rate(found))
    ratio = rates[1] / rates[0]
    passed = ratio >= WORKERS_BAR
    print(
        f"workers: trials that sleep {seconds} s; one worker {rates[0]:.2f} trials/s, two {rates[1]:.2f}; ratio "
        f"{ratio:.2f}, bar {WORKERS_BAR}: {'passed' if passed else 'FAILED'} ({trials} trials in {walls[0]:.1f} s and, "
        f"with the start of two processes, {walls[1]:.1f} s)",
        flush=True,
    )
    return passed


def survival(trials: int) -> bool:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job, client, study = begin(folder, Sleeps(0.2, str(folder)), "study", trials, heartbeat=1, grace=3)
        mark = folder / "worker"

        def kill() -> None:
            while not (mark.exists() and mark.read_text()):
                time.sleep(0.05)
            time.sleep(0.5)
            os.kill(int(mark.read_text()), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        started = time.perf_counter()
        run_workers(job, client, 2, say=lambda text: print(f"  {text}", flush=True))
        killer.join()
        counts = tally(study.trials)
        parent = study.user_attrs[RUN]
        experiment = client.get_run(parent).info.experiment_id
        runs = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
        passed = counts["complete"] == trials == len(runs) and counts["retried"] == 1
        print(
            f"survival: one of two workers killed with SIGKILL; {counts['complete']} of {trials} trials complete, "
            f"{counts['retried']} retried, {len(runs)} MLflow runs, {time.perf_counter() - started:.1f} s: "
            f"{'passed' if passed else 'FAILED'}",
            flush=True,
        )
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description="What tuning costs besides the trials.")
    parser.add_argument("--rounds", type=int, default=5, help="studies of each kind for the bookkeeping")
    parser.add_argument("--trials", type=int, default=40, help="trials of each study")
    parser.add_argument("--seconds", type=float, default=1.0, help="what a sleeping trial sleeps")
    args = parser.parse_args()
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, Optuna "
          f"{optuna.__version__}", flush=True)  # fmt: skip
    passed = bookkeeping(args.rounds, args.trials)
    passed &= workers(args.trials, args.seconds)
    passed &= survival(12)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
