"""Images in any form that a PyTorch user has them in, and the batches that a network is given of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fmce_mlflow.method.image_readers import ImageInputs, Layout, Skipped, Unreadable
from fmce_mlflow.method.image_sets import Preprocessing

__all__ = [
    "Batch",
    "ImageInputs",
    "InputBatches",
    "InputShape",
    "Skipped",
    "as_preprocessing",
    "image_inputs",
    "input_batches",
]

InputShape = tuple[int | None, int | None, int | None]
"""Channels, height and width that a model takes; None where any will do."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Images as a network takes them.

    Attributes:
        indices: Which images of the inputs they are, int64, shape (b,).
        pixels: float32, shape (b, C, H, W), on the CPU.
    """

    indices: NDArray[Any]
    pixels: Tensor


def image_inputs(
    images: Any, targets: ArrayLike | None = None, *, layout: Layout = "auto", unreadable: Unreadable = "raise"
) -> ImageInputs:
    """Take images in whatever form they are in; nothing is read yet.

    Args:
        images: An array or tensor of images, NCHW or NHWC, uint8 or float; a list or Series of paths, encoded bytes, PIL
            images or arrays; a folder; a torch dataset of images or (image, label).
        targets: A label for each image; by default those of the folder or dataset, if it has any.
        layout: Where the channels of arrays are: ``auto``, ``NCHW`` or ``NHWC``.
        unreadable: What becomes of an image that cannot be read: ``raise`` or ``skip``.

    Returns:
        The images, in order.

    Raises:
        DataError: If there are none, or they are in no such form.
    """
    raise NotImplementedError


def as_preprocessing(
    value: Preprocessing | Mapping[str, Any] | Literal["imagenet", "scale"] | None, *, input_shape: InputShape | None
) -> Preprocessing | None:
    """What a model's metadata or the evaluator's config says of preprocessing.

    Args:
        value: A preprocessing; one as a dict, whose missing height and width come from the input shape; ``imagenet``
            (ImageNet's mean and standard deviation) or ``scale`` (to [0, 1], nothing else); or None.
        input_shape: The model's input, if it is known.

    Raises:
        ConfigError: If it is none of these, or height and width are nowhere to be had.
    """
    raise NotImplementedError


class InputBatches:
    """Batches of a network's input, in order; what :func:`input_batches` gives.

    Attributes:
        skipped: The images left out so far because they cannot be read.
        notes: Sentences about the images seen so far that a user may want to know.
    """

    skipped: list[Skipped]
    notes: list[str]

    def __iter__(self) -> Iterator[Batch]:
        """Read and prepare the images; each call starts afresh."""
        raise NotImplementedError


def input_batches(
    inputs: ImageInputs,
    *,
    batch_size: int,
    preprocessing: Preprocessing | None,
    input_shape: InputShape | None,
    unreadable: Unreadable | None = None,
    indices: ArrayLike | None = None,
) -> InputBatches:
    """Read images and turn them into a network's input, a few batches ahead.

    Float arrays pass as they are. All others take the preprocessing. Gray is repeated where the model takes 3 channels.

    Args:
        inputs: The images.
        batch_size: Images per batch; the last may have fewer, and so may one whose images were skipped.
        preprocessing: What turns 8-bit images into the network's input.
        input_shape: Channels, height and width that the model takes, as far as they are known.
        unreadable: ``raise`` or ``skip``; by default as the inputs say.
        indices: Which images, in which order; by default all.

    Returns:
        An iterable of batches, with the images that were skipped and notes.

    Raises:
        DataError: While iterating: if an image cannot be read, has NaN or infinite pixels, or another size or number of
            channels than the model takes; names it. If no image is left.
        ConfigError: If 8-bit images come without a preprocessing.
    """
    raise NotImplementedError
