"""Choose how a run's snapshots come to MLflow: local or remote."""

from __future__ import annotations

from pathlib import Path

from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from fmce_mlflow.runs.artifacts import artifact_repository
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import Uploads
from fmce_mlflow.runs.uploads.local import LocalUploads
from fmce_mlflow.runs.uploads.options import UploadOptions
from fmce_mlflow.runs.uploads.remote import RemoteUploads


def open_uploads(run: Run, options: UploadOptions | None = None) -> Uploads:
    """Where a run's snapshots go; what waits on disk from before is uploaded first.

    Raises:
        UploadError: If that fails.
        RunError: If another process trains or uploads the run.
    """
    uri = run.client.tracking_uri
    if "://" not in uri or uri.startswith(("sqlite:", "file:")):
        repository = artifact_repository(run.client, run.id)
        if isinstance(repository, LocalArtifactRepository):
            return LocalUploads(run, Path(repository.artifact_dir))
    return RemoteUploads(run, options or UploadOptions())
