"""Images in any form that a PyTorch user has them in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.images.decoding import Layout
from fmce_mlflow.method.images.folders import scan_folder
from fmce_mlflow.method.images.readers import ArrayImages, ImageInputs, ListImages, Unreadable
from fmce_mlflow.method.images.torch_datasets import DatasetImages, is_item


def image_inputs(
    images: Any, targets: ArrayLike | None = None, *, layout: Layout = "auto", unreadable: Unreadable = "raise"
) -> ImageInputs:
    """Take images in whatever form they are in, in their order. None is read yet, but for a dataset's first.

    Args:
        images: One of

            - an array or tensor of shape (n, C, H, W), (n, H, W, C) or, gray, (n, H, W), uint8 or float; also
              memory-mapped, or anything with a shape that can be sliced;
            - a list or Series of paths, encoded bytes, PIL images, arrays or tensors;
            - a folder, of class folders (their sorted names are the classes that the targets count) or of images; where
              it has ``train/`` beside ``test/``, ``val/`` or ``validation/``, the images held out there; in the order
              of class and name;
            - a torch dataset, one of Hugging Face, or a list whose items are images, tuples (image, label, …), or
              dicts that have an image and perhaps a label.
        targets: A label for each image; by default those of the folder or dataset, if it has any.
        layout: Where the channels of arrays are. ``auto`` takes the axis of 1 or 3, and refuses where both could be.
        unreadable: What becomes of an image that cannot be read: ``raise`` or ``skip``.

    Raises:
        DataError: If there are none, or they are in no such form.

    Example:
        >>> inputs = image_inputs(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), targets=[0, 1, 0, 1])
        >>> len(inputs), inputs.targets.tolist(), inputs.read(0).shape
        (4, [0, 1, 0, 1], (8, 8, 3))
    """
    if unreadable not in ("raise", "skip"):
        raise DataError(f"unreadable must be raise or skip, got {unreadable!r}.")
    inputs = _inputs(images, targets, layout, unreadable)
    inputs.unreadable = unreadable
    return inputs


def _inputs(images: Any, targets: ArrayLike | None, layout: Layout, unreadable: Unreadable) -> ImageInputs:
    if isinstance(images, (str, os.PathLike)):
        return _held_out_or_all(Path(os.path.expanduser(images)), targets)
    if isinstance(images, (bytes, torch.utils.data.IterableDataset, Iterator, Mapping)) or hasattr(images, "columns"):
        raise _no_form(images)
    if isinstance(images, torch.utils.data.DataLoader):
        raise DataError("Got a DataLoader; give its .dataset: images are read by position, in their own order.")
    if hasattr(images, "to_numpy"):
        images = images.to_numpy()  # a Series
    by_position = hasattr(images, "__len__") and hasattr(images, "__getitem__")
    if not by_position or getattr(images, "shape", None) == ():
        raise _no_form(images)
    if len(images) == 0:
        raise DataError(
            f"There are no images: the {type(images).__name__} is empty. Give at least one; FMCE needs two."
        )
    if hasattr(images, "shape") and hasattr(images, "dtype"):
        if len(images.shape) == 1 and str(images.dtype)[:1] in "<>|OoSs":
            return ListImages(list(images), targets, layout=layout)
        return ArrayImages(images, targets, layout=layout)
    if isinstance(images, Sequence) and not is_item(images[0]):
        return ListImages(images, targets, layout=layout)
    return DatasetImages(images, targets, layout=layout, unreadable=unreadable)


def _no_form(images: Any) -> DataError:
    hint = ""
    if isinstance(images, bytes):
        hint = " For one encoded image give a list of it."
    elif hasattr(images, "columns"):
        hint = " Give the column that holds the images, as in frame['image']."
    elif isinstance(images, torch.utils.data.IterableDataset):
        hint = " Images are read by position: give a dataset with a length."
    elif isinstance(images, Iterator):
        hint = " Images are read by position: give a list."
    kind = f"{type(images).__module__}.{type(images).__qualname__}".removeprefix("builtins.")
    return DataError(
        "Expected images as an array or tensor (n, C, H, W) or (n, H, W, C), a list of paths, bytes, PIL images or "
        f"arrays, a folder, or a torch dataset; got {kind}.{hint}"
    )


def _held_out_or_all(folder: Path, targets: ArrayLike | None) -> ImageInputs:
    """The images of a folder that are not said to be for training."""
    found = scan_folder(folder)
    if found.train is not None and found.held_out is None:
        raise DataError(
            f"{found.root} has {found.train.name}/ and no held-out images beside it: expected test/, val/ or "
            f"validation/. Add one, or give {found.train} if you mean the images in it."
        )
    images = found.images(found.held_out or found.root, targets)
    if found.train is not None and found.held_out is not None:
        images.choice = (
            f"The images are those in {found.held_out}, which are held out; {found.train.name}/ beside it is left out."
        )
    return images
