"""Fetch the files of an MLflow model by its URI, from the server of a client, whatever MLflow's global URIs are.

MLflow resolves ``models:/`` by its global tracking URI. To set that for a while would change it for other threads.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

import mlflow
import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
from mlflow.store.artifact.utils.models import get_model_name_and_version

from fmce_mlflow.safety.credentials import enters


def fetch_model(uri: str, folder: str | Path, client: MlflowClient | None = None, *, file: str = "") -> Path:
    """Download a model, or one of its files, into a folder; where it then is.

    Args:
        uri: ``models:/…``, ``runs:/…``, a folder, or whatever else MLflow can download.
        folder: Exists.
        client: Of the server that has it; None: that of MLflow's global URIs.
        file: Its path within the model; "" for the whole.

    Raises:
        MlflowException: If there is no such model or file, or the server fails.
        OSError: If files cannot be read or written.
    """
    client = client or MlflowClient()
    enters(uri)
    location, inside = _resolved(uri, client)
    path = "/".join(filter(None, (inside, file)))
    if location is None:
        whole = "/".join(filter(None, (uri.rstrip("/"), file)))
        found = mlflow.artifacts.download_artifacts(whole, dst_path=str(folder), tracking_uri=client.tracking_uri)
    else:
        repository = get_artifact_repository(location, tracking_uri=client.tracking_uri)
        found = repository.download_artifacts(path, dst_path=str(folder))
    return Path(found)


def lacks(uri: str, file: str, client: MlflowClient) -> bool:
    """Whether the store of a model answers and lacks one of its files, which the error of a download does not tell."""
    location, inside = _resolved(uri, client)
    if location is None:
        return False
    path = "/".join(filter(None, (inside, file)))
    try:
        repository = get_artifact_repository(location, tracking_uri=client.tracking_uri)
        listed = repository.list_artifacts(posixpath.dirname(path) or None)
    except Exception:  # each kind of store has errors of its own
        return False
    return all(one.path != path for one in listed)


def _resolved(uri: str, client: MlflowClient) -> tuple[str | None, str]:
    """Where the artifacts of a model or a run lie, and the path from there; (None, "") for any other URI."""
    if ModelsArtifactRepository.is_models_uri(uri) and not _of_databricks(uri):
        root, inside = ModelsArtifactRepository.split_models_uri(uri)
        found: Any = get_model_name_and_version(client, root)
        if len(found) == 1:
            location = str(client.get_logged_model(found[0]).artifact_location)
        else:
            location = str(client.get_model_version_download_uri(*found))
    elif RunsArtifactRepository.is_runs_uri(uri):
        run_id, path = RunsArtifactRepository.parse_runs_uri(uri)
        name, _, rest = (path or "").partition("/")
        logged = _logged_model(client, run_id, name) if name else None
        location, inside = (logged, rest) if logged else (str(client.get_run(run_id).info.artifact_uri), path or "")
    else:
        return None, ""
    further, deeper = _resolved(location, client)  # a version's files may be those of a run
    return (location, inside) if further is None else (further, "/".join(filter(None, (deeper, inside))))


def _of_databricks(uri: str) -> bool:
    """Whether only MLflow's own repositories know how to fetch it: from Databricks or Unity Catalog."""
    return uri.startswith("models://") or mlflow.get_registry_uri().startswith(("databricks", "uc:"))


def _logged_model(client: MlflowClient, run_id: str, name: str) -> str | None:
    """Where the logged model of a run that has this name lies."""
    experiment, token = client.get_run(run_id).info.experiment_id, None
    quoted = name.replace("'", "''")
    while True:
        page = client.search_logged_models([experiment], filter_string=f"name = '{quoted}'", page_token=token)
        if location := next((str(one.artifact_location) for one in page if one.source_run_id == run_id), None):
            return location
        if not (token := page.token):
            return None
