"""Read the parquet file of an FMCS-dataset, which may be anybody's, within bounds."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MAX_FILE_BYTES = 4 * 2**30
MAX_ROWS = 100_000_000
MAX_TEXT_BYTES = 32 * 2**30
"""Of all texts in a table once they are written out: parquet keeps a text that comes again as a number."""


def read_table(data: bytes, columns: Mapping[str, str]) -> pd.DataFrame:
    """Some columns of a parquet file, and nothing of any other.

    Args:
        data: The file.
        columns: Their pandas types.

    Returns:
        The table.

    Raises:
        ValueError: If it is no such file, lacks a column, or would be larger than what is read.

    Example:
        >>> file = io.BytesIO()
        >>> pd.DataFrame({"run_id": ["a", "b"], "other": [1, 2]}).to_parquet(file)
        >>> read_table(file.getvalue(), {"run_id": "string"})["run_id"].tolist()
        ['a', 'b']
    """
    try:
        file = pq.ParquetFile(io.BytesIO(data), read_dictionary=[n for n, kind in columns.items() if kind == "string"])
        if missing := [name for name in columns if name not in file.schema_arrow.names]:
            raise ValueError(f"it has no column {', '.join(missing)}")
        if file.metadata.num_rows > MAX_ROWS:
            raise ValueError(f"it has {file.metadata.num_rows:,} rows, and at most {MAX_ROWS:,} are read")
        table = file.read(columns=list(columns))
        size = sum(_text_bytes(column) for column in table.columns)
        if size > MAX_TEXT_BYTES:
            raise ValueError(f"its texts have {size:,} bytes, and at most {MAX_TEXT_BYTES:,} are read")
        found: pd.DataFrame = table.to_pandas(ignore_metadata=True)[list(columns)].astype(dict(columns))
        return found
    except (pa.ArrowException, OSError, KeyError, TypeError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"{error!s:.300}") from None


def _text_bytes(column: pa.ChunkedArray) -> int:
    """What a column's texts take, written out; 0 for numbers."""
    total = 0
    for chunk in column.chunks:
        if pa.types.is_dictionary(chunk.type) and pa.types.is_string(chunk.type.value_type):
            lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
            total += int(pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0)
    return total
