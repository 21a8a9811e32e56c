"""Fits side by side, in threads: most of a small net's fit is spent in torch, which lets other threads run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import torch

ALONE = threading.RLock()
"""Held by the one thread that uses torch's global random numbers, or for the first time what torch imports late."""

_OWN = threading.local()


class Stopped(Exception):
    """Nobody waits for this fit any more."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global random numbers from a seed, for one thread at a time; they are left as they were.

    Example:
        >>> with seeded(0):
        ...     first = torch.rand(1)
        >>> with seeded(0):
        ...     print(torch.equal(first, torch.rand(1)))
        True
    """
    with ALONE, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def fits_at_once() -> Iterator[Executor]:
    """Threads for fits, as many as torch computes with; if the block fails, fits that run end with their pass.

    A fit is the same in whatever thread, and with however many beside it.
    """
    threads, stop = torch.get_num_threads(), threading.Event()
    pool = ThreadPoolExecutor(threads, initializer=_begin, initargs=(stop,))
    try:
        yield pool
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # of MKL there is one number for all threads


def raise_stopped() -> None:
    """Raise :class:`Stopped` in a thread whose fit nobody waits for any more."""
    stop = getattr(_OWN, "stop", None)
    if stop is not None and stop.is_set():
        raise Stopped


def _begin(stop: threading.Event) -> None:
    torch.set_num_threads(1)
    _OWN.stop = stop
