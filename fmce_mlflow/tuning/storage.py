"""The database that the workers of a study share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy import create_engine, event, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, ProgrammingError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from fmce_mlflow.errors import ConfigError, RunError
from fmce_mlflow.safety.credentials import enters, hide_credentials, without_credentials

ANSWER_WITHIN = 5  # seconds within which a database server has to answer, unless the URL has a `connect_timeout`
LOCKED_FOR = 60  # seconds that a worker waits while another one writes to sqlite
_POSTGRES_DRIVERS = ("psycopg", "psycopg2")
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
    clean = without_credentials(url)
    try:
        address = make_url(url)
    except ArgumentError:
        return clean
    user = f"{address.username}{'' if address.password is None else ':***'}@" if address.username else ""
    return clean.replace("://", f"://{user}", 1)


def open_storage(url: str, *, heartbeat: int, grace: int, on_stale: StaleCallback | None = None) -> RDBStorage:
    """Open a study's storage; its tables are made if they are not there. Optuna's own lines are silenced: ours say it.

    Args:
        url: ``sqlite:///file.db`` or ``postgresql://user@host/database``, or another that SQLAlchemy knows.
        heartbeat: Seconds between two signs of life of a running trial.
        grace: Seconds without one after which a trial counts as dead.
        on_stale: Called with a trial that was found dead, once.

    Raises:
        ConfigError: If it does not answer, or cannot be used; the message has no password.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    enters(url)
    try:
        address = _with_driver(make_url(url))
        _refuse_foreign(address)
        with quiet():
            storage = _patiently(
                _Storage,
                address.render_as_string(hide_password=False),
                engine_kwargs=_engine_kwargs(address),
                heartbeat_interval=heartbeat,
                grace_period=grace,
                heartbeat_stale_trial_callback=on_stale,
            )
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError, OSError) as error:
        raise ConfigError(_unusable(url, error)) from None
    if storage.engine.dialect.name == "sqlite":
        _prepare_sqlite(storage)
    return storage


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn what comes of a storage that stops answering into one message, a ``RunError``."""
    try:
        yield
    except Exception as error:
        cause = _storage_failure(error)
        if cause is None:
            raise
        raise RunError(
            f"The storage {shown(url)} stopped answering: {_reason(cause)}. Trials that ended are kept; once it "
            "answers again, go on with --resume."
        ) from None


class _Storage(RDBStorage):
    """Optuna's, but that a sign of life that cannot be given does not end its thread: the next one may come through."""

    def record_heartbeat(self, trial_id: int) -> None:
        with suppress(SQLAlchemyError, StorageInternalError):
            super().record_heartbeat(trial_id)


def _storage_failure(error: BaseException | None) -> BaseException | None:
    """The database's error that caused another one, if there is one; Optuna raises others on top of it."""
    while error is not None and not isinstance(error, SQLAlchemyError | StorageInternalError):
        error = error.__cause__ or error.__context__
    return error


def _refuse_foreign(url: URL) -> None:
    """Refuse a database in which another program keeps its version where Optuna keeps its own; MLflow does."""
    address = url.render_as_string(hide_password=False)
    engine = create_engine(url, **_engine_kwargs(url))
    try:
        tables = set(inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if "alembic_version" in tables and "studies" not in tables:
        owner = "MLflow" if "experiments" in tables else "another program"
        raise ConfigError(
            f"storage {shown(address)} is the database of {owner}. Optuna needs one of its own: another file after "
            "sqlite:///, or another database on the same server."
        )


def _made_by_others(error: BaseException) -> bool:
    """Whether making the tables failed because another process made them meanwhile."""
    return isinstance(error, IntegrityError | ProgrammingError) or (
        isinstance(error, SQLAlchemyError) and "already exists" in str(error)
    )


_patiently = Retrying(
    retry=retry_if_exception(_made_by_others), wait=wait_fixed(0.5), stop=stop_after_attempt(4), reraise=True
)
"""Calls again where others make the tables at the same moment."""


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


def _with_driver(url: URL) -> URL:
    """The URL with a driver that is installed; SQLAlchemy's own choice differs between its versions."""
    if url.drivername != "postgresql":
        return url
    driver = next((name for name in _POSTGRES_DRIVERS if find_spec(name)), _POSTGRES_DRIVERS[0])
    return url.set(drivername=f"postgresql+{driver}")


def _engine_kwargs(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": LOCKED_FOR}}
    if url.get_driver_name() in _POSTGRES_DRIVERS and "connect_timeout" not in url.query:
        return {"pool_pre_ping": True, "connect_args": {"connect_timeout": ANSWER_WITHIN}}
    return {"pool_pre_ping": True}


def _reason(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error.__cause__ or error
    return (hide_credentials(" ".join(str(cause).split())) or type(cause).__name__).rstrip(".?")


def _unusable(url: str, error: Exception) -> str:
    if url.startswith("postgres://"):
        hint = "SQLAlchemy writes it postgresql://."
    elif isinstance(error, ImportError):
        ours = url.startswith("postgresql") and (error.name or "") in _POSTGRES_DRIVERS
        hint = "Install its driver: pip install 'psycopg[binary]'." if ours else "Install its driver."
    elif url.startswith("sqlite"):
        hint = "Check that the folder exists and may be written."
    else:
        hint = "Check host, port, database and password, and that the server is up."
    return (
        f"storage {shown(url)} does not answer: {_reason(error)}. {hint} "
        "Expected is a database's URL, sqlite:///file.db or postgresql://user:password@host/database."
    )
