"""Processes beside this one."""

from __future__ import annotations

import os
import pickle
import signal
import time

import pytest

from fmce_mlflow import errors
from fmce_mlflow.errors import ConfigError, FmceError, NonFiniteLossError, PromotionRefused, RunError, UploadError
from fmce_mlflow.safety import processes
from fmce_mlflow.safety.processes import begin, end
from tests.helpers.progress import until


def work(send, orders) -> None:
    """Do what is asked, until nothing is."""
    while True:
        what, value = orders.next()
        if what == "raise":
            raise value
        if what == "raise odd":
            raise Odd("a", value)
        if what == "environment":
            send(os.environ.get(value))
        if what == "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            send("hangs")
            time.sleep(600)
        if what == "sleep":
            try:
                send("sleeps")
                time.sleep(600)
            finally:
                send(value)


class Odd(Exception):
    """Cannot travel: it is made of two things."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def heard(child) -> list[object]:
    """What it says next."""
    return until(lambda: list(child.words()), child.process)


def test_it_does_as_it_is_told_with_few_threads_and_hands_on_its_error():
    child = begin(work, name="one", threads=1)
    try:
        child.tell(("environment", "OMP_NUM_THREADS"))
        assert heard(child) == ["1"]
        child.tell(("raise", NonFiniteLossError(3, float("inf"))))
        with pytest.raises(NonFiniteLossError, match="snapshot 3") as found:
            heard(child)
        assert found.value.snapshot == 3
        until(lambda: not child.alive, child.process)
        assert child.how_it_ended() == "ended with exit code 0"
        child.tell(("environment", "HOME"))
    finally:
        end([child])


def test_an_error_that_cannot_travel_is_told():
    child = begin(work, name="one", threads=1)
    try:
        child.tell(("raise odd", "b"))
        with pytest.raises(RunError, match="Odd: a b"):
            heard(child)
    finally:
        end([child])


def test_at_the_end_it_says_its_last_words_and_one_that_does_not_stop_is_killed(monkeypatch):
    monkeypatch.setattr(processes, "STOP_SECONDS", 2.0)
    two = [begin(work, name=f"{i}", threads=1) for i in range(2)]
    lines: list[str] = []
    two[0].tell(("sleep", "stopped"))
    two[1].tell(("hang", None))
    assert [heard(child) for child in two] == [["sleeps"], ["hangs"]]
    end(two, lines.append)
    assert lines == ["stopped"] and [child.alive for child in two] == [False, False]
    assert [child.how_it_ended() for child in two] == ["ended with exit code 0", "ended with signal 9 (SIGKILL)"]


@pytest.mark.parametrize(
    "error",
    [
        ConfigError(["a", "b"]), UploadError("why", "folder", "2 snapshots"), PromotionRefused("what", ["x"], "3f2a"),
        errors.IntegrityError("name", "1", "2"), errors.NotStoredError(["a"], "run 3f2a"), FmceError("text"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_errors_travel_as_they_are(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)
    assert again.exit_code == error.exit_code
