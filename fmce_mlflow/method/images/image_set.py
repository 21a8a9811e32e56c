"""Stored images, and what turns one into a network's input."""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from fmce_mlflow.errors import ConfigError, DataError

MIN_SIZE = 8
"""Smallest height and width of a network's input."""
CACHE_BYTES = 256 * 2**20
"""Image sets that take no more than this once resized are kept in memory, so that each image is resized once."""


@dataclass(frozen=True)
class Preprocessing:
    """What turns a stored image into the network's input.

    Gray images are repeated over three channels. Images are resized bilinearly with antialiasing where their size
    differs; uint8 images are resized as uint8, then scaled to [0, 1]. Last comes (x − mean) / std.

    Args:
        height: Height of the input, at least 8.
        width: Width of the input, at least 8.
        mean: Mean by channel of images scaled to [0, 1].
        std: Standard deviation by channel, above 0.
        crop: Keep the proportions: scale until the input's height and width are both covered, then cut out the centre.
            Otherwise height and width are scaled apart.

    Raises:
        ConfigError: If a value is out of range; names every such value.

    Example:
        >>> preprocessing = Preprocessing(8, 8, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        >>> x = preprocessing(np.full((28, 28), 255, dtype=np.uint8))
        >>> x.shape, x.max().item()
        (torch.Size([3, 8, 8]), 2.0)
        >>> Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing
        True
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop: bool = False

    def __post_init__(self) -> None:
        problems = [
            f"preprocessing {name} must be a whole number of at least {MIN_SIZE}, got {value!r}"
            for name, value in (("height", self.height), ("width", self.width))
            if isinstance(value, bool) or not isinstance(value, int) or value < MIN_SIZE
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
        """Turn images into the network's input.

        Args:
            image: A PIL image, or an array or tensor of shape (H, W), (C, H, W) or (n, C, H, W) with C 1 or 3: uint8,
                or floats in [0, 1].

        Returns:
            float32, shape (3, height, width), or (n, 3, height, width) for a batch.

        Raises:
            DataError: If shape, type or range is none of these.
        """
        return self.normalise(self.fit(as_image_tensor(image)))

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
        mean = torch.tensor(self.mean, dtype=torch.float32, device=x.device).view(3, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float32, device=x.device).view(3, 1, 1)
        return (x - mean).div_(std)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, for :meth:`from_dict`."""
        return {
            "height": self.height,
            "width": self.width,
            "mean": list(self.mean),
            "std": list(self.std),
            "crop": self.crop,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Read what :meth:`to_dict` wrote.

        Raises:
            ConfigError: If keys are missing or unknown, or values out of range.
        """
        names = list(cls.__dataclass_fields__)
        if not isinstance(values, Mapping) or set(values) != set(names):
            found = sorted(map(str, values)) if isinstance(values, Mapping) else repr(values)
            raise ConfigError(f"preprocessing must have exactly the keys {names}, got {found}")
        triples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**triples)


def _three_numbers(values: object) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) == 3
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values)
    )


def as_image_tensor(image: Image.Image | NDArray[Any] | Tensor) -> Tensor:
    """An image or batch as a tensor (C, H, W) or (n, C, H, W), uint8 or float; see :class:`Preprocessing`.

    Raises:
        DataError: If shape, type or range is not that of images.
    """
    if isinstance(image, Image.Image):
        return _from_pil(image)
    x = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
    what = f"{'x'.join(map(str, x.shape)) or 'a scalar'} {str(x.dtype).removeprefix('torch.')}"
    if x.ndim == 2:
        x = x.unsqueeze(0)  # (1, H, W)
    if x.ndim not in (3, 4) or x.shape[-3] not in (1, 3) or 0 in x.shape[-2:]:
        raise DataError(
            f"Expected images of shape (H, W), (C, H, W) or (n, C, H, W) with 1 or 3 channels, got {what}. "
            "Move the channels in front of height and width; give a batch of gray images as (n, 1, H, W)."
        )
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise DataError(f"Expected uint8 images, or floats in [0, 1], got {what}. Convert them.")
    if x.is_floating_point() and x.numel() and not -0.5 <= float(x.min()) <= float(x.max()) <= 1.5:
        raise DataError(
            f"Expected float images in [0, 1], got values from {float(x.min()):.4g} to {float(x.max()):.4g}. "
            "Divide 8-bit values by 255, and leave out any normalisation: it happens here."
        )
    return x if x.dtype in (torch.uint8, torch.float32, torch.float64) else x.float()


def _from_pil(image: Image.Image) -> Tensor:
    """Shape (3, H, W), uint8."""
    if image.mode == "F":
        raise DataError("Expected an 8-bit or 16-bit image, got 32-bit floats. Convert it to 8 bits.")
    if image.mode.startswith("I"):  # convert("RGB") would clip 16 bits to 255 instead of scaling them
        gray = (np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)
        return torch.from_numpy(gray).expand(3, -1, -1).contiguous()
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()


def read_image(path: str | Path) -> Tensor:
    """Decode an image file: uint8, shape (3, H, W).

    Raises:
        DataError: If it cannot be read; names the file.
    """
    try:
        with Image.open(path) as image:
            return _from_pil(image)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError, DataError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}. Restore the file, or remove it.") from error


@dataclass
class _Cache:
    """Resized images, in memory that worker processes share."""

    preprocessing: Preprocessing
    pixels: Tensor  # uint8 (n, C, h, w)
    filled: NDArray[np.bool_]  # (n,)


class ImageSet:
    """Labelled images, read when they are asked for.

    Args:
        images: uint8 (N, C, H, W) with C 1 or 3, or the paths of N image files.
        labels: Classes of all N images.
        indices: The images that belong to this set, in order; by default all.

    Example:
        >>> images = ImageSet(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), [0, 1, 0, 1])
        >>> odd = images.subset([3, 1])
        >>> len(odd), odd.labels.tolist(), odd.indices.tolist(), odd[0][0].shape
        (2, [1, 1], [3, 1], torch.Size([3, 8, 8]))
    """

    indices: NDArray[np.int64]
    """Shape (n,): which image of the source each one is. A subset's images keep it."""
    labels: NDArray[np.int64]
    """Shape (n,): classes."""

    def __init__(self, images: Tensor | Sequence[str], labels: ArrayLike, indices: ArrayLike | None = None) -> None:
        self._images = images
        self._source_labels = np.asarray(labels, dtype=np.int64)
        if len(self._source_labels) != len(images):
            raise DataError(
                f"Expected a label for each of {len(images)} images, got {len(self._source_labels)} labels."
            )
        self.indices = (
            np.arange(len(images), dtype=np.int64) if indices is None else np.array(indices, dtype=np.int64).reshape(-1)
        )
        self.labels = self._source_labels[self.indices]
        self.indices.setflags(write=False)
        self.labels.setflags(write=False)
        self._cache: _Cache | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        """Image ``i`` as it is stored, uint8 (3, H, W), and its class."""
        index = int(self.indices[i])
        stored = self._images[index]
        image = stored.expand(3, -1, -1).clone() if isinstance(stored, Tensor) else read_image(stored)
        return image, int(self.labels[i])

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return (self[i] for i in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": None}

    def subset(self, indices: ArrayLike) -> ImageSet:
        """The images at these positions, in this order."""
        return ImageSet(self._images, self._source_labels, self.indices[np.asarray(indices, dtype=np.int64)])

    def resized(self, positions: ArrayLike, preprocessing: Preprocessing) -> Tensor:
        """Images resized and cropped, not normalised; read from memory where they have been before.

        Args:
            positions: Which images, shape (b,).
            preprocessing: Gives height, width and crop.

        Returns:
            uint8, shape (b, C, height, width), C 1 for sets of gray images in memory, else 3.
        """
        at = np.asarray(positions, dtype=np.int64).reshape(-1)
        if isinstance(self._images, Tensor) and self._images.shape[-2:] == (preprocessing.height, preprocessing.width):
            return self._images[torch.from_numpy(self.indices[at])]
        cache = self.reserve(preprocessing)
        if cache is None:
            return self._read(at, preprocessing)
        missing = at[~cache.filled[at]]
        if len(missing):
            cache.pixels[torch.from_numpy(missing)] = self._read(missing, preprocessing)
            cache.filled[missing] = True
        return cache.pixels[torch.from_numpy(at)]

    def reserve(self, preprocessing: Preprocessing) -> _Cache | None:
        """Make room for resized images, where they are few enough; called before workers start, they share it."""
        if self._cache is not None and self._cache.preprocessing == preprocessing:
            return self._cache
        channels = self._images.shape[1] if isinstance(self._images, Tensor) else 3
        shape = (len(self), channels, preprocessing.height, preprocessing.width)
        size = math.prod(shape)
        if not 0 < size <= CACHE_BYTES:
            self._cache = None
        else:
            # Anonymous memory maps are shared with forked workers, and unlike /dev/shm no container keeps them small.
            pixels = torch.frombuffer(mmap.mmap(-1, size), dtype=torch.uint8).view(shape)
            filled: NDArray[np.bool_] = np.frombuffer(mmap.mmap(-1, len(self)), dtype=np.bool_)
            self._cache = _Cache(preprocessing, pixels, filled)
        return self._cache

    def _read(self, at: NDArray[np.int64], preprocessing: Preprocessing) -> Tensor:
        """Decode and resize: uint8 (b, C, h, w)."""
        where = self.indices[at]
        if isinstance(self._images, Tensor):
            return preprocessing.fit(self._images[torch.from_numpy(where)])
        if not len(where):
            return torch.empty((0, 3, preprocessing.height, preprocessing.width), dtype=torch.uint8)
        return torch.stack([preprocessing.fit(read_image(self._images[int(i)])) for i in where])


def _ranks(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Each image's place, from 0, in a random order of its class's images."""
    # RandomState's stream is frozen for good, so that a split outlives NumPy's versions.
    lots = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed))).random_sample(len(labels))
    order = np.lexsort((lots, labels))
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels))])[:-1]
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[order] = np.arange(len(labels)) - starts[labels[order]]
    return ranks


def round_robin_order(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """An order that takes one image of each class in turn, as long as the class has any."""
    return np.lexsort((labels, _ranks(labels, seed))).astype(np.int64)


def proportional_order(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """An order whose every beginning holds the classes in proportion, each at least once where it is long enough."""
    share = _ranks(labels, seed) / np.bincount(labels)[labels]
    return np.lexsort((labels, share)).astype(np.int64)
