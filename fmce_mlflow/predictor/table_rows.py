"""Bags as rows of a table: what Spark and other engines that only know columns pass to FMCE-Net.

A row is a bag, in one of two forms:

- ``files``: a column ``content`` with the bytes of a safetensors file that has ``maps``, such as the files below
  ``feature_maps/`` of a backbone run. Spark's ``binaryFile`` source reads them so.
- ``arrays``: a column ``maps`` with the values, row by row, and a column ``shape`` with the four numbers of its shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from fmce_mlflow.errors import ArtifactError, ConfigError, PredictorError
from fmce_mlflow.safety.reading import check_header

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

Form = Literal["files", "arrays"]
CONTENT, MAPS, SHAPE = "content", "maps", "shape"
MAX_HEADER = 2**20


def table_signature(outputs: Schema, form: Form = "files") -> ModelSignature:
    """Rows with a bag each in, a row of figures for each out.

    Example:
        >>> table_signature(Schema([ColSpec("double", "fmcs")])).inputs.input_names()
        ['content']
    """
    if form not in get_args(Form):
        raise ConfigError(f"form must be one of {', '.join(get_args(Form))}; got {form!r}")
    if form == "files":
        return ModelSignature(Schema([ColSpec(DataType.binary, CONTENT)]), outputs)
    columns: list[ColSpec | TensorSpec] = [ColSpec(Array(DataType.float), MAPS), ColSpec(Array(DataType.long), SHAPE)]
    return ModelSignature(Schema(columns), outputs)


def bags_of(table: pd.DataFrame) -> Iterator[NDArray[np.floating[Any]]]:
    """The bags of a table, each (n, C, H, W).

    Raises:
        PredictorError: If the table has neither form's columns, or a row makes no bag; names the row, from 0.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"maps": [[1.0] * 24], "shape": [[2, 3, 2, 2]]})
        >>> [bag.shape for bag in bags_of(table)]
        [(2, 3, 2, 2)]
    """
    if CONTENT in table:
        for number, content in enumerate(table[CONTENT]):
            yield _of_file(content, f"Row {number}")
    elif MAPS in table and SHAPE in table:
        for number, (maps, shape) in enumerate(zip(table[MAPS], table[SHAPE], strict=True)):
            yield _of_array(maps, shape, f"Row {number}")
    else:
        raise PredictorError(
            f"A table of bags has a column {CONTENT} (bytes of safetensors files), or columns {MAPS} and {SHAPE}; this "
            f"one has {', '.join(map(str, table.columns)) or 'none'}."
        )


def _of_file(content: Any, name: str) -> NDArray[np.floating[Any]]:
    if not isinstance(content, (bytes, bytearray)):
        raise PredictorError(f"{name}: {CONTENT} is {type(content).__name__}; expected the bytes of a file.")
    try:
        data = bytes(content)
        check_header(data, MAX_HEADER, name)
        maps: NDArray[np.floating[Any]] = load_arrays(data)[MAPS]
    except (SafetensorError, ArtifactError, KeyError, ValueError, TypeError) as error:
        raise PredictorError(
            f"{name}: {CONTENT} is no safetensors file with {MAPS} ({error}). fmce_mlflow.runs.map_file.pack makes one."
        ) from None
    return maps


def _of_array(maps: Any, shape: Any, name: str) -> NDArray[np.floating[Any]]:
    if maps is None or shape is None:
        raise PredictorError(f"{name}: {MAPS} or {SHAPE} is empty; every row needs a bag.")
    values, sides = np.asarray(maps, dtype=np.float32), [int(side) for side in shape]
    if values.ndim != 1 or len(sides) != 4 or min(sides) < 1 or math.prod(sides) != values.size:
        raise PredictorError(
            f"{name}: {values.size} values in {MAPS} cannot have the {SHAPE} {sides}. Give the values of (n, C, H, W) "
            "as one list, in C order."
        )
    return values.reshape(sides)
