"""The database that the workers of a study share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from fmce_mlflow.errors import ConfigError

ANSWER_WITHIN = 10
"""Seconds within which a database server has to answer."""
LOCKED_FOR = 60
"""Seconds that a worker waits while another one writes to sqlite."""

_DRIVERS = {"psycopg": ": pip install 'psycopg[binary]'", "psycopg2": ": pip install psycopg2-binary"}
StaleCallback = Callable[[optuna.Study, FrozenTrial], None]


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's warnings that heartbeats are experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def shown(url: str) -> str:
    """A storage URL without its password.

    Example:
        >>> shown("postgresql://me:secret@host/db")
        'postgresql://me:***@host/db'
    """
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url if "@" not in url else f"…@{url.rpartition('@')[2]}"


def open_storage(url: str, *, heartbeat: int, grace: int, on_stale: StaleCallback | None = None) -> RDBStorage:
    """Open a study's storage; its tables are made if they are not there. Optuna's own lines are silenced: ours say it.

    Args:
        url: ``sqlite:///file.db`` or ``postgresql://user@host/database``, or another that SQLAlchemy knows.
        heartbeat: Seconds between two signs of life of a running trial.
        grace: Seconds without one after which a trial counts as dead.
        on_stale: Called with a trial that was found dead, once.

    Returns:
        The storage.

    Raises:
        ConfigError: If it does not answer, or cannot be used; the message has no password.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        engine_kwargs = _engine_kwargs(url)
        with quiet():
            storage = RDBStorage(
                url,
                engine_kwargs=engine_kwargs,
                heartbeat_interval=heartbeat,
                grace_period=grace,
                heartbeat_stale_trial_callback=on_stale,
            )
    except (SQLAlchemyError, ImportError, RuntimeError, OSError) as error:
        raise ConfigError(_unusable(url, error)) from None
    if storage.engine.dialect.name == "sqlite":
        _prepare_sqlite(storage)
    return storage


def _prepare_sqlite(storage: RDBStorage) -> None:
    """Make sqlite safe for several workers, and quick enough for a report after every pass.

    Optuna reads a trial's state and then sets it. SQLite has no SELECT … FOR UPDATE, so two workers could both claim a
    waiting trial, or both retry a dead one: every transaction takes the write lock first. With a write-ahead log a
    commit need not wait for the disk (measured: 2 ms instead of 20), and a process that is killed still loses nothing.
    """

    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver begins no transaction by itself
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(storage.engine, "connect", prepare)
    event.listen(storage.engine, "begin", begin)
    storage.engine.dispose()  # connections from before


def _engine_kwargs(url: str) -> dict[str, Any]:
    backend = make_url(url).get_backend_name()
    if backend == "sqlite":
        return {"connect_args": {"timeout": LOCKED_FOR}}
    if backend == "postgresql" and make_url(url).get_driver_name() in ("psycopg", "psycopg2"):
        return {"pool_pre_ping": True, "connect_args": {"connect_timeout": ANSWER_WITHIN}}
    return {"pool_pre_ping": True}


def _unusable(url: str, error: Exception) -> str:
    cause: BaseException = getattr(error, "orig", None) or error.__cause__ or error
    reason = " ".join(str(cause).split()) or type(cause).__name__
    if url.startswith("postgres://"):
        hint = "SQLAlchemy writes it postgresql://."
    elif isinstance(error, ImportError):
        hint = f"Install its driver{_DRIVERS.get(error.name or '', '')}."
    elif url.startswith("sqlite"):
        hint = "Check that the folder exists and may be written."
    else:
        hint = "Check host, port, database and password, and that the server is up."
    return (
        f"storage {shown(url)} does not answer: {reason.rstrip('.?')}. {hint} "
        "Expected is a database's URL, sqlite:///file.db or postgresql://user:password@host/database."
    )
