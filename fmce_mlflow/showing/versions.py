"""What is known of the versions of registered models, as the page of a registry shows it. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fmce_mlflow.evaluation.states import State


@dataclass(frozen=True, slots=True)
class ModuleScore:
    """The score of one functional module, with the ends of its 90 % interval; equal ends where there is none."""

    module: str
    fmcs: float
    low: float
    high: float
    state: State


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation of a version.

    Attributes:
        time: When it began, in milliseconds since 1970.
        scores: Of the modules, in the order of the network.
        verdict: On the whole model: the score of the module that decides; None where the predictor knows none.
        predictor: What distinguishes the predictor from every other; empty where the run does not say.
        images: What distinguishes the content of the images; empty likewise.
        image_set: What they are called.
    """

    run_id: str
    experiment_id: str
    time: int
    scores: tuple[ModuleScore, ...]
    verdict: ModuleScore | None
    predictor: str = ""
    images: str = ""
    image_set: str = ""

    @property
    def state(self) -> State:
        """The verdict in a word."""
        return "unknown" if self.verdict is None else self.verdict.state

    def comparable(self, other: Evaluation) -> bool:
        """Whether both were made by one predictor on the same images."""
        return (self.predictor, self.images) == (other.predictor, other.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a registered model.

    Attributes:
        aliases: Sorted.
        stage: Empty for none.
        created: In milliseconds since 1970.
        decision: What the last promotion decided, in a few words; empty for none.
        evaluation: The newest that is finished and has scores.
        why: Why there is none, a sentence; else empty.
        attempt: The run, as (experiment, run), that ``why`` speaks of.
    """

    model: str
    number: int
    aliases: tuple[str, ...] = ()
    stage: str = ""
    created: int = 0
    decision: str = ""
    evaluation: Evaluation | None = None
    why: str = ""
    attempt: tuple[str, str] | None = None

    @property
    def verdict(self) -> ModuleScore | None:
        """The score that decides, where there is one."""
        return self.evaluation.verdict if self.evaluation else None


@dataclass(frozen=True, slots=True)
class Overview:
    """The versions of all models, or of one.

    Attributes:
        store: Where MLflow keeps them, without credentials.
        models: By name, the versions in ascending order.
        ui: Address of MLflow's pages, without a slash at its end; empty where there is none to lead to.
        notes: What the reader should know.
    """

    store: str
    models: dict[str, tuple[Version, ...]]
    ui: str = ""
    notes: Sequence[str] = ()

    @property
    def versions(self) -> tuple[Version, ...]:
        """All of them."""
        return tuple(version for versions in self.models.values() for version in versions)
