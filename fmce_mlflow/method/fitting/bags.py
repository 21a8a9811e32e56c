"""Bags of an FMCS-dataset, reduced to their statistics.

Maps are read one (run, snapshot, module) at a time and let go; what stays is less than a kilobyte per bag, and of many
bags it stays on disk. The probe images are cut in two parts once and for all, so that every protocol can be scored on
images that the network was not trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from fmce_mlflow.errors import PredictorError
from fmce_mlflow.method.evidence.groups import NAMES
from fmce_mlflow.method.fitting.config import BagConfig
from fmce_mlflow.method.fitting.row_store import Rows, let_go, new_rows
from fmce_mlflow.method.fmce_net.statistics import FEATURES, bag_features, check_bag

Read = Callable[[Any], NDArray[np.floating[Any]]]
SCALARS = ("activation deviation", "effective rank")  # columns of `scalars`
QUEUED = 512  # rows that wait for a thread


@dataclass(frozen=True, slots=True)
class Bags:
    """Statistics of N bags."""

    table: pd.DataFrame  # rows with at least run_id, backbone, dataset, module, snapshot, fmcs, level
    row: NDArray[np.int64]  # (N,), position in the table
    test_images: NDArray[np.bool_]  # (N,), of the images kept from training
    features: NDArray[np.float32]  # (N, FEATURES), see `bag_features`; of many bags a memory map of a file
    scalars: NDArray[np.float32]  # (N, 2), for baselines, see `SCALARS`
    evidence: NDArray[np.float32] | None = None  # (N, E), a row of `evidence.groups.NAMES` each; NaN where unknown
    references: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None
    """Features of fresh copies (G, FEATURES), and which of them is each bag's (N,); None: of snapshot 0."""

    def column(self, name: str) -> NDArray[Any]:
        """A column of the table, by bag."""
        return self.table[name].to_numpy()[self.row]

    @property
    def fmcs(self) -> NDArray[np.float64]:
        """Labels, float64 (N,)."""
        return self.table["fmcs"].to_numpy(dtype=np.float64)[self.row]

    def untrained(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """References (G, FEATURES) of each run, module and part of the images; which of them is each bag's (N,)."""
        if self.references is not None:
            return self.references
        untrained = self.column("snapshot") == 0
        keys = pd.DataFrame({name: self.column(name) for name in ("run_id", "module")}).assign(test=self.test_images)
        group = keys.groupby(["run_id", "module", "test"], sort=False).ngroup().to_numpy().astype(np.int64)  # (N,)
        counts = np.bincount(group[untrained], minlength=group.max() + 1)
        if not counts.all():
            missing = keys.iloc[int(np.argmax(group == int(np.argmin(counts))))]
            raise PredictorError(
                f"A net with a reference needs snapshot 0 of each run, and module {missing.module} of run "
                f"{missing.run_id} has none. Keep it in the FMCS-dataset, or fit a net without reference."
            )
        sums = np.zeros((len(counts), self.features.shape[1]))
        np.add.at(sums, group[untrained], np.asarray(self.features)[untrained])
        means: NDArray[np.float32] = (sums / counts[:, None]).astype(np.float32)
        return means, group

    def taken(self, kept: NDArray[np.bool_]) -> Bags:
        """Some of the bags, bool (N,), with the table as it is."""
        known, groups = self.evidence, self.references
        return replace(
            self,
            row=self.row[kept],
            test_images=self.test_images[kept],
            features=self.features[kept],
            scalars=self.scalars[kept],
            evidence=None if known is None else known[kept],
            references=None if groups is None else (groups[0], groups[1][kept]),
        )

    def rows(self, *, reference: bool, evidence: bool = False) -> Rows:
        """What a ``set`` net sees of each bag, to be taken a batch at a time.

        With a reference, beside the contrast with the module before training: the mean of the bags of its snapshot 0,
        of training images for bags of training images, of test images for those of test images.

        Raises:
            PredictorError: If a reference is asked for and snapshot 0 of a run is not in the table.
        """
        known = None if not evidence else self.evidence
        if evidence and known is None:
            known = np.full((len(self.row), len(NAMES)), np.nan, np.float32)
        references, group = self.untrained() if reference else (None, None)
        return Rows(self.features, references, group, known)


def collect_bags(
    table: pd.DataFrame,
    read: Read,
    config: BagConfig | None = None,
    *,
    threads: int = 2,
    progress: Callable[[int], Any] | None = None,
) -> Bags:
    """Draw bags of every labelled row of an FMCS-dataset and keep their statistics.

    Args:
        table: The FMCS-dataset's rows.
        read: Gives the maps (n, C, H, W) of a row, as one of ``table.itertuples()``.
        config: How bags are drawn.
        threads: Rows that are read and reduced at a time.
        progress: Called with 1 for each row done.

    Returns:
        The bags, in the order of rows; which bags they are depends on the table and the config alone.

    Raises:
        PredictorError: If no row has a label, or a row's maps make no bag; the message names the row.
    """
    config = config or BagConfig()
    table = table[table["fmcs"].notna()].reset_index(drop=True)
    if not len(table):
        raise PredictorError("The FMCS-dataset has no labelled row. Build it from runs that have converged.")
    per_row = 2 * config.bags_per_map
    n = len(table) * per_row

    features = new_rows(n, FEATURES)
    scalars = np.empty((n, len(SCALARS)), np.float32)

    def reduce(item: tuple[int, Any]) -> None:
        index, row = item
        where = f"Run {row.run_id}, module {row.module}, snapshot {row.snapshot}"
        try:
            maps = read(row)
            for i in range(per_row):
                one = check_bag(torch.from_numpy(maps[config.bag(index, i, len(maps))]))
                at = index * per_row + i
                features[at] = bag_features(one).numpy()
                scalars[at] = _scalars(one)
        except PredictorError as error:
            raise PredictorError(f"{where}: {error}") from None
        if progress is not None:
            progress(1)

    rows = enumerate(table.itertuples(index=False))
    with ThreadPoolExecutor(max(1, threads)) as pool:
        while part := list(islice(rows, QUEUED)):  # the pool would queue all rows at once
            for _ in pool.map(reduce, part):
                pass
            let_go(features)
    row_of = np.repeat(np.arange(len(table)), per_row)
    is_test = np.tile(np.arange(per_row) >= config.bags_per_map, len(table))
    return Bags(table, row_of, is_test, features, scalars)


def effective_rank(maps: torch.Tensor) -> float:
    """Effective rank (Roy and Vetterli 2007) of centred maps (n, C, H, W): the exponential of their spectrum's entropy.

    Between 1 and n − 1; 0 for maps that are all alike.

    Example:
        >>> round(effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])[:, :, None, None]), 3)
        2.0
    """
    flat = maps.flatten(1)
    flat = flat - flat.mean(0)
    values = torch.linalg.eigvalsh((flat @ flat.T).double()).clamp_min(0).sqrt()
    total = values.sum()
    if total == 0:
        return 0.0
    shares = values[values > 0] / total
    return float((-(shares * shares.log()).sum()).exp())


def _scalars(maps: torch.Tensor) -> Sequence[float]:
    return float(maps.std(0, correction=0).mean()), effective_rank(maps)
