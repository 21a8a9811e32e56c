"""Images of a torch dataset, whose items are made by somebody else's code."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from fmce_mlflow.method.images.decoding import Fit, Layout, UnreadableError, as_numpy, decoded
from fmce_mlflow.method.images.readers import HASHED_BYTES, ImageInputs, Unreadable, as_targets


class DatasetImages(ImageInputs):
    """Images of a torch dataset, whose items are images or pairs (image, label).

    Items are read in one thread: a dataset need not allow several. Targets are by default its ``targets`` or
    ``labels``; where it has none and its items are pairs, all are read once when targets are asked for.
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
        self._pairs = isinstance(first, (tuple, list)) and len(first) > 1
        self._targets = as_targets(targets if targets is not None else _known_labels(dataset), len(self))
        names = getattr(dataset, "classes", None)
        self.classes = tuple(map(str, names)) if isinstance(names, (list, tuple)) else None
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
            label = self._item(index)[1]
        except UnreadableError:  # reported when it is evaluated on
            return None
        return label.item() if isinstance(label, (torch.Tensor, np.generic)) and label.ndim == 0 else label

    def read(self, index: int, fit: Fit | None = None) -> NDArray[Any]:
        """Image ``index``; see :meth:`ImageInputs.read`."""
        return self._pixels(self._item(index), index, fit)

    def is_float(self) -> bool:
        """Whether the first readable image is."""
        return self._float

    def _pixels(self, item: Any, index: int, fit: Fit | None = None) -> NDArray[Any]:
        return decoded(item[0] if isinstance(item, (tuple, list)) else item, self.name(index), self._layout, fit)

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
