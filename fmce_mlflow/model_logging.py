"""Log trained backbones as MLflow models, with what a stranger needs to feed them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import mlflow
import mlflow.pytorch
import numpy as np
import torch
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from safetensors.torch import load_file, save_file

from fmce_mlflow.errors import ArtifactError
from fmce_mlflow.feature_maps import artifact_repository, fetched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from torch import Tensor, nn

    from fmce_mlflow.method.images import ImageData

Format = Literal["pt2", "pickle"]

WEIGHTS = "weights"
METADATA = "fmce"


def save_weights(client: MlflowClient, run_id: str, snapshot: int, weights: Mapping[str, Tensor]) -> None:
    """Keep a snapshot's weights until it is known which snapshots are markers."""
    with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
        path = Path(folder, f"snapshot_{snapshot:05d}.safetensors")
        save_file({k: v.clone() for k, v in weights.items()}, path)
        client.log_artifact(run_id, str(path), WEIGHTS)


def log_models(
    client: MlflowClient,
    run_id: str,
    model: nn.Module,
    data: ImageData,
    *,
    modules: Sequence[str],
    backbone: str,
    serialization: Format,
    final: int,
    markers: Sequence[int],
    register_as: str | None,
    say: Callable[[str], None],
) -> str:
    """Log the trained model, and those of the markers; what is logged already is left alone.

    Args:
        client: MLflow client.
        run_id: The run.
        model: The network at its last snapshot, on the CPU.
        data: Its images: classes, preprocessing and an input example come from them.
        modules: The functional modules that were recorded.
        backbone: The backbone's name.
        serialization: MLflow's ``pt2``, or ``pickle``.
        final: The last snapshot.
        markers: Snapshots whose models are logged too; their weights must have been kept.
        register_as: Register the final model under this name.
        say: Prints a line for the user.

    Returns:
        The final model's URI, ``models:/m-…``.
    """
    logged = {
        output.step: output.model_id
        for output in (client.get_run(run_id).outputs.model_outputs if client.get_run(run_id).outputs else [])
    }
    last = {k: v.clone() for k, v in model.state_dict().items()}
    for snapshot in [*(m for m in markers if m != final), final]:
        if snapshot in logged:
            continue
        if snapshot == final:
            model.load_state_dict(last)
        else:
            with fetched(client, run_id, f"{WEIGHTS}/snapshot_{snapshot:05d}.safetensors") as path:
                if path is None:
                    raise ArtifactError(f"The weights of snapshot {snapshot} of run {run_id} are missing.")
                model.load_state_dict(load_file(path))
        name = "model" if snapshot == final else f"model_snapshot_{snapshot:05d}"
        info = _log(
            client,
            run_id,
            model.eval(),
            data,
            name=name,
            step=snapshot,
            serialization=serialization,
            metadata={
                "backbone": backbone,
                "modules": list(modules),
                "snapshot": snapshot,
                "source_run": run_id,
                "classes": list(data.classes),
                "preprocessing": data.preprocessing.to_dict(),
            },
            register_as=register_as if snapshot == final else None,
            say=say,
        )
        logged[snapshot] = info.model_id
    if any(file.path == WEIGHTS for file in client.list_artifacts(run_id)):
        artifact_repository(client, run_id).delete_artifacts(WEIGHTS)
    return f"models:/{logged[final]}"


def _log(
    client: MlflowClient,
    run_id: str,
    model: nn.Module,
    data: ImageData,
    *,
    name: str,
    step: int,
    serialization: Format,
    metadata: dict[str, Any],
    register_as: str | None,
    say: Callable[[str], None],
) -> Any:
    pre = data.preprocessing
    example = torch.stack([pre(data.probe[i][0]) for i in range(2)]).numpy()  # (2, 3, H, W)
    shape = (-1, 3, pre.height, pre.width)
    with torch.no_grad():
        classes = int(model(torch.from_numpy(example)).shape[1])
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(np.float32), shape)]), Schema([TensorSpec(np.dtype(np.float32), (-1, classes))])
    )
    run = client.get_run(run_id)
    created = client.create_logged_model(  # in the run's experiment; Model.log would take the active one
        run.info.experiment_id, name=name, source_run_id=run_id, params=dict(run.data.params)
    )
    arguments: dict[str, Any] = {
        "name": name,
        "model_id": created.model_id,
        "run_id": run_id,
        "step": step,
        "metadata": {METADATA: metadata},
        "registered_model_name": register_as,
        "pytorch_model": model,
        "signature": signature,
        "input_example": example,
        "pip_requirements": [f"{package}=={version(package)}" for package in ("torch", "torchvision")],
        "validate_serving_input": False,
    }
    with _quiet(), _tracking(client):
        try:
            return Model.log(None, mlflow.pytorch, serialization_format=serialization, **arguments)
        except mlflow.exceptions.MlflowException:
            raise
        except Exception as error:  # torch.export gives up in many ways
            if serialization == "pickle":
                raise
            say(f"The model cannot be exported to pt2 ({type(error).__name__}); it is logged as a pickle instead.")
            return Model.log(None, mlflow.pytorch, serialization_format="pickle", **arguments)


@contextmanager
def _tracking(client: MlflowClient) -> Iterator[None]:
    """Point MLflow's global state, which its model logging reads, at the client's server."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's notes about pickles and requirements out of a run's output."""
    loggers = [
        logging.getLogger(name) for name in ("mlflow.pytorch", "mlflow.models.model", "mlflow.utils.environment")
    ]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
