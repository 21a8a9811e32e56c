"""Images of a torch dataset, whose items are made by somebody else's code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torchvision.datasets.folder import IMG_EXTENSIONS

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.images.decoding import Fit, Layout, UnreadableError, as_numpy, decoded, is_encoded, unwrapped
from fmce_mlflow.method.images.readers import HASHED_BYTES, ImageInputs, Unreadable, as_targets

IMAGE_KEYS = ("image", "img", "images", "pixel_values", "x", "input")
LABEL_KEYS = ("label", "labels", "target", "targets", "class", "y")
"""Where items that are dicts have image and label; the first that is there."""


class DatasetImages(ImageInputs):
    """Images of a torch dataset, whose items are images, tuples (image, label, …), or dicts that have one.

    Items are read in one thread: a dataset need not allow several. Targets are by default its ``targets`` or
    ``labels``; where it has none and its items have labels, all are read once when targets are asked for. Boxes, masks
    and vectors of attributes are no labels.
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
        for index in range(len(self)):
            try:
                first = self._item(index)
                self._float = self._pixels(first, index).dtype == np.float32
                break
            except UnreadableError:
                if unreadable == "raise" or index == len(self) - 1:
                    raise
        key, target = _target(first)
        self._pairs = key is not None and _is_class(target)
        if targets is None and (key is None or self._pairs):
            targets = _known_labels(dataset)
        elif targets is None:
            self.choice = (
                f"Targets are not used, since they are no classes: that of the first image is {_kind(target)}."
            )
        self._targets = as_targets(targets, len(self))
        self.classes = _known_classes(dataset, key)
        root = getattr(dataset, "root", None)
        self.folder = Path(root) if isinstance(root, (str, os.PathLike)) else None

    def __len__(self) -> int:
        return len(self._dataset)

    @property
    def targets(self) -> NDArray[Any] | None:
        """A label for each image, shape (n,), or None; read from all items where they are not known."""
        return self._read_labels if self._targets is None and self._pairs else self._targets

    @property
    def known_targets(self) -> NDArray[Any] | None:
        """Those that were given, or the dataset's own; else None until all items have been read for them."""
        return self._targets if self._targets is not None else self.__dict__.get("_read_labels")

    @property
    def labelled(self) -> bool:
        """Whether there are targets."""
        return self._targets is not None or self._pairs

    @cached_property
    def _read_labels(self) -> NDArray[Any]:
        return cast("NDArray[Any]", as_targets([self._label(i) for i in range(len(self))], len(self)))

    def _label(self, index: int) -> Any:
        try:
            label = _target(self._item(index))[1]
        except UnreadableError:  # reported when it is evaluated on
            return None
        if not _is_class(label):
            return None
        return (
            as_numpy(label).reshape(()).item() if isinstance(label, (torch.Tensor, np.ndarray, np.generic)) else label
        )

    def read(self, index: int, fit: Fit | None = None) -> NDArray[Any]:
        """Image ``index``; see :meth:`ImageInputs.read`."""
        return self._pixels(self._item(index), index, fit)

    def is_float(self) -> bool:
        """Whether the first readable image is."""
        return self._float

    def _pixels(self, item: Any, index: int, fit: Fit | None = None) -> NDArray[Any]:
        return decoded(_image(item, self.name(index)), self.name(index), self._layout, fit)

    def _item(self, index: int) -> Any:
        try:
            return self._dataset[index]
        except UnreadableError:
            raise
        except Exception as error:  # a user's code
            kind = type(self._dataset).__name__
            raise UnreadableError(self.name(index), f"{kind} raised {type(error).__name__}: {error}") from error

    def _heads(self) -> tuple[list[Any], int]:
        return [len(self)], HASHED_BYTES + 1  # as if it were large: an item may be slow to make

    def _content(self, index: int) -> Any:
        try:
            return np.ascontiguousarray(self.read(index))
        except UnreadableError:  # reported when it is evaluated on
            return b""


def is_item(value: Any) -> bool:
    """Whether one of a list is an image with more beside it, as items of a torch dataset are."""
    if isinstance(value, Mapping):
        return unwrapped(value) is value
    return isinstance(value, tuple) and len(value) > 1 and (is_encoded(value[0]) or np.ndim(value[0]) > 1)


def _image(item: Any, name: str) -> Any:
    """The image of an item."""
    if isinstance(item, Mapping) and is_item(item):
        pixels = [key for key, value in item.items() if _looks_like_an_image(value)]
        known = [key for key in IMAGE_KEYS if key in item] or (pixels if len(pixels) == 1 else [])
        if not known:
            raise DataError(
                f"{name} is a dict that has {', '.join(map(str, item))}: it is unclear which is the image. Expected "
                f"one of {', '.join(IMAGE_KEYS)}. Wrap the dataset so that its items are pairs (image, label)."
            )
        return item[known[0]]
    return item[0] if isinstance(item, (tuple, list)) else item


def _looks_like_an_image(value: Any) -> bool:
    if isinstance(value, str):
        return value.lower().endswith(IMG_EXTENSIONS)
    return value is not None and (is_encoded(value) or np.ndim(value) > 1)


def _target(item: Any) -> tuple[Any, Any]:
    """What is beside an item's image, with its key or place; None twice where there is nothing."""
    if isinstance(item, Mapping):
        return next(((key, item[key]) for key in LABEL_KEYS if key in item), (None, None))
    return (1, item[1]) if isinstance(item, (tuple, list)) and len(item) > 1 else (None, None)


def _is_class(target: Any) -> bool:
    """Whether a target is one name or number, and no boxes, mask, attributes or nothing."""
    if isinstance(target, (torch.Tensor, np.ndarray, np.generic)):
        return int(np.prod(target.shape)) == 1
    return isinstance(target, (str, int, float))


def _kind(target: Any) -> str:
    kind = type(target).__name__
    return f"{kind} of shape {tuple(target.shape)}" if hasattr(target, "shape") else kind


def _known_classes(dataset: Any, key: Any) -> tuple[str, ...] | None:
    """The names of a dataset's classes; Hugging Face has them by column."""
    if isinstance(dataset, torch.utils.data.Subset):
        return _known_classes(dataset.dataset, key)
    features = getattr(dataset, "features", None)
    of_column = getattr(features.get(key), "names", None) if isinstance(features, Mapping) else None
    names = getattr(dataset, "classes", of_column)
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) else None


def _known_labels(dataset: Any) -> Any:
    """The labels of a torch dataset where they are known without reading its images."""
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
    for labels in (getattr(dataset, name, None) for name in ("targets", "labels")):
        if not isinstance(labels, (list, tuple, np.ndarray, torch.Tensor)):
            continue
        if len(labels) == n and as_numpy(labels).ndim == 1:
            return labels
    return None
