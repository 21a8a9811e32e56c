"""Feature maps as MLflow artifacts: the only reader and writer of them.

Layout of ``feature_maps/`` in a run's artifacts::

    index.json                                  what there is: shape, dtype, probe identity, sha256
    <module>/snapshot_00012.safetensors         float16 `maps` (n, C, H, W) and int64 `labels` (n,)

One file per (module, snapshot), because the file is what every artifact store can fetch by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from fmce_mlflow.errors import ArtifactError, IntegrityError, RunError, did_you_mean
from fmce_mlflow.feature_index import INDEX, ROOT, Entry, Index, Probe, file_name, is_module
from fmce_mlflow.reading import check_header, check_seal, read_file, stay_within

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from numpy.typing import NDArray

MAX_INDEX_BYTES = 256 * 2**20
MAX_MAP_BYTES = 32 * 2**30
MAX_MAP_HEADER = 2**20
STAGING = ".artifact.uploading."
"""Prefix of what is being written next to a run's artifacts; MLflow lists no such names."""
_EXPONENT = 0x7C00
_BLOCK = 2**17

__all__ = [
    "INDEX",
    "ROOT",
    "Entry",
    "FeatureMapReader",
    "FeatureMapWriter",
    "Index",
    "Probe",
    "Sink",
    "artifact_repository",
    "fetched",
    "fetched_from",
    "file_name",
    "flush",
    "pack",
    "read_entry",
    "unpack",
    "write_file",
]


def pack(maps: NDArray[np.float16], labels: NDArray[np.int64], *, name: str = "The feature map") -> bytes:
    """The bytes of a feature-map file.

    Args:
        maps: float16 (n, C, H, W), finite.
        labels: int64 (n,), the probe images' classes.
        name: What an error calls the map.

    Returns:
        A safetensors file with the names ``maps`` and ``labels``.

    Raises:
        ArtifactError: If a map is not finite.

    Example:
        >>> len(pack(np.zeros((2, 3, 4, 4), np.float16), np.array([0, 1])))
        344
    """
    if not is_finite(maps):
        raise _not_finite(name)
    return save_safetensors({"maps": np.ascontiguousarray(maps), "labels": np.ascontiguousarray(labels)})


def write_file(
    path: Path, maps: NDArray[np.float16], labels: NDArray[np.int64], *, name: str = "The feature map"
) -> tuple[int, str]:
    """Write the bytes of :func:`pack` to a file and flush it to the disk, and hash them meanwhile.

    The maps are not copied.

    Args:
        path: The file.
        maps: As for :func:`pack`.
        labels: As for :func:`pack`.
        name: As for :func:`pack`.

    Returns:
        The file's size in bytes and its sha256.

    Raises:
        ArtifactError: If a map is not finite.
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
            raise _not_finite(name)
        return sum(map(len, parts)), sha256.result()


def flush(path: Path) -> None:
    """Have what was written to a file brought to the disk, where it outlives a machine that stops."""
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


def _not_finite(name: str) -> ArtifactError:
    return ArtifactError(
        f"{name} has NaN or infinite values: the module diverged. Try a smaller learning rate, or float32."
    )


def unpack(data: bytes, entry: Entry) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Maps float16 (n, C, H, W) and labels int64 (n,) from a file's bytes, checked against its entry.

    Raises:
        IntegrityError: If the bytes are not those that were written.
        ArtifactError: If they are, but hold something else than the index says.
    """
    found = hashlib.sha256(data).hexdigest()
    if found != entry.sha256:
        raise IntegrityError(entry.path, entry.sha256, found)
    check_header(data, MAX_MAP_HEADER, entry.path)
    try:
        tensors = load_safetensors(data)
        maps, labels = tensors["maps"], tensors["labels"]
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ArtifactError(f"{entry.path} is no feature-map file ({error}). Record the run again.") from None
    shapes = (maps.shape, labels.shape)
    if maps.dtype != np.float16 or labels.dtype != np.int64 or shapes != (entry.shape, entry.shape[:1]):
        raise ArtifactError(
            f"{entry.path} holds {maps.dtype} {maps.shape} with labels {labels.dtype} {labels.shape}; its index says "
            f"{entry.dtype} {entry.shape} with labels int64 {entry.shape[:1]}. Record the run again."
        )
    return maps, labels


class Sink(Protocol):
    """What takes a snapshot: the part of an ``MlflowClient`` that writing one needs.

    A sink may have ``staging``, a folder on the disk that files end on: written there, they need no copy.
    """

    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None:
        """Log a file."""

    def log_artifacts(self, run_id: str, local_dir: str, artifact_path: str | None = None) -> None:
        """Log all files of a folder."""

    def log_batch(self, run_id: str, metrics: Sequence[Any] = ()) -> Any:
        """Log metrics."""

    def set_tag(self, run_id: str, key: str, value: Any) -> Any:
        """Set a tag."""


class FeatureMapWriter:
    """Writes the feature maps of one run.

    Args:
        client: MLflow client, or another sink; dropping maps needs the client.
        run_id: The run.
        probe: Identity of the probe images.
        labels: int64 (n,), their classes.
        entries: What the run has already, when it is resumed.
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

    def write(self, snapshot: int, maps: Mapping[str, NDArray[np.float16]], clipped: Mapping[str, int]) -> None:
        """Write one snapshot's maps, then the index that names them.

        Args:
            snapshot: The snapshot.
            maps: float16 (n, C, H, W) by module.
            clipped: Values that were beyond float16, by module.

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
                    clipped.get(module, 0),
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

    Args:
        client: MLflow client.
        run_id: The run.

    Raises:
        RunError: If the run has no feature maps.
        ArtifactError: If its index cannot be read.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._run_id = run_id
        run = client.get_run(run_id)
        self._repository = repository_of(run, client.tracking_uri)  # asked for once, not for each of its files
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


def read_entry(client: MlflowClient, run_id: str, entry: Entry) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Fetch and check one feature-map file: maps float16 (n, C, H, W) and labels int64 (n,).

    Raises:
        IntegrityError: If the file was damaged or changed.
        ArtifactError: If it is missing.
    """
    return read_stored(artifact_repository(client, run_id), entry, f"run {run_id}")


def read_index(repository: Any, owner: str) -> bytes | None:
    """The bytes of the index in any ``ArtifactRepository``, None where it has none; ``owner`` says whose it is.

    Raises:
        ArtifactError: If it cannot be fetched, or is too large.
    """
    with fetched_from(repository, f"{ROOT}/{INDEX}", owner) as path:
        return None if path is None else read_file(path, MAX_INDEX_BYTES, f"{ROOT}/{INDEX} of {owner}")


def read_stored(repository: Any, entry: Entry, owner: str) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """As :func:`read_entry`, from any ``ArtifactRepository``."""
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


def artifact_repository(client: MlflowClient, run_id: str) -> Any:
    """The ``ArtifactRepository`` that holds a run's artifacts, for what the client itself cannot do."""
    return repository_of(client.get_run(run_id), client.tracking_uri)


def repository_of(run: Run, tracking_uri: str) -> Any:
    """As :func:`artifact_repository`, of a run that is at hand."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(run.info.artifact_uri, tracking_uri=tracking_uri)


@contextmanager
def fetched(client: MlflowClient, run_id: str, artifact_path: str) -> Iterator[Path | None]:
    """A local file with an artifact's bytes, or None where the run has no such artifact.

    Stores on this machine's disk are read in place; others are fetched to a temporary folder.

    Raises:
        ArtifactError: If the store cannot be reached, or fails, or what it has is a link out of its folder.
    """
    with fetched_from(artifact_repository(client, run_id), artifact_path, f"run {run_id}") as path:
        yield path


@contextmanager
def fetched_from(repository: Any, artifact_path: str, owner: str) -> Iterator[Path | None]:
    """As :func:`fetched`, of any ``ArtifactRepository``; ``owner`` says in errors whose it is."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    local = isinstance(repository, LocalArtifactRepository)
    with nullcontext("") if local else tempfile.TemporaryDirectory(prefix="fmce-") as folder:
        path = Path(folder, posixpath.basename(artifact_path))
        try:
            if local:
                path = Path(repository.download_artifacts(artifact_path))
            else:  # download_artifacts would list the folder first, and draw a progress bar for each file
                repository._download_file(artifact_path, str(path))
        except (MlflowException, OSError) as error:
            if _is_listed(repository, artifact_path):
                raise ArtifactError(
                    f"{artifact_path} of {owner} cannot be fetched: {error}. See to the artifact store, try again."
                ) from error
            yield None
            return
        if not path.is_file():
            yield None
            return
        if local:
            stay_within(path, Path(repository.artifact_dir), f"{artifact_path} of {owner}")
        yield path


def _is_listed(repository: Any, artifact_path: str) -> bool:
    """Whether a store that did not give an artifact has it; a store that cannot even tell may have it."""
    try:
        listed = repository.list_artifacts(posixpath.dirname(artifact_path) or None)
    except Exception:
        return True
    return any(file.path == artifact_path for file in listed)
