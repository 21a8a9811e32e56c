"""Upload the snapshots that wait on disk, in the order of :mod:`fmce_mlflow.runs.uploads`."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mlflow.entities import Metric

from fmce_mlflow.errors import ArtifactError, NotStoredError
from fmce_mlflow.runs import checkpoint_slots
from fmce_mlflow.runs.artifacts import artifact_repository, not_stored
from fmce_mlflow.runs.checkpoint_slots import TAG, Pointer, free_slot
from fmce_mlflow.runs.evidence_file import ROOT as EVIDENCE
from fmce_mlflow.runs.feature_index import INDEX, ROOT
from fmce_mlflow.runs.recordings import is_closed
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import T
from fmce_mlflow.runs.uploads.spool import CHECKPOINT, MetricRow, Spool, Tags, Unit
from fmce_mlflow.safety.retry import retried, short

WEIGHTS = "weights"
TRIES = 20
"""So many are made while somebody waits, if each fails at once."""


def replay(run: Run, spool: Spool) -> None:
    """Upload all that waits from an earlier process, except for what the run has.

    Raises:
        Exception: Whatever MLflow raises; it can be done again.
    """
    if is_closed(run.fetch()):
        for unit in list(spool.units):
            spool.drop(unit)
        spool.drop_tags(spool.tags)
        return
    pointer = checkpoint_slots.pointer(run)
    have = -1 if pointer is None else pointer.snapshot
    # A run that is further on has a tag since before the next snapshot, or went on elsewhere and has its own.
    set_tags(run, {key: one for key, one in spool.tags.items() if one[1] >= have})
    spool.drop_tags(spool.tags)
    known = [unit for unit in spool.units if unit.snapshot <= have]
    new = [unit for unit in spool.units if unit.snapshot > have]
    upload_metrics(run, known, once=True)
    for unit in known:
        spool.drop(unit)
    if new:
        repository = artifact_repository(run.client, run.id)
        maps = [(unit, path) for unit in new for path in maps_of(unit)]
        for unit, path in maps:
            upload_file(run, unit, path)
        run.check_stored(repository, sizes(maps))
        upload_state(run, new[-1], pointer, repository)
        upload_metrics(run, new, once=True)
        for unit in new:
            spool.drop(unit)


def maps_of(unit: Unit) -> list[Path]:
    """What is uploaded first, in any order: all files but the index and the checkpoint."""
    files = (path for root in (ROOT, EVIDENCE, WEIGHTS) for path in unit.files(root))
    return [path for path in files if path != unit.folder / ROOT / INDEX]


def upload_file(run: Run, unit: Unit, path: Path) -> None:
    """Upload one file to where it is in the snapshot's folder, if it is what was written.

    Raises:
        IntegrityError: If it is not.
    """
    unit.check(path)
    run.send(path, artifact_path(unit, path))


def artifact_path(unit: Unit, path: Path) -> str:
    """Where a file of a snapshot's folder is among the run's artifacts."""
    return path.relative_to(unit.folder).as_posix()


def sizes(files: Sequence[tuple[Unit, Path]]) -> dict[str, int]:
    """Bytes of snapshots' files, by artifact path."""
    return {artifact_path(unit, path): path.stat().st_size for unit, path in files}


def upload_state(run: Run, unit: Unit, before: Pointer | None, repository: Any) -> Pointer | None:
    """Upload the index, then the checkpoint, then its tag; returns what the tag points to.

    Both grow with every snapshot, so that their sizes tell them from those that were there before.

    Raises:
        NotStoredError: If the store does not have them; the tag stays.
    """
    index = unit.folder / ROOT / INDEX
    upload_file(run, unit, index)
    if unit.checkpoint is None:
        run.check_stored(repository, sizes([(unit, index)]))
        return before
    slot = free_slot(before)
    if len(found := unit.files(CHECKPOINT)) != 1:
        raise ArtifactError(f"{unit.folder / CHECKPOINT} must have one file, got {len(found)}. Remove {unit.folder}.")
    path = found[0].replace(found[0].with_name(slot))
    upload_file(run, unit, path)
    run.check_stored(repository, sizes([(unit, index), (unit, path)]))
    after = Pointer(slot, unit.snapshot, unit.checkpoint)
    run.client.set_tag(run.id, TAG, after.to_json())
    return after


def upload_metrics(run: Run, units: Sequence[Unit], *, once: bool) -> None:
    """Log the metrics of snapshots; with ``once``, only steps that the run lacks."""
    metrics = [Metric(*values) for unit in units for values in unit.metrics]
    metrics = run.lacking(metrics) if once else metrics
    run.client.log_batch(run.id, metrics=metrics)  # in as many requests as it takes


def set_tags(run: Run, tags: Tags) -> None:
    """Set tags that waited."""
    run.set_tags({key: value for key, (value, _) in tags.items()})


class Uploader:
    """A thread that uploads what waits in a run's spool, on several connections, for as long as it takes."""

    def __init__(self, run: Run, spool: Spool, *, workers: int) -> None:
        self._run, self._spool, self._workers = run, spool, workers
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._claimed: list[Unit] = []
        self._status: str | None = None
        self._pointer: Pointer | None = None
        self._pointer_known = False
        self._repository: Any = None
        self._longest = math.inf  # seconds between two tries
        self.closed = False
        self.error: BaseException | None = None  # that will not pass
        self.failure: BaseException | None = None  # the last one, where nothing has succeeded since
        self.succeeded = time.monotonic()
        # A daemon: whatever it does can be done again, so the process may end in the middle of it.
        threading.Thread(target=self._work, name="fmce-upload", daemon=True).start()

    def add(self, folder: Path, metrics: list[MetricRow], sha256: str | None) -> int:
        """Make a snapshot in a folder whole and let it be uploaded; returns its bytes."""
        with self._change():
            before = [unit for unit in self._spool.units if unit not in self._claimed and unit.checkpoint]
            unit = self._spool.commit(folder, metrics, sha256)
            size = unit.bytes
            for earlier in before:
                self._spool.drop_checkpoint(earlier)
        return size

    def tag(self, key: str, value: str, snapshot: int) -> None:
        """Let a tag be set, before any snapshot that is added later."""
        with self._change():
            self._spool.keep_tag(key, value, snapshot)

    @contextmanager
    def hurried(self, seconds: float) -> Iterator[None]:
        """While somebody waits so long at most, try more often: a pause of an earlier failure may last longer."""
        with self._change():
            self._longest = max(seconds / TRIES, 0.1)
        try:
            yield
        finally:
            self._longest = math.inf

    @property
    def hindered(self) -> bool:
        """Whether the last thing that was tried has failed."""
        return self.failure is not None or self.error is not None

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds, at most for some seconds; whether it does."""
        with self._changed:
            return self._changed.wait_for(done, seconds)

    def close_with(self, status: str) -> None:
        """Give the run this status when nothing waits any more."""
        with self._change():
            self._status = status

    def stop(self) -> None:
        """End the thread, after the request that it is in the middle of."""
        with self._change():
            self._stopped.set()

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Change what another thread may wait for."""
        with self._changed:
            yield
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            while not self._stopped.is_set():
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._stopped.is_set() or not self._spool.empty or (self._status and not self.closed)
                    )
                    self._claimed = list(self._spool.units)
                if self._stopped.is_set():
                    return
                if self._spool.tags:
                    self._set_tags()
                if self._claimed:
                    self._upload(self._claimed)
                elif self._spool.empty and self._status and not self.closed:
                    self._try(partial(self._run.client.set_terminated, self._run.id, self._status))
                    with self._change():
                        self.closed = True
        except BaseException as error:
            if not self._stopped.is_set():
                with self._change():
                    self.error = error

    def _set_tags(self) -> None:
        def attempt() -> Tags:
            tags = self._spool.tags
            set_tags(self._run, tags)
            return tags

        tags = self._try(attempt)
        with self._change():
            if not self._stopped.is_set():  # as below
                self._spool.drop_tags(tags)

    def _upload(self, units: list[Unit]) -> None:
        if self._repository is None:
            self._repository = self._try(lambda: artifact_repository(self._run.client, self._run.id))
        self._upload_maps([(unit, path) for unit in units for path in maps_of(unit)])
        self._try(lambda: self._upload_state(units[-1]))
        self._try(lambda: upload_metrics(self._run, units, once=False))
        with self._change():
            if self._stopped.is_set():  # the folder may be another process's by now
                return
            for unit in units:
                self._spool.drop(unit)
            self._claimed = []

    def _upload_maps(self, files: list[tuple[Unit, Path]]) -> None:
        """Upload until the store has them all; those that it has go from the disk."""

        def attempt() -> None:
            self._in_parallel([partial(self._send, unit, path) for unit, path in files])
            missing = self._try(lambda: not_stored(self._repository, sizes(files)), proof=False)
            with self._change():
                for unit, path in [] if self._stopped.is_set() else list(files):
                    if artifact_path(unit, path) not in missing:
                        unit.bytes -= path.stat().st_size
                        path.unlink()
                        files.remove((unit, path))
            if missing:
                raise NotStoredError(missing, f"run {self._run.id}")

        self._try(attempt)

    def _send(self, unit: Unit, path: Path) -> None:
        self._try(lambda: upload_file(self._run, unit, path), proof=False)

    def _upload_state(self, unit: Unit) -> None:
        if not self._pointer_known:
            self._pointer, self._pointer_known = checkpoint_slots.pointer(self._run), True
        self._pointer = upload_state(self._run, unit, self._pointer, self._repository)

    def _try(self, call: Callable[[], T], *, proof: bool = True) -> T:
        """Call until it succeeds; it is no success without proof where what seemed to be one was none."""
        if self._stopped.is_set():
            raise InterruptedError  # nothing is begun any more: another process may have the folder
        result = retried(call, self._stopped, failed=self._failed, pause=self._pause)
        with self._changed:
            known = proof or not isinstance(self.failure, NotStoredError)
            back = known and self.failure is not None
            if known:
                self.failure, self.succeeded = None, time.monotonic()
        if back:
            self._run.say("MLflow takes uploads again.")
        return result

    def _pause(self, seconds: float) -> None:
        began = time.monotonic()
        with self._changed:
            while not self._stopped.is_set():
                if (left := began + min(seconds, self._longest) - time.monotonic()) <= 0:
                    return
                self._changed.wait(left)

    def _failed(self, error: BaseException) -> None:
        with self._change():
            first, self.failure = self.failure is None, error
        if first:
            self._run.say(
                f"MLflow does not take uploads at the moment; training goes on, they are tried again. ({short(error)})"
            )

    def _in_parallel(self, calls: list[Callable[[], None]]) -> None:
        """Do all calls on a few threads; raises the first error, after those under way have ended."""
        if len(calls) <= 1 or self._workers == 1:
            for call in calls:
                call()
            return
        waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        for call in calls:
            waiting.put(call)
        errors: list[BaseException] = []

        def work() -> None:
            while not errors:
                try:
                    call = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    call()
                except BaseException as error:
                    errors.append(error)

        threads = [
            threading.Thread(target=work, name="fmce-upload-map", daemon=True)
            for _ in range(min(self._workers, len(calls)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
