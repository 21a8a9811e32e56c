"""The bags that trials are fitted to, drawn once for all workers of a machine."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from filelock import FileLock
from mlflow import MlflowClient

from fmce_mlflow.fmcs_dataset.table import load_fmcs_dataset
from fmce_mlflow.method.fitting.bags import Bags, collect_bags
from fmce_mlflow.method.fitting.config import BagConfig
from fmce_mlflow.method.fmce_net.statistics import FEATURES
from fmce_mlflow.predictor.fmcs_source import artifact_reader
from fmce_mlflow.tuning.search_space import Space, largest


@dataclass(frozen=True, slots=True)
class FmcsBags:
    """Training bags of an FMCS-dataset run, read when they are first asked for.

    Drawing them takes longer than most trials, so they are kept in a folder where the other workers of this machine
    find them; the statistics are mapped into the memory of all, which is there once. Of one map, n bags are the first n
    of more, so the most that the search knows are drawn.
    """

    tracking_uri: str
    fmcs_run: str
    bags_per_map: int  # at most so many are asked for
    folder: str  # closed to other users; ours alone, for what is in it is trusted
    _kept: dict[BagConfig, Bags] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of_space(cls, tracking_uri: str, fmcs_run: str, space: Space, folder: str) -> FmcsBags:
        """For all trials of a search."""
        return cls(tracking_uri, fmcs_run, int(largest(space["bags_per_map"])), folder)

    def __call__(self, config: BagConfig) -> Bags:
        """The bags of training images."""
        most = replace(config, bags_per_map=max(config.bags_per_map, self.bags_per_map))
        if most not in self._kept:
            self._kept[most] = self._drawn(most)
        kept, drawn, wanted = self._kept[most], most.bags_per_map, config.bags_per_map
        return kept if wanted == drawn else kept.taken(np.arange(len(kept.row)) % drawn < wanted)

    def _drawn(self, config: BagConfig) -> Bags:
        """From the folder; drawn by the first process that asks, while the others wait."""
        path = Path(self.folder, f"{sha256(repr(config).encode()).hexdigest()}.bags")
        features = path.with_suffix(".features")
        with FileLock(f"{path}.lock"):
            if not path.exists():
                client = MlflowClient(self.tracking_uri)
                table = load_fmcs_dataset(client, self.fmcs_run)
                bags = collect_bags(table, artifact_reader(client), config, threads=1)
                bags = bags.taken(~bags.test_images)
                np.ascontiguousarray(bags.features).tofile(features)
                part = path.with_suffix(".part")
                part.write_bytes(pickle.dumps(replace(bags, features=np.empty((0, FEATURES), np.float32))))
                os.replace(part, path)  # last: where it is there, the statistics are too
        found: Bags = pickle.loads(path.read_bytes())
        mapped = np.memmap(features, np.float32, "r", shape=(len(found.row), FEATURES))
        return replace(found, features=mapped)
