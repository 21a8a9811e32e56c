"""Batches of a network's input, read and prepared a little ahead."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from math import inf

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fmce_mlflow.errors import ConfigError, DataError
from fmce_mlflow.method.images.decoding import UnreadableError
from fmce_mlflow.method.images.preprocessing import InputShape, Preprocessing
from fmce_mlflow.method.images.readers import ImageInputs, Skipped, Unreadable

MOST_THREADS = 4


@dataclass(frozen=True, slots=True)
class Batch:
    """Images as a network takes them, on the CPU."""

    indices: NDArray[np.int64]  # (b,): which images of the inputs they are
    pixels: Tensor  # float32 (b, C, H, W)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A batch, in groups of images that were alike before they were prepared, and what was seen on the way."""

    groups: list[Batch]
    skipped: list[Skipped]
    least: float = inf  # value of float images
    greatest: float = -inf


class InputBatches:
    """Images as batches of a network's input, in order, read a few batches ahead; each iteration starts afresh.

    Float arrays pass as they are; all others take the preprocessing. Gray is repeated where the model takes 3 channels.
    At most :data:`MOST_THREADS` + 2 batches are held at a time.

    Args:
        inputs: The images.
        batch_size: Images per batch; the last may have fewer, and so may one whose images were skipped.
        preprocessing: For 8-bit images.
        input_shape: What the model takes, as far as it is known.
        unreadable: ``raise`` or ``skip``; by default as the inputs say.
        indices: Which images, in which order; by default all.

    Attributes:
        skipped: The images left out so far because they cannot be read.
        notes: Sentences for the user about the images seen so far.

    Raises:
        ConfigError: If 8-bit images come without a preprocessing, or with one of another size than the model takes.
        DataError: If no image is chosen. While iterating: if an image cannot be read, has NaN or infinite pixels, or
            another size or number of channels than the model takes or than others have; names it.

    Example:
        >>> from fmce_mlflow.method.images.inputs import image_inputs
        >>> images = image_inputs(np.zeros((5, 8, 8), dtype=np.uint8))
        >>> half = Preprocessing(8, 8, mean=(0.5,) * 3, std=(0.5,) * 3)
        >>> batches = InputBatches(images, batch_size=2, preprocessing=half, input_shape=(3, 8, 8))
        >>> [batch.indices.tolist() for batch in batches]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        inputs: ImageInputs,
        *,
        batch_size: int,
        preprocessing: Preprocessing | None,
        input_shape: InputShape | None,
        unreadable: Unreadable | None = None,
        indices: ArrayLike | None = None,
    ) -> None:
        chosen = np.arange(len(inputs)) if indices is None else np.asarray(indices, dtype=np.int64).reshape(-1)
        if not len(chosen):
            raise DataError("No image is chosen. Give at least one; FMCE needs two.")
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        shape: InputShape = input_shape or (None, None, None)
        if not inputs.is_float():
            _check_8_bit(inputs.name(int(chosen[0])), preprocessing, shape)
        self._inputs, self._preprocessing, self._shape = inputs, preprocessing, shape
        self._unreadable = unreadable or inputs.unreadable
        self._parts = np.split(chosen, range(batch_size, len(chosen), batch_size))
        self.skipped: list[Skipped] = []
        self.notes: list[str] = []

    def __len__(self) -> int:
        """How many batches there are if none is skipped whole."""
        return len(self._parts)

    def __iter__(self) -> Iterator[Batch]:
        """Read and prepare the images."""
        self.skipped, self.notes = [], []
        first: tuple[str, torch.Size] | None = None
        least, greatest = inf, -inf
        workers = min(MOST_THREADS, os.cpu_count() or 1) if self._inputs.parallel else 1
        for done in _ahead(self._prepare, self._parts, workers):
            self.skipped += done.skipped
            least, greatest = min(least, done.least), max(greatest, done.greatest)
            for group in done.groups:
                found = self._inputs.name(int(group.indices[0])), group.pixels.shape[1:]
                first = first or found
                if found[1] != first[1]:
                    raise _two_sizes(first, found)
            if len(done.groups) == 1:
                yield done.groups[0]
            elif done.groups:
                indices = np.concatenate([group.indices for group in done.groups])
                yield Batch(indices, torch.cat([group.pixels for group in done.groups]))
        if first is None:
            raise DataError(
                f"None of {sum(map(len, self._parts)):,} images can be read; the first is {self.skipped[0].name}: "
                f"{self.skipped[0].reason}."
            )
        if greatest >= least:
            self.notes += _range_notes(least, greatest, self._preprocessing)

    def _prepare(self, part: NDArray[np.int64]) -> _Prepared:
        """Read some images and make them the network's input; runs in a thread of the pool."""
        skipped: list[Skipped] = []
        together = self._inputs.read_many(part)
        if together is not None:
            alike = [(part, together)]
        else:
            read = groupby(self._read(part, skipped), key=lambda entry: (entry[1].shape, entry[1].dtype))
            runs = [list(entries) for _, entries in read]
            alike = [(np.array([i for i, _ in run]), np.stack([image for _, image in run])) for run in runs]
        floats = [images for _, images in alike if images.dtype != np.uint8]
        return _Prepared(
            [Batch(indices, self._fitted(torch.from_numpy(images), indices)) for indices, images in alike],
            skipped,
            min((float(images.min()) for images in floats), default=inf),
            max((float(images.max()) for images in floats), default=-inf),
        )

    def _read(self, part: NDArray[np.int64], skipped: list[Skipped]) -> Iterator[tuple[int, NDArray[np.generic]]]:
        for index in part.tolist():
            try:
                yield index, self._inputs.read(index)
            except UnreadableError as error:
                if self._unreadable == "raise":
                    raise
                skipped.append(Skipped(index, error.name, error.reason))

    def _fitted(self, images: Tensor, indices: NDArray[np.int64]) -> Tensor:
        """The network's input from images of one size and type: uint8 (b, H, W, C), or float32 (b, C, H, W)."""
        if images.dtype == torch.uint8:
            return self._preprocessed(images.permute(0, 3, 1, 2), indices)
        if not bool(torch.isfinite(images).all()):
            bad = int(torch.nonzero(~torch.isfinite(images).flatten(1).all(1))[0])
            what = "NaN" if bool(images[bad].isnan().any()) else "infinite"
            raise DataError(
                f"{self._inputs.name(int(indices[bad]))} has {what} pixels. Correct or leave out that image; a "
                "standard deviation of 0 in a normalisation is a common cause."
            )
        if self._shape[0] == 3 and images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1).contiguous()
        found = tuple(images.shape[1:])
        if any(wanted not in (None, got) for wanted, got in zip(self._shape, found, strict=True)):
            raise _wrong_shape(self._inputs.name(int(indices[0])), found, self._shape)
        return images

    def _preprocessed(self, images: Tensor, indices: NDArray[np.int64]) -> Tensor:
        """From uint8 (b, 1 or 3, H, W)."""
        if self._preprocessing is None:
            raise _no_preprocessing(self._inputs.name(int(indices[0])))
        gray = self._shape[0] == 1
        if gray and images.shape[1] == 3:
            colored = (images != images[:, :1]).flatten(1).any(1)
            if bool(colored.any()):
                name = self._inputs.name(int(indices[int(torch.nonzero(colored)[0])]))
                raise DataError(f"{name} is in color, and the model takes 1 channel. Convert the images to gray.")
            images = images[:, :1]
        x = self._preprocessing.normalise(self._preprocessing.fit(images.contiguous()))
        return x[:, :1].contiguous() if gray else x


def _ahead(
    work: Callable[[NDArray[np.int64]], _Prepared], parts: Iterable[NDArray[np.int64]], workers: int
) -> Iterator[_Prepared]:
    """The results of work in threads, in order; at most ``workers`` + 1 are begun before they are asked for."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fmce-images")
    begun: deque[Future[_Prepared]] = deque()
    try:
        for part in parts:
            begun.append(pool.submit(work, part))
            if len(begun) > workers + 1:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check_8_bit(name: str, preprocessing: Preprocessing | None, shape: InputShape) -> None:
    if preprocessing is None:
        raise _no_preprocessing(name)
    if shape[0] not in (None, 1, 3):
        raise DataError(
            f"The model takes {shape[0]} channels, and 8-bit images have 1 or 3. Give the floats that it takes, "
            f"shape (n, {', '.join('?' if s is None else str(s) for s in shape)})."
        )
    size = preprocessing.height, preprocessing.width
    if any(wanted not in (None, got) for wanted, got in zip(shape[1:], size, strict=True)):
        raise ConfigError(
            f"preprocessing makes images of {size[0]}×{size[1]}, and the model takes "
            f"{'×'.join('any' if s is None else str(s) for s in shape[1:])}. Set its height and width to these."
        )


def _no_preprocessing(name: str) -> ConfigError:
    return ConfigError(
        f"{name} has 8-bit pixels, and nothing says how the model wants them scaled. Give preprocessing='imagenet', "
        "'scale' (to [0, 1] alone), or {'mean': [r, g, b], 'std': [r, g, b]} as in the model's training; models that "
        "this project trains carry theirs. Or give the floats that the model takes."
    )


def _two_sizes(first: tuple[str, Sequence[int]], other: tuple[str, Sequence[int]]) -> DataError:
    return DataError(
        f"Images are of several sizes: {first[0]} is (C, H, W) = {tuple(first[1])}, {other[0]} {tuple(other[1])}. "
        "Float images pass as they are: resize them to one size, or give 8-bit images, which preprocessing resizes."
    )


def _wrong_shape(name: str, found: tuple[int, ...], wanted: InputShape) -> DataError:
    shape = ", ".join("any" if size is None else str(size) for size in wanted)
    swapped = wanted[0] is not None and found[0] != wanted[0] and found[2] == wanted[0]
    hint = " Its channels seem to come last: give layout='NHWC'." if swapped else ""
    return DataError(
        f"{name} is (C, H, W) = {found}; the model takes ({shape}). Float images pass as they are: give them in that "
        f"shape, or as 8-bit images, which preprocessing resizes.{hint}"
    )


def _range_notes(least: float, greatest: float, preprocessing: Preprocessing | None) -> list[str]:
    """What the values of float images give away; they pass nevertheless."""
    if greatest - least > 60:
        return [
            f"Float images go from {least:.3g} to {greatest:.3g}, as unscaled 8-bit pixels do; they pass as they are. "
            "If they are such, give them as uint8."
        ]
    if greatest == least:
        return [f"All pixels of all float images are {least:.3g}."]
    normalises = preprocessing is not None and (set(preprocessing.mean) != {0.0} or set(preprocessing.std) != {1.0})
    if normalises and least >= 0 and greatest <= 1:
        return [
            "Float images lie in [0, 1] and pass as they are, though the model was trained on normalised images. If "
            "they are not normalised, give them as uint8."
        ]
    return []
