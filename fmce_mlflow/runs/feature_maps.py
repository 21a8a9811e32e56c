"""Feature maps as MLflow artifacts: the only reader and writer of them.

Layout of ``feature_maps/`` in a run's artifacts::

    index.json                                  what there is: shape, dtype, probe identity, sha256
    <module>/snapshot_00012.safetensors         float16 `maps` (n, C, H, W) and int64 `labels` (n,)

One file per (module, snapshot), because the file is what every artifact store can fetch by itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmce_mlflow.errors import ArtifactError, IntegrityError, RunError
from fmce_mlflow.runs.artifacts import artifact_repository, fetched_from, repository_of
from fmce_mlflow.runs.feature_index import INDEX, ROOT, Entry, Index, Probe, file_name, is_module
from fmce_mlflow.runs.map_file import MAX_MAP_BYTES, STAGING, unpack, write_file
from fmce_mlflow.runs.sink import Sink
from fmce_mlflow.safety.reading import check_seal, read_file
from fmce_mlflow.wording import did_you_mean

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from numpy.typing import NDArray


MAX_INDEX_BYTES = 256 * 2**20


class FeatureMapWriter:
    """Writes the feature maps of one run, through a client or, but for dropping maps, another sink.

    ``labels`` int64 (n,) are the classes of the probe images, ``entries`` what a resumed run has already.
    """

    def __init__(
        self,
        client: MlflowClient | Sink,
        run_id: str,
        probe: Probe,
        labels: NDArray[np.int64],
        entries: Mapping[tuple[str, int], Entry] | None = None,
    ) -> None:
        self._client: Any = client
        self._run_id, self._labels = run_id, labels
        self.index = Index(probe, dict(entries or {}))

    def write(
        self,
        snapshot: int,
        maps: Mapping[str, NDArray[np.float16]],
        clipped: Mapping[str, int],
        exponents: Mapping[str, int] | None = None,
    ) -> None:
        """Write one snapshot's maps (n, C, H, W) by module, then the index.

        ``clipped`` counts values beyond float16; ``exponents`` has those powers of two by which maps were multiplied.

        Raises:
            ArtifactError: If a map is not finite, or a module's name cannot be a folder.
        """
        entries = dict(self.index.entries)
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=getattr(self._client, "staging", None)) as folder:
            for module, value in maps.items():
                if not is_module(module):
                    raise ArtifactError(f"{module!r} cannot be the name of a folder of feature maps.")
                path = Path(folder, module, file_name(snapshot))
                path.parent.mkdir()
                name = f"The feature map of {module} at snapshot {snapshot}"
                size, sha256 = write_file(path, value, self._labels, name=name)
                n, c, h, w = value.shape
                entries[module, snapshot] = Entry(
                    module, snapshot, (n, c, h, w), "float16", size, sha256,
                    clipped.get(module, 0), (exponents or {}).get(module, 0),
                )  # fmt: skip
            self._client.log_artifacts(self._run_id, folder, ROOT)
        self.index = Index(self.index.probe, entries)
        self.write_index()

    def write_index(self) -> None:
        """Write the index as it stands."""
        with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
            path = Path(folder, INDEX)
            path.write_bytes(self.index.to_json().encode())
            self._client.log_artifact(self._run_id, str(path), ROOT)

    def keep_only(self, snapshots: set[int]) -> int:
        """Drop every other snapshot's maps, the index first, and return how many files went."""
        dropped = [e for e in self.index.entries.values() if e.snapshot not in snapshots]
        self.index = Index(
            self.index.probe, {key: e for key, e in self.index.entries.items() if e.snapshot in snapshots}
        )
        self.write_index()
        repository = artifact_repository(self._client, self._run_id)
        for entry in dropped:
            repository.delete_artifacts(entry.path)
        return len(dropped)


class FeatureMapReader:
    """Reads the feature maps of one run, a file at a time.

    Raises:
        RunError: If the run has no feature maps.
        ArtifactError: If its index cannot be read.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._run_id = run_id
        run = client.get_run(run_id)
        self._repository = repository_of(run, client.tracking_uri)  # once, not for each of its files
        data = read_index(self._repository, f"run {run_id}")
        if data is None:
            raise RunError(
                f"Run {run_id} has no {ROOT}/{INDEX}: it recorded no feature maps. Train it with `fmce train-backbone`."
            )
        name = f"{ROOT}/{INDEX} of run {run_id}"
        check_seal(run.data.tags, f"{ROOT}/{INDEX}", data, name)
        self.index = Index.from_json(data, name=name)

    def read(self, module: str, snapshot: int) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
        """Maps float16 (n, C, H, W) and labels int64 (n,) of one module at one snapshot; fetches that file only.

        Raises:
            RunError: If that module or snapshot was not recorded.
            IntegrityError: If the file was damaged or changed.
            ArtifactError: If the file is missing.
        """
        entry = self.index.entries.get((module, snapshot))
        if entry is None:
            if module not in self.index.modules:
                raise RunError(
                    f"Run {self._run_id} recorded no module {module!r}, but {', '.join(self.index.modules)}."
                    + did_you_mean(module, self.index.modules)
                )
            recorded = self.index.snapshots(module)
            raise RunError(
                f"Run {self._run_id} has no maps of {module} at snapshot {snapshot}; "
                f"it has {len(recorded)} snapshots between {recorded[0]} and {recorded[-1]}."
            )
        return read_stored(self._repository, entry, f"run {self._run_id}")


def read_index(repository: Any, owner: str) -> bytes | None:
    """The bytes of the index in any ``ArtifactRepository``, None where it has none; ``owner`` says whose it is.

    Raises:
        ArtifactError: If it cannot be fetched, or is too large.
    """
    with fetched_from(repository, f"{ROOT}/{INDEX}", owner) as path:
        return None if path is None else read_file(path, MAX_INDEX_BYTES, f"{ROOT}/{INDEX} of {owner}")


def read_stored(repository: Any, entry: Entry, owner: str) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Fetch and check one file of any ``ArtifactRepository``: maps float16 (n, C, H, W) and labels int64 (n,).

    Raises:
        IntegrityError: If the file was damaged or changed.
        ArtifactError: If it is missing.
    """
    name = f"{entry.path} of {owner}"
    if entry.bytes > MAX_MAP_BYTES:
        raise ArtifactError(
            f"The index says that {name} has {entry.bytes:,} bytes; at most {MAX_MAP_BYTES:,} are read. "
            "Record fewer probe images, or smaller maps by --map-size."
        )
    with fetched_from(repository, entry.path, owner) as path:
        if path is None:
            raise ArtifactError(f"{name} is missing, though its index names it.")
        size = path.stat().st_size
        if size > entry.bytes:
            raise IntegrityError(name, entry.sha256, f"of {size:,} bytes")
        data = read_file(path, entry.bytes, name)
    return unpack(data, entry)
