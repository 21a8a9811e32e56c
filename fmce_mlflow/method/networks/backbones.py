"""Build a backbone by name, with a stem that suits small images.

Which backbones the method is meant for follows the outline of arXiv 2405.04041; the stems are ours.
``docs/backbones.md`` has them by family.
"""

from __future__ import annotations

import importlib
import inspect
import math
import os
import sys
from functools import reduce
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.maxvit import MaxVit

from fmce_mlflow.errors import BackboneError, ConfigError
from fmce_mlflow.method.networks.config import Stem
from fmce_mlflow.wording import did_you_mean

STEMS = get_args(Stem)
SMALL_BELOW = 64  # pixels
STEM_CONVOLUTIONS = 3  # a max pool after more convolutions than this is no part of the stem
LIST_BACKBONES = "`fmce list-backbones` prints all of them."


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
        return _torchvision_names()
    return [*_torchvision_names(), *(f"timm:{name}" for name in timm.list_models())]


def resolve_stem(stem: str, image_size: int, name: str | None = None) -> Literal["small", "stock"]:
    """The stem that "auto" stands for: small under 64 pixels.

    With "auto", networks of the user's own (``package.module:factory``) are left as they are.

    Raises:
        ConfigError: Another stem.

    Example:
        >>> resolve_stem("auto", 32), resolve_stem("auto", 64), resolve_stem("auto", 32, "my.nets:tiny")
        ('small', 'stock', 'stock')
    """
    if stem not in STEMS:
        raise ConfigError(f"stem must be one of {', '.join(STEMS)}, got {stem!r}")
    small = image_size < SMALL_BELOW and not _is_factory(name or "") if stem == "auto" else stem == "small"
    return "small" if small else "stock"


def build_backbone(name: str, *, num_classes: int, image_size: int = 32, stem: Stem = "auto") -> nn.Module:
    """Build a classification backbone with random weights, and try it on one image.

    The global random state gives the weights: seed it before.

    The small stem keeps the resolution that a network made for 224 pixels would throw away: the first convolution gets
    stride 1 and a kernel of at most 3×3; the max pool of the stem (the first of the network, after at most three
    convolutions) becomes an identity; where the first convolution cuts the image into patches, these get 2 pixels
    instead of 4, or 4 instead of more. Weights of a smaller kernel are scaled to keep the variance of its output.

    Args:
        name: A torchvision classification model; ``timm:<name>``; or ``package.module:factory``, a callable that
            returns a module and is called with ``num_classes`` if it takes it.
        num_classes: Outputs.
        image_size: Height and width of the images.
        stem: See :func:`resolve_stem`.

    Returns:
        The model in training mode, on the CPU: (n, 3, image_size, image_size) → (n, num_classes).

    Raises:
        BackboneError: An unknown name, a package that is missing, a factory that fails, or images that are too small.
        ConfigError: Numbers below 1 or an unknown stem.

    Example:
        >>> net = build_backbone("shufflenet_v2_x0_5", num_classes=10)
        >>> net(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    counts = {"num_classes": num_classes, "image_size": image_size}
    problems = [f"{what} must be at least 1, got {value}" for what, value in counts.items() if value < 1]
    if stem not in STEMS:
        problems.append(f"stem must be one of {', '.join(STEMS)}, got {stem!r}")
    if problems:
        raise ConfigError(problems)
    small = resolve_stem(stem, image_size, name) == "small"
    if name.startswith("timm:"):
        model = _from_timm(name, num_classes, image_size, small)
    else:
        own = _is_factory(name)
        model = _from_factory(name, num_classes) if own else _from_torchvision(name, num_classes, image_size, small)
        if small:
            _shrink_stem(model, image_size)
    _try(model, name, num_classes, image_size, small)
    return model.train()


def _is_factory(name: str) -> bool:
    return ":" in name and not name.startswith("timm:")


def _torchvision_names() -> list[str]:
    return list(models.list_models(module=models))


def _from_torchvision(name: str, num_classes: int, image_size: int, small: bool) -> nn.Module:
    if name not in _torchvision_names():
        if name in models.list_models():
            kind = models.get_model_builder(name).__module__.removeprefix("torchvision.models.").partition(".")[0]
            raise BackboneError(
                f"{name!r} is a torchvision model for {kind}, not a classification backbone. Name the classifier that "
                f"it is built on, such as resnet50. {LIST_BACKBONES}"
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
        options["image_size"] = patch if small else image_size  # the small stem then sets both
    if name == "maxvit_t":
        return _maxvit_t(2 * image_size if small else image_size, num_classes)
    return models.get_model(name, weights=None, **options)  # type: ignore[no-any-return]


def _maxvit_t(image_size: int, num_classes: int) -> nn.Module:
    """Torchvision's maxvit_t, whose partitions of 7 suit 224 pixels, with the largest that suit ``image_size``."""
    grids = [math.ceil(image_size / 2**halved) for halved in range(2, 6)]
    partition = next((p for p in range(7, 1, -1) if all(grid % p == 0 for grid in grids)), None)
    if partition is None:
        raise BackboneError(
            f"maxvit_t needs maps that divide into equal partitions; with these images they have sides of "
            f"{', '.join(map(str, grids))}. Use images of 64, 96, 128, 160, 192 or 224 pixels; with stem='small' "
            "the half of these."
        )
    network: nn.Module = MaxVit(
        input_size=(image_size, image_size),
        stem_channels=64,
        partition_size=partition,
        block_channels=[64, 128, 256, 512],
        block_layers=[2, 2, 5, 2],
        head_dim=32,
        stochastic_depth_prob=0.2,
        num_classes=num_classes,
    )
    return network


def _from_timm(name: str, num_classes: int, image_size: int, small: bool) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise BackboneError(f'{name!r} needs timm: pip install "fmce-mlflow[timm]"') from error
    kind = name.removeprefix("timm:")
    if not timm.is_model(kind):
        names = [f"timm:{known}" for known in timm.list_models()]
        raise BackboneError(f"timm has no model {kind!r}.{did_you_mean(name, names, how_to_list=LIST_BACKBONES)}")

    def create(**options: Any) -> nn.Module:
        created: nn.Module = timm.create_model(kind, pretrained=False, num_classes=num_classes, **options)
        return created

    try:
        try:
            model = create(img_size=image_size)
            first = _first_convolution(model)
            if small and first is not None and _is_patchify(first):
                return create(img_size=image_size, patch_size=_small_patch(first))
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            model = create()
    except Exception as error:
        raise BackboneError(
            f"timm cannot build {kind!r} for images of {image_size} pixels: {type(error).__name__}: {error}. "
            "Try another image size, or stem='stock'."
        ) from error
    if small:
        _shrink_stem(model, image_size)
    return model


def _from_factory(name: str, num_classes: int) -> nn.Module:
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # `python -m` has it, a console script has not
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise BackboneError(
            f"The backbone {name!r} is not available: importing {module_name!r} failed with {type(error).__name__}: "
            f"{error}. Expected package.module:factory, installed or below {os.getcwd()}."
        ) from error
    try:
        factory = reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        hint = did_you_mean(attribute, [key for key in vars(module) if not key.startswith("_")])
        file = getattr(module, "__file__", None)
        raise BackboneError(f"Module {module_name!r} ({file}) has no {attribute!r}.{hint}") from error
    if not callable(factory) or isinstance(factory, nn.Module):
        raise BackboneError(f"{name} must be a callable that returns a torch.nn.Module, got {type(factory).__name__}.")
    try:
        model = factory(num_classes=num_classes) if _takes_classes(factory) else factory()
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


def _try(model: nn.Module, name: str, num_classes: int, image_size: int, small: bool) -> None:
    try:
        with torch.no_grad():
            output = model.eval()(torch.zeros(1, 3, image_size, image_size))
    except Exception as error:
        way_out = (
            "Some networks only work with stem='stock'." if small else "stem='small' keeps more of their resolution."
        )
        raise BackboneError(
            f"{name} cannot take RGB images of {image_size}×{image_size} pixels: {type(error).__name__}: "
            f"{str(error).partition(chr(10))[0].rstrip('.')}. Use larger images. {way_out}"
        ) from error
    if not isinstance(output, Tensor) or output.shape != (1, num_classes):
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise BackboneError(
            f"{name} must give logits of shape (n, {num_classes}) for n images, got {got} for one image."
        )


def _first_convolution(model: nn.Module) -> nn.Conv2d | None:
    return next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)


def _is_patchify(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == conv.stride and conv.stride[0] >= 4


def _small_patch(conv: nn.Conv2d) -> int:
    return 2 if conv.stride[0] == 4 else 4


def _shrink_stem(model: nn.Module, image_size: int) -> None:
    first = _first_convolution(model)
    if first is None:
        return
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
        first.padding = (first.kernel_size[0] // 2, first.kernel_size[1] // 2)
        _drop_stem_pool(model)


def _shrink_vit(model: Any, first: nn.Conv2d, image_size: int) -> None:
    """Small patches for torchvision's VisionTransformer, with position embeddings for ``image_size``."""
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
