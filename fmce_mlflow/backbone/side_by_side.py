"""Train several backbones: one after another in this process, or side by side in processes of their own.

A training is the same to the bit in either way, as long as it computes with as many threads. Nothing heavy is imported
before it is needed, so that the processes import at the same time as the one that begins them.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.errors import NonFiniteLossError, RunError
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.uploads.options import UploadOptions
from fmce_mlflow.safety.imports import quick_imports
from fmce_mlflow.safety.processes import Child, Orders, Send, begin, cores, end, watch
from fmce_mlflow.safety.terminal import tell
from fmce_mlflow.wording import counted

if TYPE_CHECKING:
    from fmce_mlflow.backbone.result import BackboneResult
    from fmce_mlflow.method.images.split import ImageData


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A training, and what makes its run when its turn comes."""

    options: BackboneOptions
    begin: Callable[[], Run]


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """A training that has ended; a loss that is NaN or infinite is a result too."""

    run: Run
    result: BackboneResult | NonFiniteLossError


def nested(parent: Run, jobs: Sequence[BackboneOptions]) -> list[Job]:
    """Trainings whose runs are nested below one."""

    def start(number: int) -> Run:
        parent.say(f"Backbone {number} of {len(jobs)}")
        return parent.nested(role="backbone")

    return [Job(options, partial(start, number)) for number, options in enumerate(jobs, start=1)]


def at_once(jobs: Sequence[BackboneOptions], workers: int | None) -> int:
    """How many of some trainings to run at a time: as asked for, else one a core, or on a GPU one after another."""
    if workers is None:
        workers = cores() if all(job.training.cpu for job in jobs) or not _gpu() else 1
    return min(workers, max(1, len(jobs)))


def _gpu() -> bool:
    import torch

    return torch.accelerator.is_available()


class Trainings:
    """Trains backbones: here, or in processes that are there as long as this is open.

    Args:
        at_once: How many at a time; 1: here.
        say: Prints what processes still say when they are ended early.

    Example:
        >>> with Trainings(at_once=1) as trainings:
        ...     list(trainings.train([], {}))
        []
    """

    def __init__(self, at_once: int = 1, say: Callable[[str], None] = tell) -> None:
        self._at_once, self._say = at_once, say
        self._children: list[Child] = []

    def __enter__(self) -> Trainings:
        """Begin the processes, which import what they need meanwhile."""
        threads = max(1, cores() // self._at_once)
        for number in range(self._at_once if self._at_once > 1 else 0):
            self._children.append(begin(_train_jobs, name=f"fmce-training-{number}", threads=threads))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes; a training that is not complete is stopped as by Ctrl-C."""
        children, self._children = self._children, []
        end(children, self._say)

    def train(
        self, jobs: Sequence[Job], data: Mapping[str, ImageData], *, uploads: UploadOptions | None = None
    ) -> Iterator[Ended]:
        """Train each job, on the images of its data set; yield what came of it, in the order of jobs.

        Raises:
            RunError: If a process was killed; the other trainings end before.
            FmceError: Of a training; the others are stopped.
        """
        if not self._children:
            return _one_after_another(jobs, data, uploads)
        for child in self._children:
            child.tell(_Setup(logging.getLogger("mlflow").getEffectiveLevel(), data, uploads))
        return _Crew(self._children, jobs).results()


def _one_after_another(
    jobs: Sequence[Job], data: Mapping[str, ImageData], uploads: UploadOptions | None
) -> Iterator[Ended]:
    from fmce_mlflow.backbone.train import train_backbone

    for job in jobs:
        run, options = job.begin(), job.options
        yield Ended(run, _result(partial(train_backbone, run, options, data=data[options.dataset], uploads=uploads)))


def _result(train: Callable[[], BackboneResult]) -> BackboneResult | NonFiniteLossError:
    try:
        return train()
    except NonFiniteLossError as error:
        return error


@dataclass(frozen=True, slots=True, eq=False)
class _Setup:
    """What a process is told first."""

    log_level: int
    data: Mapping[str, ImageData]
    uploads: UploadOptions | None


@dataclass(frozen=True, slots=True, eq=False)
class _Done:
    """What a process says once it has trained."""

    result: BackboneResult | NonFiniteLossError


class _Crew:
    """Processes that share out jobs, and what came of these; a job is known by its place."""

    def __init__(self, children: Sequence[Child], jobs: Sequence[Job]) -> None:
        self.children, self.jobs = children, jobs
        self.waiting = deque(range(len(jobs)))
        self.running: dict[Child, int] = {}
        self.runs: dict[int, Run] = {}
        self.ended: dict[int, Ended] = {}
        self.lost: dict[int, str] = {}  # those whose process was killed, and how

    def results(self) -> Iterator[Ended]:
        """What came of each job, in their order, while others are being trained."""
        for place in range(len(self.jobs)):
            while place not in self.ended:
                self._hand_out()
                if not self.running:
                    raise self._killed()
                self._hear()
            yield self.ended[place]

    def _hand_out(self) -> None:
        """Give a job to each process that has none."""
        for child in self.children:
            if self.waiting and child.alive and child not in self.running:
                place = self.running[child] = self.waiting.popleft()
                job, run = self.jobs[place], self.jobs[place].begin()
                self.runs[place] = run
                child.tell((run.client.tracking_uri, run.id, job.options))

    def _hear(self) -> None:
        """Wait until a process says something, and pass it on."""
        watch(list(self.running))
        gone = [child for child in self.running if not child.alive]  # before its last words are read
        for child, place in list(self.running.items()):
            run = self.runs[place]
            for message in child.words():
                if isinstance(message, str):
                    run.say(message)
                else:
                    self.ended[place] = Ended(run, message.result)
                    del self.running[child]
        for child in gone:
            if child in self.running:
                place = self.running.pop(child)
                self.lost[place] = f"The process that trained run {self.runs[place].id} {child.how_it_ended()}"
                self.runs[place].say(self.lost[place] + "; the others go on." * bool(self.running or self.waiting))

    def _killed(self) -> RunError:
        how = ". ".join(self.lost.values()) or "Every process that trains was killed"
        left = f" {counted(len(self.waiting), 'training')} had not begun." if self.waiting else ""
        resume = ", ".join(f"`fmce train-backbone --resume {self.runs[place].id}`" for place in self.lost)
        runs = ",".join(self.runs[place].id for place in sorted(self.runs))
        way_out = f" Go on with {resume}, then with `fmce build-fmcs --source-runs {runs}`." if resume else ""
        return RunError(f"{how}. Often it is memory: train fewer at a time, by --workers.{left}{way_out}")


def _train_jobs(send: Send, orders: Orders) -> None:
    """A process that trains what it is told to."""
    with quick_imports():
        import mlflow

        from fmce_mlflow.backbone.train import train_backbone

    setup: _Setup = orders.next()
    logging.getLogger("mlflow").setLevel(setup.log_level)
    while True:
        uri, run_id, options = orders.next()
        mlflow.set_tracking_uri(uri)
        run, images = Run(mlflow.MlflowClient(uri), run_id, send), setup.data[options.dataset]
        train = partial(train_backbone, run, options, data=images, uploads=setup.uploads, bar=False)
        send(_Done(_result(train)))
