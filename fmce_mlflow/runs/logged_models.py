"""Log models to MLflow by explicit client and run, whatever run or experiment is active."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from fmce_mlflow.errors import ConfigError, NotStoredError
from fmce_mlflow.runs.artifacts import not_stored, using_store
from fmce_mlflow.safety.retry import passes

if TYPE_CHECKING:
    from mlflow import MlflowClient


def log_saved_model(
    client: MlflowClient,
    run_id: str,
    save: Callable[[Path, Model], None],
    *,
    name: str,
    step: int = 0,
    metadata: Mapping[str, Any] | None = None,
) -> str:
    """Log one model to a run's experiment and make it an output of the run.

    ``save`` writes it to a folder, with the description to complete; metrics of ``step`` are tied to it. It is made
    an output last: whatever moment the process dies at, what the run names is complete. Returns the model's id.
    """
    run = client.get_run(run_id)
    created = client.create_logged_model(
        run.info.experiment_id, name=name, source_run_id=run_id, params=run.data.params
    )
    try:
        with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
            path = Path(folder, "model")
            description = Model(
                artifact_path=created.artifact_location,
                run_id=run_id,
                model_uuid=created.model_id,
                model_id=created.model_id,
                metadata=dict(metadata) if metadata else None,
            )
            save(path, description)
            with using_store(f"model {name} of run {run_id}"):
                client.log_model_artifacts(created.model_id, str(path))
                sizes = {p.relative_to(path).as_posix(): p.stat().st_size for p in path.rglob("*") if p.is_file()}
                if missing := not_stored(model_repository(client, created), sizes):
                    raise NotStoredError(missing, f"model {name} of run {run_id}")
    except BaseException:
        client.finalize_logged_model(created.model_id, LoggedModelStatus.FAILED)
        raise
    client.finalize_logged_model(created.model_id, LoggedModelStatus.READY)
    history = [m for key in run.data.metrics for m in client.get_metric_history(run_id, key) if m.step == step]
    client.log_batch(  # the same rows again, now tied to the model: the run's history stays as it is
        run_id, [Metric(m.key, m.value, m.timestamp, m.step, model_id=created.model_id) for m in history]
    )
    client.log_outputs(run_id, [LoggedModelOutput(created.model_id, step)])
    return str(created.model_id)


def model_repository(client: MlflowClient, model: LoggedModel) -> Any:
    """The ``ArtifactRepository`` of a logged model."""
    return get_artifact_repository(model.artifact_location, tracking_uri=client.tracking_uri)


def check_name(client: MlflowClient, name: str | None) -> None:
    """Try whether models can be registered under a name, if there is one: before what is to be registered is made.

    Raises:
        ConfigError: With what the registry says.
    """
    try:
        if name:
            client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return
        if passes(error):
            raise
        raise ConfigError(f"No model can be registered as {name!r}: {error}") from None


def register(client: MlflowClient, run_id: str, model_id: str, name: str) -> str:
    """Make a run's model a version of a registered model, which is created if need be; returns the version."""
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = client.search_model_versions(f"run_id = '{run_id}'")
    made = next((one for one in known if one.name == name and one.source == f"models:/{model_id}"), None)
    if made is None:
        with tracking(client):
            made = client.create_model_version(name, source=f"models:/{model_id}", run_id=run_id, model_id=model_id)
    _tag_logged_model(client, model_id, name, str(made.version))
    return str(made.version)


def _tag_logged_model(client: MlflowClient, model_id: str, name: str, version: str) -> None:
    """Tag a logged model with its version, as a server and ``mlflow.register_model`` do but the client does not."""
    known = json.loads(client.get_logged_model(model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    if not any((one["name"], str(one["version"])) == (name, version) for one in known):
        versions = json.dumps([*known, {"name": name, "version": version}])
        client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: versions})


@contextmanager
def tracking(client: MlflowClient) -> Iterator[None]:
    """Point MLflow's global state at the client's store, where its registry looks for the source of a version."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
