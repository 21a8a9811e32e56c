"""Find the image data sets that have a name, and those that are a folder."""

from __future__ import annotations

import csv
import gzip
import math
import os
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torchvision import datasets as tv

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.images.config import FOLDER, MIN_SIZE, ImageOptions
from fmce_mlflow.method.images.decoding import stored_size
from fmce_mlflow.method.images.folders import ImageFolder, class_folders, scan_folder
from fmce_mlflow.method.images.preprocessing import IMAGENET, Triple
from fmce_mlflow.method.images.readers import ArrayImages, ImageInputs, ListImages
from fmce_mlflow.wording import printable

_STATISTICS: dict[str, tuple[Triple, Triple]] = {
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
class NamedImages:
    """A data set as it is published or stored."""

    classes: tuple[str, ...]
    train: ImageInputs  # all images, where the data set has no split of its own
    held_out: ImageInputs | None  # the test or validation split
    size: int  # default height and width of the network's input
    crop: bool  # whether images keep their proportions when they are resized
    statistics: tuple[Triple, Triple] | None  # mean and deviation by channel; None: of the training images
    where: str  # what messages call the data


def named_images(options: ImageOptions) -> NamedImages:
    """Find a data set; images in files are listed, not read. A DataError where any are missing or damaged."""
    dataset, data_root = options.dataset, Path(os.path.expanduser(options.data_root))
    if dataset.startswith(FOLDER):
        return _folder(Path(os.path.expanduser(dataset.removeprefix(FOLDER).strip())))
    if dataset == "digits":
        return _digits()
    if dataset == "mini_imagenet":
        return _mini_imagenet(data_root)
    if dataset in ("cifar10", "cifar100"):
        return _cifar(dataset, data_root, options.download)
    return _mnist(dataset, data_root, options.download)


def _digits() -> NamedImages:
    from sklearn.datasets import load_digits  # takes a second to import, and no other data set needs it

    data = load_digits()
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8), 0 … 16 as stored
    images = ArrayImages(pixels, data.target, layout="NCHW")
    return NamedImages(tuple("0123456789"), images, None, 32, False, None, "digits")


def _mnist(dataset: str, data_root: Path, download: bool) -> NamedImages:
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
        sets.append(ArrayImages(images, labels, layout="NCHW"))
    return NamedImages(classes, sets[0], sets[1], 32, False, _STATISTICS[dataset], str(folder.absolute()))


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


def _cifar(dataset: str, data_root: Path, download: bool) -> NamedImages:
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
    train, test = (ArrayImages(part.data, part.targets, layout="NHWC") for part in parts)
    return NamedImages(tuple(parts[0].classes), train, test, 32, False, _STATISTICS[dataset], str(folder))


def _fetch(dataset: str, kind: type, data_root: Path) -> None:
    try:
        kind(str(data_root), download=True)
    except (RuntimeError, OSError, EOFError, HTTPException) as error:
        reason = " ".join(str(error).split())  # torchvision's goes over many lines
        raise DataError(
            f"{dataset} could not be fetched into {data_root.absolute()}: {reason}. Check the network and that the "
            "folder can be written; or copy the files there from a machine that has them (docs/data.md names them)."
        ) from error


def _folder(root: Path) -> NamedImages:
    folder = scan_folder(root)
    part = folder.train or folder.root
    class_folders(part)  # says so where there are none
    train = folder.images(part, to_train_on=True)
    held_out = folder.images(folder.held_out, to_train_on=True) if folder.held_out else None
    _, firsts = np.unique(np.asarray(train.targets), return_index=True)
    sizes = {stored_size(train.path(int(i))) for i in firsts}
    width, height = next(iter(sizes))
    where, classes = printable(str(folder.root)), tuple(map(printable, folder.classes))
    if len(sizes) == 1 and width == height and MIN_SIZE <= width < _LARGE:
        return NamedImages(classes, train, held_out, width, False, None, where)
    crop = len(sizes) > 1 or (width, height) != (_LARGE, _LARGE)
    return NamedImages(classes, train, held_out, _LARGE, crop, IMAGENET, where)


def _mini_imagenet(data_root: Path) -> NamedImages:
    root = next((p for name in _MINI_IMAGENET_FOLDERS if (p := data_root / name).is_dir()), None)
    if root is None:
        raise DataError(
            f"mini_imagenet was not found: {data_root.absolute()} has no folder {' or '.join(_MINI_IMAGENET_FOLDERS)}. "
            "Expected train.csv, val.csv and test.csv with columns filename,label beside images/, or one folder per "
            "class, also under train/, val/ and test/. It has no public address to fetch it from."
        )
    splits = [name for name in ("train", "val", "test") if (root / name).is_dir()]
    held_out: list[tuple[str, str]] = []
    if any((root / f"{name}.csv").is_file() for name in ("train", "val", "test")):
        samples = _csv_samples(root)
    elif not splits:
        samples = _class_files(root)
    else:
        listed = {name: _class_files(root / name) for name in splits}
        names = {split: {name for _, name in samples} for split, samples in listed.items()}
        own = next((s for s in ("test", "val") if s in names and names[s] <= names.get("train", set())), None)
        samples = listed["train"] if own else [sample for split in splits for sample in listed[split]]
        held_out = listed[own] if own else []
    # By class and file name, so that the layouts give the same split.
    samples.sort(key=lambda sample: (sample[1], Path(sample[0]).name, sample[0]))
    classes = tuple(sorted({name for _, name in samples}))
    train = _listed(samples, classes, root)
    others = _listed(held_out, classes, root) if held_out else None
    return NamedImages(classes, train, others, 84, True, IMAGENET, str(root.absolute()))


def _class_files(folder: Path) -> list[tuple[str, str]]:
    """(path, class) of every image in class folders."""
    names = class_folders(folder)
    images = ImageFolder(folder, names).images(folder, to_train_on=True)
    return [(images.path(i), names[label]) for i, label in enumerate(np.asarray(images.targets))]


def _listed(samples: Sequence[tuple[str, str]], classes: tuple[str, ...], root: Path) -> ListImages:
    numbers = {name: i for i, name in enumerate(classes)}
    return ListImages(
        [path for path, _ in samples], [numbers[name] for _, name in samples], folder=root, classes=classes
    )


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
