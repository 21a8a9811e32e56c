"""What a run says about one registered version."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException

from fmce_mlflow.errors import RunError
from fmce_mlflow.promotion.registry import every, model_id_of
from fmce_mlflow.promotion.rules import HIGH, LOW
from fmce_mlflow.promotion.version_tags import EVALUATION_RUN
from fmce_mlflow.promotion.version_tags import HIGH as HIGH_TAG
from fmce_mlflow.promotion.version_tags import LOW as LOW_TAG
from fmce_mlflow.runs.metric_names import metric_name
from fmce_mlflow.safety.credentials import without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as Logged
    from mlflow.entities.model_registry import ModelVersion

MODEL_KEYS = ("fmce.model_uri", "fmce.model_id", "model_uri", "model_id", "model")
CONTENT = "sha256:"  # how the evaluator's tag begins where it is of the images' content
OWN = ("fmcs_", "fmce_", "focus/")
"""How figures begin that are those of an evaluation alone, whatever a training logs."""
PREDICTOR_KEYS = ("fmce.predictor", "predictor_used", "predictor")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Figures of one version, and what they were found with."""

    run_id: str
    figures: dict[str, float]
    images: str  # what identifies the images by their content and labels; empty where the run does not say
    predictor: str  # empty where the run does not say
    modules: str = ""  # those that were scored; empty where the run does not say
    unknown: str = ""  # those of them that the predictor does not know
    image_set: str = ""  # what the images are called; empty where the run does not say

    def doubt(self, metric: str) -> str:
        """What is to be told of a figure: that of a module that the predictor does not know; else empty."""
        _, _, module = metric.partition("/")
        if not module or module not in map(metric_name, self.unknown.split(",")):
            return ""
        return " (the predictor does not know this module, so the figure may mean little)"

    def incomparable(self, other: Evidence) -> str:
        """Why the figures of two evaluations cannot be compared; empty if they can."""
        if not self.images or not other.images:
            silent = self.run_id if not self.images else other.run_id
            return (
                f"run {silent} does not say by their content on which images it evaluated, as runs of other evaluators "
                "and of earlier releases do not; evaluate its model again"
            )
        if self.images != other.images:
            return f"runs {self.run_id} and {other.run_id} evaluated on different images"
        if self.predictor != other.predictor:
            return (
                f"runs {self.run_id} and {other.run_id} used different predictors "
                f"({self.predictor or 'none named'}, {other.predictor or 'none named'})"
            )
        return ""


def read_evidence(client: MlflowClient, run_id: str, version: ModelVersion) -> Evidence:
    """The figures that a run logged of a version; of a run with several models, those tied to the version's alone.

    Beside them are those of the run that trained the version, and the ends of the interval of ``fmcs_predicted``.

    Raises:
        RunError: If there is no such run, it is not finished, or it is about another model.
    """
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise RunError(
            f"There is no run {run_id!r} on {without_credentials(client.tracking_uri)}. Name a run of "
            "`fmce evaluate`, or leave it out to evaluate now."
        ) from None
    label = f"version {version.version} of {version.name}"
    if run.info.lifecycle_stage != "active":
        raise RunError(f"Run {run_id} is deleted. Evaluate {label} again, or restore the run.")
    if run.info.status != "FINISHED":
        raise RunError(
            f"Run {run_id} is {run.info.status}: its figures may be incomplete, so only a run that is FINISHED counts. "
            f"Wait for it, or evaluate {label} again."
        )
    if not belongs(run, version):
        raise RunError(
            f"Run {run_id} does not evaluate {label}, but {_about(run)}. Name an evaluation of models:/{version.name}/"
            f"{version.version}, or leave it out to evaluate now."
        )
    return Evidence(
        run_id,
        {**_training_figures(client, version), **_figures(client, run, version), **_interval(run)},
        _images(run),
        _first(run, PREDICTOR_KEYS),
        run.data.tags.get("fmce.modules", ""),
        run.data.tags.get("fmce.unknown_modules", ""),
        run.data.tags.get("fmce.image_set", "") or ", ".join(_names_of_images(run)),
    )


def find_evidence(client: MlflowClient, version: ModelVersion, like: Evidence) -> Evidence | None:
    """The evaluation that a version's tag names, or the latest in another's experiment, if comparable with that."""
    if named := version.tags.get(EVALUATION_RUN):
        with suppress(RunError):
            if not like.incomparable(one := read_evidence(client, named, version)):
                return one
    search = partial(
        client.search_runs,
        [client.get_run(like.run_id).info.experiment_id],
        "tags.`fmce.role` = 'evaluation' and attributes.status = 'FINISHED'",
        max_results=500,
        order_by=["attributes.start_time DESC"],
    )
    for found in every(search):
        if _images(found) != like.images:
            continue
        run = client.get_run(found.info.run_id)  # what a search finds lacks the models of a run
        if belongs(run, version):
            one = read_evidence(client, run.info.run_id, version)
            if not like.incomparable(one):
                return one
    return None


def belongs(run: Logged, version: ModelVersion) -> bool:
    """Whether a run says that it is about a version's model: as an input, an output, or by its tags and parameters."""
    models, model_id = _models(run), model_id_of(version)
    if model_id and models:
        return model_id in models
    names = {f"models:/{version.name}/{version.version}", version.source, model_id} - {None, ""}
    return run.info.run_id == version.run_id or bool(names & _named(run))


def _models(run: Logged) -> set[str]:
    """The logged models that a run took or made."""
    inputs = {one.model_id for one in (run.inputs.model_inputs if run.inputs else [])}
    return inputs | {one.model_id for one in (run.outputs.model_outputs if run.outputs else [])}


def _named(run: Logged) -> set[str]:
    values = {**run.data.params, **run.data.tags}
    return {values[key] for key in MODEL_KEYS if key in values}


def _figures(client: MlflowClient, run: Logged, version: ModelVersion) -> dict[str, float]:
    model_id = model_id_of(version)
    if len(_models(run)) <= 1 or not model_id:
        return dict(run.data.metrics)
    latest: dict[str, Any] = {}
    for metric in client.get_logged_model(model_id).metrics or []:
        key = (metric.step, metric.timestamp)
        if metric.run_id == run.info.run_id and key >= latest.get(metric.key, (key,))[0]:
            latest[metric.key] = key, metric.value
    return {name: value for name, (_, value) in latest.items()}


def _training_figures(client: MlflowClient, version: ModelVersion) -> dict[str, float]:
    """What the run that trained a version logged of it; nothing where there is no such run any more."""
    if not version.run_id:
        return {}
    try:
        run = client.get_run(version.run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return {}
    return {name: value for name, value in _figures(client, run, version).items() if not name.startswith(OWN)}


def _interval(run: Logged) -> dict[str, float]:
    """The interval that an evaluation's tags tell; those of earlier releases and of other evaluators tell none."""
    found = {}
    for name, tag in ((LOW, LOW_TAG), (HIGH, HIGH_TAG)):
        with suppress(KeyError, ValueError):
            found[name] = float(run.data.tags[tag])
    return found


def _images(run: Logged) -> str:
    """The evaluator's tag; digests of MLflow's datasets leave out pixels, and so did earlier tags."""
    tag: str = run.data.tags.get("fmce.images", "")
    return tag if tag.startswith(CONTENT) else ""


def _names_of_images(run: Logged) -> list[str]:
    return sorted({one.dataset.name for one in (run.inputs.dataset_inputs if run.inputs else [])})


def _first(run: Logged, keys: tuple[str, ...]) -> str:
    values = {**run.data.tags, **run.data.params}
    return next((values[key] for key in keys if values.get(key)), "")


def _about(run: Logged) -> str:
    there = sorted(_models(run)) or sorted(_named(run))
    return f"is about {', '.join(there)}" if there else "names no model"
