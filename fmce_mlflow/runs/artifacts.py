"""Fetch a run's artifacts from whatever store has them."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmce_mlflow.errors import ArtifactError, FmceError
from fmce_mlflow.safety.credentials import hide_credentials
from fmce_mlflow.safety.reading import stay_within

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def artifact_repository(client: MlflowClient, run_id: str) -> Any:
    """The ``ArtifactRepository`` that holds a run's artifacts, for what the client itself cannot do."""
    return repository_of(client.get_run(run_id), client.tracking_uri)


def repository_of(run: Run, tracking_uri: str) -> Any:
    """As :func:`artifact_repository`, of a run that was fetched already."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with using_store(f"run {run.info.run_id}"):
        return get_artifact_repository(run.info.artifact_uri, tracking_uri=tracking_uri)


@contextmanager
def using_store(owner: str) -> Iterator[None]:
    """Name the artifact store that fails for good, whatever its library raises; ``owner`` says whose it is.

    Raises:
        ArtifactError: Except for what MLflow says itself, and what may pass.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (FmceError, MlflowException):
        raise
    except Exception as error:
        from fmce_mlflow.safety.retry import passes, short  # loads MLflow

        if passes(error):
            raise
        how = "Install the package that it needs" if isinstance(error, ImportError) else "Make it usable"
        raise ArtifactError(
            f"The artifact store of {owner} cannot be used: {short(error)}. {how}, or use an experiment with another "
            "artifact location."
        ) from error


def not_stored(repository: Any, sizes: Mapping[str, int]) -> list[str]:
    """Those of some files, by path with their bytes, that a store lacks or has otherwise; one listing per folder."""
    found: dict[str, int | None] = {}
    for folder in dict.fromkeys(map(posixpath.dirname, sizes)):
        found |= {file.path: file.file_size for file in repository.list_artifacts(folder or None) if not file.is_dir}
    return [path for path, size in sizes.items() if path not in found or found[path] not in (size, None)]


@contextmanager
def fetched(client: MlflowClient, run_id: str, artifact_path: str) -> Iterator[Path | None]:
    """A local file with an artifact's bytes, or None if the run has no such artifact.

    Stores on this machine's disk are read in place; others are fetched to a temporary folder.

    Raises:
        ArtifactError: If the store cannot be reached, or fails, or what it has is a link out of its folder.
    """
    with fetched_from(artifact_repository(client, run_id), artifact_path, f"run {run_id}") as path:
        yield path


@contextmanager
def fetched_from(repository: Any, artifact_path: str, owner: str) -> Iterator[Path | None]:
    """As :func:`fetched`, of any ``ArtifactRepository``; ``owner`` says in errors whose it is."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    local = isinstance(repository, LocalArtifactRepository)
    with nullcontext("") if local else tempfile.TemporaryDirectory(prefix="fmce-") as folder:
        path = Path(folder, posixpath.basename(artifact_path))
        try:
            if local:
                path = Path(repository.download_artifacts(artifact_path))
            else:  # download_artifacts would list the folder first, and draw a progress bar for each file
                repository._download_file(artifact_path, str(path))
        except (MlflowException, OSError) as error:
            if _is_listed(repository, artifact_path):
                raise ArtifactError(
                    f"{artifact_path} of {owner} cannot be fetched: {hide_credentials(error)}. "
                    "Check the artifact store, then try again."
                ) from error
            yield None
            return
        if not path.is_file():
            yield None
            return
        if local:
            stay_within(path, Path(repository.artifact_dir), f"{artifact_path} of {owner}")
        yield path


def _is_listed(repository: Any, artifact_path: str) -> bool:
    """Whether a store that did not give an artifact has it; a store that cannot even say may have it."""
    try:
        listed = repository.list_artifacts(posixpath.dirname(artifact_path) or None)
    except Exception:
        return True
    return any(file.path == artifact_path for file in listed)
