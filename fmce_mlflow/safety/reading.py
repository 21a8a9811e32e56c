"""Read what others may have written: within a folder, within a size, as JSON or safetensors and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmce_mlflow.errors import ArtifactError, IntegrityError

SEAL = "fmce.sha256"
"""Tags of a run, ``fmce.sha256/<artifact path>``: the hash of an artifact that nothing else vouches for."""

MAX_DEPTH = 100
"""Lists and objects within one another that a JSON text may have."""


def read_file(path: Path, limit: int, name: str, *, root: Path | None = None) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; a larger one is refused before any of it is read.

    Args:
        path: The file.
        limit: Most bytes that are read.
        name: What an error calls it.
        root: A folder that it must lie in, links followed.

    Raises:
        ArtifactError: If it is larger, not a regular file, or outside.
        FileNotFoundError: If it is not there.

    Example:
        >>> read_file(Path(__file__), 10, "This file")
        Traceback (most recent call last):
        ...
        fmce_mlflow.errors.ArtifactError: This file has ... bytes, and at most 10 are read. ...
    """
    if root is not None:
        stay_within(path, root, name)
    if not stat.S_ISREG(path.stat().st_mode):
        raise ArtifactError(f"{name} is not a regular file; only regular files are read.")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ArtifactError(
                f"{name} has {size:,} bytes, and at most {limit:,} are read. It is not what fmce-mlflow wrote."
            )
        data = file.read(size + 1)
    if len(data) > size:
        raise ArtifactError(f"{name} grew while it was read. Try again once nobody writes it.")
    return data


def stay_within(path: Path, root: Path, name: str) -> None:
    """Refuse a path that leaves a folder, by ``..`` or by links.

    Raises:
        ArtifactError: If it does.
    """
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL
        inside = False
    if not inside:
        raise ArtifactError(
            f"{name} leads out of {root}; nothing is read there. Do not trust it: put the file itself in its place."
        )


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text, which may be anybody's.

    Raises:
        ValueError: If it is none, or too deep.

    Example:
        >>> parse_json("[" * 100_000)
        Traceback (most recent call last):
        ...
        ValueError: lists or objects are nested deeper than 100
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"lists or objects are nested deeper than {MAX_DEPTH}") from None
    layer, depth = [value], 0
    while layer := [inner for outer in layer for inner in _inner(outer)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"lists or objects are nested deeper than {MAX_DEPTH}")
    return value


def check_header(data: bytes, limit: int, name: str) -> None:
    """Refuse a safetensors file whose header is larger than such a file's can be, before the header is parsed.

    Raises:
        ArtifactError: If it is.

    Example:
        >>> check_header((3000).to_bytes(8, "little") + b" " * 3000, 1000, "The file")
        Traceback (most recent call last):
        ...
        fmce_mlflow.errors.ArtifactError: The file has a header of 3,000 bytes; at most 1,000 are read. ...
    """
    size = int.from_bytes(data[:8], "little")
    if limit < size <= len(data) - 8:  # beyond the file's end, the reader refuses it
        raise ArtifactError(
            f"{name} has a header of {size:,} bytes; at most {limit:,} are read. It is not what fmce-mlflow wrote."
        )


def seal(artifact_path: str, data: bytes) -> dict[str, str]:
    """The tag that vouches for an artifact."""
    return {f"{SEAL}/{artifact_path}": hashlib.sha256(data).hexdigest()}


def check_seal(tags: Mapping[str, str], artifact_path: str, data: bytes, name: str) -> None:
    """Compare an artifact with its run's tag, if the run has one.

    Raises:
        IntegrityError: If they differ.
    """
    expected = tags.get(f"{SEAL}/{artifact_path}")
    if expected is not None:
        check_sha256(data, expected, name)


def check_sha256(data: bytes, expected: str, name: str) -> None:
    """Compare bytes with the hash of what was written.

    Raises:
        IntegrityError: If they differ.
    """
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise IntegrityError(name, expected, found)


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [inner for inner in value.values() if isinstance(inner, (dict, list))]
    return [inner for inner in value if isinstance(inner, (dict, list))] if isinstance(value, list) else []
