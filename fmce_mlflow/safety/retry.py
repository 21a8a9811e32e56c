"""Which failures of a tracking server or artifact store pass, and how to try again."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any, TypeVar

import requests
import urllib3
from mlflow.exceptions import MlflowException
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_fixed,
    wait_random,
)

from fmce_mlflow.errors import FmceError, NotStoredError
from fmce_mlflow.safety.credentials import hide_credentials

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
PASSING_STATUS = frozenset({408, 425, 429})
STORES = ("botocore.", "boto3.", "google.", "azure.", "paramiko.")
"""Packages whose errors do not say whether they pass; it is assumed that they do."""

T = TypeVar("T")


def passes(error: BaseException) -> bool:
    """Whether a call that failed in this way may succeed later.

    Servers that cannot be reached, stall, are overloaded (429) or fail (5xx) may; what a server refuses, or this
    machine's disk, will not.

    Example:
        >>> passes(MlflowException("the server failed", error_code=1))  # INTERNAL_ERROR
        True
        >>> passes(MlflowException("no such run", error_code=1001)), passes(OSError("no space"))
        (False, False)
    """
    if isinstance(error, NotStoredError):
        return True
    if isinstance(error, FmceError):
        return error.__cause__ is not None and passes(error.__cause__)
    if isinstance(error, MlflowException):
        return _passing(error.get_http_status_code())
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _passing(error.response.status_code)
    if isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError):
        return True
    return type(error).__module__.startswith(STORES)


def retried(
    call: Callable[[], T],
    stopped: Event,
    *,
    stop: Callable[[Any], bool] | None = None,
    failed: Callable[[BaseException], None] = lambda error: None,
    pause: Callable[[float], Any] | None = None,
) -> T:
    """Call until it succeeds, waiting twice as long after every failure that may pass, with jitter.

    Args:
        call: What to do; it must be safe to repeat.
        stopped: Ends the waiting.
        stop: When else to end it.
        failed: Called with each failure that is followed by another try.
        pause: Waits for so many seconds, or less; None: ``stopped.wait``.

    Returns:
        What ``call`` returns.

    Raises:
        Exception: The last failure.
    """

    def note(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None:
            failed(error)

    def sleep(seconds: Any) -> None:
        (pause or stopped.wait)(seconds)

    return Retrying(
        retry=retry_if_exception(passes),
        wait=wait_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT) + wait_random(0, FIRST_WAIT),
        stop=lambda state: stopped.is_set() or (stop is not None and stop(state)),
        sleep=sleep,
        before_sleep=note,
        reraise=True,
    )(call)


def a_few_tries(passing: Callable[[BaseException], bool], *, tries: int = 5, wait: float = 0.2) -> Retrying:
    """Calls a function, and again where another process's write at the same moment made it fail.

    Args:
        passing: Whether a failure is of that kind.
        tries: How often it is called at most; the last failure is raised.
        wait: Seconds between them.

    Example:
        >>> tried = []
        >>> a_few_tries(lambda error: True, wait=0)(lambda: tried.append(1) or 1 / (len(tried) - 1))
        1.0
    """
    return Retrying(
        retry=retry_if_exception(passing), stop=stop_after_attempt(tries), wait=wait_fixed(wait), reraise=True
    )


def short(error: BaseException) -> str:
    """A failure in a line; those of HTTP clients run to several, with all that they wrap.

    Example:
        >>> short(OSError("no space\\n" + 400 * "x"))[:30]
        'OSError: no space xxxxxxxxxxxx'
    """
    text = hide_credentials(" ".join(f"{type(error).__name__}: {error}".split()))
    return text if len(text) <= 300 else text[:299] + "…"


def _passing(status: int) -> bool:
    return status >= 500 or status in PASSING_STATUS
