"""Train the architecture of an MLflow model anew: fresh weights, and images prepared as it takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.errors import BackboneError, ConfigError, DataError, FmceError, ModelError
from fmce_mlflow.method.images.preprocessing import as_preprocessing
from fmce_mlflow.method.images.split import ImageData, load_images, prepared_as
from fmce_mlflow.method.networks.architecture import architecture
from fmce_mlflow.method.networks.backbones import STEMS, backbone_names, build_backbone
from fmce_mlflow.method.networks.config import Stem
from fmce_mlflow.method.networks.find_modules import resolve_modules
from fmce_mlflow.method.networks.forward import as_input
from fmce_mlflow.method.networks.fresh_weights import reinitialised
from fmce_mlflow.method.networks.model_forms import probing, unwrap
from fmce_mlflow.method.networks.take_maps import random_state_kept
from fmce_mlflow.runs.torch_models import TorchModel

OWN_LOOP = "Train it in your own loop with fmce_mlflow.record(…, evidence=True), and name the runs in --source-runs."


@dataclass(frozen=True, slots=True, eq=False)
class Anew:
    """What is trained anew."""

    options: BackboneOptions
    data: ImageData
    network: Callable[[int], nn.Module]  # from a training's seed
    notes: tuple[str, ...] = ()


def anew(model: TorchModel, options: BackboneOptions, factory: str = "") -> Anew:
    """Find out how to train the architecture of a model anew, and try it.

    Args:
        model: A pickled network is copied with fresh weights. One that is exported cannot be trained: the factory
            builds it, which may be the one that its metadata names.
        options: Of the trainings; modules are by default those that were recorded when the model was trained.
        factory: A backbone that builds the network; empty: found out.

    Raises:
        BackboneError: If the factory builds another network.
        DataError: If the images are not there, or their labels do not fit the model's output.
        ModelError: If the network cannot be trained.
    """
    notes: list[str] = []
    data = _images(model, options, notes)
    outputs = _outputs(model, data)
    _check_labels(model, data, outputs, notes)
    name, stem, build = _network(model, data, outputs, options, factory, notes)
    _try(build(0), data, model.uri)
    modules = options.modules or tuple(one for one in model.facts.modules if one in dict(model.network.named_modules()))
    with random_state_kept(model.network):
        resolve_modules(build(0), modules, example=_example(data), token_grid=options.token_grid)
    return Anew(replace(options, backbone=name, stem=stem, modules=modules), data, build, tuple(notes))


def _images(model: TorchModel, options: BackboneOptions, notes: list[str]) -> ImageData:
    """The images, prepared as the model takes them."""
    own = model.facts.preprocessing
    try:
        wanted = as_preprocessing(own, input_shape=model.input_shape)
    except ConfigError as error:
        raise ModelError(f"The preprocessing in the metadata of {model.uri} cannot be read: {error}") from None
    height, width = (model.input_shape or (None, None, None))[1:]
    if wanted is None and height and height == width:
        options = replace(options, image_size=options.image_size or height)
    data = load_images(options)
    if wanted is None:
        notes.append(
            f"{model.uri} does not say how its images are prepared, so mean and standard deviation are those of "
            f"{options.dataset}."
        )
        return data
    if options.image_size not in (None, wanted.height):
        raise ConfigError(f"image-size is {options.image_size}, and {model.uri} takes {wanted.height}x{wanted.width}")
    return prepared_as(data, wanted)


def _example(data: ImageData, n: int = 2) -> Tensor:
    return torch.stack([data.preprocessing(data.probe[place][0]) for place in range(min(n, len(data.probe)))])


def _outputs(model: TorchModel, data: ImageData) -> int:
    """How many class scores the model gives."""
    if model.takes_bytes or model.entry.channels_last:
        raise ModelError(f"{model.uri} takes images in another form than floats (n, C, H, W). {OWN_LOOP}")
    size = model.fixed_batch or 2
    try:
        with probing(model.network), torch.no_grad(), model.entry.open(model.network):
            found = model.network(as_input(model.network, _example(data, size)))
    except FmceError:
        raise
    except Exception as error:  # a network's forward raises what it likes
        raise ModelError(
            f"{model.uri} cannot take the images of {data.name} ({type(error).__name__}: {error!s:.300}). Name images "
            f"like those that it was trained on. {OWN_LOOP}"
        ) from error
    if not isinstance(found, Tensor) or found.dim() != 2 or not found.is_floating_point():
        raise ModelError(f"{model.uri} gives no class scores (n, K) that could be trained here. {OWN_LOOP}")
    return int(found.shape[1])


def _check_labels(model: TorchModel, data: ImageData, outputs: int, notes: list[str]) -> None:
    classes = model.facts.classes
    if len(classes) == outputs and classes != data.classes:
        raise DataError(
            f"The labels of {data.name} do not fit the output of {model.uri}: its classes are {_named(classes)}, those "
            f"of the images {_named(data.classes)}. Name images of the model's own classes."
        )
    if len(data.classes) > outputs:
        raise DataError(
            f"The labels of {data.name} do not fit the output of {model.uri}: there are {len(data.classes)} classes, "
            f"and it gives {outputs} scores. Name images of the model's own classes."
        )
    if len(data.classes) < outputs:
        notes.append(f"{data.name} has {len(data.classes)} classes, and {model.uri} gives {outputs} scores.")


def _named(classes: Sequence[str]) -> str:
    return f"{len(classes)} ({', '.join(classes[:4])}{', …' if len(classes) > 4 else ''})"


def _network(
    model: TorchModel, data: ImageData, outputs: int, options: BackboneOptions, factory: str, notes: list[str]
) -> tuple[str, Stem, Callable[[int], nn.Module]]:
    """What the network is called, its stem, and what makes it from a seed."""
    wanted, uri, named = architecture(model.network), model.uri, model.facts.backbone or ""
    exported = isinstance(unwrap(model.network), torch.export.UnflattenedModule)
    if factory or (exported and named in backbone_names()):  # a name in metadata imports nobody's code
        for stem in STEMS if options.stem == "auto" else (options.stem,):
            build = partial(_built, factory or named, outputs, data.preprocessing.height, stem)
            if architecture(build(0)) == wanted:
                if not factory:
                    notes.append(f"{uri} is exported, so its architecture is built anew by its name, {named}.")
                return factory or named, stem, build
        if factory:
            raise BackboneError(
                f"--backbone {factory} builds another network than {uri}: names or shapes of the parameters differ. "
                "Name the factory, and the --stem, that the model was made with."
            )
    if exported:
        raise ModelError(
            f"{uri} is exported (pt2): its graph has no code that could be trained. Name the factory that builds the "
            "network, as in --backbone resnet18, timm:NAME or package.module:factory."
        )
    return named or uri, options.stem, partial(_copied, model)


def _built(name: str, outputs: int, size: int, stem: Stem, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build_backbone(name, num_classes=outputs, image_size=size, stem=stem)


def _copied(model: TorchModel, seed: int) -> nn.Module:
    try:
        made = reinitialised(model.network, seed=seed)
    except Exception as error:  # a model's __deepcopy__ raises what it likes
        raise ModelError(
            f"{model.uri} cannot be copied with fresh weights ({type(error).__name__}: {error!s:.300}). Name the "
            f"factory that builds it in --backbone. {OWN_LOOP}"
        ) from error
    for parameter in made.parameters():  # some may have been frozen when it was logged
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    return made.train()


def _try(network: nn.Module, data: ImageData, uri: str) -> None:
    """Take one step's gradients: what cannot be trained says so before a run is made."""
    try:
        with random_state_kept(network), torch.enable_grad():
            scores = network.train()(as_input(network, _example(data)))
            F.cross_entropy(scores.float(), torch.zeros(len(scores), dtype=torch.long)).backward()
        if not any(parameter.grad is not None for parameter in network.parameters()):
            raise ValueError("no parameter has a gradient")
    except Exception as error:  # a network's forward raises what it likes
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ModelError(
            f"The network of {uri} cannot be trained ({why}). Name the factory that builds it in --backbone. {OWN_LOOP}"
        ) from error
