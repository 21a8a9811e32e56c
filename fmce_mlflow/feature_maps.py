"""Feature maps as MLflow artifacts: the only reader and writer of them.

Layout of ``feature_maps/`` in a run's artifacts::

    index.json                                  what there is: shape, dtype, probe identity, sha256
    <module>/snapshot_00012.safetensors         float16 `maps` (n, C, H, W) and int64 `labels` (n,)

One file per (module, snapshot), because the file is what every artifact store can fetch by itself.
"""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from fmce_mlflow.errors import ArtifactError, IntegrityError, RunError, did_you_mean

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from numpy.typing import NDArray

ROOT = "feature_maps"
INDEX = "index.json"
FORMAT_VERSION = 1
MAX_INDEX_BYTES = 256 * 2**20

_MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]*(\.[A-Za-z0-9_\-]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Probe:
    """Identity of the probe images of a run.

    Attributes:
        dataset: Where the images come from.
        n: How many there are.
        sha256: Hash over images, labels and preprocessing, in order: runs that share it share their probe.
    """

    dataset: str
    n: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One feature-map file.

    Attributes:
        module: The functional module.
        snapshot: The snapshot.
        shape: (n, C, H, W).
        dtype: Always ``float16``.
        bytes: Size of the file.
        sha256: Hash of the file.
        clipped: Values that were beyond float16 and stand at its largest.
    """

    module: str
    snapshot: int
    shape: tuple[int, int, int, int]
    dtype: str
    bytes: int
    sha256: str
    clipped: int = 0

    @property
    def path(self) -> str:
        """The file's artifact path, from the run's artifact root."""
        return f"{ROOT}/{self.module}/{file_name(self.snapshot)}"


@dataclass(frozen=True, slots=True)
class Index:
    """What feature maps a run has.

    Attributes:
        probe: The images they are of.
        entries: By module and snapshot.
    """

    probe: Probe
    entries: Mapping[tuple[str, int], Entry]

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules, in the order they were recorded."""
        return tuple(dict.fromkeys(module for module, _ in self.entries))

    def snapshots(self, module: str) -> tuple[int, ...]:
        """The snapshots recorded of a module, ascending."""
        return tuple(sorted(s for m, s in self.entries if m == module))

    def to_json(self) -> str:
        """The text of ``index.json``."""
        entries = [
            {**asdict(e), "path": f"{e.module}/{file_name(e.snapshot)}"}
            for _, e in sorted(self.entries.items(), key=lambda item: item[0][1])
        ]
        return json.dumps({"format_version": FORMAT_VERSION, "probe": asdict(self.probe), "files": entries}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str = f"{ROOT}/{INDEX}") -> Index:
        """Read an index and check every field of it.

        Raises:
            ArtifactError: If it is no index of this format, or points outside its folder.

        Example:
            >>> Index.from_json('{}')
            Traceback (most recent call last):
            ...
            fmce_mlflow.errors.ArtifactError: feature_maps/index.json is no index of feature maps: ...
        """
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{name} is no index of feature maps: it is not JSON ({error}).") from None
        if not isinstance(record, dict) or "format_version" not in record:
            raise ArtifactError(f"{name} is no index of feature maps: it has no format_version.")
        if record["format_version"] is True or record["format_version"] != FORMAT_VERSION:
            raise ArtifactError(
                f"{name} has format version {record['format_version']!r}; this release reads {FORMAT_VERSION}. "
                "Record the run again, or use the release of fmce-mlflow that wrote it."
            )
        try:
            probe = record["probe"]
            parsed = Probe(_text(probe["dataset"]), _count(probe["n"]), _sha(probe["sha256"]))
            entries = {}
            for item in record["files"]:
                entry = _entry(item, name)
                if (entry.module, entry.snapshot) in entries:
                    raise ArtifactError(f"{name} lists snapshot {entry.snapshot} of {entry.module} twice.")
                entries[entry.module, entry.snapshot] = entry
        except KeyError as error:
            raise ArtifactError(
                f"{name} is no index of feature maps: field {error} is missing. Record the run again."
            ) from None
        except (TypeError, ValueError) as error:
            raise ArtifactError(
                f"{name} is no index of feature maps: a field is wrong ({error}). Record the run again."
            ) from None
        return cls(parsed, entries)


def file_name(snapshot: int) -> str:
    """Name of a snapshot's file inside its module's folder."""
    return f"snapshot_{snapshot:05d}.safetensors"


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
    if not np.isfinite(maps).all():
        raise ArtifactError(
            f"{name} has NaN or infinite values: the module diverged. Try a smaller learning rate, or float32."
        )
    return save_safetensors({"maps": np.ascontiguousarray(maps), "labels": np.ascontiguousarray(labels)})


def unpack(data: bytes, entry: Entry) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Maps float16 (n, C, H, W) and labels int64 (n,) from a file's bytes, checked against its entry.

    Raises:
        IntegrityError: If the bytes are not those that were written.
        ArtifactError: If they are, but hold something else than the index says.
    """
    found = hashlib.sha256(data).hexdigest()
    if found != entry.sha256:
        raise IntegrityError(entry.path, entry.sha256, found)
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
    """What takes a snapshot: the part of an ``MlflowClient`` that writing one needs."""

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
        with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
            for module, value in maps.items():
                if not _MODULE.fullmatch(module):
                    raise ArtifactError(f"{module!r} cannot be the name of a folder of feature maps.")
                data = pack(value, self._labels, name=f"The feature map of {module} at snapshot {snapshot}")
                path = Path(folder, module, file_name(snapshot))
                path.parent.mkdir()
                path.write_bytes(data)
                n, c, h, w = value.shape
                entries[module, snapshot] = Entry(
                    module, snapshot, (n, c, h, w), "float16", len(data), hashlib.sha256(data).hexdigest(),
                    clipped.get(module, 0),
                )  # fmt: skip
            self._client.log_artifacts(self._run_id, folder, ROOT)
        self.index = Index(self.index.probe, entries)
        self.write_index()

    def write_index(self) -> None:
        """Write the index as it stands."""
        with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
            path = Path(folder, INDEX)
            path.write_text(self.index.to_json(), encoding="utf-8")
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
        self._client, self._run_id = client, run_id
        with fetched(client, run_id, f"{ROOT}/{INDEX}") as path:
            if path is None:
                raise RunError(
                    f"Run {run_id} has no {ROOT}/{INDEX}: it recorded no feature maps. "
                    "Train it with `fmce train-backbone`."
                )
            if path.stat().st_size > MAX_INDEX_BYTES:
                raise ArtifactError(f"{ROOT}/{INDEX} of run {run_id} has {path.stat().st_size:,} bytes: too large.")
            self.index = Index.from_json(path.read_bytes(), name=f"{ROOT}/{INDEX} of run {run_id}")

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
        return read_entry(self._client, self._run_id, entry)


def read_entry(client: MlflowClient, run_id: str, entry: Entry) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Fetch and check one feature-map file: maps float16 (n, C, H, W) and labels int64 (n,).

    Raises:
        IntegrityError: If the file was damaged or changed.
        ArtifactError: If it is missing.
    """
    with fetched(client, run_id, entry.path) as path:
        if path is None:
            raise ArtifactError(f"{entry.path} of run {run_id} is missing, though its index names it.")
        size = path.stat().st_size
        if size != entry.bytes:
            found = hashlib.sha256(path.read_bytes()).hexdigest() if size < entry.bytes else f"of {size:,} bytes"
            raise IntegrityError(f"{entry.path} of run {run_id}", entry.sha256, found)
        return unpack(path.read_bytes(), entry)


def artifact_repository(client: MlflowClient, run_id: str) -> Any:
    """The ``ArtifactRepository`` that holds a run's artifacts, for what the client itself cannot do."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(client.get_run(run_id).info.artifact_uri, tracking_uri=client.tracking_uri)


@contextmanager
def fetched(client: MlflowClient, run_id: str, artifact_path: str) -> Iterator[Path | None]:
    """A local file with an artifact's bytes, or None where the run has no such artifact.

    Stores on this machine's disk are read in place; others are fetched to a temporary folder.

    Raises:
        ArtifactError: If the store cannot be reached, or fails.
    """
    with fetched_from(artifact_repository(client, run_id), artifact_path, f"run {run_id}") as path:
        yield path


@contextmanager
def fetched_from(repository: Any, artifact_path: str, owner: str) -> Iterator[Path | None]:
    """As :func:`fetched`, of any ``ArtifactRepository``; ``owner`` says in errors whose it is."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    local = isinstance(repository, LocalArtifactRepository)
    with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
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
            path = Path(folder, "missing")
        yield path if path.is_file() else None


def _is_listed(repository: Any, artifact_path: str) -> bool:
    """Whether a store that did not give an artifact has it; a store that cannot even tell may have it."""
    try:
        listed = repository.list_artifacts(posixpath.dirname(artifact_path) or None)
    except Exception:
        return True
    return any(file.path == artifact_path for file in listed)


def _entry(item: Mapping[str, Any], name: str) -> Entry:
    module, snapshot = item["module"], _count(item["snapshot"])
    if not isinstance(module, str) or not _MODULE.fullmatch(module):
        raise ArtifactError(f"{name} names a module {module!r}, which is not a dotted path.")
    if item["path"] != f"{module}/{file_name(snapshot)}":
        raise ArtifactError(
            f"{name} points to {item['path']!r}; the maps of {module} at snapshot {snapshot} can only stand in "
            f"{module}/{file_name(snapshot)}. Do not trust this run's artifacts."
        )
    n, c, h, w = (_count(v) for v in item["shape"])
    entry = Entry(
        module, snapshot, (n, c, h, w), _text(item["dtype"]), _count(item["bytes"]), _sha(item["sha256"]),
        _count(item["clipped"]),
    )  # fmt: skip
    if entry.dtype != "float16" or not 0 < 2 * math.prod(entry.shape) <= entry.bytes:
        raise ArtifactError(
            f"{name} says {entry.dtype} {entry.shape} in {entry.bytes} bytes for snapshot {snapshot} of {module}, "
            "which cannot be."
        )
    return entry


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {value!r:.80}")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError(f"expected a whole number, got {value!r:.80}")
    return value


def _sha(value: Any) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"expected a sha256, got {value!r:.80}")
    return value
