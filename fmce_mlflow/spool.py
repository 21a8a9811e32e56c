"""Snapshots that wait on disk for their upload: a folder per run, in it a folder per snapshot.

Layout of a run's folder::

    run.json                      tracking URI (without credentials) and run id
    lock                          held by the process that trains or uploads the run
    close.json                    the status that the run could not be given
    snapshot_00012/               whole: it was renamed to this name once everything was in it
        unit.json                 metrics with their times, and the checkpoint's sha256
        feature_maps/index.json, feature_maps/<module>/snapshot_00012.safetensors
        checkpoint/slot_0.safetensors
        weights/snapshot_00012.safetensors
    snapshot_00013.part/          being written; a later process drops it
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from filelock import FileLock, Timeout

from fmce_mlflow.errors import ArtifactError, RunError

RUN, UNIT, CLOSE, LOCK = "run.json", "unit.json", "close.json", "lock"
CHECKPOINT = "checkpoint"
FORMAT_VERSION = 1

Row = tuple[str, float, int, int]
"""A metric: key, value, time in milliseconds, step."""


@dataclass(slots=True)
class Unit:
    """One snapshot that waits.

    Attributes:
        folder: Where its files are.
        snapshot: Its number.
        metrics: Key, value, time in milliseconds and step of each.
        checkpoint: sha256 of the checkpoint, None where a later one has taken its place.
        bytes: What it takes on disk.
    """

    folder: Path
    snapshot: int
    metrics: list[Row]
    checkpoint: str | None
    bytes: int

    def files(self, root: str) -> list[Path]:
        """Its files below one folder of the run's artifacts, in order."""
        return sorted(path for path in (self.folder / root).rglob("*") if path.is_file())


class Spool:
    """The folder of one run.

    Args:
        folder: The run's folder; made if it is not there.
        run_id: The run.
        tracking_uri: Where it is to be uploaded.

    Raises:
        RunError: If another process holds the folder, or it belongs to another run.
        ArtifactError: If it cannot be read.
    """

    def __init__(self, folder: Path, run_id: str, tracking_uri: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = FileLock(str(folder / LOCK))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"Run {run_id} is being trained or uploaded by another process, which holds {folder}."
            ) from None
        try:
            if (folder / RUN).exists():
                if (found := owner(folder)[0]) != run_id:
                    raise RunError(f"{folder} belongs to run {found}, not to {run_id}.")
            else:
                _write_json(folder / RUN, {"run_id": run_id, "tracking_uri": without_credentials(tracking_uri)})
            for path in folder.glob("*.part"):
                shutil.rmtree(path)
            self.units = [_read_unit(path) for path in sorted(folder.glob("snapshot_*"))]
        except BaseException:
            self._lock.release()
            raise

    @property
    def bytes(self) -> int:
        """What waits on disk."""
        return sum(unit.bytes for unit in list(self.units))

    def begin(self, snapshot: int) -> Path:
        """An empty folder for a snapshot's files."""
        folder = self.folder / f"snapshot_{snapshot:05d}.part"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def commit(self, folder: Path, metrics: list[Row], checkpoint: str | None) -> Unit:
        """Make what :meth:`begin` gave a whole snapshot; a process that dies leaves a whole one or none."""
        snapshot = int(folder.name.removesuffix(".part").rpartition("_")[2])
        _write_json(
            folder / UNIT,
            {"format_version": FORMAT_VERSION, "snapshot": snapshot, "metrics": metrics, "checkpoint": checkpoint},
        )
        final = folder.with_name(folder.name.removesuffix(".part"))
        folder.rename(final)
        unit = _read_unit(final)
        self.units.append(unit)
        return unit

    def drop_checkpoint(self, unit: Unit) -> None:
        """Free a snapshot's checkpoint: a later one that is whole does all that it did."""
        shutil.rmtree(unit.folder / CHECKPOINT, ignore_errors=True)
        unit.checkpoint = None
        unit.bytes = _size(unit.folder)

    def drop(self, unit: Unit) -> None:
        """Remove a snapshot that has been uploaded."""
        gone = unit.folder.with_name(unit.folder.name + ".part")
        unit.folder.rename(gone)
        self.units.remove(unit)
        shutil.rmtree(gone)

    def close_later(self, status: str) -> None:
        """Keep the status that the run is to be given."""
        _write_json(self.folder / CLOSE, {"status": status})

    def remove(self) -> None:
        """Remove the run's folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Let another process have the folder."""
        self._lock.release()


def owner(folder: Path) -> tuple[str, str]:
    """Run id and tracking URI of a run's folder.

    Raises:
        ArtifactError: If it is none.
    """
    value = _read_json(folder / RUN)
    try:
        run_id, uri = value["run_id"], value["tracking_uri"]
    except KeyError as error:
        raise ArtifactError(
            f"{folder / RUN} lacks {error}; it is no folder of a run that waits for its upload."
        ) from None
    return str(run_id), str(uri)


def closing_status(folder: Path) -> str | None:
    """The status that the run could not be given; None where its process was killed before."""
    return str(_read_json(folder / CLOSE).get("status")) if (folder / CLOSE).exists() else None


def without_credentials(uri: str) -> str:
    """A URI without user name and password, which do not belong on disk.

    Example:
        >>> without_credentials("https://me:secret@mlflow.example:5000/x")
        'https://mlflow.example:5000/x'
    """
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def _read_unit(folder: Path) -> Unit:
    value = _read_json(folder / UNIT)
    try:
        if value["format_version"] != FORMAT_VERSION:
            raise ArtifactError(
                f"{folder} has format version {value['format_version']}; upload it with its own release."
            )
        metrics = [(str(k), float(v), int(t), int(s)) for k, v, t, s in value["metrics"]]
        checkpoint = value["checkpoint"] if (folder / CHECKPOINT).exists() else None
        return Unit(folder, int(value["snapshot"]), metrics, checkpoint, _size(folder))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{folder / UNIT} is not what fmce-mlflow wrote ({type(error).__name__}: {error})."
        ) from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"There is no {path}: this is no folder of a run that waits for its upload.") from None
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON ({error}).") from None
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} is not what fmce-mlflow wrote.")
    return value


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    part = path.with_name(path.name + ".new")
    part.write_text(json.dumps(value), encoding="utf-8")
    os.replace(part, path)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
