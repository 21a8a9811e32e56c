"""What decides a search for FMCE-Net's hyperparameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from fmce_mlflow.method.fitting.config import BagConfig, FitConfig, Protocol
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.safety.options import Option, Options, Registered, bounds, build

DEFAULT_STORAGE = "sqlite:///fmce_optuna.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions(Options):
    """Which study, and how its trials are run."""

    study_name: Annotated[str, Option("Name of the study; the same name and storage join it.")] = "fmce"
    storage: Annotated[str, Option("The study's database: sqlite:///FILE or postgresql://…")] = DEFAULT_STORAGE
    trials: Annotated[int, Option("Trials of the study in all, over all workers and machines.", ge=1)] = 40
    workers: Annotated[int, Option("Processes on this machine.", ge=1)] = 1
    resume: Annotated[bool, Option("Go on with a study that has ended, or whose first process died.")] = False
    seed: Annotated[int, Option("Test group, bags, initial weights and the search itself.", ge=0)] = 0
    heartbeat: Annotated[
        int, Option("Seconds between a trial's signs of life; after three times that without one it is dead.", ge=1)
    ] = 10
    grace: Annotated[
        int, Option("Seconds without a sign of life after which a trial counts as dead.", command=False)
    ] = 30
    retries: Annotated[int, Option("How often a trial whose worker died is tried again.", ge=0)] = 2

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What does not go together, and what is empty."""
        if fine("grace", "heartbeat") and self.grace <= self.heartbeat:
            yield f"grace ({self.grace}) must be longer than heartbeat ({self.heartbeat})"
        if fine("study_name") and not self.study_name.strip():
            yield "study-name is empty"
        if fine("storage") and not self.storage.strip():
            yield f"storage is empty; its default is {DEFAULT_STORAGE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed(Options):
    """What is the same in all trials of a study."""

    protocol: Annotated[Protocol, Option("What the test group and the validation folds hold out.")] = "run"
    folds: Annotated[int, Option("Validation folds; with fewer there is no validation error.", ge=2)] = 4
    patience: Annotated[
        int,
        Option("Passes without a better validation error after which a trial ends.", **bounds(FitConfig, "patience")),
    ] = 40
    members: Annotated[
        int, Option("Networks in the ensemble of the net that is fitted at the end.", **bounds(SetConfig, "members"))
    ] = 4
    test_share: Annotated[
        float, Option("Share of the probe images that no trial sees.", **bounds(BagConfig, "test_share"))
    ] = 0.5
    seed: Annotated[int, Option("Draws the test group, bags and initial weights.", ge=0)] = 0

    def configs(self, values: Mapping[str, Any], levels: int) -> tuple[BagConfig, SetConfig, FitConfig]:
        """The configs of a trial's values."""
        whole = {**asdict(self), "levels": levels, **values}
        return build(BagConfig, whole), build(SetConfig, whole), build(FitConfig, whole)


def _default_space() -> Mapping[str, Any]:
    from fmce_mlflow.tuning.search_space import DEFAULT_SPACE  # Optuna, which --help does without

    return dict(DEFAULT_SPACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions(Options):
    """Everything that decides a search for FMCE-Net's hyperparameters."""

    fmcs_run: Annotated[str, Option("Run with the FMCS-dataset; empty: the study's, or the latest that finished.")] = ""
    study: StudyOptions = field(default_factory=StudyOptions)
    fixed: Fixed = field(default_factory=Fixed)
    space: Annotated[
        Any, Option("Optuna's distributions of the hyperparameters that are searched, by name.", command=False)
    ] = field(default_factory=_default_space)
    register_as: Annotated[Registered, Option("Register the best net under this name.", none="")] = None
