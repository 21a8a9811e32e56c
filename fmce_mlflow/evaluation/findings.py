"""What an evaluation found: figures, tables, and the page that tells them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from fmce_mlflow.errors import FmceError
from fmce_mlflow.evaluation.page import DataFacts, EvaluationReport, ModuleFinding, PredictorFacts, evaluation_page
from fmce_mlflow.evaluation.saliency import SHOWN, Saliency
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import Convergence, assess
from fmce_mlflow.method.fmce_net.kinds import kind_named
from fmce_mlflow.method.scoring.score_bag import ModuleScore
from fmce_mlflow.predictor.find import NamedPredictor
from fmce_mlflow.runs.torch_models import TorchModel, TrainingFacts

if TYPE_CHECKING:
    from mlflow import MlflowClient

_NOT_IN_METRIC_NAMES = re.compile(r"[^\w.\-: ]", re.ASCII)  # nor "/", which MLflow takes for a folder


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """The images that were used.

    Attributes:
        name: The dataset's.
        digest: MLflow's.
        indices: Their places in the dataset, int64 (n,), ascending.
        names: What each is called.
        targets: Their labels, (n,), or None.
        classes: What integer labels count; may be empty.
        bag_size: Images in a bag.
    """

    name: str
    digest: str
    indices: NDArray[np.int64]
    names: list[str]
    targets: NDArray[Any] | None
    classes: tuple[str, ...]
    bag_size: int

    @property
    def identity(self) -> str:
        """What tells these images from any others: the dataset, and which of it were used."""
        places = hashlib.sha256(self.indices.astype("<i8").tobytes()).hexdigest()
        return f"{self.digest} {len(self.indices)} {places[:12]}"

    def label(self, position: int) -> str:
        """What stands above an image: its class or label, else its place in the dataset."""
        if self.targets is None:
            return str(self.indices[position])
        value = self.targets[position]
        if isinstance(value, (int, np.integer)) and 0 <= value < len(self.classes):
            return self.classes[int(value)]
        return str(value)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The run that trained the model.

    Attributes:
        run_id: The run.
        snapshot: Its snapshot that the model is.
        fmcs: The snapshot's FMCS by the run's losses; None where the run has no label for it.
        convergence: The run's losses, judged as the run did; None where it does not say how.
    """

    run_id: str
    snapshot: int
    fmcs: float | None
    convergence: Convergence | None


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Everything that an evaluation found.

    Attributes:
        model: The model.
        predictor: FMCE-Net.
        images: The images.
        scores: By name of the map, in the order asked for; at least one.
        far: By the same names, whether the module lies too far from the predictor's training corpus.
        early: Those that lie earlier in the network than the last feature stage, where the corpus has none such.
        saliency: Grad-CAM, where it was taken.
        source: The run that trained the model, where it is known.
        choices: Sentences about what was chosen for the user.
        warnings: Sentences about what the user should know before trusting a figure.
        title: What a reader calls the model; empty for its URI.
    """

    model: TorchModel
    predictor: NamedPredictor
    images: Images
    scores: dict[str, ModuleScore]
    far: dict[str, bool]
    early: tuple[str, ...]
    saliency: Saliency | None
    source: Source | None
    choices: tuple[str, ...]
    warnings: tuple[str, ...]
    title: str = ""

    @property
    def least_mature(self) -> ModuleScore:
        """The module with the lowest score."""
        return min(self.scores.values(), key=lambda one: one.fmcs)

    @property
    def measured(self) -> float | None:
        """FMCS by the source run's losses."""
        return self.source.fmcs if self.source else None

    def focus(self, module: str) -> float | None:
        """Mean focus of a module over the images that were asked about."""
        values = self.saliency.focus.get(module) if self.saliency else None
        return float(values.mean()) if values is not None and len(values) else None

    @property
    def metrics(self) -> dict[str, float]:
        """What is logged, by name."""
        found = {"fmcs_predicted": self.least_mature.fmcs}
        for name, score in self.scores.items():
            key = metric_name(name)
            found |= {f"fmcs_predicted/{key}": score.fmcs, f"fmcs_std/{key}": score.std}
            if (value := self.focus(name)) is not None:
                found[f"focus/{key}"] = value
        if self.measured is not None:
            found["fmcs_measured"] = self.measured
        return found

    def verdict(self) -> str:
        """The figures in a few lines, for a console.

        The least mature module stands first.
        """
        ordered = sorted(self.scores.values(), key=lambda one: one.fmcs)
        lines = [
            f"{score.module}: FMCS {score.fmcs:.2f} ± {score.std:.2f}, level {score.level} of "
            f"{len(score.levels) - 1}" + (f"; {self.measured:.2f} by its losses" if self.measured is not None else "")
            for score in ordered
        ]
        if len(ordered) > 1:
            lines.append(f"Least mature: {ordered[0].module}.")
        return "\n".join(lines)

    def module_table(self) -> pd.DataFrame:
        """A row per module, in the order asked for."""
        rows = []
        for name, s in self.scores.items():
            row = {"module": name, "fmcs": s.fmcs, "std": s.std, "low": s.low, "high": s.high, "level": s.level}
            row |= {f"level_{k}": float(p) for k, p in enumerate(s.levels)}
            row |= {"distance": s.distance, "far": self.far[name], "early": name in self.early}
            row |= {"focus": self.focus(name), "measured": self.measured}
            row |= {"bags": s.bags, "channels": s.shape[0], "height": s.shape[1], "width": s.shape[2]}
            rows.append(row)
        return pd.DataFrame(rows).astype({"focus": float, "measured": float})

    def sample_table(self) -> pd.DataFrame:
        """A row per image: its score and focus are those of the least mature module; of several, each has its own."""
        at = self.images.indices
        columns: dict[str, Any] = {"image": at, "name": self.images.names}
        if self.images.targets is not None:
            columns["label"] = self.images.targets
        each = {name: self._of_images(name) for name in self.scores}
        columns["score"], columns["focus"] = each[self.least_mature.module]
        if len(each) > 1:
            for name, (scores, focus) in each.items():
                columns |= {f"score/{name}": scores, f"focus/{name}": focus}
        return pd.DataFrame(columns)

    def _of_images(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        focus = np.full(len(self.images.indices), np.nan)
        if self.saliency is not None and name in self.saliency.focus:
            focus[np.searchsorted(self.images.indices, self.saliency.indices)] = self.saliency.focus[name]
        return self.scores[name].image_scores[self.images.indices], focus

    def saliency_png(self) -> bytes | None:
        """The panel of Grad-CAM."""
        if self.saliency is None or not len(self.saliency.indices):
            return None
        places = dict(zip(self.images.indices.tolist(), range(len(self.images.indices)), strict=True))
        name = self.model.facts.backbone or self.title or self.model.uri
        return self.saliency.png(lambda index: self.images.label(places[index]), f"Grad-CAM of {name}")

    def page(self, run_id: str, saliency: bytes | None) -> str:
        """The HTML report."""
        info = self.predictor.predictor.info
        modules = tuple(
            ModuleFinding(
                name=name,
                fmcs=score.fmcs,
                std=score.std,
                low=score.low,
                high=score.high,
                levels=tuple(map(float, score.levels)),
                sample_scores=score.image_scores[self.images.indices],
                focus=self.focus(name),
                distance=score.distance if np.isfinite(score.distance) else None,
                far=self.far[name],
                early=name in self.early,
                measured=self.measured,
                shape=score.shape,
                bags=score.bags,
            )
            for name, score in self.scores.items()
        )
        shown = min(SHOWN, len(self.saliency.indices)) if self.saliency else 0
        report = EvaluationReport(
            model=self.title or self.model.uri,
            model_id=self.model.model_id or "",
            run_id=run_id,
            data=DataFacts(
                name=self.images.name,
                images=len(self.images.indices),
                digest=self.images.digest,
                bag_size=min(self.images.bag_size, len(self.images.indices)),
            ),
            predictor=PredictorFacts(
                name=self.predictor.name,
                kind=self.predictor.predictor.net.kind,
                limits=kind_named(self.predictor.predictor.net.kind).limits,
                corpus=_corpus(info),
                figures=_figures(info, self.predictor.predictor.net.kind),
            ),
            modules=modules,
            convergence=self.source.convergence if self.source else None,
            snapshot=self.source.snapshot if self.source else None,
            saliency=saliency,
            saliency_text=f"Grad-CAM of {', '.join(self.scores)} over {shown} images, with the focus of each",
            notes=(*self.warnings, *self.choices),
        )
        return evaluation_page(report)


def find_source(client: MlflowClient, facts: TrainingFacts, warnings: list[str]) -> Source | None:
    """The run that trained a model, with its label of the model's snapshot.

    Args:
        client: Client of the server that may have it.
        facts: From the model's metadata.
        warnings: Gets a sentence where the run is named, and not there.

    Returns:
        The run; None where the model names none, or it is not there.
    """
    if facts.source_run is None or facts.snapshot is None:
        return None
    try:
        run = client.get_run(facts.source_run)
        labels = {m.step: m.value for m in client.get_metric_history(facts.source_run, "fmcs")}
        convergence = _convergence(client, facts.source_run, run.data.params)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        warnings.append(
            f"The run that trained the model, {facts.source_run}, is not on {client.tracking_uri}; there is no "
            "fmcs_measured."
        )
        return None
    return Source(facts.source_run, facts.snapshot, labels.get(facts.snapshot), convergence)


def model_title(client: MlflowClient, model: TorchModel) -> str:
    """What a reader calls a model: where MLflow named it by its id alone, the registered version that it is.

    Args:
        client: Client of the server that may have it.
        model: The model.

    Returns:
        ``models:/name/version`` of its latest version, else its URI.
    """
    if not model.model_id or model.uri != f"models:/{model.model_id}":
        return model.uri
    try:
        versions = json.loads(client.get_logged_model(model.model_id).tags.get("mlflow.modelVersions", "[]"))
        return f"models:/{versions[-1]['name']}/{versions[-1]['version']}" if versions else model.uri
    except (MlflowException, ValueError, LookupError, TypeError):
        return model.uri


def metric_name(module: str) -> str:
    """A module's name in the alphabet of MLflow's metric names.

    Example:
        >>> metric_name("blocks.p3@fine//1")
        'blocks.p3_fine__1'
    """
    return _NOT_IN_METRIC_NAMES.sub("_", module)


def _convergence(client: MlflowClient, run_id: str, params: Mapping[str, str]) -> Convergence | None:
    """The run's losses, judged by the constants among its parameters."""
    signal = params.get("signal", "train")
    read: dict[str, Callable[[str], Any]] = {"smoothing": float, "window": int, "threshold": float, "levels": int}
    read |= {"aggregation": str, "rule": str, "spacing": str}
    if signal not in ("train", "val") or not read.keys() <= params.keys():
        return None
    losses = {m.step: m.value for m in client.get_metric_history(run_id, f"{signal}_loss")}
    if sorted(losses) != list(range(len(losses))):
        return None
    try:
        config = ConvergenceConfig(**{name: kind(params[name]) for name, kind in read.items()})
        return assess([losses[t] for t in range(len(losses))], config, signal=signal)  # type: ignore[arg-type]
    except (FmceError, ValueError):
        return None


def _corpus(info: Mapping[str, Any]) -> str:
    """A predictor's training corpus in a few words."""
    rows = info.get("corpus")
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows) or not rows:
        return ""
    runs = sum(int(row.get("runs", 0)) for row in rows)
    backbones = sorted({str(row.get("backbone")) for row in rows})
    datasets = sorted({str(row.get("dataset")) for row in rows})
    return f"{runs} runs of {_some(backbones)} on {_some(datasets)}"


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _figures(info: Mapping[str, Any], kind: str) -> dict[str, dict[str, float]]:
    """By protocol, the net's own figures."""
    found = info.get("figures")
    if not isinstance(found, Mapping):
        return {}
    return {
        str(protocol): {str(k): float(v) for k, v in group[kind].items() if isinstance(v, (int, float))}
        for protocol, group in found.items()
        if isinstance(group, Mapping) and isinstance(group.get(kind), Mapping)
    }


def table_json(table: pd.DataFrame) -> str:
    """A table as MLflow's ``log_table`` writes it; no number is null."""
    return json.dumps(json.loads(table.to_json(orient="split", index=False)))
