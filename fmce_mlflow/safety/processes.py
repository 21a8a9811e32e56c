"""Processes beside this one that work for it: begun, heard, and ended with it.

They are begun anew (``spawn``): a fork of a process with torch's threads may hang. None outlives the one that began it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any

from fmce_mlflow.errors import RunError
from fmce_mlflow.safety import interrupts
from fmce_mlflow.safety.credentials import hide_credentials

STOP_SECONDS = 30.0  # how long processes have to write how they ended
POLL_SECONDS = 0.25
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # read once, when a process begins

Send = Callable[[Any], None]
"""Sends what can be pickled to the process that began this one."""


@dataclass(frozen=True, slots=True, eq=False)
class Child:
    """A process that works for this one."""

    process: BaseProcess
    heard: Connection  # what it sends
    told: Connection  # what it is sent; where this is closed it stops

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.is_alive()

    def tell(self, message: Any) -> None:
        """Send it something; one that has ended does not hear it."""
        with suppress(ConnectionError):
            self.told.send_bytes(pickle.dumps(message))  # a connection's own way would share torch's memory

    def words(self) -> Iterator[Any]:
        """What it has sent since it was last asked; an error that it ended with is raised."""
        for message in self._received():
            if isinstance(message, Exception):
                raise message
            yield message

    def last_words(self) -> list[str]:
        """Lines that it has sent since it was last asked, where nothing else matters any more."""
        return [message for message in self._received() if isinstance(message, str)]

    def _received(self) -> Iterator[Any]:
        with suppress(EOFError, ConnectionError):  # it has ended, or was killed while it spoke
            while self.heard.poll():
                yield pickle.loads(self.heard.recv_bytes())

    def how_it_ended(self) -> str:
        """By which signal, or with which exit code."""
        code = self.process.exitcode
        if code is not None and code < 0:
            with suppress(ValueError):
                return f"ended with signal {-code} ({signal.Signals(-code).name})"
            return f"ended with signal {-code}"
        return f"ended with exit code {code}"


class Orders:
    """What a child is told, in order; where nobody can tell it anything any more, its main thread is interrupted.

    Attributes:
        closed: Whether that is so.
    """

    def __init__(self, told: Connection) -> None:
        self.closed = False
        self._told, self._queue = told, SimpleQueue[bytes | None]()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Any:
        """The next message; waits for it.

        Raises:
            KeyboardInterrupt: If none will come.
        """
        message = self._queue.get()
        if message is None:
            raise KeyboardInterrupt
        return pickle.loads(message)  # here: two threads that import the same modules may see half of them

    def _read(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._queue.put(self._told.recv_bytes())
        self.closed = True
        self._queue.put(None)
        main = threading.main_thread().ident
        if main is not None and hasattr(signal, "pthread_kill") and not interrupts.came():
            signal.pthread_kill(main, signal.SIGTERM)  # it may be in the middle of a long step


def begin(work: Callable[..., None], *args: Any, name: str, threads: int) -> Child:
    """Begin ``work(send, orders, *args)`` in a process of its own, which computes with so many threads.

    Args:
        work: A function at the top of a module; what it raises is raised by :meth:`Child.words`.
        args: What can be pickled.
        name: Of the process.
        threads: At most; fewer where the environment says so.
    """
    context = multiprocessing.get_context("spawn")
    heard, send = context.Pipe(duplex=False)
    orders, told = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(work, send, orders, args), name=name)
    with _threads(threads), _without_interrupt():
        process.start()
    send.close()
    orders.close()
    return Child(process, heard, told)


def watch(children: Sequence[Child]) -> None:
    """Wait until one of some processes has sent something or has ended, or a moment has passed."""
    wait([one for child in children for one in (child.process.sentinel, child.heard)], timeout=POLL_SECONDS)


def end(children: Sequence[Child], say: Callable[[str], object] = lambda line: None) -> None:
    """Ask processes that are left to stop, pass on what they still say, and see to it that they end."""
    for child in children:
        child.told.close()
    until = time.monotonic() + STOP_SECONDS
    try:
        while (left := [child for child in children if child.alive]) and time.monotonic() < until:
            watch(left)
            for line in (line for child in left for line in child.last_words()):
                say(line)
    finally:  # also at a second Ctrl-C
        for child in children:
            if child.alive:
                child.process.kill()
            child.process.join()
            child.heard.close()


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _work(work: Callable[..., None], sends: Connection, told: Connection, args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process says when to stop

    def send(message: Any) -> None:
        with suppress(ConnectionError):  # nobody listens any more
            sends.send_bytes(pickle.dumps(message))

    try:
        with interrupts.stoppable():
            work(send, Orders(told), *args)
    except KeyboardInterrupt:
        return
    except Exception as error:
        send(_portable(error))


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
