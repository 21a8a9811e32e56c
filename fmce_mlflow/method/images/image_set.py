"""Labelled images to train on, and memory in which they are kept once they are resized."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.images.preprocessing import Preprocessing
from fmce_mlflow.method.images.readers import ArrayImages, ImageInputs

CACHE_BYTES = 256 * 2**20
"""Image sets that take no more than this once resized are kept in memory, so that each image is resized once."""


@dataclass
class _Cache:
    """Resized images, in memory that worker processes share."""

    preprocessing: Preprocessing
    pixels: Tensor  # uint8 (n, C, h, w)
    filled: NDArray[np.bool_]  # (n,)


class ImageSet:
    """Some images of a source with their classes, read when they are asked for.

    Args:
        source: 8-bit images with a class each, or a DataError is raised.
        indices: The images that belong to this set, in order; by default all.

    Example:
        >>> images = ImageSet(ArrayImages(np.zeros((4, 1, 8, 8), np.uint8), [0, 1, 0, 1]))
        >>> odd = images.subset([3, 1])
        >>> len(odd), odd.labels.tolist(), odd.indices.tolist(), odd[0][0].shape
        (2, [1, 1], [3, 1], torch.Size([3, 8, 8]))
    """

    indices: NDArray[np.int64]  # (n,): which image of the source each one is; a subset's images keep it
    labels: NDArray[np.int64]  # (n,): classes

    def __init__(self, source: ImageInputs, indices: ArrayLike | None = None) -> None:
        if source.targets is None:
            raise DataError("Expected a class for each image, and there are none. Give targets.")
        self._source = source
        self._stored = source.shapes()[0] if isinstance(source, ArrayImages) else None  # (H, W, C), of all alike
        self._channels = self._stored[2] if self._stored else 3
        chosen = np.arange(len(source)) if indices is None else np.array(indices)
        self.indices = chosen.astype(np.int64).reshape(-1)
        self.labels = source.targets.astype(np.int64)[self.indices]
        self.indices.setflags(write=False)
        self.labels.setflags(write=False)
        self._cache: _Cache | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        """Image ``i`` as it is stored, uint8 (3, H, W), and its class."""
        image = torch.from_numpy(self._source.read(int(self.indices[i]))).permute(2, 0, 1)
        return image.expand(3, -1, -1).clone(memory_format=torch.contiguous_format), int(self.labels[i])

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return (self[i] for i in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": None}

    @property
    def source(self) -> ImageInputs:
        """What the images are read from; subsets share it."""
        return self._source

    def subset(self, positions: ArrayLike) -> ImageSet:
        """The images at these positions, in this order."""
        return ImageSet(self._source, self.indices[np.asarray(positions, dtype=np.int64)])

    def resized(self, positions: ArrayLike, preprocessing: Preprocessing) -> Tensor:
        """Images at positions (b,), resized and cropped, not normalised; kept in memory where there is room.

        They are uint8 (b, C, height, width), C 1 for sets of gray images in memory, else 3.
        """
        at = np.asarray(positions, dtype=np.int64).reshape(-1)
        as_stored = self._stored is not None and self._stored[:2] == (preprocessing.height, preprocessing.width)
        cache = None if as_stored else self.reserve(preprocessing)
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
        shape = (len(self), self._channels, preprocessing.height, preprocessing.width)
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
        if not len(at):
            return torch.empty((0, self._channels, preprocessing.height, preprocessing.width), dtype=torch.uint8)
        together = self._source.read_many(self.indices[at])
        if together is None:
            return torch.stack([preprocessing.fit(self[int(i)][0]) for i in at])
        return preprocessing.fit(torch.from_numpy(together).permute(0, 3, 1, 2).contiguous())
