"""The bytes of a feature-map file: float16 ``maps`` (n, C, H, W) and int64 ``labels`` (n,) as safetensors."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from fmce_mlflow.errors import ArtifactError, IntegrityError
from fmce_mlflow.runs.feature_index import Entry
from fmce_mlflow.safety.reading import check_header

if TYPE_CHECKING:
    from numpy.typing import NDArray


MAX_MAP_BYTES = 32 * 2**30
MAX_MAP_HEADER = 2**20
STAGING = ".artifact.uploading."
"""Prefix of what is being written next to a run's artifacts; MLflow lists no such names."""

_EXPONENT = 0x7C00
_BLOCK = 2**17


def write_file(
    path: Path, maps: NDArray[np.float16], labels: NDArray[np.int64], *, name: str = "The feature map"
) -> tuple[int, str]:
    """Write maps float16 (n, C, H, W) and labels int64 (n,), uncopied, and flush them to the disk → size and sha256.

    Raises:
        ArtifactError: If a map is not finite.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_file(Path(folder, "maps"), np.zeros((2, 3, 4, 4), np.float16), np.array([0, 1]))[0]
        344
    """
    maps, labels = np.ascontiguousarray(maps, np.float16), np.ascontiguousarray(labels, np.int64)
    parts = (_header(maps, labels), labels.data.cast("B"), maps.data.cast("B"))

    def digest() -> str:
        found = hashlib.sha256()
        for part in parts:
            found.update(part)
        return found.hexdigest()

    with ThreadPoolExecutor(2, thread_name_prefix="fmce-write") as pool:
        finite, sha256 = pool.submit(is_finite, maps), pool.submit(digest)
        with path.open("wb") as file:
            for part in parts:
                file.write(part)
        flush(path)
        if not finite.result():
            raise ArtifactError(
                f"{name} has NaN or infinite values: the module diverged. Try a smaller learning rate, or float32."
            )
        return sum(map(len, parts)), sha256.result()


def flush(path: Path) -> None:
    """Bring what was written to a file to the disk, where it survives a machine that stops."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _header(maps: NDArray[np.float16], labels: NDArray[np.int64]) -> bytes:
    """What comes before the tensors in a safetensors file; the tensors follow by falling size of their numbers."""
    fields = {
        "labels": {"dtype": "I64", "shape": labels.shape, "data_offsets": (0, labels.nbytes)},
        "maps": {"dtype": "F16", "shape": maps.shape, "data_offsets": (labels.nbytes, labels.nbytes + maps.nbytes)},
    }
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def is_finite(maps: NDArray[np.float16]) -> bool:
    """Whether no value is NaN or infinite: neither has all bits of the exponent set. Faster than NumPy's own test.

    Example:
        >>> is_finite(np.array([1, 65504], np.float16)), is_finite(np.array([1, np.nan], np.float16))
        (True, False)
    """
    bits = np.ascontiguousarray(maps, np.float16).reshape(-1).view(np.uint16)
    blocks = (bits[i : i + _BLOCK] for i in range(0, len(bits), _BLOCK))  # what is in the processor's cache
    return all(int((block & _EXPONENT).max()) < _EXPONENT for block in blocks)


def unpack(data: bytes, entry: Entry) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Maps float16 (n, C, H, W) and labels int64 (n,) from a file's bytes, checked against its entry.

    Raises:
        IntegrityError: If the bytes are not those that were written.
        ArtifactError: If they are, but hold something other than the index says.
    """
    found = hashlib.sha256(data).hexdigest()
    if found != entry.sha256:
        raise IntegrityError(entry.path, entry.sha256, found)
    check_header(data, MAX_MAP_HEADER, entry.path)
    try:
        tensors = load_safetensors(data)
        maps, labels = tensors["maps"], tensors["labels"]
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ArtifactError(f"{entry.path} is not a feature-map file ({error}). Record the run again.") from None
    shapes = (maps.shape, labels.shape)
    if maps.dtype != np.float16 or labels.dtype != np.int64 or shapes != (entry.shape, entry.shape[:1]):
        raise ArtifactError(
            f"{entry.path} holds {maps.dtype} {maps.shape} with labels {labels.dtype} {labels.shape}; its index says "
            f"{entry.dtype} {entry.shape} with labels int64 {entry.shape[:1]}. Record the run again."
        )
    return maps, labels
