"""Images by position, from memory, files and torch datasets, each read when it is asked for."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.images.decoding import (
    Layout,
    UnreadableError,
    as_numpy,
    channels_first,
    decoded,
    is_encoded,
    is_float_type,
)

Unreadable = Literal["raise", "skip"]
HASHED_BYTES = 32 * 2**20
"""Up to this size all pixels go into a digest; above it, those of :data:`SAMPLED` evenly spaced images."""
SAMPLED = 256


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image that was left out because it cannot be read."""

    index: int
    name: str
    reason: str


class ImageInputs(ABC):
    """An ordered set of images, read when they are asked for."""

    classes: tuple[str, ...] | None = None
    """Names of the classes that the targets count, where a folder or dataset has them."""
    folder: Path | None = None
    """The folder or file that holds all images, where there is one."""
    unreadable: Unreadable = "raise"
    """What becomes of an image that cannot be read: ``raise`` or ``skip``."""
    parallel: bool = False
    """Whether reading in several threads is safe and worth while."""
    _targets: NDArray[Any] | None = None

    @property
    def targets(self) -> NDArray[Any] | None:
        """A label for each image, shape (n,), or None."""
        return self._targets

    @property
    def labelled(self) -> bool:
        """Whether there are targets."""
        return self._targets is not None

    @property
    def known_targets(self) -> NDArray[Any] | None:
        """The targets where they are known without reading images."""
        return self._targets

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> NDArray[Any]:
        """Image ``index``: uint8 (H, W, 3 or 1), or a float32 array (C, H, W) that is passed to the network as it is.

        Raises:
            DataError: If it cannot be read or is no image; names it.
        """

    def read_many(self, indices: NDArray[np.int64]) -> NDArray[Any] | None:
        """Several images as one array (b, …), each as :meth:`read` gives it; None where they are read one by one."""
        return None

    def shapes(self, most: int) -> list[tuple[int, ...]]:
        """Shapes of at most so many evenly spaced images, as :meth:`read` gives them; unreadable ones are left out."""
        found = []
        for index in np.linspace(0, len(self) - 1, min(most, len(self))).round().astype(int).tolist():
            try:
                found.append(self.read(index).shape)
            except UnreadableError:
                continue
        return found

    def name(self, index: int) -> str:
        """What messages call image ``index``: its path, or ``image 17``."""
        return f"image {index}"

    @abstractmethod
    def is_float(self) -> bool:
        """Whether the images are float arrays; told by the first."""

    @abstractmethod
    def digest(self) -> str:
        """Eight hexadecimal digits that tell one set of images and labels from another.

        Of files it takes names below their common folder, sizes and content, so that a copy has the same digest.
        """


class ArrayImages(ImageInputs):
    """Images in one array: NumPy (also memory-mapped), torch, or anything with a shape that can be sliced.

    Args:
        array: Shape (n, H, W), (n, C, H, W) or (n, H, W, C).
        targets: A label for each image.
        layout: Where the channels are.

    Raises:
        DataError: If shape or type is not that of images.

    Example:
        >>> images = ArrayImages(np.zeros((5, 3, 8, 8), dtype=np.uint8), targets=[0, 1, 0, 1, 0])
        >>> len(images), images.read(2).shape, images.is_float()
        (5, (8, 8, 3), False)
    """

    def __init__(self, array: Any, targets: ArrayLike | None = None, *, layout: Layout = "auto") -> None:
        self._array = array
        shape = tuple(int(size) for size in array.shape)
        self._float = is_float_type(array.dtype, f"images of shape {shape}")
        if len(shape) not in (3, 4) or 0 in shape:
            raise DataError(_not_a_batch(shape))
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
        return int(self._array.shape[0])

    def read(self, index: int) -> NDArray[Any]:
        """Image ``index``; see :meth:`ImageInputs.read`."""
        one: NDArray[Any] = self._arranged(as_numpy(self._array[index])[None])[0]
        return one

    def shapes(self, most: int) -> list[tuple[int, ...]]:
        """The one shape of all images."""
        return [self.read(0).shape]

    def read_many(self, indices: NDArray[np.int64]) -> NDArray[Any] | None:
        """Several at once, where the array is NumPy's or torch's."""
        if isinstance(self._array, torch.Tensor):
            return self._arranged(as_numpy(self._array[torch.from_numpy(indices)]))
        return self._arranged(self._array[indices]) if isinstance(self._array, np.ndarray) else None

    def _arranged(self, images: NDArray[Any]) -> NDArray[Any]:
        """(b, H, W, C) of uint8, (b, C, H, W) of float32."""
        if images.ndim == 3:
            images = images[:, None] if self._float else images[..., None]
        elif self._channels_first != self._float:
            images = images.transpose((0, 2, 3, 1) if self._channels_first else (0, 3, 1, 2))
        return images.astype(np.float32, copy=False) if self._float else np.asarray(images)

    def is_float(self) -> bool:
        """Told by the array's type."""
        return self._float

    def digest(self) -> str:
        """From shape, type, pixels and targets."""
        shape = tuple(int(size) for size in self._array.shape)
        first = np.ascontiguousarray(as_numpy(self._array[0]))
        chosen = _sample(len(self), first.nbytes * len(self)).tolist()
        sample = (np.ascontiguousarray(as_numpy(self._array[i])) for i in chosen)
        return _digest([shape, first.dtype.str], sample, self._targets)


class ListImages(ImageInputs):
    """Images of which each is a path, encoded bytes, a PIL image or an array.

    Args:
        items: The images.
        targets: A label for each.
        layout: Where the channels of arrays are.
        folder: The folder that all paths lie in; by default the deepest one.
        classes: Names of the classes that the targets count.
        names: What messages call the images that are no paths.
    """

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
        self._items, self._layout, self._names, self.classes = items, layout, names, classes
        self._targets = as_targets(targets, len(items))
        self.folder = folder.absolute() if folder else _common_folder(items)

    def __len__(self) -> int:
        return len(self._items)

    def name(self, index: int) -> str:
        """Its path, or its place."""
        item = self._items[index]
        return str(item) if isinstance(item, (str, os.PathLike)) else self._names.format(index)

    def read(self, index: int) -> NDArray[Any]:
        """Image ``index``; see :meth:`ImageInputs.read`."""
        return decoded(self._items[index], self.name(index), self._layout)

    def is_float(self) -> bool:
        """Told by the first image."""
        first = self._items[0]
        return not is_encoded(first) and is_float_type(as_numpy(first).dtype, self.name(0))

    def digest(self) -> str:
        """From names, sizes, pixels or bytes, and targets."""
        heads, size = [], 0
        for item in self._items:
            head, bytes_of = self._head(item)
            heads.append(head)
            size += bytes_of
        sample = (_content(self._items[int(i)]) for i in _sample(len(self), size))
        return _digest(heads, sample, self._targets)

    def _head(self, item: Any) -> tuple[Any, int]:
        """What is cheaply known of an image, and its size in bytes."""
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


class DatasetImages(ImageInputs):
    """Images of a torch dataset, whose items are images or pairs (image, label).

    Items are read in one thread: a dataset need not bear several.

    Args:
        dataset: Has a length and items by position.
        targets: A label for each image. By default the dataset's ``targets`` or ``labels``; where it has none and its
            items are pairs, all are read once when targets are asked for.
        layout: Where the channels of arrays are.
        unreadable: What becomes of an image that cannot be read.
    """

    def __init__(
        self,
        dataset: Any,
        targets: ArrayLike | None = None,
        *,
        layout: Layout = "auto",
        unreadable: Unreadable = "raise",
    ) -> None:
        self._dataset, self._layout, self.unreadable = dataset, layout, unreadable
        self._first = self._first_readable()
        self._labelled = isinstance(first := self._item(self._first), (tuple, list)) and len(first) > 1
        self._given = as_targets(targets if targets is not None else _known_labels(dataset), len(self))
        names = getattr(dataset, "classes", None)
        self.classes = tuple(map(str, names)) if isinstance(names, (list, tuple)) else None
        root = getattr(dataset, "root", None)
        self.folder = Path(root) if isinstance(root, (str, os.PathLike)) else None

    def __len__(self) -> int:
        return len(self._dataset)

    @property
    def targets(self) -> NDArray[Any] | None:
        """A label for each image, shape (n,), or None."""
        if self._given is not None or not self._labelled:
            return self._given
        return self._read_labels

    @property
    def labelled(self) -> bool:
        """Whether there are targets."""
        return self._given is not None or self._labelled

    @property
    def known_targets(self) -> NDArray[Any] | None:
        """Those that were given, or the dataset's own; else None until all items have been read for them."""
        return self._given if self._given is not None else self.__dict__.get("_read_labels")

    @cached_property
    def _read_labels(self) -> NDArray[Any]:
        return cast("NDArray[Any]", as_targets([self._label(i) for i in range(len(self))], len(self)))

    def _label(self, index: int) -> Any:
        try:
            return _scalar(self._item(index)[1])
        except UnreadableError:  # told when it is evaluated on
            return None

    def read(self, index: int) -> NDArray[Any]:
        """Image ``index``; see :meth:`ImageInputs.read`."""
        item = self._item(index)
        return decoded(item[0] if isinstance(item, (tuple, list)) else item, self.name(index), self._layout)

    def _item(self, index: int) -> Any:
        try:
            return self._dataset[index]
        except Exception as error:  # a user's code
            kind = type(self._dataset).__name__
            raise UnreadableError(self.name(index), f"{kind} raised {type(error).__name__}: {error}") from error

    def _first_readable(self) -> int:
        if self.unreadable == "raise":
            return 0
        for index in range(len(self) - 1):
            try:
                self.read(index)
            except UnreadableError:
                continue
            return index
        return len(self) - 1

    @cached_property
    def _first_is_float(self) -> bool:
        return self.read(self._first).dtype == np.float32

    def is_float(self) -> bool:
        """Told by the first image."""
        return self._first_is_float

    def digest(self) -> str:
        """From at most 256 items, and the targets where they are known without reading all."""
        return _digest([len(self)], map(self._hashed, _sample(len(self), HASHED_BYTES + 1).tolist()), self._given)

    def _hashed(self, index: int) -> Any:
        try:
            return np.ascontiguousarray(self.read(index))
        except UnreadableError:  # told when it is evaluated on
            return b""


def as_targets(targets: ArrayLike | None, n: int) -> NDArray[Any] | None:
    """Labels as an array, shape (n,).

    Raises:
        DataError: If there are not as many as images, or several for one.
    """
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


def _scalar(label: Any) -> Any:
    return label.item() if isinstance(label, (torch.Tensor, np.generic)) and label.ndim == 0 else label


def _not_a_batch(shape: tuple[int, ...]) -> str:
    if 0 in shape[:1]:
        return "There are no images: the array is empty. Give at least one; FMCE needs two."
    hint = " Give a list or an array of images, or for a single image images[None]." if len(shape) == 2 else ""
    return f"Expected images of shape (n, C, H, W), (n, H, W, C) or (n, H, W), got {shape}.{hint}"


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


def _known_labels(dataset: Any) -> Any:
    """The labels of a torch dataset where they can be had without reading its images."""
    n = len(dataset)
    if getattr(dataset, "target_transform", None) is not None:
        return None
    if isinstance(dataset, torch.utils.data.Subset):
        labels = _known_labels(dataset.dataset)
        return None if labels is None else as_numpy(labels)[np.asarray(dataset.indices, dtype=np.int64)]
    if isinstance(dataset, torch.utils.data.ConcatDataset):
        parts = [_known_labels(part) for part in dataset.datasets]
        return None if any(part is None for part in parts) else np.concatenate([as_numpy(part) for part in parts])
    if isinstance(dataset, torch.utils.data.TensorDataset):
        return dataset.tensors[1] if len(dataset.tensors) > 1 and dataset.tensors[1].ndim == 1 else None
    for name in ("targets", "labels"):
        labels = getattr(dataset, name, None)
        if (
            isinstance(labels, (list, tuple, np.ndarray, torch.Tensor))
            and len(labels) == n
            and as_numpy(labels).ndim == 1
        ):
            return labels
    return None


def _sample(n: int, size: int) -> NDArray[np.int64]:
    """The images whose content goes into a digest."""
    if size <= HASHED_BYTES or n <= SAMPLED:
        return np.arange(n)
    return np.linspace(0, n - 1, SAMPLED).round().astype(np.int64)


def _content(item: Any) -> Any:
    """The bytes of an image in a list."""
    if isinstance(item, (str, os.PathLike)):
        try:
            return Path(item).read_bytes()
        except OSError:
            return b""
    if isinstance(item, Image.Image):
        return item.tobytes()
    return b"" if item is None else item if is_encoded(item) else np.ascontiguousarray(as_numpy(item))


def _digest(heads: Iterable[Any], content: Iterable[Any], targets: NDArray[Any] | None) -> str:
    found = hashlib.sha256()
    for head in heads:
        found.update(f"{head}\0".encode())
    for part in content:
        found.update(part)
    if targets is not None:
        found.update("\0".join(map(str, targets.tolist())).encode())
    return found.hexdigest()[:8]
