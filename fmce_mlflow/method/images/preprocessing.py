"""What turns a stored image into a network's input, and the forms in which a user says it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from fmce_mlflow.errors import ConfigError, DataError
from fmce_mlflow.method.images.config import MAX_SIZE, MIN_SIZE
from fmce_mlflow.method.images.decoding import decoded
from fmce_mlflow.wording import did_you_mean

InputShape = tuple[int | None, int | None, int | None]
"""Channels, height and width that a model takes; None where any will do."""
Triple = tuple[float, float, float]
IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's images by channel."""


@dataclass(frozen=True)
class Preprocessing:
    """What turns a stored image into the network's input.

    Gray images are repeated over three channels. Images are resized bilinearly with antialiasing where their size
    differs; uint8 images are resized as uint8, then scaled to [0, 1]. Last comes (x − mean) / std.

    Args:
        height: At least 8, as ``width``.
        width: Of the input.
        mean: By channel of images scaled to [0, 1].
        std: Above 0.
        crop: Keep the proportions: scale until the input's height and width are both covered, then cut out the centre.
            Otherwise height and width are scaled apart.

    Raises:
        ConfigError: Names every value that is out of range.

    Example:
        >>> preprocessing = Preprocessing(8, 8, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        >>> x = preprocessing(np.full((28, 28), 255, dtype=np.uint8))
        >>> x.shape, x.max().item()
        (torch.Size([3, 8, 8]), 2.0)
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop: bool = False

    def __post_init__(self) -> None:
        problems = [
            f"preprocessing {name} must be a whole number from {MIN_SIZE} to {MAX_SIZE:,}, got {value!r}"
            for name, value in (("height", self.height), ("width", self.width))
            if type(value) is not int or not MIN_SIZE <= value <= MAX_SIZE
        ]
        for name, triple in (("mean", self.mean), ("std", self.std)):
            if not _three_numbers(triple):
                problems.append(f"preprocessing {name} must be three finite numbers, got {triple!r}")
            elif name == "std" and min(triple) <= 0:
                problems.append(f"preprocessing std must be above 0, got {triple!r}")
        if not isinstance(self.crop, bool):
            problems.append(f"preprocessing crop must be true or false, got {self.crop!r}")
        if problems:
            raise ConfigError(problems)

    def __call__(self, image: Image.Image | NDArray[Any] | Tensor) -> Tensor:
        """The network's input, float32 (3, height, width), or (n, 3, height, width) for a batch.

        It takes a PIL image, or an array or tensor of shape (H, W), (C, H, W) or (n, C, H, W) with C 1 or 3, uint8 or
        floats in [0, 1]; a DataError is raised for any other.
        """
        return self.normalise(self.fit(_as_tensor(image)))

    def fit(self, images: Tensor) -> Tensor:
        """Resize images (…, C, H, W) to (…, C, height, width), of the same dtype."""
        height, width = images.shape[-2:]
        if (height, width) == (self.height, self.width):
            return images
        size = [self.height, self.width]
        if not self.crop:
            squeezed: Tensor = F.resize(images, size, antialias=True)
            return squeezed
        scale = max(self.height / height, self.width / width)
        covering = [max(self.height, round(height * scale)), max(self.width, round(width * scale))]
        cropped: Tensor = F.center_crop(F.resize(images, covering, antialias=True), size)
        return cropped

    def normalise(self, images: Tensor) -> Tensor:
        """Scale uint8 or float images (…, 1 or 3, H, W) to zero mean and unit deviation: float32 (…, 3, H, W)."""
        x = images.to(torch.float32)
        if images.dtype == torch.uint8:
            x = x.div_(255)
        mean, std = (torch.tensor(v, dtype=torch.float32, device=x.device).view(3, 1, 1) for v in (self.mean, self.std))
        return (x - mean).div_(std)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, for :meth:`from_dict`."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Read what :meth:`to_dict` wrote; a ConfigError names keys that are missing or unknown."""
        names = list(cls.__dataclass_fields__)
        if not isinstance(values, Mapping) or set(values) != set(names):
            found = sorted(map(str, values)) if isinstance(values, Mapping) else repr(values)
            raise ConfigError(f"preprocessing must have exactly the keys {names}, got {found}")
        triples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**triples)


def _three_numbers(values: object) -> bool:
    if not isinstance(values, tuple) or len(values) != 3:
        return False
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values)


def _as_tensor(image: Image.Image | NDArray[Any] | Tensor) -> Tensor:
    """An image or batch as a tensor (C, H, W) or (n, C, H, W), uint8 or float."""
    if isinstance(image, Image.Image):
        return torch.from_numpy(decoded(image, "The image")).permute(2, 0, 1).expand(3, -1, -1).contiguous()
    x = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
    what = f"{'x'.join(map(str, x.shape)) or 'a scalar'} {str(x.dtype).removeprefix('torch.')}"
    if x.ndim == 2:
        x = x.unsqueeze(0)  # (1, H, W)
    if x.ndim not in (3, 4) or x.shape[-3] not in (1, 3) or 0 in x.shape[-2:]:
        raise DataError(
            f"Expected images of shape (H, W), (C, H, W) or (n, C, H, W) with 1 or 3 channels, got {what}. "
            "Move the channels before height and width; give a batch of gray images as (n, 1, H, W)."
        )
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise DataError(f"Expected uint8 images, or floats in [0, 1], got {what}. Convert them.")
    if x.is_floating_point() and x.numel() and not -0.5 <= float(x.min()) <= float(x.max()) <= 1.5:
        raise DataError(
            f"Expected float images in [0, 1], got values from {float(x.min()):.4g} to {float(x.max()):.4g}. "
            "Divide 8-bit values by 255, and leave out any normalisation: it happens here."
        )
    return x if x.dtype in (torch.uint8, torch.float32, torch.float64) else x.float()


def as_preprocessing(
    value: Preprocessing | Mapping[str, Any] | Literal["imagenet", "scale"] | str | None,
    *,
    input_shape: InputShape | None = None,
) -> Preprocessing | None:
    """What a model's metadata or an evaluator's config says of preprocessing.

    Args:
        value: A preprocessing; one as a dict; ``imagenet``: ImageNet's mean and standard deviation, cropped to the
            input; ``scale``: to [0, 1] and nothing else; or None. Of a dict, ``height`` and ``width`` come from the
            input shape where they are missing, ``crop`` is false, and ``mean`` and ``std`` may be one number; they are
            divided by 255 where they are :func:`of_bytes`.
        input_shape: Channels, height and width that the model takes, as far as they are known.

    Raises:
        ConfigError: If it is none of these, or nothing says height and width.

    Example:
        >>> as_preprocessing({"mean": 0.5, "std": 0.25}, input_shape=(1, 28, 28))
        Preprocessing(height=28, width=28, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), crop=False)
    """
    if value is None or isinstance(value, Preprocessing):
        return value
    height, width = input_shape[1:] if input_shape else (None, None)
    if value == "imagenet":
        values: dict[str, Any] = {"mean": IMAGENET[0], "std": IMAGENET[1], "crop": True}
        height, width = height or 224, width or 224
    elif value == "scale":
        values = {"mean": 0.0, "std": 1.0}
    elif isinstance(value, Mapping):
        values = dict(value)
    else:
        raise ConfigError(
            "preprocessing must be 'imagenet', 'scale', or a dict with mean and std, and height and width where the "
            f"model's signature lacks them; got {value!r}"
        )
    known = list(Preprocessing.__dataclass_fields__)
    problems = [f"preprocessing has no {k!r}.{did_you_mean(str(k), known)}" for k in values if k not in known]
    for name, size in (("height", height), ("width", width)):
        if values.setdefault(name, size) is None:
            problems.append(
                f"preprocessing lacks {name}, and neither the model's signature nor one size of all images says it"
            )
    problems += [
        f"preprocessing lacks {name}, of pixels scaled to [0, 1]" for name in ("mean", "std") if name not in values
    ]
    if problems:
        raise ConfigError(problems)
    values["mean"], values["std"] = _triple(values["mean"]), _triple(values["std"])
    if of_bytes(values):
        values |= {name: tuple(v / 255 for v in values[name]) for name in ("mean", "std")}
    return Preprocessing.from_dict({"crop": False, **values})


def of_bytes(value: Any) -> bool:
    """Whether mean and standard deviation are of pixels from 0 to 255, as mmcv and detectron2 have them.

    Example:
        >>> of_bytes({"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]})
        True
    """
    if not isinstance(value, Mapping):
        return False
    mean, std = _triple(value.get("mean")), _triple(value.get("std"))
    return _three_numbers(mean) and _three_numbers(std) and min(std) > 0 and (max(mean) > 1 or min(std) > 16)


def _triple(value: Any) -> Any:
    """One number, also in a list, three times."""
    if isinstance(value, (list, tuple)):
        return tuple(value) * 3 if len(value) == 1 else tuple(value)
    return (value,) * 3 if isinstance(value, (int, float)) else value
