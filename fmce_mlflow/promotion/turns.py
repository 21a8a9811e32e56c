"""One promotion or gate of a registered model at a time, by tickets in its tags."""

from __future__ import annotations

import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Literal

from filelock import BaseFileLock

from fmce_mlflow.errors import BusyError
from fmce_mlflow.promotion.registry import find_model, until_committed
from fmce_mlflow.safety.locks import hold
from fmce_mlflow.safety.private import make_private, only_ours

if TYPE_CHECKING:
    from mlflow import MlflowClient

TICKET = "fmce.promoting."  # tags of a registered model that start with this are the tickets of promotions in progress
GATE_TICKET = "fmce.gating."
TICKETS = {"promotion": TICKET, "gate": GATE_TICKET}
_ID = re.compile(r"[0-9a-f]{32}")


@contextmanager
def one_at_a_time(
    client: MlflowClient,
    name: str,
    *,
    kind: Literal["promotion", "gate"] = "promotion",
    say: Callable[[str], None] = print,
    dead_after: float = 60.0,
    poll: float = 0.1,
) -> Iterator[Callable[[], bool]]:
    """Hold off every other promotion, or gate, of a registered model while the block runs.

    The registry has no compare-and-set, so this is Lamport's bakery algorithm with a tag of the registered model as
    each one's ticket: draw a number above all others, then wait for those who draw one or have a lower one.
    It holds on every store whose reads see finished writes. It does not hold off other programs.

    A ticket that has not changed for ``dead_after`` seconds counts as that of a process that died, and is taken away;
    at once, if that process was on this machine. That of a gate, which may take hours, changes all the time.

    Yields:
        Whether this one still has its turn: one that stalled, as with a laptop that slept, may have lost it.
    """
    identity = uuid.uuid4().hex
    prefix, lock = TICKETS[kind], _sign_of_life(identity)
    mine, stop = f"{prefix}{identity}", Event()
    until_committed(client.set_registered_model_tag, name, mine, "0")
    try:
        number = 1 + max(_tickets(client, name, prefix).values(), default=0)
        until_committed(client.set_registered_model_tag, name, mine, str(number))
        beating = Thread(target=_beat, args=(client, name, mine, number, stop, dead_after / 4), daemon=True)
        if kind == "gate":
            beating.start()
        _wait_for_others(client, name, mine, number, kind=kind, say=say, dead_after=dead_after, poll=poll)
        yield lambda: mine in _tickets(client, name, prefix)
    finally:
        stop.set()
        if kind == "gate":
            beating.join()
        until_committed(client.delete_registered_model_tag, name, mine)
        if lock is not None:
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)


def _wait_for_others(
    client: MlflowClient,
    name: str,
    mine: str,
    number: int,
    *,
    kind: str,
    say: Callable[[str], None],
    dead_after: float,
    poll: float,
) -> None:
    seen: dict[tuple[str, str], float] = {}
    said = False
    while True:
        now = time.monotonic()
        values = _values(client, name, TICKETS[kind])
        before = {
            (key, value)
            for key, value in values.items()
            if key != mine and (_number(value) == 0 or (_number(value), key) < (number, mine))
        }
        if not before:
            return
        for ticket in before:
            if _died_here(ticket[0]):
                say(f"A {kind} of {name} was killed on this machine and is considered dead.")
            elif now - seen.setdefault(ticket, now) > dead_after:
                say(f"A {kind} of {name} has not moved for {dead_after:.0f} s and is considered dead.")
            else:
                continue
            client.delete_registered_model_tag(name, ticket[0])
        if not said and now - min(seen.values(), default=now) > 2:
            say(f"Waiting for another {kind} of {name}.")
            said = True
        time.sleep(poll)


def _beat(client: MlflowClient, name: str, mine: str, number: int, stop: Event, every: float) -> None:
    """Change a ticket that is still there, and not its number, until it is over."""
    beats = 0
    while not stop.wait(every):
        beats += 1
        with suppress(Exception):  # of a server that is away for a while
            if mine in find_model(client, name).tags and not stop.is_set():
                client.set_registered_model_tag(name, mine, f"{number}.{beats}")


def _values(client: MlflowClient, name: str, prefix: str) -> dict[str, str]:
    return {key: value for key, value in find_model(client, name).tags.items() if key.startswith(prefix)}


def _tickets(client: MlflowClient, name: str, prefix: str = TICKET) -> dict[str, int]:
    return {key: _number(value) for key, value in _values(client, name, prefix).items()}


def _number(value: str) -> int:
    """A ticket's number, which is 0 while it is drawn, without its beats."""
    number = value.partition(".")[0]
    return int(number) if number.isdecimal() else 0


def _folder() -> Path:
    """Of this machine alone, unlike a home; files in it are held by the processes that have tickets."""
    return Path(tempfile.gettempdir(), f"fmce-turns-{Path.home().name}")


def _sign_of_life(identity: str) -> BaseFileLock | None:
    """A file that this process holds until it ends, however it ends; None where there can be none."""
    with suppress(OSError, RuntimeError, BusyError):
        make_private(_folder())
        if only_ours(_folder()):
            return hold(_folder() / identity, "")
    return None


def _died_here(ticket: str) -> bool:
    """Whether a ticket is that of a process that has ended on this machine, by the file that it held."""
    identity = ticket.rpartition(".")[2]
    with suppress(OSError, RuntimeError, BusyError):
        path = _folder() / identity
        if _ID.fullmatch(identity) and only_ours(_folder()) and path.is_file():
            hold(path, "").release()
            path.unlink(missing_ok=True)
            return True
    return False
