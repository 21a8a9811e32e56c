"""MLflow's description of a model, the file MLmodel, which may be anybody's: bounded before anything is made of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME

from fmce_mlflow.errors import ArtifactError
from fmce_mlflow.runs.model_files import fetch_model
from fmce_mlflow.safety.credentials import without_credentials
from fmce_mlflow.safety.reading import read_file

MAX_BYTES = 2 * 2**20
MAX_WRITTEN_OUT = 16 * 2**20  # characters: aliases in YAML stand for a text of gigabytes in a small file


def read_description(folder: Path, *, name: str = "", root: Path | None = None) -> Model:
    """The description of the model in a folder.

    Args:
        folder: Has the file MLmodel.
        name: What an error calls it.
        root: A folder that the file must lie in, links followed.

    Raises:
        ArtifactError: If there is none, or it is no description, damaged, or larger than any is.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "MLmodel").write_text("flavors: {python_function: {")
        >>> read_description(folder, name="MLmodel of a model")
        Traceback (most recent call last):
        ...
        fmce_mlflow.errors.ArtifactError: MLmodel of a model cannot be read: ...
    """
    name = name or f"{MLMODEL_FILE_NAME} at {folder}"
    try:
        values = yaml.safe_load(read_file(folder / MLMODEL_FILE_NAME, MAX_BYTES, name, root=root))
        if _written_out(values, {}) > MAX_WRITTEN_OUT:
            raise ArtifactError(f"{name} has over {MAX_WRITTEN_OUT:,} characters once its aliases are written out.")
        description = Model.from_dict(values)
        if not isinstance(description.flavors, dict):
            raise ValueError(f"its flavors are {description.flavors!r:.80}")
        return description
    except ArtifactError:
        raise
    except FileNotFoundError:
        raise ArtifactError(f"{name} is not there, so this is no MLflow model.") from None
    except Exception as error:  # a parser's, or whatever MLflow meets in the values
        reason = " ".join(f"{type(error).__name__}: {error!s:.300}".split())
        raise ArtifactError(f"{name} cannot be read: {reason}. Log the model again.") from None


def fetch_description(uri: str, client: MlflowClient | None = None) -> Model:
    """The description of the model of a URI, without its other files.

    Raises:
        ArtifactError: As :func:`read_description`.
        Exception: Whatever the store raises if it does not give it.
    """
    with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
        found = fetch_model(uri, folder, client, file=MLMODEL_FILE_NAME)
        return read_description(found.parent, name=f"{MLMODEL_FILE_NAME} of {without_credentials(uri)}")


def _written_out(value: Any, known: dict[int, int]) -> int:
    """How many characters a value has about, with all that it refers to written out; ``known`` is by identity.

    Raises:
        ValueError: If a value is part of itself.
    """
    if not isinstance(value, (dict, list, tuple, set)):
        return len(value) + 2 if isinstance(value, (str, bytes)) else 8
    if id(value) not in known:
        known[id(value)] = -1
        inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 2 + sum(_written_out(one, known) for one in inner)
    if known[id(value)] < 0:
        raise ValueError("a value is part of itself")
    return known[id(value)]
