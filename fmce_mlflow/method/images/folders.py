"""Folders of images: class folders, also under train/ and test/, or images without classes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import ArrayLike
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.images.readers import ListImages
from fmce_mlflow.wording import some

TRAIN = ("train", "training")
HELD_OUT = ("test", "val", "validation", "valid")
"""Folders beside ``train/`` whose images are never trained on; the first that is there is used, the others are not."""


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """How a folder of images is laid out; see :func:`scan_folder`."""

    root: Path  # absolute
    classes: tuple[str, ...]  # class folders, of train/ where there is one, sorted; labels count them; may be empty
    train: Path | None = None
    held_out: Path | None = None  # test/, or else val/ or validation/

    def images(self, part: Path, targets: ArrayLike | None = None, *, to_train_on: bool = False) -> ListImages:
        """The images of the root or a part of it, by class, then by name; there have to be some.

        Targets are by default their classes, if there are any. To train on, every class folder has to have images.
        """
        if self.classes:
            numbers = {name: i for i, name in enumerate(self.classes)}
            found = make_dataset(str(part), numbers, extensions=IMG_EXTENSIONS, allow_empty=True)
        else:
            found = [(path, 0) for path in _entries(part)[1]]
        if not found:
            raise DataError(f"There are no images in {part}: expected files that end in {', '.join(IMG_EXTENSIONS)}.")
        labels = [label for _, label in found]
        if to_train_on and (empty := sorted(set(class_folders(part)) - {self.classes[label] for label in labels})):
            raise DataError(
                f"{part} has class folders without images: {some(empty)}. Expected files that end in "
                f"{', '.join(IMG_EXTENSIONS)}; add some, or remove the folders."
            )
        classes = self.classes if targets is None and self.classes else None
        return ListImages([path for path, _ in found], labels if classes else targets, folder=part, classes=classes)


def scan_folder(root: Path) -> ImageFolder:
    """Look how a folder of images is laid out; the files in class folders are not listed yet.

    It holds class folders; or ``train/`` and, beside it, ``test/``, ``val/`` or ``validation/``, with class folders or
    images in them; or images. Names that start with a dot are passed over.

    Raises:
        DataError: If there is no such folder, images lie beside class folders, or held-out images have no training
            images beside them or classes that these lack.
    """
    where = root.absolute()
    if root.is_file():
        raise DataError(f"{where} is a file. Give a folder of images, or for one image a list of its path.")
    if not root.is_dir():
        raise DataError(
            f"There is no folder {where}. Expected class folders in it, train/ and test/ (or val/) with class folders, "
            "or images; see docs/data.md."
        )
    names, _ = _entries(where)
    present = {name.lower(): where / name for name in names}
    train = next((present[name] for name in TRAIN if name in present), None)
    held_out = next((present[name] for name in HELD_OUT if name in present), None)
    only_splits = set(present) <= {*TRAIN, *HELD_OUT}
    if train is not None and (held_out or only_splits or _entries(train)[0]):  # else `train` is a class, as of vehicles
        return _split_folder(where, train, held_out)
    if held_out is not None and only_splits:
        raise DataError(
            f"{where} has {' and '.join(names)} but no train folder beside. Add it, or name one of them, as {held_out}."
        )
    return ImageFolder(where, _classes(where))


def _split_folder(root: Path, train: Path, held_out: Path | None) -> ImageFolder:
    classes = _classes(train)
    if held_out is not None:
        names = class_folders(held_out) if classes else _classes(held_out)
        if strange := sorted(set(names) - set(classes)):
            raise DataError(
                f"{held_out} has classes that {train.name}/ lacks: {some(strange)}. Held-out images need the classes "
                "of the training images: rename the folders, or remove those."
            )
    return ImageFolder(root, classes, train, held_out)


def class_folders(folder: Path) -> tuple[str, ...]:
    """Names of the class folders in a folder, sorted; a DataError where there are none."""
    if classes := _classes(folder):
        return classes
    raise DataError(f"{folder.absolute()} has no class folders. Expected one folder per class with its images in it.")


def _classes(folder: Path) -> tuple[str, ...]:
    """Class folders; none in a folder of images, whose other folders have to be without images."""
    names, files = _entries(folder)
    if not files or not names:
        return tuple(names)
    if make_dataset(str(folder), {name: 0 for name in names}, extensions=IMG_EXTENSIONS, allow_empty=True):
        raise DataError(
            f"{folder.absolute()} has {len(files):,} images beside class folders ({some(names)}). Move either "
            "elsewhere, or give a list of paths."
        )
    return ()


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders and paths of the images directly in a folder, sorted, without hidden ones."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder.absolute()} cannot be listed: {error}. Check its permissions.") from error
    shown = [entry for entry in entries if not entry.name.startswith(".")]
    names = [entry.name for entry in shown if entry.is_dir()]
    return names, [entry.path for entry in shown if entry.is_file() and entry.name.lower().endswith(IMG_EXTENSIONS)]
