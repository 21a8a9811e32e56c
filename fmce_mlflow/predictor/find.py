"""FMCE-Nets by URI, kept in memory between calls."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.predictor.flavor import FLAVOR_NAME, Predictor, load_predictor, save_model
from fmce_mlflow.predictor.options import BUNDLED
from fmce_mlflow.predictor.table_rows import Form
from fmce_mlflow.runs.descriptions import fetch_description
from fmce_mlflow.runs.model_files import fetch_model
from fmce_mlflow.safety.credentials import hide_credentials, without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEPT = 4  # predictors that stay in memory, those used last
HOW_TO_GET_ONE = (
    "Train one with `fmce build-fmcs` and `fmce train-fmce-net --register-as fmcs`, then name it: "
    'evaluator_config={"predictor": "models:/fmcs/1"}, or `--predictor models:/fmcs/1` on the command line.'
)

_kept: dict[tuple[str, ...], Predictor] = {}
_lock = Lock()


@dataclass(frozen=True, slots=True, eq=False)
class NamedPredictor:
    """A predictor and what to call it."""

    predictor: Predictor
    name: str  # what the user called it, or `bundled`
    identity: str
    choice: str = ""  # why it was chosen, where nobody named it
    warning: str = ""  # what is to be known before its scores are trusted


@cache
def bundled_predictor() -> Predictor:
    """The predictor that comes with this package, read once: ``fmce_mlflow.bundled_predictor()``.

    Its ``net`` scores bags of maps, ``card`` says in Markdown what it was trained on and how good it is, ``info`` has
    the same as JSON values.

    Raises:
        PredictorError: Its files are missing, as in a checkout without them.

    Example:
        >>> import fmce_mlflow, torch
        >>> maps = torch.rand(64, 32, 4, 4)  # of one module, for 64 images
        >>> 0 <= fmce_mlflow.bundled_predictor().net.predict(maps).fmcs <= 1
        True
    """
    folder = files("fmce_mlflow.predictor") / "resources" / "fmce_net"
    with as_file(folder) as path:
        if not (path / "MLmodel").is_file():
            raise PredictorError(f"No predictor is named, and this release comes without one. {HOW_TO_GET_ONE}")
        return load_predictor(path)


def find_predictor(uri: str | None, client: MlflowClient | None = None) -> NamedPredictor:
    """The predictor that an evaluation uses, its weights read once and then kept.

    Args:
        uri: Any MLflow model URI, or a model's folder; ``bundled`` or None for the bundled one.
        client: Client of the server that has it; MLflow's own tracking URI where None.

    Raises:
        PredictorError: If there is no such model, or it is no FMCE-Net; without a URI, if none is bundled.
        IntegrityError: If its files are not what was written.
    """
    if not uri or uri == BUNDLED:
        return NamedPredictor(bundled_predictor(), BUNDLED, BUNDLED)
    shown = without_credentials(uri)
    try:
        description = fetch_description(uri, client)
    except Exception as error:  # each kind of store has errors of its own
        raise _not_fetched(uri, error) from error
    flavor = description.flavors.get(FLAVOR_NAME)
    if not isinstance(flavor, dict) or not isinstance(flavor.get("sha256"), dict):
        there = ", ".join(sorted(description.flavors))
        raise PredictorError(f"The model {shown!r} is no FMCE-Net: its MLflow flavors are {there}. {HOW_TO_GET_ONE}")
    hashes = tuple(f"{name} {digest}" for name, digest in sorted(flavor["sha256"].items()))
    with _lock:
        predictor = _kept.pop(hashes, None) or _read(uri, client)
        _kept[hashes] = predictor  # the last, as the one used last
        while len(_kept) > KEPT:
            del _kept[next(iter(_kept))]
    model_id = description.model_id
    return NamedPredictor(predictor, uri, f"models:/{model_id}" if model_id else f"{uri} {hashes[-1][-64:][:12]}")


def export_for_tables(
    path: str | Path, uri: str | None = None, *, form: Form = "files", client: MlflowClient | None = None
) -> None:
    """Write a predictor as an MLflow model that scores tables with a bag in each row, as Spark has them.

    Args:
        path: A new folder, which ``mlflow.pyfunc.spark_udf`` takes.
        uri: As for :func:`find_predictor`.
        form: How a row has its bag, see :mod:`fmce_mlflow.predictor.table_rows`.
        client: As for :func:`find_predictor`.

    Raises:
        PredictorError: As :func:`find_predictor`; or if the folder is not empty.
        ConfigError: An unknown form.

    Example:
        >>> import mlflow, numpy as np, pandas as pd
        >>> from safetensors.numpy import save
        >>> folder = Path(tempfile.mkdtemp(), "rows")
        >>> export_for_tables(folder)
        >>> table = pd.DataFrame({"content": [save({"maps": np.ones((4, 8, 2, 2), np.float16)})] * 2})
        >>> len(mlflow.pyfunc.load_model(str(folder)).predict(table))
        2
    """
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PredictorError(f"{folder} already exists and is not an empty folder. Name a new one.")
    save_model(folder, find_predictor(uri, client).predictor, form=form)


def _read(uri: str, client: MlflowClient | None) -> Predictor:
    with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
        try:
            path = fetch_model(uri, folder, client)
        except Exception as error:
            raise _not_fetched(uri, error) from error
        return load_predictor(path)


def _not_fetched(uri: str, error: Exception) -> PredictorError:
    name, reason = without_credentials(uri), hide_credentials(error).rstrip(". ")
    return PredictorError(f"The predictor {name!r} cannot be fetched: {reason}. {HOW_TO_GET_ONE}")
