"""Ctrl-C, SIGTERM and SIGHUP: they stop a training cleanly, never in the middle of a snapshot.

SIGTERM, which schedulers send, and SIGHUP, which a terminal sends that is closed, become :class:`Terminated`, a
``KeyboardInterrupt``: whatever closes a run after Ctrl-C closes it after them. Inside :func:`held` the first signal
waits until the block ends; a second one does not.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came."""


_pid: int | None = None  # of the process whose signals are ours; a forked worker's are not
_depth = 0
_waiting: int | None = None
_came = False


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise :class:`Terminated` and all signals wait for :func:`held`.

    Handlers that somebody else has set are left alone, and so is a thread that cannot have any.

    Example:
        >>> try:
        ...     with stoppable():
        ...         os.kill(os.getpid(), signal.SIGTERM)
        ... except Terminated:
        ...     print("closed cleanly")
        closed cleanly
    """
    global _pid, _came
    if _pid == os.getpid() or threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [
        number
        for number in (signal.SIGINT, *ENDING)
        if signal.getsignal(number) == (signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    ]
    before = {number: signal.signal(number, _handle) for number in ours}
    _pid, _came = os.getpid(), False
    try:
        yield
    finally:
        _pid = None
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """Let a signal wait until the block has ended; it is raised then, unless the block raised something itself.

    Example:
        >>> try:
        ...     with stoppable():
        ...         with held():
        ...             os.kill(os.getpid(), signal.SIGINT)
        ...             print("the snapshot is whole")
        ... except KeyboardInterrupt:
        ...     print("stopped")
        the snapshot is whole
        stopped
    """
    global _depth, _waiting
    if threading.current_thread() is not threading.main_thread():  # signals are raised in the main one only
        yield
        return
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        number, _waiting = _waiting, None
    if number is not None:
        _raise(number)


@contextmanager
def released() -> Iterator[None]:
    """Within :func:`held`, let signals break in at once; one that waits is raised first.

    What happens outside of it then, such as the closing of a run, is held again, until a second signal.
    """
    global _depth, _waiting
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raise_held()
    before, _depth = _depth, 0
    try:
        yield
    except KeyboardInterrupt as error:
        if before and error.args:  # of a signal; an interrupt that the block made itself leaves the first one to come
            _waiting = error.args[0]
        raise
    finally:
        _depth = before


def came() -> bool:
    """Whether a signal has come to this process since :func:`stoppable` began; a second one would not wait."""
    return _came


def raise_held() -> None:
    """Raise the signal that waits for the end of :func:`held`, if there is one."""
    if _waiting is not None:
        _raise(_waiting)


def _handle(number: int, frame: FrameType | None) -> None:
    global _waiting, _came
    _came = True
    if os.getpid() != _pid and number in ENDING:  # a forked worker dies of it, as it would have
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    elif os.getpid() == _pid and _depth and _waiting is None:
        _waiting = number
    else:
        _raise(number)


def _raise(number: int) -> None:
    raise (Terminated if number in ENDING else KeyboardInterrupt)(number)
