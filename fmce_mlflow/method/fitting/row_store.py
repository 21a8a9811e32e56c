"""Large tables of numbers on disk, so that memory does not grow with an FMCS-dataset."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from fmce_mlflow.errors import ArtifactError

IN_MEMORY = 32 * 2**20  # bytes up to which a table is kept in memory
PART = 2**12  # rows that are read at a time
_PAGES_LET_GO = getattr(mmap, "MADV_DONTNEED", None)


class DiskTable(np.memmap):
    """A table in a file without a name, mapped into memory; the file is gone with the process."""

    file: Any = None

    @classmethod
    def empty(cls, count: int, width: int) -> DiskTable:
        """A new one, float32 (count, width)."""
        file = tempfile.TemporaryFile(prefix="fmce-")  # noqa: SIM115  # open as long as the table
        reserve(file.fileno(), 4 * count * width)
        made = cls(file, np.float32, "w+", shape=(count, width))
        made.file = file
        return made


def reserve(file: int, size: int) -> None:
    """Take space on the disk for a file that will be mapped: a disk that is full later ends the process by a signal.

    Raises:
        ArtifactError: If there is not so much.
    """
    folder = tempfile.gettempdir()
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
        elif shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise ArtifactError(
            f"A table of {size / 2**20:,.0f} MiB has no room in {folder} ({error.strerror}), which has "
            f"{shutil.disk_usage(folder).free / 2**20:,.0f} MiB free. Make room, name another folder by TMPDIR, or "
            "take fewer bags."
        ) from None


def new_rows(count: int, width: int, *, in_memory: int = IN_MEMORY) -> NDArray[np.float32]:
    """An empty table, float32 (count, width): in memory, or where it is larger, on the disk of temporary files.

    Example:
        >>> isinstance(new_rows(10, 4), DiskTable), isinstance(new_rows(10, 4, in_memory=100), DiskTable)
        (False, True)
    """
    if count * width * 4 <= in_memory:
        return np.empty((count, width), np.float32)
    return DiskTable.empty(count, width)


def let_go(rows: NDArray[np.float32]) -> None:
    """Give the memory of a table on disk back to the system; its values stay. Of one in memory, do nothing."""
    mapped: Any = getattr(rows, "_mmap", None)
    if mapped is not None and _PAGES_LET_GO is not None:
        mapped.madvise(_PAGES_LET_GO)


def in_parts(index: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Positions of rows in parts that take tens of megabytes."""
    yield from (index[start : start + PART] for start in range(0, len(index), PART))


class Rows:
    """Rows of a table (N, F), of :func:`new_rows`, by their positions, taken a batch at a time.

    Args:
        table: float32 (N, F).
        references: float32 (G, F): what a row is also compared with, by group; None for rows alone.
        group: Group of each row, int64 (N,).
        evidence: float32 (N, E), what else is known of a row; NaN where it is not.
    """

    def __init__(
        self,
        table: NDArray[np.float32],
        references: NDArray[np.float32] | None = None,
        group: NDArray[np.int64] | None = None,
        evidence: NDArray[np.float32] | None = None,
    ) -> None:
        self._table, self._plain = table, np.asarray(table)
        self._references, self._group, self._evidence = references, group, evidence

    def __len__(self) -> int:
        return len(self._plain)

    def take(self, index: NDArray[np.int64]) -> Tensor:
        """Rows at some positions: float32 (B, F), or with references (B, 2·F), the rows and what they differ by.

        With evidence (B, 2·F + E), in any case.
        """
        found = self._read(index)
        if self._references is not None and self._group is not None:
            found = np.hstack([found, found - self._references[self._group[index]]])
        elif self._evidence is not None:
            found = np.hstack([found, np.full_like(found, np.nan)])
        if self._evidence is not None:
            found = np.hstack([found, self._evidence[index]])
        return torch.from_numpy(found)

    def _read(self, index: NDArray[np.int64]) -> NDArray[np.float32]:
        file = getattr(self._table, "file", None)
        if file is None or not hasattr(os, "preadv"):
            return self._plain[index]
        # Through the mapping, the system would map whole neighbourhoods of each row, and with time all of the file.
        width = self._plain.shape[1]
        found, size = np.empty((len(index), width), np.float32), 4 * width
        for row, at in zip(found, index.tolist(), strict=True):
            os.preadv(file.fileno(), [row.data], at * size)
        return found

    def moments(self, index: NDArray[np.int64], *, at_once: int = 2**14, chunk: int = 2**12) -> tuple[Tensor, Tensor]:
        """Mean and deviation over rows, float32 (F,) each; of many rows in parts."""
        if len(index) <= at_once:
            taken = self.take(index)
            if self._evidence is not None:
                return _known_moments(taken)
            return taken.mean(0), taken.std(0, correction=0)
        sums = StandardScaler()
        for start in range(0, len(index), chunk):
            sums.partial_fit(self.take(index[start : start + chunk]).double().numpy())
        return torch.from_numpy(sums.mean_).nan_to_num().float(), torch.from_numpy(
            sums.var_
        ).nan_to_num().sqrt().float()

    def quantiles(self, index: NDArray[np.int64], shares: Tensor, *, most: int = 2**14) -> Tensor:
        """Quantiles over rows, float32 (F, Q), interpolated; of many rows, those of ``most`` that are evenly spaced."""
        kept = index[np.linspace(0, len(index) - 1, min(most, len(index))).astype(np.int64)]
        taken = self.take(kept).numpy()
        if self._evidence is None:
            return torch.from_numpy(np.quantile(taken, shares.numpy(), axis=0).T.astype(np.float32))
        taken[:, np.isnan(taken).all(0)] = 0
        found = np.nanquantile(taken, shares.numpy(), axis=0).T.astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray(found))


def _known_moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of what is known of each column, 0 of what never is."""
    mean = rows.nanmean(0).nan_to_num(0.0)
    return mean, (rows - mean).square().nanmean(0).nan_to_num(0.0).sqrt()
