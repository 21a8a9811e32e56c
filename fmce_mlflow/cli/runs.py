"""What commands share: a client of the server that the user named, the run to work in, lines to print."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmce_mlflow.errors import RunError
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.credentials import enters, hide_credentials, without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient


def make_client(ctx: click.Context) -> MlflowClient:
    """A client of the tracking server that the user named."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # A bar per model and two lines per run hide what is said.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import mlflow

    if uri := ctx.obj["tracking_uri"]:
        mlflow.set_tracking_uri(uri)
    enters(mlflow.get_registry_uri())
    uri = enters(mlflow.get_tracking_uri())
    with _alone(uri) if uri.startswith("sqlite:///") else nullcontext():
        return mlflow.MlflowClient()  # makes the tables of a new database


def _alone(uri: str) -> AbstractContextManager[Any]:
    """A lock on an SQLite file: of two processes that make its tables at the same time, MLflow fails one."""
    from filelock import FileLock

    path = os.path.realpath(uri.removeprefix("sqlite:///").partition("?")[0])
    user = os.getuid() if hasattr(os, "getuid") else ""
    name = hashlib.sha256(path.encode()).hexdigest()[:16]
    return FileLock(Path(tempfile.gettempdir(), f"fmce-{user}-{name}.lock"))


def open_run(client: MlflowClient, ctx: click.Context, name: str | None = None, *, cpu: bool = True) -> Run:
    """The run that `mlflow run` made for us, or a new one; under torchrun the first process makes it for all."""
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        return Run(client, run_id, say)
    made: list[Any] = [None]
    if is_main_process():
        experiment = _experiment(client, ctx.obj["experiment"])
        made = [client.create_run(experiment, run_name=name and hide_credentials(name)).info.run_id]
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate.state import PartialState
        from accelerate.utils import broadcast_object_list

        PartialState(cpu=cpu)
        broadcast_object_list(made)
    return Run(client, str(made[0]), say)


def _experiment(client: MlflowClient, name: str) -> str:
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

    tqdm.write(hide_credentials(text), file=sys.stdout)
    sys.stdout.flush()


def say_where(run: Run) -> None:
    """Print where a run can be looked at."""
    uri = without_credentials(run.client.tracking_uri)
    if uri.startswith("http"):
        say(f"See {uri}/#/experiments/{run.fetch().info.experiment_id}/runs/{run.id}")
    else:
        say(f"See it with: mlflow ui --backend-store-uri {uri}")


def is_main_process() -> bool:
    """Whether this is the first process of a distributed job, or the only one."""
    return os.environ.get("RANK", "0") == "0"
