"""The errors a user can meet.

Every message says what was expected, what came, and what to do next. The command line prints it without a traceback.

::

    FmceError
    ├── ConfigError             options that cannot work together; lists every problem at once
    ├── DataError               images: unknown data set, missing files, an empty class, a probe larger than the data
    ├── BackboneError           a backbone or a functional module that is not there
    ├── CaptureError            a module whose output is not a feature map, or that was never called
    ├── ConvergenceError        a loss sequence that cannot be scored
    │   ├── NonFiniteLossError  a NaN or infinite loss, with its snapshot
    │   └── TooFewSnapshotsError  convergence came before there were K snapshots to mark
    ├── ArtifactError           feature maps, indexes or checkpoints that cannot be read or written
    │   ├── IntegrityError      bytes that are not the bytes that were written
    │   └── NotStoredError      files that a store says it took, and does not have
    ├── RunError                an MLflow run that lacks what is asked of it
    │   └── BusyError           a run that another process trains or uploads
    ├── UploadError             a server or store that does not take what was logged; it waits in a folder on disk
    ├── ModelError              an MLflow model that is not a PyTorch model, or cannot be loaded or run
    ├── PredictorError          an FMCE-Net that cannot be read or does not fit its input
    ├── WebhookRefused          a request that is not from the tracking server, or too old
    └── PromotionRefused        a registered version that does not meet what its promotion requires; exit code 3
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class FmceError(Exception):
    """Base of every error that this package raises on purpose; it travels between processes as it is."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """As pickle needs it: an error may be made of other things than its text."""
        return _made_again, (type(self), self.args), self.__dict__


def _made_again(cls: type[FmceError], args: tuple[object, ...]) -> FmceError:
    made = cls.__new__(cls)
    made.args = args
    return made


class ConfigError(FmceError):
    """Options that cannot work, all of them at once; one sentence per problem.

    Example:
        >>> str(ConfigError(["epochs must be at least 1, got 0"]))
        'epochs must be at least 1, got 0'
    """

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        if len(self.problems) == 1:
            text = self.problems[0]
        else:
            text = f"{len(self.problems)} options cannot be used:\n" + "\n".join(f"  - {p}" for p in self.problems)
        super().__init__(text)


@contextmanager
def noted(problems: list[str]) -> Iterator[None]:
    """Add what a ConfigError says to a list, in place of raising it."""
    try:
        yield
    except ConfigError as error:
        problems += error.problems


def refuse(problems: Sequence[str]) -> None:
    """Raise what was found to be wrong, each problem once, if anything was.

    Raises:
        ConfigError: If there are problems.
    """
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))


class DataError(FmceError):
    """Images that are missing, unreadable, or not enough."""


class BackboneError(FmceError):
    """A backbone or a functional module that cannot be found or built."""


class CaptureError(FmceError):
    """A functional module whose feature map cannot be taken."""


class ConvergenceError(FmceError):
    """A loss sequence that cannot be scored."""


class NonFiniteLossError(ConvergenceError):
    """A NaN or infinite loss; ``what`` names the loss."""

    def __init__(self, snapshot: int, value: float, what: str = "loss") -> None:
        self.snapshot = snapshot
        self.value = value
        super().__init__(
            f"The {what} of snapshot {snapshot} is {value}; a convergence indicator needs finite losses. "
            "Training diverged: try a smaller learning rate, or float32 instead of fp16."
        )


class TooFewSnapshotsError(ConvergenceError):
    """A run that converged before K snapshots were recorded."""


class ArtifactError(FmceError):
    """A feature-map file, index or checkpoint that cannot be read or written."""


class IntegrityError(ArtifactError):
    """Bytes that are not the bytes that were written, by their sha256."""

    def __init__(
        self, name: str, expected: str, found: str, way_out: str = "Restore the file, or record the run again."
    ) -> None:
        self.name, self.expected, self.found = name, expected, found
        super().__init__(f"{name} is damaged or was changed: its sha256 should be {expected} and is {found}. {way_out}")


class NotStoredError(ArtifactError):
    """Files that a store, or something that answers for it, says it took, and that it does not have; it may pass.

    Example:
        >>> print(NotStoredError(["feature_maps/index.json"], "run 3f2a"))
        The store of run 3f2a does not have feature_maps/index.json as it was sent, though it said that it took it.
        Something before it, such as a firewall or a sign-in page, may answer in its place.
    """

    def __init__(self, paths: Sequence[str], owner: str) -> None:
        super().__init__(
            f"The store of {owner} does not have {', '.join(paths[:4])} as it was sent, though it said "
            "that it took it.\n"
            "Something before it, such as a firewall or a sign-in page, may answer in its place."
        )


class RunError(FmceError):
    """An MLflow run that does not exist or lacks what is asked of it."""


class BusyError(RunError):
    """An MLflow run that another process trains or uploads; it is that process's to close."""


class UploadError(FmceError):
    """A tracking server or artifact store that does not take what was logged; what waits in ``folder`` is not lost.

    Example:
        >>> print(UploadError("MLflow at http://localhost:5000 does not answer.", "spool/3f2a", "2 snapshots"))
        MLflow at http://localhost:5000 does not answer.
        Nothing is lost: what it has not taken (2 snapshots) stays in spool/3f2a.
        Upload it later, which also closes the run: fmce sync spool/3f2a
    """

    def __init__(self, why: str, folder: str, waiting: str) -> None:
        self.folder = folder
        super().__init__(
            f"{why}\nNothing is lost: what it has not taken ({waiting}) stays in {folder}.\n"
            f"Upload it later, which also closes the run: fmce sync {folder}"
        )


class ModelError(FmceError):
    """An MLflow model that is not a PyTorch model, or that cannot be loaded or run."""


class PredictorError(FmceError):
    """An FMCE-Net that cannot be read, or an input that it cannot score."""


class WebhookRefused(FmceError):
    """A request whose signature or time is not that of a webhook of the tracking server."""


class PromotionRefused(FmceError):  # a verdict, and no defect
    """A registered version that does not meet what its promotion requires, with a sentence per unmet requirement.

    Example:
        >>> unmet = ["fmcs_predicted>=0.9: not met, it is 0.31"]
        >>> print(PromotionRefused("Version 1 of digits", unmet, "3f2a", "360 images of digits"))
        Version 1 of digits is refused:
          - fmcs_predicted>=0.9: not met, it is 0.31
        The figures are those of run 3f2a, on 360 images of digits.
    """

    exit_code = 3

    def __init__(self, what: str, unmet: Sequence[str], run_id: str, images: str = "") -> None:
        self.unmet, self.run_id = tuple(unmet), run_id
        lines = "\n".join(f"  - {text}" for text in unmet)
        super().__init__(
            f"{what} is refused:\n{lines}\nThe figures are those of run {run_id}{', on ' * bool(images)}{images}."
        )
