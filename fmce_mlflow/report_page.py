"""One HTML page per evaluation and per FMCS-dataset: self-contained, without scripts, for screen and print.

Nothing here knows of MLflow: the caller gives plain values and gets the page's text. Every name that comes from outside
is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmce_mlflow.method.convergence import Convergence

MATURE = 0.9
"""FMCS from which a module counts as trained enough to build on; a bound of ours, not the paper's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModuleFinding:
    """What an evaluation found of one functional module.

    Attributes:
        name: Its dotted name.
        fmcs: Predicted FMCS, in [0, 1].
        std: Standard deviation of the prediction; 0 where the predictor gives none.
        low: Lower end of the 90 % interval, in [0, 1].
        high: Upper end.
        levels: Probability of each of the K levels.
        sample_scores: Per image, the mean score of the bags it was in, float (n,); may be empty.
        focus: Mean focus of Grad-CAM, in [0, 1]; None where it was not taken.
        distance: How far the module's features lie from those of the predictor's training corpus, in a unit in which 1
            is the edge of the corpus; None where the predictor cannot tell.
        far: Whether that is too far for the figures to be trusted.
        measured: FMCS by the losses of the run that trained the model, where they are known.
        shape: (C, H, W) of its maps, where known.
    """

    name: str
    fmcs: float
    std: float
    low: float
    high: float
    levels: tuple[float, ...]
    sample_scores: NDArray[np.float64]
    focus: float | None = None
    distance: float | None = None
    far: bool = False
    measured: float | None = None
    shape: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """The images that a model was evaluated on.

    Attributes:
        name: What they are called.
        images: How many.
        digest: MLflow's digest; empty where there is none.
        bags: Bags of images that each module was scored on; 0 where not known.
        bag_size: Images per bag; 0 where not known.
    """

    name: str
    images: int
    digest: str = ""
    bags: int = 0
    bag_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorFacts:
    """The FMCE-Net that scored.

    Attributes:
        name: Name or URI.
        kind: ``set`` or ``outline``.
        corpus: What it was trained on, in a sentence or a few words.
        figures: By protocol (``run``, ``architecture`` …), the predictor's metrics: ``mae``, ``spearman``,
            ``accuracy``, ``within_one``, ``coverage``; those that are there are shown.
    """

    name: str
    kind: str = "set"
    corpus: str = ""
    figures: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluationReport:
    """Everything on an evaluation's page.

    Attributes:
        model: Name or URI of the model.
        run_id: The evaluation's run.
        data: The images.
        predictor: The FMCE-Net.
        modules: What was found, at least one.
        convergence: Of the run that trained the model, where its losses are known.
        saliency: A PNG with Grad-CAM.
        saliency_text: What it shows, for those who cannot see it.
        notes: Sentences for the reader: choices that were made, warnings.
        mature: FMCS from which a module counts as trained enough.
    """

    model: str
    run_id: str
    data: DataFacts
    predictor: PredictorFacts
    modules: tuple[ModuleFinding, ...]
    convergence: Convergence | None = None
    saliency: bytes | None = None
    saliency_text: str = "Grad-CAM over the first images, by module"
    notes: tuple[str, ...] = ()
    mature: float = MATURE


def evaluation_page(report: EvaluationReport) -> str:
    """The page of an evaluation.

    Args:
        report: What was found.

    Returns:
        HTML; write it as UTF-8.

    Raises:
        ConfigError: A report without a module, or figures outside their ranges.
    """
    raise NotImplementedError


def verdict(finding: ModuleFinding, mature: float = MATURE) -> str:
    """One module in a sentence or two, plain text.

    Args:
        finding: What was found of it.
        mature: FMCS from which it counts as trained enough.

    Returns:
        The sentences.
    """
    raise NotImplementedError


def next_steps(report: EvaluationReport) -> tuple[str, ...]:
    """What to do with the findings, plain text, the most important first."""
    raise NotImplementedError


def dataset_page(
    table: pd.DataFrame,
    convergences: Mapping[str, Convergence],
    *,
    run_id: str,
    left_out: Mapping[str, str] | None = None,
    unlabelled: Mapping[str, str] | None = None,
) -> str:
    """The page of an FMCS-dataset.

    Args:
        table: Its rows, with the columns of ``fmcs_dataset.COLUMNS``.
        convergences: By ``run_id``, or ``run_id/module`` where modules are labelled by their own drift.
        run_id: The run that built it.
        left_out: By run id, why a run is not in it.
        unlabelled: By run id, why a run has no label.

    Returns:
        HTML; write it as UTF-8.
    """
    raise NotImplementedError
