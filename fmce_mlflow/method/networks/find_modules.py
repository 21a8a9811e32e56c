"""Find functional modules of a model: by name, by glob, or the last feature stage by default.

The choice of the default module is ours; ``docs/backbones.md`` has it by family.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import detection, segmentation
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from fmce_mlflow.errors import BackboneError, CaptureError
from fmce_mlflow.method.networks.capture import HOW_TO_LIST, as_map, capture, parts
from fmce_mlflow.method.networks.forward import as_input
from fmce_mlflow.method.networks.model_forms import forms_of_modules, named_modules, probing, run, type_name, unwrap

LAST_STAGE: dict[type[nn.Module], str] = {
    models.AlexNet: "features",
    models.ConvNeXt: "features",
    models.DenseNet: "features",
    models.EfficientNet: "features",
    models.GoogLeNet: "inception5b",
    models.Inception3: "Mixed_7c",
    models.MNASNet: "layers",
    models.MaxVit: "blocks.3",
    models.MobileNetV2: "features",
    models.MobileNetV3: "features",
    models.RegNet: "trunk_output",
    models.ResNet: "layer4",
    models.ShuffleNetV2: "conv5",
    models.SqueezeNet: "features",
    models.SwinTransformer: "permute",
    models.VGG: "features",
    models.VisionTransformer: "encoder",
    GeneralizedRCNN: "backbone",
    detection.FCOS: "backbone",
    detection.RetinaNet: "backbone",
    detection.ssd.SSD: "backbone",
    segmentation.DeepLabV3: "backbone",
    segmentation.FCN: "backbone",
    segmentation.LRASPP: "backbone",
}
_STAGE_BY_TYPE_NAME = {f"{kind.__module__}.{kind.__qualname__}": stage for kind, stage in LAST_STAGE.items()}


class _Call(NamedTuple):
    name: str
    has_map: bool  # in a tuple or dict, too
    size: int | None  # h·w of the map, where the module returns one tensor and that is a map


def list_modules(model: nn.Module) -> list[str]:
    """Dotted names of all modules below the root, parents before children.

    Wrappers (``DistributedDataParallel``, ``torch.compile``) leave no trace in the names.

    Example:
        >>> list_modules(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Sequential(nn.ReLU())))
        ['0', '1', '1.0']
    """
    return list(named_modules(model))


def resolve_modules(model: nn.Module, wanted: Sequence[str], *, example: Tensor) -> tuple[str, ...]:
    """Check names of functional modules and expand globs.

    Args:
        model: In any form.
        wanted: Dotted names of modules or of their outputs, or globs, in which ``*`` stands for a part of one level
            (``layer*``, ``layer4.*.conv2``) and ``**`` for any number of levels. A glob takes those modules that give a
            feature map. Empty: the default module.
        example: Images (n, 3, h, w) for one forward pass.

    Returns:
        The names, each once, in the order of ``wanted``.

    Raises:
        BackboneError: A name that the model does not have, or a glob that fits none.
        CaptureError: A module that has no feature map.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Flatten())
        >>> resolve_modules(net, ["*"], example=torch.zeros(1, 3, 4, 4))
        ('0', '1')
        >>> resolve_modules(net, [], example=torch.zeros(1, 3, 4, 4))
        ('1',)
    """
    if not wanted:
        return (default_module(model, example),)
    names: list[str] = []
    mapped = {call.name for call in _calls(model, example) if call.has_map} if "*" in "".join(wanted) else set()
    for name in wanted:
        if "*" not in name:
            names.append(name)
            continue
        fitting = [module for module in list_modules(model) if _glob(name).fullmatch(module)]
        if not mapped.intersection(fitting):
            why = f"fits {', '.join(fitting[:5])}, which give no feature map" if fitting else "fits no module"
            raise BackboneError(f"{name!r} {why}. {HOW_TO_LIST}")
        names.extend(module for module in fitting if module in mapped)
    names = list(dict.fromkeys(names))
    with capture(model, names) as forward:
        forward(as_input(model, example))
    return tuple(names)


def default_module(model: nn.Module, example: Tensor) -> str:
    """The last feature stage of a model, by one forward pass of example images (n, 3, h, w).

    For torchvision's families a table says which module that is, also where one such network sits inside another model
    or is exported; for its detectors and segmentation models it is their backbone. Otherwise it is the module whose
    call ended last among those that return one tensor, a feature map (of more than one position, if there are such),
    leaving out pooling, dropout and identities.

    Raises:
        CaptureError: No module has a feature map.

    Example:
        >>> net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> default_module(net, torch.zeros(1, 3, 4, 4))
        '0'
    """
    network = unwrap(model)
    modules = named_modules(network)
    calls = _calls(network, example)
    called = {call.name for call in calls}
    known = [
        f"{name}.{stage}".lstrip(".")
        for name, module in {"": network, **modules}.items()
        if (stage := _known_stage(module)) and (not name or name in called)
    ]
    if len(known) == 1 and known[0] in called:
        return known[0]
    staged = [call for call in calls if call.size and not _passes_through(modules[call.name])]
    if not staged:
        raise CaptureError(
            f"No module of this {type(network).__name__} has a feature map: for images {tuple(example.shape)} none "
            f"gives floats of shape (n, C, H, W), or tokens (n, L, D). {HOW_TO_LIST}"
        )
    return next((call.name for call in reversed(staged) if call.size != 1), staged[-1].name)


def earlier_modules(model: nn.Module, names: Sequence[str], *, example: Tensor) -> tuple[str, tuple[str, ...]]:
    """Which modules lie earlier in a network than its last feature stage: weights lie between them and its end.

    Returns:
        The last feature stage, and those of ``names`` that lie earlier.

    Raises:
        CaptureError: No module has a feature map.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Flatten())
        >>> earlier_modules(net, ["0", "1", "2", "3"], example=torch.zeros(1, 3, 4, 4))
        ('3', ('0', '1'))
    """
    network = unwrap(model)
    modules = named_modules(network)
    last = default_module(network, example)
    ends = {call.name: place for place, call in enumerate(_calls(network, example))}
    weighty = [
        place
        for name, place in ends.items()
        if place <= ends[last] and any(p.dim() > 1 for p in modules[name].parameters(recurse=False))
    ]
    found = []
    for name in names:
        module = name
        while module not in ends and "." in module:  # an output of it
            module = module.rpartition(".")[0]
        if module in ends and any(place > ends[module] for place in weighty):
            found.append(name)
    return last, tuple(found)


def _calls(model: nn.Module, example: Tensor) -> list[_Call]:
    """Every module called in a forward pass, in the order in which the calls ended."""
    network = unwrap(model)
    images = as_input(network, example)
    calls: list[_Call] = []

    def record(name: str, output: Any) -> None:
        maps = [found for _, value in parts(output) if isinstance(found := as_map(value, images=images), Tensor)]
        size = maps[0].shape[2] * maps[0].shape[3] if maps and isinstance(output, Tensor) else None
        calls.append(_Call(name, bool(maps), size))

    handles = [
        module.register_forward_hook(lambda _module, _args, output, name=name: record(name, output))
        for name, forms in forms_of_modules(network).items()
        for module in forms
    ]
    try:
        with torch.no_grad(), probing(network):
            run(network, images)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _known_stage(module: nn.Module) -> str | None:
    stages = (LAST_STAGE.get(kind) for kind in type(module).__mro__)
    return next(filter(None, stages), None) or _STAGE_BY_TYPE_NAME.get(type_name(module))


def _passes_through(module: nn.Module) -> bool:
    """Whether a module is pooling, dropout or an identity: no stage of features by itself."""
    kind = type_name(module).rpartition(".")[2].lower()
    return any(word in kind for word in ("pool", "dropout", "droppath", "stochasticdepth", "identity"))


def _glob(pattern: str) -> re.Pattern[str]:
    """A pattern in which ``*`` stays within one level of a dotted name and ``**`` does not."""
    meaning = {"**": r".*", "*": r"[^.]*"}
    return re.compile("".join(meaning.get(part) or re.escape(part) for part in re.split(r"(\*\*|\*)", pattern)))
