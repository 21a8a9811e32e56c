"""Images by position, in memory and in files, each read when it is asked for."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.images.decoding import (
    Fit,
    Layout,
    UnreadableError,
    as_numpy,
    channels_first,
    decoded,
    is_encoded,
    is_float_type,
    unwrapped,
)
from fmce_mlflow.wording import printable

Unreadable = Literal["raise", "skip"]
HASHED_BYTES = 32 * 2**20  # up to this size all pixels go into a digest; above it, those of SAMPLED images
SAMPLED = 256
LOOKED_AT = 16  # images, for the size of all


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image that was left out because it cannot be read."""

    index: int
    name: str
    reason: str


class ImageInputs(ABC):
    """An ordered set of images, read when they are asked for."""

    classes: tuple[str, ...] | None = None  # names of the classes that the targets count
    folder: Path | None = None  # the folder or file that holds all images, where there is one
    unreadable: Unreadable = "raise"  # what becomes of an image that cannot be read
    parallel: bool = False  # whether reading in several threads is safe and worth while
    choice: str | None = None  # what was taken of what was given, in a sentence for the user
    _targets: NDArray[Any] | None = None

    @property
    def targets(self) -> NDArray[Any] | None:
        """A label for each image, shape (n,), or None."""
        return self._targets

    @property
    def known_targets(self) -> NDArray[Any] | None:
        """The targets where they are known without reading images."""
        return self._targets

    @property
    def labelled(self) -> bool:
        """Whether there are targets."""
        return self._targets is not None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int, fit: Fit | None = None) -> NDArray[Any]:
        """Image ``index``: uint8 (H, W, 3 or 1), or a float32 array (C, H, W) that is passed to the network as it is.

        ``fit`` is applied to uint8 pixels, so that none is kept at full size. A DataError names an image that cannot be
        read or is none.
        """

    def read_many(self, indices: NDArray[np.int64]) -> NDArray[Any] | None:
        """Several images as one array (b, …), each as :meth:`read` gives it; None where they are read one by one."""
        return None

    @abstractmethod
    def is_float(self) -> bool:
        """Whether the images are float arrays, as the first is."""

    def name(self, index: int) -> str:
        """What messages call image ``index``: its path, or ``image 17``."""
        return f"image {index}"

    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of :data:`LOOKED_AT` images, as :meth:`read` gives them; unreadable ones are left out."""
        found = []
        for index in _spread(len(self), LOOKED_AT):
            try:
                found.append(self.read(index).shape)
            except UnreadableError:
                continue
        return found

    def sizes(self) -> set[tuple[int, int]]:
        """Heights and widths among :meth:`shapes`; of floats, which are not resized, the first image's alone."""
        found = self.shapes()[:1] if self.is_float() else self.shapes()
        return {shape[1:] if self.is_float() else shape[:2] for shape in found}  # type: ignore[misc]

    def digest(self) -> str:
        """Eight hexadecimal digits that tell one set of images and labels from another.

        Of files it takes names below their common folder, sizes and content, so that a copy has the same digest.
        """
        found = hashlib.sha256()
        heads, size = self._heads()
        for head in heads:
            found.update(printable(f"{head}\0").encode())
        for index in range(len(self)) if size <= HASHED_BYTES else _spread(len(self), SAMPLED):
            found.update(self._content(index))
        if self._targets is not None:
            found.update(printable("\0".join(map(str, self._targets.tolist()))).encode())
        return found.hexdigest()[:8]

    @abstractmethod
    def _heads(self) -> tuple[list[Any], int]:
        """What is cheaply known of all images, for the digest, and how many bytes they are."""

    @abstractmethod
    def _content(self, index: int) -> Any:
        """The bytes of image ``index``, for the digest."""


class ArrayImages(ImageInputs):
    """Images in one array (n, H, W), (n, C, H, W) or (n, H, W, C): NumPy's, torch's, or any that can be sliced."""

    def __init__(self, array: Any, targets: ArrayLike | None = None, *, layout: Layout = "auto") -> None:
        self._array = array
        self._shape = shape = tuple(int(size) for size in array.shape)
        self._float = is_float_type(array.dtype, f"images of shape {shape}")
        if shape[:1] == (0,):
            raise DataError("There are no images: the array is empty. Give at least one; FMCE needs two.")
        if len(shape) not in (3, 4) or 0 in shape:
            hint = " Give a list or an array of images, or for a single image images[None]." if len(shape) == 2 else ""
            raise DataError(f"Expected images of shape (n, C, H, W), (n, H, W, C) or (n, H, W), got {shape}.{hint}")
        if len(shape) == 3 and layout == "auto" and (shape[0] == 3 or shape[2] in (3, 4)):
            raise DataError(
                f"Images of shape {shape} may be one color image or {shape[0]} gray ones. For one image give "
                "images[None]; for gray images give layout='NCHW', or a channel axis."
            )
        self._channels_first = len(shape) == 4 and channels_first(shape, layout, "images", self._float)
        self._targets = as_targets(targets, shape[0])
        file = getattr(array, "filename", None)  # np.memmap
        self.folder = Path(file) if isinstance(file, (str, Path)) else None

    def __len__(self) -> int:
        return self._shape[0]

    def read(self, index: int, fit: Fit | None = None) -> NDArray[Any]:
        """Image ``index``; see :meth:`ImageInputs.read`."""
        image: NDArray[Any] = self._arranged(as_numpy(self._array[index])[None])[0]
        return image if self._float or fit is None else fit(image)

    def read_many(self, indices: NDArray[np.int64]) -> NDArray[Any] | None:
        """Several at once, where the array is NumPy's or torch's."""
        if isinstance(self._array, torch.Tensor):
            return self._arranged(as_numpy(self._array[torch.from_numpy(indices)]))
        return self._arranged(self._array[indices]) if isinstance(self._array, np.ndarray) else None

    def is_float(self) -> bool:
        """Whether the array's type is."""
        return self._float

    def shapes(self) -> list[tuple[int, ...]]:
        """The one shape of all images."""
        return [self.read(0).shape]

    def _arranged(self, images: NDArray[Any]) -> NDArray[Any]:
        """(b, H, W, C) of uint8, (b, C, H, W) of float32."""
        if images.ndim == 3:
            images = images[:, None] if self._float else images[..., None]
        elif self._channels_first != self._float:
            images = images.transpose((0, 2, 3, 1) if self._channels_first else (0, 3, 1, 2))
        return images.astype(np.float32, copy=False) if self._float else np.asarray(images)

    def _heads(self) -> tuple[list[Any], int]:
        first = as_numpy(self._array[0])
        return [self._shape, first.dtype.str], first.nbytes * len(self)

    def _content(self, index: int) -> Any:
        return np.ascontiguousarray(as_numpy(self._array[index]))


class ListImages(ImageInputs):
    """Images of which each is a path, encoded bytes, a PIL image or an array; ``names`` is for those without a path."""

    parallel = True

    def __init__(
        self,
        items: Sequence[Any],
        targets: ArrayLike | None = None,
        *,
        layout: Layout = "auto",
        folder: Path | None = None,
        classes: tuple[str, ...] | None = None,
        names: str = "image {}",
    ) -> None:
        self._items, self._layout, self._names = items, layout, names
        self.classes = None if classes is None else tuple(map(printable, classes))
        self._targets = as_targets(targets, len(items))
        self.folder = folder.absolute() if folder else _common_folder(items)

    def __len__(self) -> int:
        return len(self._items)

    def name(self, index: int) -> str:
        """Its path, or its place."""
        item = self._items[index]
        return printable(str(item)) if isinstance(item, (str, os.PathLike)) else self._names.format(index)

    def path(self, index: int) -> str:
        """The path of an image that is a file."""
        return str(self._items[index])

    def read(self, index: int, fit: Fit | None = None) -> NDArray[Any]:
        """Image ``index``; see :meth:`ImageInputs.read`."""
        return decoded(self._items[index], self.name(index), self._layout, fit)

    def is_float(self) -> bool:
        """Whether the first image is."""
        first = unwrapped(self._items[0])
        return not is_encoded(first) and is_float_type(as_numpy(first).dtype, self.name(0))

    def _heads(self) -> tuple[list[Any], int]:
        heads = [self._head(item) for item in self._items]
        return [head for head, _ in heads], sum(size for _, size in heads)

    def _head(self, item: Any) -> tuple[Any, int]:
        """What is cheaply known of an image, and its size in bytes."""
        item = unwrapped(item)
        if isinstance(item, (str, os.PathLike)):
            try:
                size = os.stat(item).st_size
            except OSError:
                size = -1
            path, inside = os.path.abspath(item), f"{self.folder}{os.sep}"
            return (path.removeprefix(inside).replace(os.sep, "/"), size), max(size, 0)
        if isinstance(item, bytes):
            return len(item), len(item)
        if isinstance(item, Image.Image):
            return (item.mode, item.size), item.size[0] * item.size[1] * 3
        array = as_numpy(item)
        return (array.shape, array.dtype.str), array.nbytes

    def _content(self, index: int) -> Any:
        item = unwrapped(self._items[index])
        if isinstance(item, (str, os.PathLike)):
            path = Path(item)
            try:
                return path.read_bytes() if path.is_file() else b""  # reading a pipe would wait for whoever writes it
            except OSError:
                return b""
        if isinstance(item, Image.Image):
            return item.tobytes()
        return b"" if item is None else item if is_encoded(item) else np.ascontiguousarray(as_numpy(item))


def as_targets(targets: ArrayLike | None, n: int) -> NDArray[Any] | None:
    """Labels as an array, shape (n,); a DataError where there are not as many as images, or several for one."""
    if targets is None:
        return None
    labels = as_numpy(targets)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != n:
        raise DataError(
            f"Expected one target for each of {n:,} images, shape ({n},), got targets of shape {labels.shape}. "
            "Give them in the order of the images; give class numbers instead of one-hot rows."
        )
    return labels


def _common_folder(items: Iterable[Any]) -> Path | None:
    folders = set()
    for item in items:
        if not isinstance(item, (str, os.PathLike)):
            return None
        folders.add(os.path.dirname(os.path.abspath(item)))
    try:
        return Path(os.path.commonpath(folders)) if folders else None
    except ValueError:  # several drives
        return None


def _spread(n: int, most: int) -> list[int]:
    """At most so many evenly spaced positions from 0 to n − 1."""
    return [int(i) for i in np.linspace(0, n - 1, min(most, n)).round()]
