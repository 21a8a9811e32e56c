"""Build an FMCS-dataset as one MLflow run, with the trainings that it needs nested below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.backbone.side_by_side import Ended, Trainings, nested
from fmce_mlflow.errors import NonFiniteLossError, RunError
from fmce_mlflow.fmcs_dataset.label import FmcsDataset, build_fmcs_dataset
from fmce_mlflow.fmcs_dataset.log import log_fmcs_dataset
from fmce_mlflow.fmcs_dataset.options import Unconverged
from fmce_mlflow.fmcs_dataset.page import dataset_page
from fmce_mlflow.runs.run import Run

if TYPE_CHECKING:
    from fmce_mlflow.method.images.split import ImageData
    from fmce_mlflow.runs.uploads.options import UploadOptions

PAGE = "fmcs_report.html"


def build_fmcs(
    run: Run,
    jobs: Sequence[BackboneOptions],
    data: Mapping[str, ImageData],
    *,
    source_runs: Sequence[str] = (),
    unconverged: Unconverged = "drop",
    uploads: UploadOptions | None = None,
    trained: Iterable[Ended] | None = None,
) -> FmcsDataset:
    """Train backbones, or take trained ones, and label their feature maps; the run is closed.

    Args:
        run: The run, with role ``fmcs_dataset`` from here on.
        jobs: What to train; the first says how runs are labelled.
        data: Images by data set.
        source_runs: Backbone runs to take instead of training.
        unconverged: Whether runs that have not converged are dropped, or kept without a label.
        uploads: How snapshots wait for a server.
        trained: What comes of the trainings, in the order of jobs, where they are under way already.

    Raises:
        FmceError: For every mistake that a user can make.
    """
    config, signal = jobs[0].convergence, jobs[0].signal
    with run.closing():
        run.set_role("fmcs_dataset")
        sources, modules, failed = list(source_runs), jobs[0].modules, dict[str, str]()
        if not sources:
            modules = ()  # all that were recorded
            if trained is None:
                trained = Trainings().train(nested(run, jobs), data, uploads=uploads)
            sources, failed = _sorted(run, trained)
        dataset = build_fmcs_dataset(
            run.client, sources, config=config, signal=signal, unconverged=unconverged, modules=modules
        )
        dataset.left_out.update(failed)
        log_fmcs_dataset(run, dataset, config=config, signal=signal)
        page = dataset_page(
            dataset.table, dataset.convergences, run_id=run.id, left_out=dataset.left_out, unlabelled=dataset.unlabelled
        )
        run.client.log_text(run.id, page, PAGE)
    return dataset


def _sorted(parent: Run, trained: Iterable[Ended]) -> tuple[list[str], dict[str, str]]:
    """The runs that were trained, and by run why it diverged.

    Raises:
        RunError: If every run failed.
    """
    done, failed = [], {}
    for one in trained:
        if isinstance(one.result, NonFiniteLossError):
            failed[one.run.id] = str(one.result)
            parent.say(f"Run {one.run.id} failed: {one.result}")
        else:
            done.append(one.run.id)
    if not done:
        raise RunError("Every backbone run failed:\n" + "\n".join(f"  {k}: {v}" for k, v in failed.items()))
    return done, failed
