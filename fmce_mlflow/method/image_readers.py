"""Images by position, from memory, files, folders and torch datasets, each read when it is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

Layout = Literal["auto", "NCHW", "NHWC"]
Unreadable = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image that was left out because it cannot be read."""

    index: int
    name: str
    reason: str


class ImageInputs(ABC):
    """An ordered set of images, read one at a time when they are asked for.

    Attributes:
        targets: A label for each image, shape (n,), or None.
        classes: The names of the classes that the targets count, where a folder or dataset has them.
        folder: The folder or file that holds all images, where there is one.
        unreadable: What becomes of an image that cannot be read: ``raise`` or ``skip``.
    """

    targets: NDArray[Any] | None
    classes: tuple[str, ...] | None
    folder: Path | None
    unreadable: Unreadable

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> NDArray[Any]:
        """Image ``index``: uint8 (H, W, 3 or 1), or a float32 array (C, H, W) that is passed to the network as it is.

        Raises:
            DataError: If it cannot be read; names it.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """What messages call image ``index``: its path, or ``image 17``."""

    @abstractmethod
    def is_float(self) -> bool:
        """Whether the images are float arrays; told by the first."""

    @abstractmethod
    def digest(self) -> str:
        """Eight hexadecimal digits that tell one set of images and labels from another."""
