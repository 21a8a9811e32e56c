"""The images that the run that trained a model held out: those to evaluate on where nobody names any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from fmce_mlflow.errors import ConfigError, ModelError
from fmce_mlflow.evaluation.options import EvaluationImages
from fmce_mlflow.method.images.config import ImageOptions, unknown_dataset
from fmce_mlflow.runs.descriptions import fetch_description
from fmce_mlflow.runs.run import ROLE_TAG
from fmce_mlflow.runs.torch_models import TrainingFacts
from fmce_mlflow.safety.credentials import hide_credentials, without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient


def chosen_images(client: MlflowClient, uri: str, choice: EvaluationImages) -> tuple[ImageOptions, str]:
    """The images to evaluate a model on, and a sentence where nobody named them; empty where somebody did.

    Raises:
        ConfigError: If none are named, and nothing says on which the model was trained.
        ModelError: If there is no such model.
    """
    if choice.dataset is not None:
        return choice.named(choice.dataset), ""
    try:
        description = fetch_description(uri, client)
    except Exception as error:  # each kind of store has errors of its own
        name, reason = without_credentials(uri), hide_credentials(error).rstrip(". ")
        raise ModelError(f"The model {name!r} cannot be fetched: {reason}.") from error
    run_id = TrainingFacts.read(description.metadata).source_run or description.run_id
    dataset, why = "", "the model names no run"
    if run_id:
        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            why = f"its run {run_id} is not on this server"
        else:
            dataset, params = run.data.params.get("dataset", ""), run.data.params
            if run.data.tags.get(ROLE_TAG) != "backbone" or unknown_dataset(dataset):
                dataset, why = "", f"its run {run_id} does not name a data set that can be loaded"
    if not dataset:
        raise ConfigError(
            f"no dataset is named, and nothing says on which images the model {without_credentials(uri)} was trained: "
            f"{why}. Name held-out images like those that it was trained on, as in --dataset folder:photos or "
            "--dataset cifar10"
        )
    seed = params.get("split_seed", "")
    options = choice.named(dataset, params.get("data_root"), int(seed) if seed.isdecimal() else None)
    return options, f"No data set is named, so these are images that run {run_id}, which trained the model, held out."
