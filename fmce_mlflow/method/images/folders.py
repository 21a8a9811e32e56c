"""Folders of images: class folders, also under train/ and test/, or images without classes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import ArrayLike
from torchvision.datasets.folder import IMG_EXTENSIONS

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.images.config import HELD_OUT, LEFTOVERS, TRAIN
from fmce_mlflow.method.images.readers import ListImages
from fmce_mlflow.wording import some


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
            walks = {
                i: _walk(part / name, _real(part)) for i, name in enumerate(self.classes) if (part / name).is_dir()
            }
            listed = ((path, real, label) for label, walk in walks.items() for path, real in walk)
        else:
            listed = ((path, _real(path), 0) for path in _entries(part)[1])
        found = _each_once(part, listed)
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
    images in them; or images. Names that start with a dot and :data:`LEFTOVERS` are passed over.

    Raises:
        DataError: If there is no such folder, images lie beside class folders, or held-out images have no training
            images beside them or classes that these lack.
    """
    where = root.absolute()
    if os.path.isfile(root):
        raise DataError(f"{where} is a file. Give a folder of images, or for one image a list of its path.")
    if not os.path.isdir(root):
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
    if any(next(_walk(folder / name, _real(folder)), None) for name in names):
        raise DataError(
            f"{folder.absolute()} has {len(files):,} images beside class folders ({some(names)}). Move either "
            "elsewhere, or give a list of paths."
        )
    return ()


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders and paths of the images directly in a folder, sorted, without hidden ones."""
    shown = [entry for entry in _listed(folder) if not entry.name.startswith(".") and entry.name not in LEFTOVERS]
    names = [entry.name for entry in shown if entry.is_dir()]
    return names, [entry.path for entry in shown if _is_image(entry)]


def _listed(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{os.path.abspath(folder)} cannot be listed: {error}. Check its permissions.") from error


def _is_image(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file with the name of an image; a link to nothing is one, which reading it will say."""
    if not entry.name.lower().endswith(IMG_EXTENSIONS):
        return False
    return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))


def _walk(folder: Path, root: str) -> Iterator[tuple[str, str]]:
    """Paths and real paths of the images in a folder and those below it.

    Links to folders are followed where they lead out of ``root``, the real path of the whole, and not up to it.
    """
    waiting, known = [str(folder)], {_real(folder)}
    while waiting:
        here = waiting.pop()
        real, below = _real(here), []
        for entry in _listed(here):
            if entry.name.startswith(".") or entry.name in LEFTOVERS:
                continue
            if entry.is_dir():
                target = _real(entry.path)
                if target not in known and not (entry.is_symlink() and _within(target, root)):
                    known.add(target)
                    below.append(entry.path)
            elif _is_image(entry):
                yield entry.path, _real(entry.path) if entry.is_symlink() else f"{real}{os.sep}{entry.name}"
        waiting += reversed(below)


def _within(target: str, root: str) -> bool:
    """Whether a folder lies in another or holds it."""
    return f"{target}{os.sep}".startswith(f"{root}{os.sep}") or f"{root}{os.sep}".startswith(f"{target}{os.sep}")


def _each_once(root: Path, listed: Iterable[tuple[str, str, int]]) -> list[tuple[str, int]]:
    """Paths and labels, by label, folder and name; of several paths to one file the one without links, else the first.

    ``listed`` has paths below ``root``, their real paths, and labels.
    """
    kept: dict[str, tuple[str, int]] = {}
    start, real_root = len(str(root)), _real(root)
    for path, real, label in listed:
        if real not in kept or real == real_root + path[start:]:
            kept[real] = path, label
    return sorted(kept.values(), key=lambda entry: (entry[1], *os.path.split(entry[0])))


def _real(path: str | Path) -> str:
    return os.path.realpath(path)
