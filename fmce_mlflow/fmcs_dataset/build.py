"""Build an FMCS-dataset as one MLflow run, with the trainings that it needs nested below it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from mlflow.exceptions import MlflowException

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.errors import NonFiniteLossError, RunError
from fmce_mlflow.fmcs_dataset.label import FmcsDataset, build_fmcs_dataset
from fmce_mlflow.fmcs_dataset.log import log_fmcs_dataset
from fmce_mlflow.fmcs_dataset.page import dataset_page
from fmce_mlflow.runs.run import set_role

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from fmce_mlflow.method.images.split import ImageData
    from fmce_mlflow.runs.uploads.options import UploadOptions

PAGE = "fmcs_report.html"


def build_fmcs(
    client: MlflowClient,
    run_id: str,
    jobs: Sequence[BackboneOptions],
    data: Mapping[str, ImageData],
    *,
    source_runs: Sequence[str] = (),
    unconverged: Literal["drop", "keep"] = "drop",
    say: Callable[[str], None] = print,
    uploads: UploadOptions | None = None,
) -> FmcsDataset:
    """Train backbones, or take trained ones, and label their feature maps.

    Args:
        client: MLflow client.
        run_id: The run, with role ``fmcs_dataset`` from here on; it is closed.
        jobs: What to train; the first says how convergence is told.
        data: Images by data set.
        source_runs: Backbone runs to take instead of training.
        unconverged: Runs that have not converged: ``drop`` them, or ``keep`` them without a label.
        say: Prints a line for the user.
        uploads: How snapshots wait for a server.

    Returns:
        The dataset, as it was logged.

    Raises:
        FmceError: For every mistake that a user can make.
    """
    failed: dict[str, str] = {}
    sources, modules = list(source_runs), jobs[0].modules
    set_role(client, run_id, "fmcs_dataset")
    config, signal = jobs[0].convergence, jobs[0].signal
    try:
        if not sources:
            modules = ()  # all that were recorded
            sources, failed = train_backbones(client, run_id, jobs, data, say=say, uploads=uploads)
        dataset = build_fmcs_dataset(
            client, sources, config=config, signal=signal, unconverged=unconverged, modules=modules
        )
        dataset.left_out.update(failed)
        log_fmcs_dataset(client, run_id, dataset, config=config, signal=signal)
        page = dataset_page(
            dataset.table, dataset.convergences, run_id=run_id, left_out=dataset.left_out, unlabelled=dataset.unlabelled
        )
        client.log_text(run_id, page, PAGE)
    except BaseException as error:
        with suppress(MlflowException):  # what went wrong is told, and not that it kept the run from being closed
            client.set_terminated(run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")
    return dataset


def train_backbones(
    client: MlflowClient,
    parent: str,
    jobs: Sequence[BackboneOptions],
    data: Mapping[str, ImageData],
    *,
    say: Callable[[str], None] = print,
    uploads: UploadOptions | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Train each job as a nested run; one that diverges is named and left out.

    Args:
        client: MLflow client.
        parent: The run below which they are nested.
        jobs: What to train.
        data: Images by data set.
        say: Prints a line for the user.
        uploads: How snapshots wait for a server.

    Returns:
        The runs that were trained, and those that failed with the reason.

    Raises:
        RunError: If every run failed.
    """
    experiment = client.get_run(parent).info.experiment_id
    done, failed = [], {}
    for i, options in enumerate(jobs):
        say(f"Backbone {i + 1} of {len(jobs)}")
        run = client.create_run(experiment, tags={"mlflow.parentRunId": parent, "fmce.role": "backbone"})
        try:
            train_backbone(client, run.info.run_id, options, say=say, data=data[options.dataset], uploads=uploads)
            done.append(run.info.run_id)
        except NonFiniteLossError as error:
            failed[run.info.run_id] = str(error)
            say(f"Run {run.info.run_id} failed: {error}")
    if not done:
        raise RunError("Every backbone run failed:\n" + "\n".join(f"  {k}: {v}" for k, v in failed.items()))
    return done, failed
