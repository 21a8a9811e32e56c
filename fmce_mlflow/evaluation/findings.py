"""What an evaluation found, as metrics and tables; the report, the log and the command line read the same value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmce_mlflow.errors import ConfigError, FmceError
from fmce_mlflow.evaluation.states import MATURE
from fmce_mlflow.method.convergence.config import Signal
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.method.evidence.groups import GROUPS, UNTOUCHED
from fmce_mlflow.method.evidence.settle import GAP_FIGURES
from fmce_mlflow.method.scoring.module_finding import ModuleFinding
from fmce_mlflow.recording.signals import Signals
from fmce_mlflow.runs.metric_names import metric_name
from fmce_mlflow.safety.credentials import hide_credentials
from fmce_mlflow.wording import counted, some

FEW_IMAGES = 32
UNTRAINED = "its weights are as an initialisation left them: it was never trained"
GROUP_NAMES: Mapping[str, str] = {
    "weights": "weights",
    "fresh": "fresh copies",
    "gap": "BatchNorm's statistics computed anew",
    "place": "place in the network",
    "outputs": "the network's outputs",
    "views": "augmented views",
    "dropped": "maps dropped out",
    "labels": "labels",
}
"""What groups of evidence are called in sentences."""
_EVIDENCE_COLUMNS = {"untouched": UNTOUCHED, "gap_drift": GAP_FIGURES[0], "alpha": "alpha"}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model, as a reader calls it."""

    uri: str
    title: str = ""  # where it is not the URI
    model_id: str = ""

    @property
    def name(self) -> str:
        """What a reader calls it."""
        return self.title or self.uri


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorFacts:
    """The FMCE-Net that scored."""

    name: str
    identity: str = ""  # what distinguishes it from every other, even if its name moves to another one
    limits: tuple[str, ...] = ()  # what its kind cannot do, as sentences
    corpus: str = ""  # what it was trained on, in a few words
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by protocol (run …), mae, spearman …
    evidence: tuple[str, ...] = ()  # groups that it looks at beside the maps


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes that there are among the images."""

    there: float  # how many; by outputs, as many as would be there if all were equally frequent
    outputs: int | None = None  # how many the model knows
    by_labels: bool = True  # else by the model's outputs
    few: bool = False  # whether they are fewer than scores should be based on

    @property
    def text(self) -> str:
        """How many there are, of how many, and who says so."""
        there = f"{self.there:,.0f}" if self.by_labels else f"about {self.there:,.0f}"
        one = "class" if self.outputs is None and self.there == 1 else "classes"
        known = f" of the model's {self.outputs:,}" if self.outputs is not None else ""
        return f"{there}{known} {one} by {'their labels' if self.by_labels else 'its outputs'}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluatedImages:
    """The images that a model was evaluated on."""

    name: str
    indices: NDArray[np.int64]  # their places in the dataset, ascending
    digest: str = ""  # MLflow's
    names: Sequence[str] = ()
    targets: NDArray[Any] | None = None
    classes: tuple[str, ...] = ()  # what integer labels count; may be empty
    bag_size: int = 0  # 0 where not known
    identity: str = ""  # what distinguishes their content and labels from any others
    treatment: str = ""  # what was done to them, in words
    accuracy: float | None = None  # of the model's classes, where their labels count these
    of_classes: Classes | None = None  # those among them, where labels or outputs tell

    @property
    def told(self) -> str:
        """Which images they are, what was done to them and how many the model gets right, in a line."""
        told = [f"Evaluated on {self.text}.", f"Their pixels: {self.treatment}." if self.treatment else ""]
        told.append(f"They are of {self.classes_text}." if self.classes_text else "")
        told.append(f"Accuracy on them: {self.accuracy:.2f}." if self.accuracy is not None else "")
        return " ".join(filter(None, told))

    @property
    def classes_text(self) -> str:
        """How many classes there are among them by their labels, or by the model's outputs if these are few."""
        found = self.of_classes
        return found.text if found is not None and (found.by_labels or found.few) else ""

    @property
    def depends(self) -> str:
        """Why a score on other images may be another, as a sentence; empty where nothing speaks for it."""
        few_classes = self.of_classes is not None and self.of_classes.few
        if len(self.indices) >= FEW_IMAGES and not few_classes:
            return ""
        which = counted(len(self.indices), "image") + (f" of {self.classes_text}" if few_classes else "")
        more = "more images of all classes" if few_classes else "more images"
        return f"The scores are from {which}: on {more} they may be others."

    @property
    def text(self) -> str:
        """How many there are, and of what."""
        return f"{counted(len(self.indices), 'image')} of {self.name}"

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
    """The run that trained the model."""

    run_id: str
    snapshot: int  # its snapshot that the model is
    fmcs: float | None = None  # from the run's losses; None where the run has no label for the snapshot
    convergence: Convergence | None = None  # None where the run does not say how its losses were judged
    signals: Signals | None = None  # what the run recorded, with the changes of each module's weights
    signal: Signal = "train"  # the one that labels it

    def measured(self, module: str) -> float | None:
        """The label of one module, by its own weights; None where it has none."""
        try:
            found = None if self.signals is None else self.signals.labels(module, self.signal).fmcs
        except FmceError:
            return self.fmcs
        if found is None or self.snapshot >= len(found):
            return self.fmcs
        return None if np.isnan(found[self.snapshot]) else float(found[self.snapshot])


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG, and in words what it shows."""

    png: bytes
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Findings:
    """Everything that an evaluation found.

    Raises:
        ConfigError: No module, or figures that cannot be.
    """

    run_id: str  # the evaluation's
    model: ModelFacts
    predictor: PredictorFacts
    images: EvaluatedImages
    modules: tuple[ModuleFinding, ...]  # in the order of the network; at least one
    training: TrainingRun | None = None
    saliency: Picture | None = None  # Grad-CAM over the first images, where it was taken
    choices: tuple[str, ...] = ()  # sentences; text in backquotes is set as code
    warnings: tuple[str, ...] = ()  # what the user should know before trusting a figure
    mature: float = MATURE  # FMCS from which a module counts as trained enough

    def __post_init__(self) -> None:
        for name in ("choices", "warnings"):
            object.__setattr__(self, name, tuple(map(hide_credentials, getattr(self, name))))
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
    def deciding(self) -> tuple[ModuleFinding, ...]:
        """The modules that the verdict is about: those that the predictor knows, of them those with weights if any."""
        known = tuple(module for module in self.modules if module.known)
        return tuple(module for module in known if not module.weightless) or known

    @property
    def untrained(self) -> ModuleFinding | None:
        """The first in the network that was never trained, where others were: immaturity begins there."""
        weighty = [module for module in self.modules if not module.weightless]
        if all(module.untouched for module in weighty):
            return None
        return next((module for module in weighty if module.untouched), None)

    @property
    def begins(self) -> ModuleFinding | None:
        """Where immaturity begins, beyond doubt: at what was never trained, or has a part that was not, if others were.

        A part counts in a module that is not mature.
        """
        partly = (module for module in self.deciding if module.part and module.fmcs < self.mature)
        return self.untrained or next(partly, None)

    @property
    def least(self) -> ModuleFinding:
        """The least mature module of those that decide; of all, if none does."""
        return self.begins or min(self.deciding or self.modules, key=lambda module: module.fmcs)

    @property
    def fallen(self) -> tuple[ModuleFinding, ...]:
        """Those that decide, from where immaturity begins: the rest work on what that module gives them.

        It begins at the module that was never trained, or of which a part was not, if others were; else at the first
        that is not mature.
        """
        young = [module for module in self.deciding if module.fmcs < self.mature or module is self.untrained]
        surely = [module for module in young if module.high < self.mature]
        first = self.begins or next(iter(surely or young), None)
        return tuple(young[young.index(first) :]) if first else ()

    @property
    def before(self) -> tuple[ModuleFinding, ...]:
        """Those that are not mature and lie before where immaturity begins beyond doubt."""
        if self.begins is None:
            return ()
        ahead = self.deciding[: self.deciding.index(self.begins)]
        return tuple(module for module in ahead if module.fmcs < self.mature)

    @property
    def metrics(self) -> dict[str, float]:
        """What is logged, by name; there is no ``fmcs_predicted`` where the predictor knows none of the modules."""
        found = {"fmcs_predicted": min(module.fmcs for module in self.deciding)} if self.deciding else {}
        for module in self.modules:
            key = metric_name(module.name)
            found |= {f"fmcs_predicted/{key}": module.fmcs, f"fmcs_std/{key}": module.std}
            if module.focus is not None:
                found[f"focus/{key}"] = module.focus
            if np.isfinite(share := module.evidence.get(UNTOUCHED, np.nan)):
                found[f"fmce_untouched/{key}"] = share
        shares = [m.evidence.get(UNTOUCHED, np.nan) for m in self.modules if not m.weightless]
        if any(np.isfinite(shares)):
            found["fmce_untouched"] = float(np.nanmax(shares))
        if self.training is not None and self.least.measured is not None:
            found["fmcs_measured"] = self.least.measured
        if self.images.accuracy is not None:
            found["fmce_accuracy"] = self.images.accuracy
        return found

    @property
    def summary(self) -> str:
        """The figures in a few lines for a console, in the order of the network, and which module they point to."""
        lines = []
        for module in self.modules:
            line = f"{module.name}: FMCS {module.fmcs:.2f} ± {module.std:.2f}, "
            line += f"level {module.level} of {len(module.levels) - 1}"
            line += "" if module.measured is None else f"; {module.measured:.2f} by its training"
            line += "" if module.known else "; the predictor does not know such modules"
            lines.append(f"{line}; {UNTRAINED}" if module.never_trained else line)
            lines += [f"  {' '.join(module.said)}"] if module.said else []
        if not self.deciding:
            lines.append("There is no verdict and no fmcs_predicted: the predictor knows no module of these.")
        elif len(self.modules) > 1:
            lines.append(f"Least mature: {self.least.name}.{self.inherited}")
        return "\n".join(filter(None, [*lines, self.looked_at, self.images.told, self.images.depends]))

    @property
    def inherited(self) -> str:
        """Where immaturity begins and what follows it, as the tail of a text: empty, or a space and a sentence."""
        if not self.fallen or len(self.modules) == 1:
            return ""
        first, *after = self.fallen
        rest = [m for m in after if not first.name.startswith(f"{m.name}.")]  # what it is a part of does not follow
        before = self.modules[: self.modules.index(first)]
        unclear = [m.name for m in before if not m.known and m.fmcs < self.mature]
        texts = []
        follow = f"{some([m.name for m in rest])} {'follow' if len(rest) > 1 else 'follows'} it and "
        follow += f"{'inherit' if len(rest) > 1 else 'inherits'} what it lacks"
        if first is self.begins:
            where = "there" if first is self.untrained else f"in its part {first.part}, which was never trained"
            texts.append(f" Immaturity begins {where}{f'; {follow}' if rest else ''}.")
            if self.before:
                texts.append(f" {some([m.name for m in self.before])} should be judged again when it is trained.")
        elif rest:
            texts.append(f" The first in the network that is not mature is {first.name}; {follow}.")
        if unclear and first is not self.begins:
            texts.append(f" It may begin before {first.name}, in {some(unclear)}, which the predictor does not know.")
        return "".join(texts)

    @property
    def looked_at(self) -> str:
        """What the predictor looked at beside the maps, and what was missing, in a sentence; empty if at nothing."""
        wanted = self.predictor.evidence
        if not wanted:
            return ""
        there = [group for group in wanted if any(group in module.groups for module in self.modules)]
        missing = [GROUP_NAMES.get(group, group) for group in wanted if group not in there]
        looked = ", ".join(GROUP_NAMES.get(group, group) for group in there) or "nothing"
        return f"Evidence beside the maps: {looked}; missing: {', '.join(missing) or 'none'}."

    def evidence_table(self) -> pd.DataFrame:
        """A row per module and figure of the evidence that is known."""
        rows = [
            {"module": module.name, "group": group, "figure": name, "value": module.evidence[name]}
            for module in self.modules
            for group, names in GROUPS.items()
            for name in names
            if np.isfinite(module.evidence.get(name, np.nan))
        ]
        return pd.DataFrame(rows, columns=["module", "group", "figure", "value"])

    def module_table(self) -> pd.DataFrame:
        """A row per module, in the order of the network."""
        rows = []
        classes = self.images.of_classes if self.images.of_classes and self.images.of_classes.by_labels else None
        for m in self.modules:
            channels, height, width = m.shape or (None, None, None)
            row = {"module": m.name, "fmcs": m.fmcs, "std": m.std, "low": m.low, "high": m.high, "level": m.level}
            row |= {f"level_{k}": float(p) for k, p in enumerate(m.levels)}
            row |= {
                "distance": m.distance,
                "far": m.far,
                "early": m.early,
                "weightless": m.weightless,
                "focus": m.focus,
                "measured": m.measured,
            }
            row |= {"bags": m.bags, "channels": channels, "height": height, "width": width}
            row |= {"accuracy": self.images.accuracy, "preprocessing": self.images.treatment}
            row |= {column: m.evidence.get(figure) for column, figure in _EVIDENCE_COLUMNS.items()}
            row |= {"images": len(self.images.indices), "classes": classes.there if classes else None}
            rows.append(row)
        numbers = ("focus", "measured", "accuracy", *_EVIDENCE_COLUMNS, "classes")
        return pd.DataFrame(rows).astype(dict.fromkeys(numbers, float))

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
