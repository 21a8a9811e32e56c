"""Find and read the image data sets that have a name, and folders of images."""

from __future__ import annotations

import csv
import gzip
import math
import os
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision import datasets as tv
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.images.image_set import MIN_SIZE, ImageSet
from fmce_mlflow.wording import did_you_mean

Triple = tuple[float, float, float]

DATASETS: Mapping[str, str] = MappingProxyType(
    {
        "digits": "scikit-learn's 1,797 handwritten digits, 10 classes; needs no files",
        "mnist": "MNIST, 70,000 handwritten digits, 10 classes; --download",
        "fashion_mnist": "Fashion-MNIST, 70,000 pieces of clothing, 10 classes; --download",
        "cifar10": "CIFAR-10, 60,000 photographs, 10 classes; --download",
        "cifar100": "CIFAR-100, 60,000 photographs, 100 classes; --download",
        "mini_imagenet": "mini-ImageNet, 60,000 photographs, 100 classes; CSV splits with images/, or class folders",
        "folder:<path>": "a folder of class folders, also under train/ and test/ or val/",
    }
)
"""Names that a data set can be asked for by, with a line about each."""

FOLDER = "folder:"
IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CONSTANTS: dict[str, tuple[Triple, Triple]] = {
    "mnist": ((0.1307,) * 3, (0.3081,) * 3),
    "fashion_mnist": ((0.2860,) * 3, (0.3530,) * 3),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
_MINI_IMAGENET_FOLDERS = ("mini_imagenet", "mini-imagenet", "miniImageNet", "miniimagenet")
_LARGE = 224
_MAX_IDX_BYTES = 2**30  # a hundred times MNIST's largest; a small .gz can hold any number
_MAX_CSV_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Source:
    """A data set as it is published or stored.

    Args:
        classes: Their names.
        train: Training images; all images where the data set has no split of its own.
        held_out: The images of its test or validation split.
        size: Default height and width of the network's input.
        crop: Whether images keep their proportions when they are resized.
        mean: Known mean by channel, or None to take it from the training images.
        std: Known standard deviation by channel, or None likewise.
        where: What messages call the data.
    """

    classes: tuple[str, ...]
    train: ImageSet
    held_out: ImageSet | None
    size: int
    crop: bool
    mean: Triple | None
    std: Triple | None
    where: str


def unknown_dataset(dataset: str) -> str:
    """What is wrong with a data set's name; empty where nothing is."""
    if dataset.startswith(FOLDER):
        return "" if dataset.removeprefix(FOLDER).strip() else "dataset folder: lacks its path, as in folder:photos"
    named = [name for name in DATASETS if not name.startswith(FOLDER)]
    if dataset in named:
        return ""
    listed = f"There are {', '.join(named)} and folder:<path>."
    if os.path.isdir(os.path.expanduser(dataset)):
        return f"dataset {dataset!r} is unknown. Did you mean {FOLDER}{dataset}? {listed}"
    return f"dataset {dataset!r} is unknown.{did_you_mean(dataset.lower(), named, how_to_list=listed)}"


def read_source(dataset: str, data_root: Path, *, download: bool) -> Source:
    """Find a data set and list or read its images.

    Args:
        dataset: One of :data:`DATASETS`, or ``folder:<path>``.
        data_root: Where named data sets are looked for.
        download: Fetch MNIST, Fashion-MNIST or CIFAR where they are missing.

    Returns:
        The images; those in files are listed, not read.

    Raises:
        DataError: If the name is unknown, or files are missing, damaged or inconsistent.

    Example:
        >>> source = read_source("digits", Path("data"), download=False)
        >>> len(source.train), source.held_out is None
        (1797, True)
    """
    if problem := unknown_dataset(dataset):
        raise DataError(f"{problem[0].upper()}{problem[1:]}")
    if dataset.startswith(FOLDER):
        return _folder(Path(dataset.removeprefix(FOLDER).strip()).expanduser())
    if dataset == "digits":
        return _digits()
    if dataset == "mini_imagenet":
        return _mini_imagenet(data_root)
    if dataset in ("cifar10", "cifar100"):
        return _cifar(dataset, data_root, download)
    return _mnist(dataset, data_root, download)


def _digits() -> Source:
    from sklearn.datasets import load_digits  # takes a second to import, and no other data set needs it

    data = load_digits()
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8), 0 … 16 as stored
    images = ImageSet(torch.from_numpy(pixels).unsqueeze(1), data.target)
    return Source(tuple("0123456789"), images, None, 32, False, None, None, "digits")


def _mnist(dataset: str, data_root: Path, download: bool) -> Source:
    kind = tv.MNIST if dataset == "mnist" else tv.FashionMNIST
    folder = data_root / kind.__name__ / "raw"
    names = [f"{split}-{part}" for split in ("train", "t10k") for part in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    missing = [name for name in names if not any(p.is_file() for p in (folder / name, folder / f"{name}.gz"))]
    if missing and download:
        _fetch(dataset, kind, data_root)
    elif missing:
        raise DataError(
            f"{dataset} was not found: {folder.absolute()} lacks {', '.join(missing)} (with or without .gz). "
            f"Fetch it with --download, or point --data-root at the folder that holds {kind.__name__}/raw."
        )
    train_images, train_labels, test_images, test_labels = (_read_idx(folder, name) for name in names)
    classes = tuple("0123456789") if dataset == "mnist" else tuple(tv.FashionMNIST.classes)
    sets = []
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise DataError(
                f"{dataset} in {folder.absolute()} is inconsistent: images of shape {images.shape}, labels of "
                f"shape {labels.shape}. Remove the folder and fetch it with --download."
            )
        sets.append(ImageSet(torch.from_numpy(images).unsqueeze(1), labels))
    return Source(classes, sets[0], sets[1], 32, False, *_CONSTANTS[dataset], str(folder.absolute()))


def _read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """Read an IDX file of bytes, gzipped or not."""
    path = folder / name
    try:
        packed = not path.is_file()
        path = folder / f"{name}.gz" if packed else path
        with gzip.open(path) if packed else path.open("rb") as file:
            raw = file.read(_MAX_IDX_BYTES + 1)
        if len(raw) > _MAX_IDX_BYTES:
            raise ValueError(f"it has more than {_MAX_IDX_BYTES:,} bytes, the most that are read")
        if raw[:3] != b"\0\0\x08":
            raise ValueError("it is no IDX file of bytes")
        n = raw[3]
        shape = tuple(int(v) for v in np.frombuffer(raw, ">u4", count=n, offset=4))
        if len(raw) != 4 + 4 * n + math.prod(shape):
            raise ValueError(f"shape {shape} needs {math.prod(shape):,} bytes, it has {len(raw) - 4 - 4 * n:,}")
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}. Remove it and fetch it again with --download.") from error
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * n).reshape(shape).copy()


def _cifar(dataset: str, data_root: Path, download: bool) -> Source:
    kind = tv.CIFAR10 if dataset == "cifar10" else tv.CIFAR100
    folder = (data_root / kind.base_folder).absolute()
    if download:
        _fetch(dataset, kind, data_root)
    try:
        with warnings.catch_warnings():  # the published pickles name dtypes in a way that NumPy deprecates
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            parts = [kind(str(data_root), train=train) for train in (True, False)]
    except (RuntimeError, OSError, EOFError) as error:
        state = "does not match its checksums" if folder.is_dir() else "was not found"
        raise DataError(
            f"{dataset} {state} in {folder}: expected {', '.join(f for f, _ in [*kind.train_list, *kind.test_list])}. "
            f"Fetch it with --download, or point --data-root at the folder that holds {kind.base_folder}."
        ) from error
    train, test = (
        ImageSet(torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), part.targets) for part in parts
    )
    return Source(tuple(parts[0].classes), train, test, 32, False, *_CONSTANTS[dataset], str(folder))


def _fetch(dataset: str, kind: type, data_root: Path) -> None:
    try:
        kind(str(data_root), download=True)
    except (RuntimeError, OSError, EOFError, HTTPException) as error:
        reason = " ".join(str(error).split())  # torchvision's goes over many lines
        raise DataError(
            f"{dataset} could not be fetched into {data_root.absolute()}: {reason}. Check the network and that the "
            "folder can be written; or copy the files there from a machine that has them (docs/data.md names them)."
        ) from error


def _folder(root: Path) -> Source:
    where = str(root.absolute())
    if not root.is_dir():
        raise DataError(
            f"There is no folder {where}. Expected class folders in it, or train/ and test/ (or val/) with class "
            "folders; see docs/data.md."
        )
    splits = [name for name in ("test", "val") if (root / name).is_dir()]
    if not (root / "train").is_dir():
        names = _class_names(root)
        if set(names) <= {"test", "val"}:
            raise DataError(
                f"{where} has {' and '.join(names)} but no train folder beside. Add it, or name one of them."
            )
        return _folder_source(names, _list(root, names), None, where)
    classes = _class_names(root / "train")
    train = _list(root / "train", classes)
    if not splits:
        return _folder_source(classes, train, None, where)
    folder = root / splits[0]
    names = _class_names(folder)
    if strange := sorted(set(names) - set(classes)):
        raise DataError(
            f"{folder.absolute()} has classes that train/ lacks: {_some(strange)}. Held-out images need the classes of "
            "the training images: rename the folders, or remove those."
        )
    held_out = _list(folder, names)
    return _folder_source(classes, train, held_out, where)


def _class_names(folder: Path) -> list[str]:
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder.absolute()} cannot be listed: {error}. Check its permissions.") from error
    if not names:
        raise DataError(
            f"{folder.absolute()} has no class folders. Expected one folder per class with its images in it."
        )
    return names


def _list(folder: Path, names: Sequence[str]) -> list[tuple[str, str]]:
    """(path, class) of every image, by class, then by name."""
    samples = make_dataset(
        str(folder), {name: i for i, name in enumerate(names)}, extensions=IMG_EXTENSIONS, allow_empty=True
    )
    empty = sorted(set(names) - {names[i] for _, i in samples})
    if empty:
        raise DataError(
            f"{folder.absolute()} has class folders without images: {_some(empty)}. Expected files that end in "
            f"{', '.join(IMG_EXTENSIONS)}; add some, or remove the folders."
        )
    return [(path, names[i]) for path, i in samples]


def _image_set(samples: Sequence[tuple[str, str]], classes: Sequence[str]) -> ImageSet:
    index = {name: i for i, name in enumerate(classes)}
    return ImageSet([path for path, _ in samples], [index[name] for _, name in samples])


def _folder_source(
    classes: Sequence[str], train: Sequence[tuple[str, str]], held_out: Sequence[tuple[str, str]] | None, where: str
) -> Source:
    first = {name: path for path, name in reversed(train)}
    sizes = {_stored_size(path) for path in first.values()}
    width, height = next(iter(sizes))
    images, others = _image_set(train, classes), None if held_out is None else _image_set(held_out, classes)
    if len(sizes) == 1 and width == height and MIN_SIZE <= width < _LARGE:
        return Source(tuple(classes), images, others, width, False, None, None, where)
    crop = len(sizes) > 1 or (width, height) != (_LARGE, _LARGE)
    return Source(tuple(classes), images, others, _LARGE, crop, *IMAGENET, where)


def _stored_size(path: str) -> tuple[int, int]:
    """Width and height, from the file's header alone."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}. Restore the file, or remove it.") from error


def _mini_imagenet(data_root: Path) -> Source:
    root = next((p for name in _MINI_IMAGENET_FOLDERS if (p := data_root / name).is_dir()), None)
    if root is None:
        raise DataError(
            f"mini_imagenet was not found: {data_root.absolute()} has no folder {' or '.join(_MINI_IMAGENET_FOLDERS)}. "
            "Expected train.csv, val.csv and test.csv with columns filename,label beside images/, or one folder per "
            "class, also under train/, val/ and test/. It has no public address to fetch it from."
        )
    where = str(root.absolute())
    splits = [name for name in ("train", "val", "test") if (root / name).is_dir()]
    held_out: list[tuple[str, str]] | None = None
    if any((root / f"{name}.csv").is_file() for name in ("train", "val", "test")):
        samples = _csv_samples(root)
    elif not splits:
        samples = _list(root, _class_names(root))
    else:
        listed = {name: _list(root / name, _class_names(root / name)) for name in splits}
        names = {split: {name for _, name in samples} for split, samples in listed.items()}
        own = next((s for s in ("test", "val") if s in names and names[s] <= names.get("train", set())), None)
        samples = listed["train"] if own else [sample for split in splits for sample in listed[split]]
        held_out = listed[own] if own else None
    # By class and file name, so that the layouts give the same split.
    samples.sort(key=lambda sample: (sample[1], Path(sample[0]).name, sample[0]))
    classes = sorted({name for _, name in samples})
    images, others = _image_set(samples, classes), None if held_out is None else _image_set(held_out, classes)
    return Source(tuple(classes), images, others, 84, True, *IMAGENET, where)


def _csv_samples(root: Path) -> list[tuple[str, str]]:
    """(path, class) of every image that a CSV split names."""
    folder = root / "images"
    if not folder.is_dir():
        raise DataError(
            f"mini_imagenet in {root.absolute()} has CSV splits but no images/ beside them. Unpack it there."
        )
    labels: dict[str, str] = {}
    for path in (root / f"{split}.csv" for split in ("train", "val", "test")):
        for line, row in _csv_rows(path) if path.is_file() else ():
            name, label = row["filename"], row["label"]
            if not name or not label:
                raise DataError(f"{path}, line {line}: expected a file name and a label, got {name},{label}.")
            if labels.setdefault(name, label) != label:
                raise DataError(f"{path}, line {line}: {name} is {label} here and {labels[name]} before. Correct one.")
    if not labels:
        raise DataError(f"The CSV splits in {root.absolute()} name no images. Fetch them again.")
    if missing := sorted(set(labels) - set(os.listdir(folder))):
        raise DataError(
            f"{len(missing):,} of {len(labels):,} images that the CSV splits name are not in {folder.absolute()}, "
            f"such as {missing[0]}. Unpack the images there."
        )
    return [(str(folder / name), label) for name, label in labels.items()]


def _csv_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a CSV split."""
    try:
        if (size := path.stat().st_size) > _MAX_CSV_BYTES:
            raise csv.Error(f"it has {size:,} bytes, and at most {_MAX_CSV_BYTES:,} are read")
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}. Fetch it again.") from error
    found = list(reader.fieldnames or ())
    if not {"filename", "label"} <= set(found):
        raise DataError(f"{path} must have the columns filename,label; its first line has {','.join(found)}.")
    return rows


def _some(names: Sequence[str], most: int = 5) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
