"""From any MLflow model to a PyTorch module in which hooks work, with what its metadata and signature say."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.environment_variables
import mlflow.pytorch
import numpy as np
import torch
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel
from torch import nn

from fmce_mlflow.errors import BackboneError, ModelError
from fmce_mlflow.method.images.preprocessing import InputShape
from fmce_mlflow.method.networks.entry import Entry, check_inputs
from fmce_mlflow.method.networks.model_forms import is_flat_graph, load_exported
from fmce_mlflow.runs.descriptions import read_description
from fmce_mlflow.runs.model_files import fetch_model
from fmce_mlflow.safety.credentials import hide_credentials, without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

METADATA = "fmce"
_CHANNELS = (1, 3)
EXPORTED = Path("data", "model.pt2")
HOW_TO_LOG = "Log the network itself with mlflow.pytorch.log_model(model, name=…, input_example=…)."


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """What this project's runs write into a model's metadata; anybody may, under the key ``fmce``."""

    preprocessing: Mapping[str, Any] | None = None  # as Preprocessing.from_dict takes it
    modules: tuple[str, ...] = ()  # those whose maps were recorded
    snapshot: int | None = None  # of the source run
    source_run: str | None = None
    backbone: str | None = None
    classes: tuple[str, ...] = ()

    @classmethod
    def read(cls, metadata: Mapping[str, Any] | None) -> TrainingFacts:
        """Take what is usable of a model's metadata, which may be anybody's.

        Example:
            >>> facts = TrainingFacts.read({"fmce": {"snapshot": 12, "modules": ["layer4"], "backbone": 7}})
            >>> facts.snapshot, facts.modules, facts.backbone
            (12, ('layer4',), None)
        """
        found = (metadata or {}).get(METADATA)
        if not isinstance(found, Mapping):
            return cls()
        preprocessing, snapshot = found.get("preprocessing"), found.get("snapshot")
        return cls(
            preprocessing=dict(preprocessing) if isinstance(preprocessing, Mapping) else None,
            modules=_texts(found.get("modules")),
            snapshot=snapshot if isinstance(snapshot, int) and not isinstance(snapshot, bool) else None,
            source_run=_text(found.get("source_run")),
            backbone=_text(found.get("backbone")),
            classes=_texts(found.get("classes")),
        )


@dataclass(frozen=True, slots=True, eq=False)
class TorchModel:
    """A network and what MLflow knows of it.

    Attributes:
        network: An eager or an unflattened model; hooks on its submodules are called.
        uri: The URI it was loaded from, or ``models:/m-…``.
        model_id: Its logged model; None if it was never logged.
        input_shape: Channels, height and width, from its signature or input example; None if it has neither, and for
            each that may be of any size.
        facts: What its metadata says of its training.
        fixed_batch: The only number of images that it takes at a time; None if any will do. ``torch.export`` fixes it
            if the input example has one image, whatever the signature says.
        entry: How its forward takes the images, by its signature.
        takes_bytes: Whether its signature asks for uint8, which it then scales itself.
    """

    network: nn.Module
    uri: str
    model_id: str | None = None
    input_shape: InputShape | None = None
    facts: TrainingFacts = field(default_factory=TrainingFacts)
    fixed_batch: int | None = None
    entry: Entry = field(default_factory=Entry)
    takes_bytes: bool = False


def load_torch_model(uri: str, client: MlflowClient | None = None) -> TorchModel:
    """Load the network of an MLflow model, on the CPU.

    Warning: this can execute code that is in the model, for both of MLflow's formats. Load only what you trust.

    Args:
        uri: ``models:/name/version``, ``models:/name@alias``, ``models:/m-<id>``, ``runs:/<id>/<path>``, or a folder.
        client: Client of the server that has it; None: that of MLflow's tracking URI.

    Raises:
        ModelError: If there is no such model, it is not a PyTorch model, or it cannot be loaded.
    """
    shown = without_credentials(uri)
    with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
        try:
            path = fetch_model(uri, folder, client)
            description = read_description(path)
        except Exception as error:  # each kind of store has errors of its own
            raise ModelError(
                f"The model {shown!r} cannot be fetched: {hide_credentials(error).rstrip('. ')}. "
                "Expected models:/NAME/VERSION, models:/NAME@ALIAS, models:/m-…, runs:/ID/PATH or a model's folder."
            ) from error
        check_flavor(description, shown)
        network = _load_network(path, shown)
        example = None if _sizes(description) else _example(description, path)
    return _described(network, shown, description, example)


def torch_model_of(model: Any, client: MlflowClient | None = None) -> TorchModel:
    """The network inside a model as MLflow's evaluators are given it, by ``mlflow.pyfunc.load_model``.

    A pickled model's own network is taken, on its device. One that was exported is loaded a second time, because hooks
    are not called in the graph that MLflow makes of it.

    Raises:
        ModelError: If it is not a PyTorch model in this process; says what it is.
    """
    if model is None:
        raise ModelError(
            "The fmce evaluator looks inside a model, and was given predictions alone. Pass model= a model's URI."
        )
    if not isinstance(model, PyFuncModel):
        raise ModelError(
            f"The fmce evaluator looks inside a PyTorch model, and was given {_kind(model)}. {HOW_TO_LOG} Then pass "
            "its URI."
        )
    description: Model = model.metadata
    uri = _uri(description)
    check_flavor(description, uri or "The model")
    network = getattr(model._model_impl, "pytorch_model", None)
    if not isinstance(network, nn.Module):
        raise ModelError(
            "The model runs in another process, so its feature maps cannot be taken. Evaluate it with "
            "env_manager='local'."
        )
    if isinstance(network, torch.fx.GraphModule) and is_flat_graph(network):
        if uri is None:
            raise ModelError(
                "The model is exported (pt2) and was loaded from a folder, so MLflow does not say where. Log it and "
                "pass its URI, or use fmce_mlflow.evaluation.evaluate.evaluate_model with the folder."
            )
        return load_torch_model(uri, client)
    example = None if _sizes(description) else model.input_example
    return _described(network, uri or type(network).__name__, description, example)


def _described(network: nn.Module, uri: str, description: Model, example: Any) -> TorchModel:
    specs = _specs(description)
    check_inputs(network, [spec.name or f"input {place}" for place, spec in enumerate(specs)])
    sizes = _sizes(description) or _example_sizes(example)
    channels_last = sizes is not None and sizes[2] in _CHANNELS and sizes[0] not in _CHANNELS
    if sizes is not None and channels_last:
        sizes = (sizes[2], *sizes[:2])
    return TorchModel(
        network,
        uri,
        description.model_id,
        sizes,
        TrainingFacts.read(description.metadata),
        _fixed_batch(network),
        Entry(next((spec.name for spec in specs if len(spec.shape) == 4), None), channels_last=channels_last),
        takes_bytes=next((spec.type == np.uint8 for spec in specs if len(spec.shape) == 4), False),
    )


def check_flavor(description: Model, name: str) -> None:
    """Refuse a model of other flavors; ModelError names them."""
    if mlflow.pytorch.FLAVOR_NAME in description.flavors:
        return
    there = ", ".join(sorted(set(description.flavors) - {"python_function"})) or "python_function"
    raise ModelError(f"{name} is no PyTorch model: its MLflow flavors are {there}. {HOW_TO_LOG}")


def _load_network(path: Path, uri: str) -> nn.Module:
    try:
        if (path / EXPORTED).is_file():
            if not _pickles_allowed():
                mlflow.pytorch.load_model(str(path))  # which looks for pickles in the archive first, and refuses them
            return load_exported(path)
        network = mlflow.pytorch.load_model(str(path), map_location="cpu", weights_only=False)
    except BackboneError as error:
        raise ModelError(f"{uri} cannot be loaded: {error}") from error
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{uri} was pickled, and needs the Python module {error.name!r}, which is not here. Install it, or log the "
            "model with code_paths=[…], or with serialization_format='pt2', which needs no code."
        ) from error
    except Exception as error:  # a pickle can fail in any way
        raise ModelError(f"{uri} cannot be loaded: {hide_credentials(f'{type(error).__name__}: {error}')}") from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"{uri} holds {_kind(network)} and no torch.nn.Module. {HOW_TO_LOG}")
    return network


def _pickles_allowed() -> bool:
    """Whether MLflow may unpickle here, by its own environment variable; releases without it know no other way."""
    setting = getattr(mlflow.environment_variables, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION", None)
    return setting is None or bool(setting.get())


def _uri(description: Model) -> str | None:
    if description.model_id:
        return f"models:/{description.model_id}"
    if description.run_id and description.artifact_path:
        return f"runs:/{description.run_id}/{description.artifact_path}"
    return None


def _specs(description: Model) -> list[Any]:
    """The tensors that a signature asks for."""
    inputs = description.signature.inputs if description.signature else None
    return list(inputs.inputs) if inputs is not None and inputs.is_tensor_spec() else []


def _sizes(description: Model) -> InputShape | None:
    """Of the only or first tensor of four dimensions, all but the first."""
    shapes = (tuple(spec.shape[1:]) for spec in _specs(description) if len(spec.shape) == 4)
    first, second, third = (int(size) if size > 0 else None for size in next(shapes, (-1, -1, -1)))
    return (first, second, third) if first or second or third else None


def _fixed_batch(network: nn.Module) -> int | None:
    graph = getattr(network, "graph", None)
    if not isinstance(network, torch.export.UnflattenedModule) or not isinstance(graph, torch.fx.Graph):
        return None
    inputs = (node.meta.get("val") for node in graph.nodes if node.op == "placeholder")
    images = next((value for value in inputs if isinstance(value, torch.Tensor) and value.dim() == 4), None)
    return images.shape[0] if images is not None and isinstance(images.shape[0], int) else None


def _example(description: Model, path: Path) -> Any:
    try:
        return description.load_input_example(str(path))
    except Exception:  # examples are for readers; what cannot be read says nothing
        return None


def _example_sizes(example: Any) -> InputShape | None:
    """Channels alone, first or last: other heights and widths may do."""
    if isinstance(example, Mapping):
        example = next(iter(example.values()), None)
    if not isinstance(example, np.ndarray) or example.ndim != 4:
        return None
    first, last = int(example.shape[1]), int(example.shape[3])
    return (None, None, last) if last in _CHANNELS and first not in _CHANNELS else (first, None, None)


def _kind(value: Any) -> str:
    name = type(value).__name__
    if name == "_PythonModelPyfuncWrapper":
        return "a Python function or an endpoint"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else ()
