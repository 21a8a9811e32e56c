"""Read the parquet file of an FMCS-dataset, which may be anybody's, within bounds."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlflow.exceptions import MlflowException

from fmce_mlflow.errors import ArtifactError, RunError
from fmce_mlflow.runs.artifacts import fetched
from fmce_mlflow.safety.credentials import without_credentials
from fmce_mlflow.safety.reading import check_seal, read_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


PARQUET = "fmcs_dataset.parquet"
MAX_FILE_BYTES = 4 * 2**30
MAX_ROWS = 10_000_000
MOST_LEVELS = 1000
MAX_TEXT_BYTES = 2 * 2**30
"""Of all texts in a table once they are written out, and of its columns unpacked: parquet keeps a text that comes again
as a number, and packs what is alike. These bounds are of memory, of which a table takes up to three times as much."""


def read_table(data: bytes, columns: Mapping[str, str], later: Collection[str] = ()) -> pd.DataFrame:
    """Some columns of a parquet file, by their pandas types, and nothing of any other.

    Those of ``later`` may be missing, and then have nothing in them.

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
        there = {name: kind for name, kind in columns.items() if name in file.schema_arrow.names}
        if missing := [name for name in columns if name not in there and name not in later]:
            raise ValueError(f"it has no column {', '.join(missing)}")
        if file.metadata.num_rows > MAX_ROWS:
            raise ValueError(f"it has {file.metadata.num_rows:,} rows, and at most {MAX_ROWS:,} are read")
        if (size := _unpacked(file.metadata, columns)) > MAX_TEXT_BYTES:
            raise ValueError(f"its columns have {size:,} bytes unpacked, and at most {MAX_TEXT_BYTES:,} are read")
        table = file.read(columns=list(there))
        size = sum(_text_bytes(column) for column in table.columns)
        if size > MAX_TEXT_BYTES:
            raise ValueError(f"its texts have {size:,} bytes, and at most {MAX_TEXT_BYTES:,} are read")
        found: pd.DataFrame = table.to_pandas(ignore_metadata=True)
        return found.reindex(columns=list(columns)).astype(dict(columns))
    except (pa.ArrowException, OSError, KeyError, TypeError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"{error!s:.300}") from None


def _unpacked(metadata: pq.FileMetaData, columns: Collection[str]) -> int:
    """What some columns take in memory before texts are written out, as far as the file says it."""
    parts = (
        metadata.row_group(i).column(j) for i in range(metadata.num_row_groups) for j in range(metadata.num_columns)
    )
    return sum(part.total_uncompressed_size for part in parts if part.path_in_schema in columns)


def _text_bytes(column: pa.ChunkedArray) -> int:
    """What a column's texts take, written out; 0 for numbers."""
    total = 0
    for chunk in column.chunks:
        if pa.types.is_dictionary(chunk.type) and pa.types.is_string(chunk.type.value_type):
            lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
            total += int(pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0)
    return total


COLUMNS: dict[str, str] = {
    "run_id": "string",
    "backbone": "string",
    "dataset": "string",
    "seed": "int64",
    "module": "string",
    "snapshot": "int64",
    "epoch": "float64",
    "fmcs": "float64",
    "level": "Int64",
    "moved_from": "Int64",
    "moved_until": "Int64",
    "n": "int64",
    "channels": "int64",
    "height": "int64",
    "width": "int64",
    "artifact_path": "string",
    "sha256": "string",
}
"""Columns of an FMCS-dataset with their pandas types. ``level`` is set at the marker snapshots only, and is 0 while a
module has not moved; ``fmcs`` is NaN where a snapshot has no label and was kept on request. ``moved_from`` is the last
snapshot before the module's weights changed first, ``moved_until`` the last one at which they had changed: null and 0
if they never did, both null if that is not known. Maps stand at ``artifact_path`` of the run ``run_id``."""
LATER = ("moved_from", "moved_until")
"""Columns that tables of releases before lack: nothing is known of these."""


def load_fmcs_dataset(client: MlflowClient, run_id: str) -> pd.DataFrame:
    """The table of an FMCS-dataset run, with :data:`COLUMNS`.

    Raises:
        RunError: If there is no such run, or it has no FMCS-dataset.
        IntegrityError: If it is not what was written.
        ArtifactError: If it cannot be read.
    """
    run, name = known_run(client, run_id, "fmcs_dataset"), f"{PARQUET} of run {run_id}"
    with fetched(client, run_id, PARQUET) as path:
        if path is None:
            raise RunError(f"Run {run_id} has no {PARQUET}. Build one with `fmce build-fmcs`.")
        data = read_file(path, MAX_FILE_BYTES, name)
    check_seal(run.data.tags, PARQUET, data, name)
    try:
        return _checked(read_table(data, COLUMNS, LATER))
    except ValueError as error:
        raise ArtifactError(f"{PARQUET} of run {run_id} cannot be read: {error}. Build it again.") from None


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose labels and sizes can be; ValueError says which are not."""
    if table.empty:
        raise ValueError("it has no rows")
    bounds = {"fmcs": (0, 1), "level": (0, MOST_LEVELS - 1)}
    bounds |= {name: (0, 2**53) for name in ("snapshot", *LATER)}
    bounds |= {name: (1, 2**53) for name in ("n", "channels", "height", "width")}
    for name, (low, high) in bounds.items():
        values = table[name].dropna()
        strange = values[~values.between(low, high)]
        if len(strange):
            raise ValueError(f"its column {name} has {strange.iloc[0]!s:.40}, and only {low} to {high:,} can be")
    return table


def known_run(client: MlflowClient, run_id: str, role: str) -> Run:
    """A run, or an error that says how to find those of a role."""
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise RunError(
            f"There is no run {run_id!r} on {without_credentials(client.tracking_uri)}. MLflow's UI lists "
            f"{role} runs where they are searched for with tags.`fmce.role` = '{role}'."
        ) from None
