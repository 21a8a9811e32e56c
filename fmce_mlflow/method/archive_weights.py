"""Weights of a ``torch.export`` archive, read without executing anything in it."""

from __future__ import annotations

import json
import math
import posixpath
import zipfile
from pathlib import Path
from typing import Any

import torch

from fmce_mlflow.errors import ArtifactError

_CONFIG = "_weights_config.json"
_DTYPES = {6: torch.float16, 7: torch.float32, 8: torch.float64, 13: torch.bfloat16}  # of torch.export's schema


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """The floating-point weights of an archive of ``torch.export.save``, such as MLflow's ``data/model.pt2``.

    ``torch.export.load`` can execute code from the archive. This reads its list of weights, which is JSON, and their
    plain bytes; weights that the archive keeps as pickles are left out.

    Args:
        path: The archive.

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
            for name, entry in json.loads(archive.read(listed))["config"].items():
                meta = entry["tensor_meta"]
                if not entry["use_pickle"] and meta["dtype"] in _DTYPES:
                    found[name] = _tensor(archive.read(posixpath.join(folder, entry["path_name"])), meta)
            return found
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"{path} cannot be read as a torch.export archive: {type(error).__name__}: {error}. Log the model again."
        ) from None


def _tensor(data: bytes, meta: dict[str, Any]) -> torch.Tensor:
    sizes, strides = ([int(n["as_int"]) for n in meta[name]] for name in ("sizes", "strides"))
    if math.prod(sizes) == 0:
        return torch.empty(sizes, dtype=_DTYPES[meta["dtype"]])
    whole = torch.frombuffer(bytearray(data), dtype=_DTYPES[meta["dtype"]])
    return whole.as_strided(sizes, strides, int(meta["storage_offset"]["as_int"]))
