"""What distinguishes a data set's images from any others, without decoding them; loads no torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.images.config import FOLDER, HELD_OUT, LEFTOVERS, TRAIN


def fingerprint(dataset: str) -> str:
    """A digest of the names and bytes of all files in a ``folder:``; the name of any other data set.

    Of a folder with ``train/`` and held-out images beside it, only the latter are read.

    Raises:
        DataError: If there is no such folder, or it cannot be read.

    Example:
        >>> fingerprint("cifar10")
        'cifar10'
    """
    if not dataset.startswith(FOLDER):
        return dataset
    root = Path(dataset.removeprefix(FOLDER).strip()).expanduser()
    if not root.is_dir():
        raise DataError(f"There is no folder {root.absolute()}. Expected a folder of images; see docs/data.md.")
    root = _held_out(root)
    found = hashlib.sha256()
    try:
        for path in _files(root):
            content = hashlib.sha256()
            with path.open("rb") as file:
                while part := file.read(2**20):
                    content.update(part)
            found.update(f"{path.relative_to(root).as_posix()}\0".encode("utf-8", "surrogateescape"))
            found.update(content.digest())
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror}. Check its permissions.") from error
    return found.hexdigest()[:40]


def _held_out(root: Path) -> Path:
    """The folder of held-out images beside that of the images to train on, where there are both; else the whole."""
    names = {path.name.lower(): path for path in root.iterdir() if path.is_dir()}
    if not any(name in names for name in TRAIN):
        return root
    return next((names[name] for name in HELD_OUT if name in names), root)


def _files(root: Path) -> Iterator[Path]:
    """Files in a folder and those below it, links followed, sorted; without hidden ones and what systems leave."""

    def fails(error: OSError) -> None:
        raise error

    known = set()
    for here, folders, files in os.walk(root, onerror=fails, followlinks=True):
        real = os.path.realpath(here)
        folders[:] = [] if real in known else sorted(name for name in folders if not _passed_over(name))
        if real not in known:
            paths = (Path(here, name) for name in sorted(files) if not _passed_over(name))
            yield from (path for path in paths if path.is_file())
        known.add(real)


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name in LEFTOVERS
