"""Evidence of a recording's snapshots as MLflow artifacts: the only reader and writer of them.

Layout of ``evidence/`` in a run's artifacts::

    index.json                      sha256 of each snapshot's file, written when the recording ends
    snapshot_00012.safetensors      of B bags of all modules: features, evidence, whose they are; references of modules

They are kilobytes each, and suffice to calibrate a predictor to the run without its maps.
"""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from fmce_mlflow.errors import ArtifactError
from fmce_mlflow.method.evidence.groups import NAMES
from fmce_mlflow.method.fmce_net.statistics import FEATURES
from fmce_mlflow.runs.artifacts import fetched_from, repository_of
from fmce_mlflow.runs.feature_index import file_name, is_module
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.reading import check_header, check_seal, check_sha256, parse_json, read_file, seal

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from numpy.typing import NDArray

    from fmce_mlflow.runs.sink import Sink

ROOT = "evidence"
INDEX = f"{ROOT}/index.json"
FORMAT_VERSION = 1
ARCHITECTURE_TAG = "fmce.architecture"
"""Of a run whose network was recorded: :func:`~fmce_mlflow.method.networks.architecture.architecture`."""
MAX_INDEX_BYTES = 64 * 2**20
MAX_BYTES = 2**28
MAX_HEADER = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotEvidence:
    """What is known of the modules of one snapshot, of B bags of their maps."""

    snapshot: int
    modules: tuple[str, ...]
    module: NDArray[np.int64]  # (B,), place in `modules`
    features: NDArray[np.float32]  # (B, FEATURES)
    evidence: NDArray[np.float32]  # (B, len(NAMES)); NaN where unknown
    references: NDArray[np.float32]  # (M, FEATURES), mean of fresh copies, by module; NaN where there is none

    def of(self, module: str) -> NDArray[np.bool_]:
        """Which bags are a module's, (B,)."""
        if module not in self.modules:
            return np.zeros(len(self.module), dtype=bool)
        found: NDArray[np.bool_] = self.module == self.modules.index(module)
        return found


def write_evidence(sink: Sink, run_id: str, one: SnapshotEvidence) -> str:
    """Write the evidence of a snapshot; returns the file's sha256."""
    arrays = {name: getattr(one, name) for name in ("module", "features", "evidence", "references")}
    header = {
        "format_version": str(FORMAT_VERSION),
        "modules": json.dumps(one.modules),
        "names": json.dumps(NAMES),
    }
    data = save_arrays({name: np.ascontiguousarray(value) for name, value in arrays.items()}, header)
    with tempfile.TemporaryDirectory(prefix="fmce-") as folder:
        path = Path(folder, file_name(one.snapshot))
        path.write_bytes(data)
        sink.log_artifact(run_id, str(path), ROOT)
    return hashlib.sha256(data).hexdigest()


def close_evidence(run: Run, files: Mapping[int, str]) -> None:
    """Write which snapshots have evidence, and seal it: the recording has ended."""
    value = {"format_version": FORMAT_VERSION, "files": {str(snapshot): sha256 for snapshot, sha256 in files.items()}}
    run.set_tags(seal(INDEX, run.log_json(value, INDEX)))


class EvidenceReader:
    """Reads the evidence of a run that has ended, a snapshot at a time.

    Attributes:
        files: sha256 by snapshot; empty where the run recorded none.

    Raises:
        ArtifactError: If the index cannot be read.
        IntegrityError: If it is not what was written.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        run = client.get_run(run_id)
        self._owner, self.files = f"run {run_id}", dict[int, str]()
        self._repository: Any = repository_of(run, client.tracking_uri)
        name = f"{INDEX} of {self._owner}"
        with fetched_from(self._repository, INDEX, self._owner) as path:
            if path is None:
                return
            data = read_file(path, MAX_INDEX_BYTES, name)
        check_seal(run.data.tags, INDEX, data, name)
        try:
            value = parse_json(data)
            if value["format_version"] != FORMAT_VERSION:
                raise ValueError(f"format version {value['format_version']!r:.80} is not {FORMAT_VERSION}")
            self.files = {int(snapshot): str(sha256) for snapshot, sha256 in value["files"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"{name} cannot be read ({error!s:.200}). Record the run again.") from None

    def read(self, snapshot: int) -> SnapshotEvidence:
        """The evidence of one snapshot; figures that this release does not know are left out.

        Raises:
            KeyError: If there is none.
            IntegrityError: If it is not what was written.
            ArtifactError: If the file is missing, or of another release's statistics.
        """
        path, name = f"{ROOT}/{file_name(snapshot)}", f"{ROOT}/{file_name(snapshot)} of {self._owner}"
        expected = self.files[snapshot]
        with fetched_from(self._repository, path, self._owner) as local:
            if local is None:
                raise ArtifactError(f"{name} is missing, though its index names it. Record the run again.")
            data = read_file(local, MAX_BYTES, name)
        check_sha256(data, expected, name)
        check_header(data, MAX_HEADER, name)
        try:
            return _unpacked(data, snapshot)
        except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"{name} cannot be read ({error!s:.300}). Record the run again.") from None


def _unpacked(data: bytes, snapshot: int) -> SnapshotEvidence:
    """From a file's bytes; ValueError says what in it cannot be."""
    (size,) = struct.unpack_from("<Q", data)  # safetensors: length of the JSON header, the header, the arrays
    header = parse_json(data[8 : 8 + size]).get("__metadata__", {})
    if header.get("format_version") != str(FORMAT_VERSION):
        raise ValueError(f"format version {header.get('format_version')} is not {FORMAT_VERSION}")
    modules = tuple(str(name) for name in parse_json(header["modules"]))
    names = [str(name) for name in parse_json(header["names"])]
    if not modules or not all(map(is_module, modules)):
        raise ValueError("its modules have no names")
    arrays = load_arrays(data)
    module, bags = arrays["module"], len(arrays["module"])
    shapes = {"features": (bags, FEATURES), "evidence": (bags, len(names)), "references": (len(modules), FEATURES)}
    for name, shape in shapes.items():
        if arrays[name].dtype != np.float32 or arrays[name].shape != shape or np.isinf(arrays[name]).any():
            raise ValueError(f"{name} is {arrays[name].dtype} {arrays[name].shape}, expected float32 {shape}")
    if module.dtype != np.int64 or module.shape != (bags,) or not ((module >= 0) & (module < len(modules))).all():
        raise ValueError("its bags are of no module")
    known = np.full((bags, len(NAMES)), np.nan, np.float32)
    for place, name in enumerate(NAMES):
        if name in names:
            known[:, place] = arrays["evidence"][:, names.index(name)]
    return SnapshotEvidence(snapshot, modules, module, arrays["features"], known, arrays["references"])
