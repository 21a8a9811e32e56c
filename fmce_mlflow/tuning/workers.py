"""Several processes that run a study's trials on one machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from fmce_mlflow.errors import RunError
from fmce_mlflow.safety.credentials import hide_credentials
from fmce_mlflow.tuning.worker import POLL_SECONDS, Job, run_trials

if TYPE_CHECKING:
    from mlflow import MlflowClient

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # read once, when a process begins
STOP_SECONDS = 30.0  # how long workers have to write their trials' ends after Ctrl-C


def run_workers(job: Job, client: MlflowClient, workers: int, *, say: Callable[[str], None] = print) -> None:
    """Run a study's trials in this process, or in several where there are more ``workers``.

    Raises:
        FmceError: What a worker raised; a ``RunError`` if every worker was killed.
        KeyboardInterrupt: At Ctrl-C, once every worker has ended.
    """
    if workers == 1:
        run_trials(job, client, say=say)
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process with torch's threads may hang
    children: list[_Child] = []
    try:
        for number in range(workers):
            ours, theirs = context.Pipe()
            own = replace(job, seed=(job.seed + number) % 2**32)
            process = context.Process(target=_work, args=(own, theirs), name=f"fmce-worker-{number}")
            with _threads(max(1, _cores() // workers)), _without_interrupt():
                process.start()
            theirs.close()
            children.append(_Child(number, process, ours))
        _watch(children, say)
    except KeyboardInterrupt:
        say("Stopping: the running trials are given up.")
        raise
    finally:
        _end(children)


@dataclass(frozen=True, slots=True)
class _Child:
    number: int
    process: BaseProcess
    connection: Connection


def _watch(children: list[_Child], say: Callable[[str], None]) -> None:
    """Pass on what workers say until all have ended; one that is killed leaves its trial to the others."""
    alive = list(children)
    finished, killed = 0, []
    while alive:
        wait([child.process.sentinel for child in alive], timeout=POLL_SECONDS)
        ended = [child for child in alive if not child.process.is_alive()]  # before its last words are read
        for child in alive:
            _pass_on(child, say)
        alive = [child for child in alive if child not in ended]
        for child in ended:
            if child.process.exitcode == 0:
                finished += 1
                continue
            killed.append(f"worker {child.number} ended with {_how(child.process.exitcode)}")
            if alive:
                say(f"W{killed[-1][1:]}; the others go on and retry its trial.")
    if not finished:
        raise RunError(
            f"Every worker was killed: {'; '.join(killed)}. Often it is memory: go on with --resume and fewer "
            "--workers."
        )


def _pass_on(child: _Child, say: Callable[[str], None]) -> None:
    """Say what a worker sent, or raise the error that it ended with."""
    try:
        while child.connection.poll():
            message = child.connection.recv()
            if isinstance(message, Exception):
                raise message
            say(message)
    except (EOFError, ConnectionError):  # it has ended, or was killed while it spoke
        return


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"signal {-code} ({signal.Signals(-code).name})"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _end(children: list[_Child]) -> None:
    """Ask the workers that are left to stop, and see to it that they do."""
    for child in children:
        child.connection.close()
    until = time.monotonic() + STOP_SECONDS
    try:
        for child in children:
            child.process.join(max(0.0, until - time.monotonic()))
    finally:  # also at a second Ctrl-C
        for child in children:
            if child.process.is_alive():
                child.process.kill()
                child.process.join()


def _work(job: Job, connection: Connection) -> None:
    """A worker process. It stops where the other end of the connection is closed, so none outlives the first."""
    import mlflow
    from mlflow import MlflowClient

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process says when to stop
    mlflow.set_tracking_uri(job.tracking_uri)

    def send(message: str | Exception) -> None:
        with suppress(ConnectionError):  # nobody listens any more
            connection.send(message)

    threading.Thread(target=_stop_when_closed, args=(connection,), daemon=True).start()
    try:
        run_trials(job, MlflowClient(job.tracking_uri), say=send, stop=connection.poll)
    except KeyboardInterrupt:
        return
    except Exception as error:
        send(_portable(error))


def _stop_when_closed(connection: Connection) -> None:
    """Interrupt the main thread once nobody holds the other end any more: it may be in the middle of a long step."""
    connection.poll(None)
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGTERM)


def _portable(error: Exception) -> Exception:
    """The error itself where it can travel between processes, else its text."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RunError(hide_credentials(f"{type(error).__name__}: {error}"))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Processes that are started within compute with at most so many threads each.

    Two processes with more threads than cores between them wait for one another and become many times slower.
    """
    before = {name: os.environ.get(name) for name in _THREADS}
    for name, value in before.items():
        os.environ[name] = str(min(count, int(value)) if value and value.isdigit() else count)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _without_interrupt() -> Iterator[None]:
    """Processes that are started within never see Ctrl-C, from their first moment on; here it waits meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
