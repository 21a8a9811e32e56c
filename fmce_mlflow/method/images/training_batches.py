"""Batches of training images in a given order, resized, augmented and normalised, also by worker processes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from fmce_mlflow.errors import ConfigError, DataError
from fmce_mlflow.method.images.config import AUGMENTATIONS
from fmce_mlflow.method.images.image_set import ImageSet
from fmce_mlflow.method.images.preprocessing import Preprocessing
from fmce_mlflow.wording import did_you_mean

_WORKER_ENDED = re.compile(r"DataLoader worker .*(?:is killed by signal: \w+|exited unexpectedly)")


def loader(
    images: ImageSet,
    *,
    preprocessing: Preprocessing,
    batches: Sequence[Sequence[int]],
    augmentation: str = "none",
    seed: int = 0,
    epoch: int = 0,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Load batches of images in the order given: (float32 (b, 3, H, W), int64 (b,)) each.

    Each image's augmentation is drawn from (``seed``, ``epoch``, the image's index in its source) alone: the batches do
    not depend on worker processes, on the process that loads them, or on where a run was resumed. torch's global random
    state is left as it is.

    Args:
        images: Where the images come from.
        preprocessing: Of an image, to the network's input.
        batches: Positions in ``images``, batch by batch.
        augmentation: One of :data:`.config.AUGMENTATIONS`, applied to the resized uint8 image.
        seed: Of the augmentation.
        epoch: Pass over the data; each has its own augmentation.
        num_workers: Processes that read images; 0 reads them in this one.
        pin_memory: Put batches into page-locked memory, for a GPU.

    Raises:
        ConfigError: If the augmentation is unknown or ``num_workers`` negative.
        DataError: While it is read, if an image file cannot be decoded.

    Example:
        >>> from fmce_mlflow.method.images.config import SplitOptions
        >>> from fmce_mlflow.method.images.split import load_images
        >>> data = load_images(SplitOptions(dataset="digits", image_size=16))
        >>> x, y = next(iter(loader(data.train, preprocessing=data.preprocessing, batches=[[0, 5, 2]])))
        >>> x.shape, x.dtype, y.tolist() == data.train.labels[[0, 5, 2]].tolist()
        (torch.Size([3, 3, 16, 16]), torch.float32, True)
    """
    counts = {"seed": seed, "num-workers": num_workers}
    problems = [f"{name} must not be negative, got {value}" for name, value in counts.items() if value < 0]
    if augmentation not in AUGMENTATIONS:
        near = did_you_mean(augmentation, AUGMENTATIONS)
        problems.append(f"augmentation must be one of {', '.join(AUGMENTATIONS)}, got {augmentation!r}.{near}")
    if problems:
        raise ConfigError(problems)
    images.reserve(preprocessing)
    return _Loader(
        _Batches(images, preprocessing, batches, _transform(augmentation, preprocessing), seed, epoch),
        batch_size=None,
        num_workers=num_workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # without one, iterating draws from the global generator
    )


class _Loader(DataLoader[tuple[Tensor, Tensor]]):
    """Raises what a worker could not read as itself, not as an error text with the worker's traceback in it."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:  # type: ignore[override]
        batches = super().__iter__()
        while True:
            ended = ""
            try:
                batch = next(batches, None)
            except (OSError, EOFError) as error:  # what a worker wrote last cannot be fetched from it any more
                if not self.num_workers:
                    raise
                ended = type(error).__name__
            if ended:
                del batches  # and torch's watch over workers, which would interrupt the closing of the run
                raise _worker_ended(ended)
            if batch is None:
                return
            if isinstance(batch, DataError):
                raise batch
            yield batch


@contextmanager
def told_if_a_worker_ends() -> Iterator[None]:
    """Say that a process that reads images ended; torch's handler of signals raises that wherever the code is then."""
    try:
        yield
    except RuntimeError as error:
        if not (found := _WORKER_ENDED.search(str(error))):
            raise
        raise _worker_ended(found[0]) from error


def _worker_ended(how: str) -> DataError:
    return DataError(
        f"A process that reads images ended: {how}. Often it is memory: set --num-workers to fewer, or to 0. What was "
        "recorded until then is kept, and --resume goes on from it."
    )


@dataclass
class _Batches(Dataset[Any]):
    """A data set whose items are whole batches."""

    images: ImageSet
    preprocessing: Preprocessing
    batches: Sequence[Sequence[int]]
    transform: v2.Transform | None
    seed: int
    epoch: int

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor] | DataError:
        at = np.asarray(self.batches[i], dtype=np.int64)
        try:
            pixels = self.images.resized(at, self.preprocessing)  # (b, 1 or 3, H, W)
        except DataError as error:
            return error
        if self.transform is not None and len(at):
            pixels = self._augment(pixels.expand(-1, 3, -1, -1), self.transform, self.images.indices[at])
        return self.preprocessing.normalise(pixels), torch.from_numpy(self.images.labels[at])

    def _augment(self, pixels: Tensor, transform: v2.Transform, indices: NDArray[np.int64]) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            done = []
            for image, index in zip(pixels, indices, strict=True):
                state = np.random.SeedSequence([self.seed, self.epoch, int(index)]).generate_state(1, np.uint64)
                torch.default_generator.manual_seed(int(state[0] >> np.uint64(1)))
                done.append(transform(image))
        return torch.stack(done)


def _transform(augmentation: str, preprocessing: Preprocessing) -> v2.Transform | None:
    size = (preprocessing.height, preprocessing.width)
    if augmentation == "none":
        return None
    if augmentation == "flip":
        return v2.RandomHorizontalFlip()
    if augmentation == "crop-flip":
        return v2.Compose([v2.RandomCrop(size, padding=4, padding_mode="reflect"), v2.RandomHorizontalFlip()])
    return v2.TrivialAugmentWide()
