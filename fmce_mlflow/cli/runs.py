"""What commands share: a client of the server that the user named, the run to work in, lines to print."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import click

from fmce_mlflow.errors import ConfigError, FmceError, RunError
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.credentials import enters, hide_credentials, without_credentials
from fmce_mlflow.safety.imports import quick_imports
from fmce_mlflow.safety.locks import hold, home
from fmce_mlflow.safety.terminal import tell

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from mlflow import MlflowClient

PATIENCE = 120.0  # seconds


@quick_imports()
def make_client(ctx: click.Context) -> MlflowClient:
    """A client of the tracking server that the user named."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow
    from mlflow.exceptions import MlflowException

    uri = ctx.obj["tracking_uri"] or os.environ.get("MLFLOW_TRACKING_URI", "")
    try:
        if uri:
            mlflow.set_tracking_uri(uri)
        enters(mlflow.get_registry_uri())
        uri = enters(mlflow.get_tracking_uri())
        with _alone(uri) if uri.startswith("sqlite:///") else nullcontext():
            return mlflow.MlflowClient()  # makes the tables of a new database
    except (FmceError, MlflowException):
        raise
    except Exception as error:  # of its URI, or of a database's driver
        from fmce_mlflow.safety.retry import short

        raise ConfigError(
            f"The tracking URI {without_credentials(uri)} cannot be used: {short(error)}. Give that of a server or a "
            "database by --tracking-uri or MLFLOW_TRACKING_URI; a database needs its driver installed."
        ) from error


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Hold a lock on an SQLite file: of two processes that make its tables at the same time, MLflow fails one."""
    lock = _table_lock(os.path.realpath(uri.removeprefix("sqlite:///").partition("?")[0]))
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _table_lock(database: str) -> BaseFileLock | None:
    """The lock, where other users cannot hold it; None where there is no such place."""
    own = home()
    if own is None:
        return None
    path = own / ".cache" / "fmce" / f"{hashlib.sha256(os.fsencode(database)).hexdigest()[:16]}.lock"
    busy = f"Another command has had the tables of {database} in hand for {PATIENCE:g} s. Wait for it, or stop it: it "
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return hold(
            path,
            f"{busy}holds {path}.",
            patience=PATIENCE,
            waiting=lambda: say(f"Waiting for another command that makes the tables of {database}; it holds {path}."),
        )
    return None


def open_run(client: MlflowClient, ctx: click.Context, name: str | None = None, *, cpu: bool = True) -> Run:
    """The run that `mlflow run` made for us, or a new one; under torchrun the first process makes it for all."""
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        return Run(client, run_id, say)
    made: list[Any] = [None]
    if is_main_process():
        experiment = experiment_id(client, ctx.obj["experiment"])
        made = [client.create_run(experiment, run_name=name and hide_credentials(name)).info.run_id]
    if world_size() > 1:
        from accelerate.state import PartialState
        from accelerate.utils import broadcast_object_list

        PartialState(cpu=cpu)
        broadcast_object_list(made)
    return Run(client, str(made[0]), say)


def experiment_id(client: MlflowClient, name: str) -> str:
    """The experiment's id; made if it is not there, also when two processes do so at once."""
    from mlflow.exceptions import MlflowException

    for _ in range(2):
        if experiment := client.get_experiment_by_name(name):
            if experiment.lifecycle_stage == "deleted":
                raise RunError(
                    f"Experiment {name!r} is deleted. Restore it with `mlflow experiments restore "
                    f"-x {experiment.experiment_id}`, or name another with --experiment."
                )
            return str(experiment.experiment_id)
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    raise RunError(f"Experiment {name!r} cannot be made. Create it with `mlflow experiments create -n {name}`.")


def say(text: str) -> None:
    """Print a line, above a progress bar if there is one."""
    from tqdm import tqdm

    tell(hide_credentials(text), lambda line: tqdm.write(line, file=sys.stdout))


def say_where(run: Run) -> None:
    """Print where a run can be looked at."""
    uri = without_credentials(run.client.tracking_uri)
    if uri.startswith("http"):
        say(f"See {uri}/#/experiments/{run.fetch().info.experiment_id}/runs/{run.id}")
    else:
        say(f"See it with: mlflow ui --backend-store-uri {uri}")


def world_size() -> int:
    """Processes of the distributed job that this one belongs to; 1 if it belongs to none."""
    text = os.environ.get("WORLD_SIZE", "").strip() or "1"
    if not text.isdecimal():
        raise ConfigError(f"WORLD_SIZE must be a whole number of processes, as torchrun sets it; got {text!r}.")
    return int(text)


def is_main_process() -> bool:
    """Whether this is the first process of a distributed job, or the only one."""
    return os.environ.get("RANK", "0") == "0"
