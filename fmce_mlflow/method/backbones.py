"""Build a backbone by name, and find its functional modules by name.

Which backbones the method is meant for follows the outline of arXiv 2405.04041; the stems for small images and the choice
of the default module are ours. ``docs/backbones.md`` has them by family.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.maxvit import MaxVit

from fmce_mlflow.errors import BackboneError, CaptureError, ConfigError, did_you_mean
from fmce_mlflow.method.capture import HOW_TO_LIST, as_map, capture, named_modules, probing, unwrap

Stem = Literal["auto", "small", "stock"]
SMALL_BELOW = 64  # pixels
STEM_CONVOLUTIONS = 3  # a max pool behind more convolutions than this is no part of the stem
LIST_BACKBONES = "`fmce list-backbones` prints all of them."

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
}
_STAGE_BY_TYPE_NAME = {f"{kind.__module__}.{kind.__qualname__}": stage for kind, stage in LAST_STAGE.items()}


def backbone_names() -> list[str]:
    """Names that :func:`build_backbone` takes: torchvision's, and timm's where timm is installed.

    ``package.module:factory`` works besides them.

    Example:
        >>> "shufflenet_v2_x0_5" in backbone_names()
        True
    """
    try:
        import timm
    except ImportError:
        return list(_torchvision_names())
    return [*_torchvision_names(), *(f"timm:{name}" for name in timm.list_models())]


def resolve_stem(stem: str, image_size: int, name: str | None = None) -> Literal["small", "stock"]:
    """The stem that "auto" stands for: small under 64 pixels.

    Args:
        stem: "auto", "small" or "stock".
        image_size: Height and width of the images.
        name: The backbone. With "auto", networks of the user's own (``package.module:factory``) are left as they are.

    Returns:
        "small" or "stock".

    Raises:
        ConfigError: Another stem.

    Example:
        >>> resolve_stem("auto", 32), resolve_stem("auto", 64), resolve_stem("auto", 32, "my.nets:tiny")
        ('small', 'stock', 'stock')
    """
    if stem == "small" or stem == "stock":
        return stem
    if stem != "auto":
        raise ConfigError(f"stem must be auto, small or stock, got {stem!r}")
    return "small" if image_size < SMALL_BELOW and not _is_factory(name or "") else "stock"


def build_backbone(name: str, *, num_classes: int, image_size: int = 32, stem: Stem = "auto") -> nn.Module:
    """Build a classification backbone with random weights, and try it on one image.

    The global random state gives the weights: seed it before.

    The small stem keeps the resolution that a network made for 224 pixels would throw away: the first convolution gets
    stride 1 and a kernel of at most 3×3; the max pool of the stem (the first of the network, behind at most three
    convolutions) becomes an identity; where the first convolution cuts the image into patches, these get 2 pixels
    instead of 4, or 4 instead of more. Weights of a cut-out kernel are scaled to keep the variance of its output.

    Args:
        name: A torchvision classification model; ``timm:<name>``; or ``package.module:factory``, a callable that
            returns a module and is called with ``num_classes`` if it takes it.
        num_classes: Outputs.
        image_size: Height and width of the images.
        stem: "small", "stock", or "auto": see :func:`resolve_stem`.

    Returns:
        The model in training mode, on the CPU. It maps (n, 3, image_size, image_size) to (n, num_classes).

    Raises:
        BackboneError: An unknown name, a package that is missing, a factory that fails, or images that are too small.
        ConfigError: Numbers below 1 or an unknown stem.

    Example:
        >>> net = build_backbone("shufflenet_v2_x0_5", num_classes=10)
        >>> default_module(net, torch.zeros(2, 3, 32, 32))
        'conv5'
    """
    problems = [
        f"{what} must be at least 1, got {value}"
        for what, value in (("num_classes", num_classes), ("image_size", image_size))
        if value < 1
    ]
    if problems:
        raise ConfigError(problems)
    small = resolve_stem(stem, image_size, name) == "small"
    if name.startswith("timm:"):
        model = _from_timm(name, num_classes, image_size, small)
    elif _is_factory(name):
        model = _from_factory(name, num_classes)
        model = _with_small_stem(model, image_size) if small else model
    else:
        model = _from_torchvision(name, num_classes, image_size, small)
        model = _with_small_stem(model, image_size) if small else model
    _try(model, name, num_classes, image_size)
    return model.train()


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
        model: The model.
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
    globs = [name for name in wanted if re.search(r"[*?\[]", name)]
    mapped = {name for name, shape in _calls(model, example) if shape} if globs else set()
    names: list[str] = []
    for name in wanted:
        if name not in globs:
            names.append(name)
            continue
        fitting = [module for module in list_modules(model) if _glob(name).fullmatch(module)]
        if not mapped.intersection(fitting):
            why = f"fits {', '.join(fitting[:5])}, which give no feature map" if fitting else "fits no module"
            raise BackboneError(f"{name!r} {why}. {HOW_TO_LIST}")
        names.extend(module for module in fitting if module in mapped)
    names = list(dict.fromkeys(names))
    with capture(model, names) as forward:
        forward(_like(model, example))
    return tuple(names)


def default_module(model: nn.Module, example: Tensor) -> str:
    """The last feature stage of a model.

    For torchvision's families, also inside a wrapper or exported, a table says which module that is. Otherwise it is the
    module whose call ended last among those with a feature map (of more than one position, if there are such), leaving
    out pooling, dropout and identities.

    Args:
        model: The model.
        example: Images (n, 3, h, w) for one forward pass.

    Returns:
        The module's dotted name.

    Raises:
        CaptureError: No module has a feature map.

    Example:
        >>> net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> default_module(net, torch.zeros(1, 3, 4, 4))
        '0'
    """
    network = unwrap(model)
    calls = _calls(network, example)
    called = {name for name, _ in calls}
    known = [
        f"{name}.{stage}".lstrip(".")
        for name, module in {"": network, **named_modules(network)}.items()
        if (stage := _known_stage(module)) and (not name or name in called)
    ]
    if len(known) == 1 and known[0] in called:
        return known[0]
    modules = named_modules(network)
    staged = [(name, shape) for name, shape in calls if shape and not _passes_through(modules[name])]
    if not staged:
        raise CaptureError(
            f"No module of this {type(network).__name__} has a feature map: none gives floats of shape (n, C, H, W), or "
            f"tokens (n, L, D), for images {tuple(example.shape)}. {HOW_TO_LIST}"
        )
    return next((name for name, (_, _, h, w) in reversed(staged) if h * w > 1), staged[-1][0])


def _is_factory(name: str) -> bool:
    return ":" in name and not name.startswith("timm:")


def _torchvision_names() -> list[str]:
    return cast("list[str]", models.list_models(module=models))


def _from_torchvision(name: str, num_classes: int, image_size: int, small: bool) -> nn.Module:
    if name not in _torchvision_names():
        if name in models.list_models():
            task = models.get_model_builder(name).__module__.removeprefix("torchvision.models.").partition(".")[0]
            raise BackboneError(
                f"{name!r} is a torchvision model for {task}, not a classification backbone. Name the classifier that it "
                f"is built on, such as resnet50. {LIST_BACKBONES}"
            )
        hint = did_you_mean(name, _torchvision_names(), how_to_list=LIST_BACKBONES)
        raise BackboneError(
            f"There is no backbone {name!r}.{hint} timm's are named timm:<name>, your own package.module:factory."
        )
    options: dict[str, Any] = {"num_classes": num_classes}
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        patch = int(name.rpartition("_")[2])
        if not small and image_size % patch:
            raise BackboneError(
                f"{name} cuts images into patches of {patch} pixels, and {image_size} is not divisible by that. "
                f"Use images of {max(1, round(image_size / patch)) * patch} pixels, or stem='small'."
            )
        options["image_size"] = patch if small else image_size  # _with_small_stem sets the size with the small stem
    if name == "maxvit_t":
        return _maxvit_t(2 * image_size if small else image_size, num_classes)
    return cast(nn.Module, models.get_model(name, weights=None, **options))


def _maxvit_t(image_size: int, num_classes: int) -> nn.Module:
    """torchvision's maxvit_t, whose partitions of 7 suit 224 pixels, with the largest that suit ``image_size``."""
    grids = [image_size]
    for _ in range(5):
        grids.append((grids[-1] + 1) // 2)
    partition = next((p for p in range(7, 1, -1) if all(grid % p == 0 for grid in grids[2:])), None)
    if partition is None:
        raise BackboneError(
            f"maxvit_t needs maps that divide into equal partitions; with {image_size} pixels they have sides of "
            f"{', '.join(map(str, grids[2:]))}. Use images of a multiple of 32 pixels, from 64 on (32 and 48 with "
            "stem='small')."
        )
    return cast(
        nn.Module,
        MaxVit(
            input_size=(image_size, image_size),
            stem_channels=64,
            partition_size=partition,
            block_channels=[64, 128, 256, 512],
            block_layers=[2, 2, 5, 2],
            head_dim=32,
            stochastic_depth_prob=0.2,
            num_classes=num_classes,
        ),
    )


def _from_timm(name: str, num_classes: int, image_size: int, small: bool) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise BackboneError(f'{name!r} needs timm: pip install "fmce-mlflow[timm]"') from error
    kind = name.removeprefix("timm:")
    if not timm.is_model(kind):
        near = [f"timm:{match}" for match in difflib.get_close_matches(kind, timm.list_models(), n=3)]
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise BackboneError(f"timm has no model {kind!r}.{hint} {LIST_BACKBONES}")

    def create(**options: Any) -> nn.Module:
        return cast(nn.Module, timm.create_model(kind, pretrained=False, num_classes=num_classes, **options))

    try:
        try:
            model = create(img_size=image_size)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            model = create()
            return _with_small_stem(model, image_size) if small else model
        first = _first_convolution(model)
        if small and first is not None and _is_patchify(first):
            return create(img_size=image_size, patch_size=_small_patch(first))
        return _with_small_stem(model, image_size) if small else model
    except Exception as error:
        raise BackboneError(
            f"timm cannot build {kind!r} for images of {image_size} pixels: {type(error).__name__}: {error}. "
            "Try another image size, or stem='stock'."
        ) from error


def _from_factory(name: str, num_classes: int) -> nn.Module:
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # `python -m` has it, a console script has not
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise BackboneError(
            f"The backbone {name!r} cannot be had: importing {module_name!r} failed with {type(error).__name__}: {error}. "
            f"Expected package.module:factory, installed or below {os.getcwd()}."
        ) from error
    try:
        factory = reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        hint = did_you_mean(attribute, [key for key in vars(module) if not key.startswith("_")])
        raise BackboneError(f"Module {module_name!r} ({module.__file__}) has no {attribute!r}.{hint}") from error
    try:
        model = cast(Callable[..., object], factory)(**({"num_classes": num_classes} if _takes_classes(factory) else {}))
    except Exception as error:
        raise BackboneError(f"{name} failed with {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise BackboneError(f"{name} must return a torch.nn.Module, got {type(model).__name__}.")
    return model


def _takes_classes(factory: Any) -> bool:
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False
    return "num_classes" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _try(model: nn.Module, name: str, num_classes: int, image_size: int) -> None:
    try:
        with torch.no_grad():
            output = model.eval()(torch.zeros(1, 3, image_size, image_size))
    except Exception as error:
        raise BackboneError(
            f"{name} cannot take images of {image_size}×{image_size} pixels: {type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''} Use larger images, or stem='small'."
        ) from error
    if not isinstance(output, Tensor) or output.shape != (1, num_classes):
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise BackboneError(f"{name} must give logits of shape (n, {num_classes}) for n images, got {got} for one image.")


def _first_convolution(model: nn.Module) -> nn.Conv2d | None:
    return next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)


def _is_patchify(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == conv.stride and conv.stride[0] >= 4


def _small_patch(conv: nn.Conv2d) -> int:
    return 2 if conv.stride[0] == 4 else 4


def _with_small_stem(model: nn.Module, image_size: int) -> nn.Module:
    first = _first_convolution(model)
    if first is None:
        return model
    if isinstance(model, models.VisionTransformer):
        _shrink_vit(model, first, image_size)
    elif _is_patchify(first):
        patch = _small_patch(first)
        _cut_kernel(first, patch)
        first.stride = (patch, patch)
    elif first.stride != first.kernel_size:
        first.stride = (1, 1)
        if first.kernel_size[0] > 3:
            _cut_kernel(first, 3)
        if not isinstance(first.padding, str):
            first.padding = (first.kernel_size[0] // 2, first.kernel_size[1] // 2)
        _drop_stem_pool(model)
    return model


def _shrink_vit(model: Any, first: nn.Conv2d, image_size: int) -> None:
    """Patches of 4 pixels for torchvision's VisionTransformer, with position embeddings for ``image_size``."""
    patch = _small_patch(first)
    if image_size % patch:
        raise BackboneError(
            f"The small stem of a ViT cuts images into patches of {patch} pixels, and {image_size} is not divisible by "
            f"that. Use images of {max(1, round(image_size / patch)) * patch} pixels."
        )
    _cut_kernel(first, patch)
    first.stride = (patch, patch)
    model.patch_size, model.image_size = patch, image_size
    model.seq_length = (image_size // patch) ** 2 + 1
    model.encoder.pos_embedding = nn.Parameter(torch.empty(1, model.seq_length, model.hidden_dim).normal_(std=0.02))


def _cut_kernel(conv: nn.Conv2d, size: int) -> None:
    """The middle of the kernel, scaled as the usual initialisations would scale a kernel of that size."""
    old = conv.kernel_size[0]
    start = (old - size) // 2
    middle = conv.weight.detach()[:, :, start : start + size, start : start + size]  # (out, in, size, size)
    conv.weight = nn.Parameter(middle * (old / size))
    conv.kernel_size = (size, size)


def _drop_stem_pool(model: nn.Module) -> None:
    convolutions = 0
    for name, module in model.named_modules():
        convolutions += isinstance(module, nn.Conv2d)
        if convolutions > STEM_CONVOLUTIONS:
            return
        if isinstance(module, nn.MaxPool2d) and module.stride not in (1, (1, 1)):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, nn.Identity())
            return


def _known_stage(module: nn.Module) -> str | None:
    for kind in type(module).__mro__:
        if kind in LAST_STAGE:
            return LAST_STAGE[kind]
    type_name = getattr(module, "type_name", None)  # of unflattened modules
    return _STAGE_BY_TYPE_NAME.get(type_name() or "") if callable(type_name) else None


def _calls(model: nn.Module, example: Tensor) -> list[tuple[str, tuple[int, ...] | None]]:
    """Every module called in a forward pass, in the order in which the calls ended; with its map's shape, if any."""
    calls: list[tuple[str, tuple[int, ...] | None]] = []
    modules = named_modules(model)

    def record(name: str, output: Any) -> None:
        found = as_map(output) if isinstance(output, Tensor) else ""
        calls.append((name, None if isinstance(found, str) else tuple(found.shape)))

    handles = [
        module.register_forward_hook(lambda _m, _i, output, name=name: record(name, output))
        for name, module in modules.items()
    ]
    try:
        with torch.no_grad(), probing(unwrap(model)) as network:
            network(_like(model, example))
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _like(model: nn.Module, example: Tensor) -> Tensor:
    """The example on the model's device and in its floating dtype."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    return example if weight is None else example.to(device=weight.device, dtype=weight.dtype)


def _passes_through(module: nn.Module) -> bool:
    """Whether a module is pooling, dropout or an identity: no stage of features by itself."""
    kind = _type_name(module).lower()
    return any(word in kind for word in ("pool", "dropout", "droppath", "stochasticdepth", "identity"))


def _type_name(module: nn.Module) -> str:
    type_name = getattr(module, "type_name", None)  # of unflattened modules
    return ((type_name() or "") if callable(type_name) else type(module).__qualname__).rpartition(".")[2]


def _glob(pattern: str) -> re.Pattern[str]:
    """A pattern in which ``*`` and ``?`` stay within a part of a dotted name and ``**`` does not."""
    parts = re.split(r"(\*\*|\*|\?|\[[^\]]*\])", pattern)
    meaning = {"**": r".*", "*": r"[^.]*", "?": r"[^.]"}
    return re.compile("".join(meaning.get(p) or (p if p.startswith("[") else re.escape(p)) for p in parts))
