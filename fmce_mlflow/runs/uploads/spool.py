"""Snapshots on disk: one folder per run, one per snapshot below it, each whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fmce_mlflow.errors import ArtifactError, IntegrityError, RunError
from fmce_mlflow.runs.feature_index import INDEX, ROOT, Index
from fmce_mlflow.safety.credentials import enters, without_credentials
from fmce_mlflow.safety.locks import hold
from fmce_mlflow.safety.private import make_private, only_ours
from fmce_mlflow.safety.reading import parse_json, read_file, stay_within

RUN, UNIT, TAGS, CLOSE, LOCK = "run.json", "unit.json", "tags.json", "close.json", "lock"
CHECKPOINT = "checkpoint"
FORMAT_VERSION = 1
MAX_JSON_BYTES = 64 * 2**20
STATUSES = ("FINISHED", "FAILED", "KILLED")
MetricRow = tuple[str, float, int, int]
"""A metric: key, value, time in milliseconds, step."""
Tags = dict[str, tuple[str, int]]
"""Tags that wait: value, and the snapshot after which it became known, by key."""


@dataclass(slots=True)
class Unit:
    """One snapshot that waits."""

    folder: Path
    snapshot: int
    metrics: list[MetricRow]
    checkpoint: str | None  # its sha256; None if a later one has taken its place
    bytes: int  # on disk
    sha256: dict[str, str] = field(default_factory=dict)  # of each file, by its path below the folder

    def files(self, root: str) -> list[Path]:
        """Its files below one folder of the run's artifacts, in order."""
        return sorted(path for path in (self.folder / root).rglob("*") if path.is_file())

    def check(self, path: Path) -> None:
        """Check that a file is what was written, before it is uploaded.

        Raises:
            IntegrityError: If it is not.
            ArtifactError: If it leads out of the folder.
        """
        name = path.relative_to(self.folder).as_posix()
        stay_within(path, self.folder, str(path))
        expected = self.checkpoint if path.parent.name == CHECKPOINT else self.sha256.get(name)
        found = _sha256(path)
        if expected != found:
            raise IntegrityError(
                str(path),
                expected or "among those of unit.json",
                found,
                f"Remove {self.folder} and the snapshots after it, upload the rest, and train them again by --resume.",
            )


class Spool:
    """The folder of one run, made if it is not there.

    Raises:
        RunError: If another process holds the folder, or it belongs to another run.
        ArtifactError: If it cannot be read.
    """

    def __init__(self, folder: Path, run_id: str, tracking_uri: str) -> None:
        self.folder = folder
        make_private(folder)
        for path in folder.iterdir():
            _refuse_link(path)
        self._lock = hold(folder / LOCK, in_use(run_id, folder))
        try:
            (folder / LOCK).chmod(0o600)
            if (folder / RUN).exists():
                if (found := owner(folder)[0]) != run_id:
                    raise RunError(f"{folder} belongs to run {found}, not to {run_id}.")
            else:
                _write_json(folder / RUN, {"run_id": run_id, "tracking_uri": without_credentials(enters(tracking_uri))})
            for path in folder.glob("*.part"):
                _refuse_link(path)
                shutil.rmtree(path)
            self.units = [_read_unit(path) for path in sorted(folder.glob("snapshot_*"))]
            self.tags = _read_tags(folder / TAGS)
        except BaseException:
            self._lock.release()
            raise

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self.units and not self.tags

    @property
    def bytes(self) -> int:
        """What waits on disk."""
        return sum(unit.bytes for unit in list(self.units))

    def begin(self, snapshot: int) -> Path:
        """An empty folder for a snapshot's files."""
        self.discard(snapshot)
        folder = self._part(snapshot)
        make_private(folder)
        return folder

    def discard(self, snapshot: int) -> None:
        """Remove what there is of a snapshot that is not whole."""
        shutil.rmtree(self._part(snapshot), ignore_errors=True)

    def _part(self, snapshot: int) -> Path:
        return self.folder / f"snapshot_{snapshot:05d}.part"

    def commit(self, folder: Path, metrics: list[MetricRow], checkpoint: str | None) -> Unit:
        """Make what :meth:`begin` gave a whole snapshot; a process that dies leaves a whole one or none."""
        snapshot = int(folder.name.removesuffix(".part").rpartition("_")[2])
        _write_json(
            folder / UNIT,
            {
                "format_version": FORMAT_VERSION,
                "snapshot": snapshot,
                "metrics": metrics,
                "checkpoint": checkpoint,
                "sha256": _hashes(folder),
            },
        )
        for path in folder.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
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

    def keep_tag(self, key: str, value: str, snapshot: int) -> None:
        """Keep a tag that the run is to be given, in place of an earlier value."""
        tags = {**self.tags, key: (value, snapshot)}
        rows = [(name, *one) for name, one in tags.items()]
        _write_json(self.folder / TAGS, {"format_version": FORMAT_VERSION, "tags": rows})
        self.tags = tags

    def drop_tags(self, tags: Tags) -> None:
        """Remove tags that have been set, unless they have another value by now."""
        self.tags = {key: one for key, one in self.tags.items() if tags.get(key) != one}
        if not self.tags:  # else those on disk would only be set again
            (self.folder / TAGS).unlink(missing_ok=True)

    def close_later(self, status: str) -> None:
        """Keep the status that the run is to be given."""
        _write_json(self.folder / CLOSE, {"status": status})

    def remove(self) -> None:
        """Remove the run's folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Let other processes use the folder."""
        self._lock.release()


def in_use(run_id: str, folder: Path) -> str:
    """What is said where another process has a run's folder."""
    return (
        f"Run {run_id} is being trained or uploaded by another process, or by a recorder of this one that was not "
        f"ended, which holds {folder}. Wait for it, or stop it, a recorder by its finish(); "
        "what is left of one that was killed is gone within seconds."
    )


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
            f"{folder / RUN} lacks {error}; it is not a folder of a run that waits for its upload."
        ) from None
    if not isinstance(run_id, str) or not isinstance(uri, str):
        raise ArtifactError(f"{folder / RUN} is not what fmce-mlflow wrote: run_id and tracking_uri must be texts.")
    return run_id, uri


def is_ours(folder: Path) -> bool:
    """Whether this user wrote a run's folder, and nobody else can write or replace it: its tracking URI is trusted."""
    return only_ours(folder, folder / RUN)


def closing_status(folder: Path) -> str | None:
    """The status that the run could not be given; None if its process was killed first.

    Raises:
        ArtifactError: If it is none.
    """
    if not (folder / CLOSE).exists():
        return None
    status = _read_json(folder / CLOSE).get("status")
    if status not in STATUSES:
        raise ArtifactError(f"{folder / CLOSE} must name one of {', '.join(STATUSES)}, got {status!r:.80}.")
    return str(status)


def _read_unit(folder: Path) -> Unit:
    for path in (folder, *folder.rglob("*")):
        _refuse_link(path)
    value = _read_json(folder / UNIT)
    try:
        if value["format_version"] != FORMAT_VERSION:
            raise ArtifactError(
                f"{folder} has format version {value['format_version']!r:.80}; upload it with its own release."
            )
        if folder.name != f"snapshot_{int(value['snapshot']):05d}":
            raise ValueError(f"it says that it is snapshot {value['snapshot']!r:.80}")
        metrics = [(str(k), float(v), _whole(t), _whole(s)) for k, v, t, s in value["metrics"]]
        sha256 = {str(name): str(one) for name, one in value["sha256"].items()}
        checkpoint = value["checkpoint"] if (folder / CHECKPOINT).exists() else None
        if not isinstance(checkpoint, str | None):
            raise TypeError("checkpoint is not a sha256")
        return Unit(folder, int(value["snapshot"]), metrics, checkpoint, _size(folder), sha256)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtifactError(
            f"{folder / UNIT} is not what fmce-mlflow wrote ({type(error).__name__}: {error!s:.300})."
        ) from None


def _read_tags(path: Path) -> Tags:
    if not path.exists():
        return {}
    value = _read_json(path)
    try:
        if value["format_version"] != FORMAT_VERSION:
            raise ArtifactError(
                f"{path} has format version {value['format_version']!r:.80}; upload it with its own release."
            )
        return {str(key): (str(text), _whole(snapshot)) for key, text, snapshot in value["tags"]}
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is not what fmce-mlflow wrote ({type(error).__name__}: {error!s:.300}).") from None


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"expected a whole number, got {value!r:.80}")
    return value


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise ArtifactError(
            f"{path} is a link, and fmce-mlflow writes none; nothing is uploaded. Do not trust {path.parent}."
        )


def _hashes(folder: Path) -> dict[str, str]:
    """sha256 of a snapshot's files but the checkpoint; the index knows those of the maps."""
    index, found = folder / ROOT / INDEX, {}
    if index.is_file():
        with suppress(ArtifactError):
            found = {e.path: e.sha256 for e in Index.from_json(index.read_bytes()).entries.values()}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.parent.name != CHECKPOINT]
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: found.get(name) or _sha256(path) for name, path in names.items()}


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            found.update(part)
    return found.hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = parse_json(read_file(path, MAX_JSON_BYTES, str(path), root=path.parent))
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"There is no {path}: this is not a folder of a run that waits for its upload.") from None
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON ({error}).") from None
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} is not what fmce-mlflow wrote.")
    return value


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    part = path.with_name(path.name + ".new")
    part.unlink(missing_ok=True)
    part.touch()
    part.chmod(0o600)
    part.write_text(json.dumps(value), encoding="utf-8")
    os.replace(part, path)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
