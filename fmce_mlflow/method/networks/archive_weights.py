"""Weights of a ``torch.export`` archive, read without executing anything in it."""

from __future__ import annotations

import lzma
import math
import posixpath
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from fmce_mlflow.errors import ArtifactError
from fmce_mlflow.safety.reading import parse_json

_CONFIG = "_weights_config.json"
MAX_LIST_BYTES = 64 * 2**20
MAX_WEIGHT_BYTES = 16 * 2**30
_DTYPES = {6: torch.float16, 7: torch.float32, 8: torch.float64, 13: torch.bfloat16}  # of torch.export's schema
_DAMAGE = (OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError)


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """The floating-point weights of an archive of ``torch.export.save``, such as MLflow's ``data/model.pt2``.

    ``torch.export.load`` can execute code from the archive. This reads its list of weights, which is JSON, and their
    plain bytes; weights that the archive keeps as pickles are left out.

    Returns:
        Tensors by dotted name, on the CPU; empty for an archive without such a list, as older releases wrote.

    Raises:
        ArtifactError: If the file is no archive, or is damaged.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "model.pt2")
        >>> torch.export.save(torch.export.export(torch.nn.Linear(3, 2), (torch.zeros(1, 3),)), path)
        >>> {name: tuple(weight.shape) for name, weight in read_weights(path).items()}
        {'weight': (2, 3), 'bias': (2,)}
    """
    try:
        with zipfile.ZipFile(path) as archive:
            listed = next((name for name in archive.namelist() if name.endswith(_CONFIG)), None)
            if listed is None:
                return {}
            folder = posixpath.dirname(listed)
            found = {}
            for name, entry in parse_json(_member(archive, listed, MAX_LIST_BYTES))["config"].items():
                meta = entry["tensor_meta"]
                if not entry["use_pickle"] and meta["dtype"] in _DTYPES:
                    file = posixpath.join(folder, entry["path_name"])
                    found[name] = _tensor(_member(archive, file, MAX_WEIGHT_BYTES), meta)
            return found
    except (*_DAMAGE, zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError) as error:
        raise ArtifactError(
            f"{path} cannot be read as a torch.export archive: {type(error).__name__}: {error}. Log the model again."
        ) from None


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A file of the archive, whose size is known before it is unpacked: zipfile reads no more than it states."""
    size = archive.getinfo(name).file_size
    if size > limit:
        raise ValueError(f"{name} has {size:,} bytes, and at most {limit:,} are read")
    return archive.read(name)


def _tensor(data: bytes, meta: dict[str, Any]) -> torch.Tensor:
    sizes, strides = ([int(n["as_int"]) for n in meta[name]] for name in ("sizes", "strides"))
    if math.prod(sizes) == 0:
        return torch.empty(sizes, dtype=_DTYPES[meta["dtype"]])
    if min(sizes) < 0 or math.prod(sizes) > len(data) // _DTYPES[meta["dtype"]].itemsize:
        raise ValueError(f"a weight of shape {sizes} does not stand in {len(data):,} bytes")
    whole = torch.frombuffer(bytearray(data), dtype=_DTYPES[meta["dtype"]])
    return whole.as_strided(sizes, strides, int(meta["storage_offset"]["as_int"]))
