"""What an evaluation found, as metrics and tables; the report, the log and the command line read the same value."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.method.scoring.module_finding import ModuleFinding

MATURE = 0.9
"""FMCS from which a module counts as trained enough to build on; a bar of ours, not the paper's."""
_NOT_IN_METRIC_NAMES = re.compile(r"[^\w.\-: ]", re.ASCII)  # nor "/", which MLflow takes for a folder


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model.

    Attributes:
        uri: Its URI.
        title: What a reader calls it, where that is not its URI.
        model_id: MLflow's id; empty where it has none.
    """

    uri: str
    title: str = ""
    model_id: str = ""

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return self.title or self.uri


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorFacts:
    """The FMCE-Net that scored.

    Attributes:
        name: Name or URI.
        identity: What distinguishes it from every other, even if its name moves to another one.
        limits: What its kind cannot do, as sentences.
        corpus: What it was trained on, in a few words.
        figures: By protocol (``run``, ``architecture`` …), the predictor's metrics: ``mae``, ``spearman``,
            ``accuracy``, ``within_one``, ``coverage``; those that are there are shown.
    """

    name: str
    identity: str = ""
    limits: tuple[str, ...] = ()
    corpus: str = ""
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluatedImages:
    """The images that a model was evaluated on.

    Attributes:
        name: The dataset's.
        indices: Their places in the dataset, int64 (n,), ascending.
        digest: MLflow's digest; empty where there is none.
        names: What each is called.
        targets: Their labels, (n,), or None.
        classes: What integer labels count; may be empty.
        bag_size: Images in a bag; 0 where not known.
    """

    name: str
    indices: NDArray[np.int64]
    digest: str = ""
    names: Sequence[str] = ()
    targets: NDArray[Any] | None = None
    classes: tuple[str, ...] = ()
    bag_size: int = 0

    @property
    def identity(self) -> str:
        """What distinguishes these images from any others: the dataset, and which of it were used."""
        places = hashlib.sha256(self.indices.astype("<i8").tobytes()).hexdigest()
        return f"{self.digest} {len(self.indices)} {places[:12]}"

    def label(self, index: int) -> str:
        """What stands above an image, by its place in the dataset: its class or label, else that place."""
        if self.targets is None:
            return str(index)
        value = self.targets[np.searchsorted(self.indices, index)]
        if isinstance(value, (int, np.integer)) and 0 <= value < len(self.classes):
            return self.classes[int(value)]
        return str(value)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRun:
    """The run that trained the model.

    Attributes:
        run_id: The run.
        snapshot: Its snapshot that the model is.
        fmcs: The snapshot's FMCS from the run's losses; None where the run has no label for it.
        convergence: The run's losses, judged as the run did; None where it does not say how.
    """

    run_id: str
    snapshot: int
    fmcs: float | None = None
    convergence: Convergence | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file.

    Attributes:
        png: Its bytes.
        text: What it shows, for those who cannot see it.
    """

    png: bytes
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Findings:
    """Everything that an evaluation found.

    Attributes:
        run_id: The evaluation's run.
        model: The model.
        predictor: The FMCE-Net.
        images: The images.
        modules: What was found of each, in the order asked for; at least one.
        training: The run that trained the model, where it is known.
        saliency: Grad-CAM over the first images, where it was taken.
        choices: Sentences about what was chosen for the user. Text in backquotes is set as code.
        warnings: Sentences about what the user should know before trusting a figure.
        mature: FMCS from which a module counts as trained enough.

    Raises:
        ConfigError: No module, or figures that cannot be.
    """

    run_id: str
    model: ModelFacts
    predictor: PredictorFacts
    images: EvaluatedImages
    modules: tuple[ModuleFinding, ...]
    training: TrainingRun | None = None
    saliency: Picture | None = None
    choices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    mature: float = MATURE

    def __post_init__(self) -> None:
        problems = [] if self.modules else ["a report needs at least one module, got none"]
        problems += [
            f"{what} of module {module.name!r} must be in [0, 1], got {value}"
            for module in self.modules
            for what, value in (("fmcs", module.fmcs), ("low", module.low), ("high", module.high))
            if not 0 <= value <= 1
        ]
        if problems:
            raise ConfigError(problems)

    @property
    def least(self) -> ModuleFinding:
        """The least mature module."""
        return min(self.modules, key=lambda module: module.fmcs)

    @property
    def metrics(self) -> dict[str, float]:
        """What is logged, by name."""
        found = {"fmcs_predicted": self.least.fmcs}
        for module in self.modules:
            key = metric_name(module.name)
            found |= {f"fmcs_predicted/{key}": module.fmcs, f"fmcs_std/{key}": module.std}
            if module.focus is not None:
                found[f"focus/{key}"] = module.focus
        if self.training is not None and self.training.fmcs is not None:
            found["fmcs_measured"] = self.training.fmcs
        return found

    @property
    def summary(self) -> str:
        """The figures in a few lines for a console, the least mature module first."""
        ordered = sorted(self.modules, key=lambda module: module.fmcs)
        lines = []
        for module in ordered:
            line = f"{module.name}: FMCS {module.fmcs:.2f} ± {module.std:.2f}, "
            line += f"level {module.level} of {len(module.levels) - 1}"
            lines.append(line if module.measured is None else f"{line}; {module.measured:.2f} from its losses")
        if len(ordered) > 1:
            lines.append(f"Least mature: {ordered[0].name}.")
        return "\n".join(lines)

    def module_table(self) -> pd.DataFrame:
        """A row per module, in the order asked for."""
        rows = []
        for m in self.modules:
            channels, height, width = m.shape or (None, None, None)
            row = {"module": m.name, "fmcs": m.fmcs, "std": m.std, "low": m.low, "high": m.high, "level": m.level}
            row |= {f"level_{k}": float(p) for k, p in enumerate(m.levels)}
            row |= {"distance": m.distance, "far": m.far, "early": m.early, "focus": m.focus, "measured": m.measured}
            row |= {"bags": m.bags, "channels": channels, "height": height, "width": width}
            rows.append(row)
        return pd.DataFrame(rows).astype({"focus": float, "measured": float})

    def sample_table(self) -> pd.DataFrame:
        """A row per image: its score and focus are those of the least mature module; of several, each has its own."""
        at = self.images.indices
        columns: dict[str, Any] = {"image": at, "name": self.images.names}
        if self.images.targets is not None:
            columns["label"] = self.images.targets
        columns |= {"score": self.least.image_scores[at], "focus": self.least.image_focus[at]}
        if len(self.modules) > 1:
            for m in self.modules:
                columns |= {f"score/{m.name}": m.image_scores[at], f"focus/{m.name}": m.image_focus[at]}
        return pd.DataFrame(columns)


def metric_name(module: str) -> str:
    """A module's name in the alphabet of MLflow's metric names.

    Example:
        >>> metric_name("blocks.p3@fine//1")
        'blocks.p3_fine__1'
    """
    return _NOT_IN_METRIC_NAMES.sub("_", module)
