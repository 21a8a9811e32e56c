"""Images in any form that a PyTorch user has them in, and the batches that a network is given of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import ArrayLike
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from fmce_mlflow.errors import ConfigError, DataError
from fmce_mlflow.method.images.decoding import Layout
from fmce_mlflow.method.images.image_set import Preprocessing
from fmce_mlflow.method.images.input_batches import Batch, InputBatches, InputShape, input_batches
from fmce_mlflow.method.images.named import IMAGENET
from fmce_mlflow.method.images.readers import ArrayImages, DatasetImages, ImageInputs, ListImages, Skipped, Unreadable
from fmce_mlflow.wording import did_you_mean

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

_SPLITS = {"train", "training", "val", "valid", "validation", "test"}
_SCALE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def image_inputs(
    images: Any, targets: ArrayLike | None = None, *, layout: Layout = "auto", unreadable: Unreadable = "raise"
) -> ImageInputs:
    """Take images in whatever form they are in. None is read yet, but for the first of a torch dataset.

    Args:
        images: One of

            - an array or tensor of shape (n, C, H, W), (n, H, W, C) or, gray, (n, H, W), uint8 or float; also
              memory-mapped, or anything with a shape that can be sliced;
            - a list or Series of paths, encoded bytes, PIL images, arrays or tensors;
            - a folder, of class folders (their sorted names are the classes that the targets count) or of images;
            - a torch dataset whose items are images or pairs (image, label).
        targets: A label for each image; by default those of the folder or dataset, if it has any.
        layout: Where the channels of arrays are. ``auto`` takes the axis of 1 or 3, and refuses where both could be.
        unreadable: What becomes of an image that cannot be read: ``raise`` or ``skip``.

    Returns:
        The images, in order; those of folders by class and name.

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
        return _folder(Path(images).expanduser(), targets)
    if isinstance(images, (bytes, torch.utils.data.IterableDataset, Iterator, Mapping)) or hasattr(images, "columns"):
        raise DataError(_no_form(images))
    if isinstance(images, torch.utils.data.DataLoader):
        raise DataError("Got a DataLoader; give its .dataset: images are read by position, in their own order.")
    if hasattr(images, "to_numpy"):
        images = images.to_numpy()  # a Series
    if not hasattr(images, "__len__") or not hasattr(images, "__getitem__"):
        raise DataError(_no_form(images))
    if getattr(images, "shape", None) == ():
        raise DataError(_no_form(images))
    if len(images) == 0:
        raise DataError(
            f"There are no images: the {type(images).__name__} is empty. Give at least one; FMCE needs two."
        )
    if hasattr(images, "shape") and hasattr(images, "dtype"):
        if len(images.shape) == 1 and str(images.dtype)[:1] in "<>|OoSs":
            return ListImages(list(images), targets, layout=layout)
        return ArrayImages(images, targets, layout=layout)
    if isinstance(images, Sequence):
        return ListImages(images, targets, layout=layout)
    return DatasetImages(images, targets, layout=layout, unreadable=unreadable)


def _no_form(images: Any) -> str:
    kind = f"{type(images).__module__}.{type(images).__qualname__}".removeprefix("builtins.")
    hint = {
        "bytes": " For one encoded image give a list of it.",
        "DataFrame": " Give the column that holds the images, as in frame['image'].",
        "IterableDataset": " Images are read by position: give a dataset with a length.",
        "Iterator": " Images are read by position: give a list.",
    }
    bases = {base.__name__ for base in type(images).__mro__}
    told = next((text for name, text in hint.items() if name in bases), "")
    if not told and isinstance(images, Iterator):
        told = hint["Iterator"]
    return (
        "Expected images as an array or tensor (n, C, H, W) or (n, H, W, C), a list of paths, bytes, PIL images or "
        f"arrays, a folder, or a torch dataset; got {kind}.{told}"
    )


def _folder(folder: Path, targets: ArrayLike | None) -> ImageInputs:
    """Class folders, or a flat folder of images."""
    where = folder.absolute()
    if folder.is_file():
        raise DataError(f"{where} is a file. Give a folder of images, or for one image a list of its path.")
    if not folder.is_dir():
        raise DataError(f"There is no folder {where}. Give a folder of images, or a list of paths.")
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{where} cannot be listed: {error}. Check its permissions.") from error
    shown = [entry for entry in entries if not entry.name.startswith(".")]
    names = [entry.name for entry in shown if entry.is_dir()]
    flat = [entry.path for entry in shown if entry.is_file() and entry.name.lower().endswith(IMG_EXTENSIONS)]
    numbers = {name: i for i, name in enumerate(names)}
    found = make_dataset(str(folder), numbers, extensions=IMG_EXTENSIONS, allow_empty=True) if numbers else []
    if found and flat:
        raise DataError(
            f"{where} has {len(flat):,} images beside class folders ({_some(names)}). Move either elsewhere, or give a "
            "list of paths."
        )
    if flat:
        return ListImages(flat, targets, folder=folder)
    if not found:
        raise DataError(f"There are no images in {where}: expected files that end in {', '.join(IMG_EXTENSIONS)}.")
    if {name.lower() for name in names} <= _SPLITS:
        raise DataError(f"{where} has the splits {_some(names)}, not classes. Give one of them, as {where / names[0]}.")
    paths = [path for path, _ in found]
    if targets is not None:
        return ListImages(paths, targets, folder=folder)
    return ListImages(paths, [label for _, label in found], folder=folder, classes=tuple(names))


def _some(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def as_preprocessing(
    value: Preprocessing | Mapping[str, Any] | Literal["imagenet", "scale"] | str | None,
    *,
    input_shape: InputShape | None = None,
) -> Preprocessing | None:
    """What a model's metadata or an evaluator's config says of preprocessing.

    Args:
        value: A preprocessing; one as a dict; ``imagenet``: ImageNet's mean and standard deviation, cropped to the
            input; ``scale``: to [0, 1] and nothing else; or None. Of a dict, ``height`` and ``width`` come from the
            input shape where they are missing, ``crop`` is false, and ``mean`` and ``std`` may be one number.
        input_shape: Channels, height and width that the model takes, as far as they are known.

    Raises:
        ConfigError: If it is none of these, or height and width are nowhere to be had.

    Example:
        >>> as_preprocessing({"mean": 0.5, "std": 0.25}, input_shape=(1, 28, 28))
        Preprocessing(height=28, width=28, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), crop=False)
    """
    if value is None or isinstance(value, Preprocessing):
        return value
    height, width = input_shape[1:] if input_shape else (None, None)
    values: dict[str, Any]
    if value == "imagenet":
        values = {"mean": IMAGENET[0], "std": IMAGENET[1], "crop": True}
        height, width = height or 224, width or 224
    elif value == "scale":
        values = {"mean": _SCALE[0], "std": _SCALE[1]}
    elif isinstance(value, Mapping):
        values = dict(value)
    else:
        raise ConfigError(
            "preprocessing must be 'imagenet', 'scale', or a dict with mean and std, and height and width where the "
            f"model's signature lacks them; got {value!r}"
        )
    known = list(Preprocessing.__dataclass_fields__)
    problems = [f"preprocessing has no {k!r}.{did_you_mean(str(k), known)}" for k in values if k not in known]
    for name, size in (("height", height), ("width", width)):
        if values.setdefault(name, size) is None:
            problems.append(
                f"preprocessing lacks {name}, and neither the model's signature nor one size of all images says it"
            )
    problems += [
        f"preprocessing lacks {name}, of pixels scaled to [0, 1]" for name in ("mean", "std") if name not in values
    ]
    if problems:
        raise ConfigError(problems)
    values["mean"], values["std"] = _triple(values["mean"]), _triple(values["std"])
    return Preprocessing.from_dict({"crop": False, **values})


def _triple(value: Any) -> Any:
    """One number, also in a list, three times."""
    if isinstance(value, (list, tuple)):
        return tuple(value) * 3 if len(value) == 1 else tuple(value)
    return (value,) * 3 if isinstance(value, (int, float)) else value
