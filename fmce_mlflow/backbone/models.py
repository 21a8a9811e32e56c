"""Log trained backbones as MLflow models, with what a stranger needs to feed them."""

from __future__ import annotations

import copy
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import mlflow.pytorch
import numpy as np
import torch
from mlflow.models import Model, ModelSignature
from mlflow.pytorch import pickle_module
from mlflow.types import Schema, TensorSpec
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn
from torch.nn.utils import parametrize

from fmce_mlflow.backbone.options import Format
from fmce_mlflow.errors import ArtifactError, BackboneError
from fmce_mlflow.method.networks.take_maps import random_state_kept
from fmce_mlflow.method.training.state import load_weights
from fmce_mlflow.runs.artifacts import artifact_repository, fetched
from fmce_mlflow.runs.logged_models import log_saved_model, register
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import Sink
from fmce_mlflow.safety.reading import check_header, check_sha256, read_file
from fmce_mlflow.safety.retry import short

if TYPE_CHECKING:
    from torch import Tensor

    from fmce_mlflow.method.images.split import ImageData

WEIGHTS = "weights"
METADATA = "fmce"
MAX_WEIGHTS_BYTES = 64 * 2**30
MAX_HEADER = 16 * 2**20


def save_weights(sink: Sink, run_id: str, snapshot: int, weights: Mapping[str, Tensor]) -> str:
    """Keep a snapshot's weights until it is known which snapshots are markers; returns the file's sha256."""
    data = save_tensors({k: v.clone() for k, v in weights.items()})
    with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
        path = Path(folder, f"snapshot_{snapshot:05d}.safetensors")
        path.write_bytes(data)
        sink.log_artifact(run_id, str(path), WEIGHTS)
    return hashlib.sha256(data).hexdigest()


def log_models(
    run: Run,
    model: nn.Module,
    data: ImageData,
    *,
    modules: Sequence[str],
    backbone: str,
    serialization: Format,
    final: int,
    markers: Sequence[int],
    register_as: str | None,
    kept: Mapping[int, str] | None = None,
) -> str:
    """Log the trained model, at snapshot ``final`` and on the CPU, and those of the markers, from their kept weights.

    What is logged already is left alone. Returns the final model's URI, ``models:/m-…``.
    """
    outputs = run.fetch().outputs
    logged = {output.step: output.model_id for output in (outputs.model_outputs if outputs else [])}
    last = {k: v.clone() for k, v in model.state_dict().items()}
    for snapshot in [*(m for m in markers if m != final), final]:
        if snapshot in logged:
            continue
        load_weights(model, last if snapshot == final else kept_weights(run, snapshot, (kept or {}).get(snapshot)))
        model.eval()
        metadata = {
            "backbone": backbone,
            "modules": list(modules),
            "snapshot": snapshot,
            "source_run": run.id,
            "classes": list(data.classes),
            "preprocessing": data.preprocessing.to_dict(),
        }
        logged[snapshot] = log_saved_model(
            run.client,
            run.id,
            lambda path, description: _save(model, path, data, description, serialization, run.say),
            name="model" if snapshot == final else f"model_snapshot_{snapshot:05d}",
            step=snapshot,
            metadata={METADATA: metadata},
        )
    if register_as:
        register(run.client, run.id, logged[final], register_as)
    if any(file.path == WEIGHTS for file in run.client.list_artifacts(run.id)):
        artifact_repository(run.client, run.id).delete_artifacts(WEIGHTS)
    return f"models:/{logged[final]}"


def kept_weights(run: Run, snapshot: int, sha256: str | None) -> dict[str, Tensor]:
    """What :func:`save_weights` kept.

    Raises:
        ArtifactError: If it is missing, or cannot be read.
        IntegrityError: If it is not what was written.
    """
    name = f"{WEIGHTS}/snapshot_{snapshot:05d}.safetensors"
    owned = f"{name} of run {run.id}"
    with fetched(run.client, run.id, name) as path:
        if path is None:
            raise ArtifactError(
                f"The weights of snapshot {snapshot} of run {run.id} are missing. Train with --log-checkpoints again."
            )
        data = read_file(path, MAX_WEIGHTS_BYTES, owned)
    if sha256 is not None:
        check_sha256(data, sha256, owned)
    check_header(data, MAX_HEADER, owned)
    try:
        return dict(load_tensors(data))
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ArtifactError(f"{owned} cannot be read ({error}). Train with --log-checkpoints again.") from None


def _save(
    model: nn.Module,
    path: Path,
    data: ImageData,
    description: Model,
    serialization: Format,
    say: Callable[[str], None],
) -> None:
    """Save a model in MLflow's layout; as a pickle if torch.export cannot do it."""
    pre = data.preprocessing
    example = torch.stack([pre(data.probe[i][0]) for i in range(2)])  # (2, 3, H, W): torch.export fixes a size of 1
    with torch.no_grad():
        classes = model(example).shape[1]
    float32 = np.dtype(np.float32)
    arguments: dict[str, Any] = {
        "mlflow_model": description,
        "signature": ModelSignature(
            Schema([TensorSpec(float32, (-1, 3, pre.height, pre.width))]), Schema([TensorSpec(float32, (-1, classes))])
        ),
        "input_example": example.numpy(),
        "pip_requirements": [f"{name}=={version(name).partition('+')[0]}" for name in ("torch", "torchvision")],
    }
    why = ""
    with _quiet():
        if serialization == "pt2":
            try:
                mlflow.pytorch.save_model(model, str(path), serialization_format="pt2", **arguments)
                return
            except OSError:
                raise
            except Exception as error:  # torch.export gives up in many ways
                why = f"as pt2 ({short(error)}), nor "
                say(f"The model cannot be exported to pt2 ({type(error).__name__}); it is logged as a pickle instead.")
                shutil.rmtree(path, ignore_errors=True)
        try:
            mlflow.pytorch.save_model(unparametrized(model), str(path), serialization_format="pickle", **arguments)
        except OSError:
            raise
        except Exception as error:  # as do pickles
            raise BackboneError(
                f"The network cannot be logged {why}as a pickle ({short(error)}). Define its "
                "classes and functions at the top of a module that can be imported, and keep no open files, locks or "
                "generators in it."
            ) from None


def check_saving(model: nn.Module, data: ImageData, serialization: Format) -> None:
    """Try whether a network can be logged once it is trained.

    Where a pickle can be made nothing else is tried: it is what an export that fails falls back to.

    Raises:
        BackboneError: If it cannot.
    """
    nowhere: Any = _Nowhere()
    with suppress(Exception), random_state_kept(model):
        torch.save(unparametrized(model), nowhere, pickle_module=pickle_module)
        return
    with tempfile.TemporaryDirectory(prefix="fmce-") as folder, random_state_kept(model):
        _save(model.eval(), Path(folder, "model"), data, Model(), serialization, lambda line: None)


def unparametrized(model: nn.Module) -> nn.Module:
    """The network with plain weights in place of torch's parametrizations, which no pickle takes; a copy if it has any.

    Example:
        >>> model = nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
        >>> sorted(model.state_dict())[1:], sorted(unparametrized(model).state_dict())
        (['0.parametrizations.weight.original0', '0.parametrizations.weight.original1'], ['0.bias', '0.weight'])
    """
    if not any(parametrize.is_parametrized(module) for module in model.modules()):
        return model
    plain = copy.deepcopy(model)
    for module in list(plain.modules()):
        if parametrize.is_parametrized(module):
            with torch.no_grad():
                computed = {name: getattr(module, name).clone() for name in module.parametrizations}  # type: ignore[union-attr]
            # torch's remove_parametrizations takes the weights off the class, which the original shares with its copy.
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
            for name, value in computed.items():
                module.register_parameter(name, nn.Parameter(value))
    return plain


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: bytes) -> int:
        """Take it."""
        return len(data)

    def flush(self) -> None:
        """There is nothing to flush."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's notes about pickles and requirements out of a run's output."""
    loggers = [logging.getLogger(f"mlflow.{name}") for name in ("pytorch", "models.model", "utils.environment")]
    before = {logger: logger.level for logger in loggers}
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
