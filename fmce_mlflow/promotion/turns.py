"""One promotion of a registered model at a time, by tickets in its tags."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fmce_mlflow.promotion.registry import find_model, until_committed

if TYPE_CHECKING:
    from mlflow import MlflowClient

TICKET = "fmce.promoting."  # tags of a registered model that start with this are the tickets of promotions in progress


@contextmanager
def one_at_a_time(
    client: MlflowClient, name: str, *, say: Callable[[str], None] = print, dead_after: float = 60.0, poll: float = 0.1
) -> Iterator[Callable[[], bool]]:
    """Hold off every other promotion of a registered model while the block runs.

    The registry has no compare-and-set, so this is Lamport's bakery algorithm with a tag of the registered model as
    each promotion's ticket: draw a number above all others, then wait for those who draw one or have a lower one.
    It holds on every store whose reads see finished writes. It does not hold off other programs.

    A ticket that has not changed for ``dead_after`` seconds counts as that of a process that died, and is taken away.

    Yields:
        Whether this promotion still has its turn: one that stalled, as with a laptop that slept, may have lost it.
    """
    mine = f"{TICKET}{uuid.uuid4().hex}"
    until_committed(client.set_registered_model_tag, name, mine, "0")
    try:
        number = 1 + max(_tickets(client, name).values(), default=0)
        until_committed(client.set_registered_model_tag, name, mine, str(number))
        seen: dict[tuple[str, int], float] = {}
        said = False
        while True:
            now = time.monotonic()
            before = {
                (key, value)
                for key, value in _tickets(client, name).items()
                if key != mine and (value == 0 or (value, key) < (number, mine))
            }
            if not before:
                break
            for ticket in before:
                if now - seen.setdefault(ticket, now) > dead_after:
                    say(f"A promotion of {name} has not moved for {dead_after:.0f} s and is considered dead.")
                    client.delete_registered_model_tag(name, ticket[0])
            if not said and now - min(seen.values()) > 2:
                say(f"Waiting for another promotion of {name}.")
                said = True
            time.sleep(poll)
        yield lambda: mine in _tickets(client, name)
    finally:
        until_committed(client.delete_registered_model_tag, name, mine)


def _tickets(client: MlflowClient, name: str) -> dict[str, int]:
    tags = find_model(client, name).tags
    return {k: int(v) if v.isdecimal() else 0 for k, v in tags.items() if k.startswith(TICKET)}
