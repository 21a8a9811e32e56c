"""Find functional modules of a model: by name, by glob, or the last feature stage by default.

The choice of the default module is ours; ``docs/backbones.md`` has it by family.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import detection, segmentation
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from fmce_mlflow.errors import BackboneError, CaptureError
from fmce_mlflow.method.networks.batches import images_in, placed
from fmce_mlflow.method.networks.capture import HOW_TO_LIST, capture, parts, shows_grid
from fmce_mlflow.method.networks.flow import Flow
from fmce_mlflow.method.networks.layout import Known, Layout, Pass, TokenGrid
from fmce_mlflow.method.networks.model_forms import (
    Call,
    forms_of_modules,
    named_modules,
    probing,
    run,
    type_name,
    unwrap,
)

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

IMAGE_CHANNELS = 3
_POOLS = re.compile(r"att\w*_?pool|pooler")


class _Call(NamedTuple):
    name: str
    has_map: bool  # in a tuple or dict, too
    size: int | None  # h·w of the map, where the module returns one tensor and that is a map
    depth: float  # the share of the pass before its end: of all steps that weights made of maps
    is_output: (
        bool  # no features: the network's output is made of it without weights or not at all, or no images are in it
    )


def list_modules(model: nn.Module) -> list[str]:
    """Dotted names of all modules below the root, parents before children.

    Wrappers (``DistributedDataParallel``, ``torch.compile``) leave no trace in the names.

    Example:
        >>> list_modules(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Sequential(nn.ReLU())))
        ['0', '1', '1.0']
    """
    return list(named_modules(model))


def resolve_modules(
    model: nn.Module, wanted: Sequence[str], *, example: Any, token_grid: TokenGrid | None = None, call: Call = run
) -> tuple[str, ...]:
    """Check names of functional modules and expand globs.

    Args:
        model: In any form.
        wanted: Dotted names of modules or of their outputs, or globs, in which ``*`` stands for a part of one level
            (``layer*``, ``layer4.*.conv2``) and ``**`` for any number of levels. A glob takes those modules that give a
            feature map. Empty: the default module.
        example: Images (n, 3, h, w) for one forward pass, or another batch that ``call`` takes.
        token_grid: As :func:`~fmce_mlflow.method.networks.capture.capture` takes it.
        call: Calls the network with a batch.

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
        return (default_module(model, example, token_grid=token_grid, call=call),)
    names: list[str] = []
    mapped: set[str] = set()
    if "*" in "".join(wanted):
        mapped = {one.name for one in _calls(model, example, token_grid, call) if one.has_map}
    for name in wanted:
        if "*" not in name:
            names.append(name)
            continue
        fitting = [module for module in list_modules(model) if glob(name).fullmatch(module)]
        if not mapped.intersection(fitting):
            why = f"fits {', '.join(fitting[:5])}, which give no feature map" if fitting else "fits no module"
            raise BackboneError(f"{name!r} {why}. {HOW_TO_LIST}")
        names.extend(module for module in fitting if module in mapped)
    names = list(dict.fromkeys(names))
    with capture(model, names, token_grid=token_grid, call=call) as forward:
        forward(placed(unwrap(model), example))
    return tuple(names)


def default_module(model: nn.Module, example: Any, *, token_grid: TokenGrid | None = None, call: Call = run) -> str:
    """The last feature stage of a model, by one forward pass of example images (n, 3, h, w) or another batch.

    For torchvision's families a table says which module that is, also where one such network sits inside another model
    or is exported; for its detectors and segmentation models it is their backbone. Otherwise it is the module whose
    call ended last among those that return one tensor, a feature map (of more than one position, if there are such).
    Left out are pooling and what is in an attention pool, dropout, identities, linear layers, what the result is not
    made of, and outputs: what it is made of without further weights, unless an activation or norm made features of it.

    Raises:
        CaptureError: No module has a feature map, or most of the network comes after the last one.

    Example:
        >>> net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> default_module(net, torch.zeros(1, 3, 4, 4))
        '0'
    """
    network = unwrap(model)
    modules = named_modules(network)
    calls = _calls(network, example, token_grid, call)
    called = {call.name for call in calls}
    known = [
        f"{name}.{stage}".lstrip(".")
        for name, module in {"": network, **modules}.items()
        if (stage := _known_stage(module)) and (not name or name in called)
    ]
    if len(known) == 1 and known[0] in called:
        return known[0]
    mapped = [call for call in calls if call.size]
    staged = [call for call in mapped if not call.is_output and not _passes_through(call.name, modules)]
    if not mapped:
        raise CaptureError(
            f"No module of this {type(network).__name__} has a feature map: for {_said(example)} none "
            f"gives floats of shape (n, C, H, W), or tokens (n, L, D) of which it shows how they lie; of others, say "
            f"it with token_grid=(h, w). {HOW_TO_LIST}"
        )
    last = next((call for call in reversed(staged) if call.size != 1), staged[-1] if staged else None)
    if last is None or (last.depth < 0.5 and calls[-1].depth):
        raise _unclear(network, last, [call.name for call in mapped])
    return last.name


def earlier_modules(
    model: nn.Module, names: Sequence[str], *, example: Tensor, token_grid: TokenGrid | None = None
) -> tuple[str, tuple[str, ...]]:
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
    last = default_module(network, example, token_grid=token_grid)
    ends = {call.name: place for place, call in enumerate(_calls(network, example, token_grid))}
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


def _calls(model: nn.Module, example: Any, token_grid: TokenGrid | None = None, call: Call = run) -> list[_Call]:
    """Every module called in a forward pass, in the order in which the calls ended."""
    network = unwrap(model)
    batch = placed(network, example)
    images, known = images_in(batch), Known.of(network, token_grid)
    seen = [] if images is None else [images] if isinstance(images, Tensor) else images
    now, flow = Pass(images, known), Flow(network, seen, known.queries)
    ended: list[tuple[str, bool, tuple[int, ...] | None, int, int | None]] = []

    def record(name: str, module: nn.Module, output: Any) -> None:
        if shows_grid(module):
            now.see(output)
        maps = [found.map(value) for _, value in parts(output) if isinstance(found := now.read(value), Layout)]
        alone = isinstance(output, Tensor)
        shape = tuple(maps[0].shape[1:]) if maps and alone else None
        ended.append((name, bool(maps), shape, flow.weighted, flow.number(output) if alone else None))

    with torch.no_grad(), probing(network), flow, ExitStack() as hooks:  # probing tells what takes no hooks
        for name, forms in forms_of_modules(network).items():
            for module in forms:
                hook = module.register_forward_hook(lambda module, _, output, name=name: record(name, module, output))
                hooks.callback(hook.remove)
        result = call(network, batch)
    outputs = [value for _, value in parts(result) if value.is_floating_point()]
    tail, used = flow.reach(outputs), flow.reach(outputs, through_weights=True)
    told = bool(used) and all(flow.number(value) is not None for value in outputs)  # what they are made of
    return [
        _Call(
            name,
            has_map,
            shape[1] * shape[2] if shape else None,
            weighted / (flow.weighted or 1),
            number is None
            or (told and number not in used)
            or (number in tail and (flow.is_bare(number) or _is_image(shape, weighted))),
        )
        for name, has_map, shape, weighted, number in ended
    ]


def _said(example: Any) -> str:
    """A batch in an error."""
    images = images_in(example)
    if isinstance(images, Tensor):
        return f"images {tuple(images.shape)}"
    return f"{len(images)} images {tuple(images[0].shape)}" if images else "this batch"


def _is_image(shape: tuple[int, ...] | None, weighted: int) -> bool:
    """Whether a map that weights made is an image or a depth, even where an activation ends it."""
    return weighted > 0 and shape is not None and shape[0] <= IMAGE_CHANNELS


def _unclear(network: nn.Module, last: _Call | None, mapped: Sequence[str]) -> CaptureError:
    why = "all of its feature maps are outputs of the network or pooled"
    if last is not None:
        why = f"most of the network comes after {last.name}, the last module whose output can be read as a feature map"
    names = list(dict.fromkeys(mapped))[-8:]
    return CaptureError(
        f"It is not clear what the last feature stage of this {type(network).__name__} is: {why}. Name one in "
        f"`modules`; the last with maps are {', '.join(names)}. If it has tokens that are feature maps too, say with "
        "token_grid=(h, w) how they lie."
    )


def _known_stage(module: nn.Module) -> str | None:
    stages = (LAST_STAGE.get(kind) for kind in type(module).__mro__)
    return next(filter(None, stages), None) or _STAGE_BY_TYPE_NAME.get(type_name(module))


def _passes_through(name: str, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a module is pooling, dropout, an identity or a projection, or inside an attention pool: no stage."""
    kind = type_name(modules[name]).rpartition(".")[2].lower().replace("poolformer", "")  # PoolFormerGroupNorm is none
    if any(word in kind for word in ("pool", "dropout", "droppath", "stochasticdepth", "identity", "linear")):
        return True
    parts = name.split(".")
    parents = (".".join(parts[:end]) for end in range(1, len(parts)))
    return any(_POOLS.search(f"{parent} {type_name(modules[parent])}".lower()) for parent in parents)


def glob(pattern: str) -> re.Pattern[str]:
    """A pattern in which ``*`` stays within one level of a dotted name and ``**`` does not."""
    meaning = {"**": r".*", "*": r"[^.]*"}
    return re.compile("".join(meaning.get(part) or re.escape(part) for part in re.split(r"(\*\*|\*)", pattern)))
