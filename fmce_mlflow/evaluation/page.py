"""One HTML page per evaluation of a model: self-contained, without scripts, for screen and print.

Nothing here knows of MLflow: the caller gives plain values and gets the page's text. Every name that comes from outside
is escaped.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.report.svg import histogram_chart, interval_chart, levels_chart, loss_chart
from fmce_mlflow.report.templating import render

State = Literal["mature", "likely", "unlikely", "immature", "unknown"]
MATURE = 0.9
"""FMCS from which a module counts as trained enough to build on; a bar of ours, not the paper's."""
BADGES: Mapping[State, str] = {
    "mature": "mature",
    "likely": "probably mature",
    "unlikely": "probably not mature",
    "immature": "not mature",
    "unknown": "cannot tell",
}
FEW_IMAGES = 32
PROTOCOLS: Mapping[str, str] = {
    "images": "unseen images of the runs it was fitted to",
    "run": "training runs that it was not fitted to",
    "architecture": "backbones that it was not fitted to",
    "dataset": "data sets that it was not fitted to",
}
_FIGURES: Mapping[str, str] = {
    "mae": "mean error of FMCS",
    "spearman": "rank correlation",
    "accuracy": "level right",
    "within_one": "level within one",
    "coverage": "90% interval holds",
}


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
        sample_scores: Per image, the mean score of the bags it was in, float (n,); NaN where an image was in none. May
            be empty.
        focus: Mean focus of Grad-CAM, in [0, 1]; None where it was not taken.
        distance: How far the module's features lie from those of the predictor's training corpus: root mean square in
            the corpus's standard deviations, about 1 inside it. None or NaN where the predictor cannot tell.
        far: Whether that is too far for the figures to be trusted.
        early: Whether it lies earlier in its network than any module of the predictor's training corpus.
        measured: FMCS by the losses of the run that trained the model, where they are known.
        shape: (C, H, W) of its maps, where known.
        bags: How many bags were scored; 0 where not known.
    """

    name: str
    fmcs: float
    std: float
    low: float
    high: float
    levels: tuple[float, ...]
    sample_scores: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    focus: float | None = None
    distance: float | None = None
    far: bool = False
    early: bool = False
    measured: float | None = None
    shape: tuple[int, int, int] | None = None
    bags: int = 0

    def state(self, mature: float = MATURE) -> State:
        """How its FMCS and interval lie to a bar: ``unknown`` where the predictor is not to be trusted."""
        if self.far or self.early:
            return "unknown"
        if self.fmcs >= mature:
            return "mature" if self.low >= mature or self.low == self.high else "likely"
        return "immature" if self.high < mature else "unlikely"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """The images that a model was evaluated on.

    Attributes:
        name: What they are called.
        images: How many.
        digest: MLflow's digest; empty where there is none.
        bag_size: Images per bag; 0 where not known.
    """

    name: str
    images: int
    digest: str = ""
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
    limits: tuple[str, ...] = ()
    corpus: str = ""
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


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
        snapshot: The snapshot of that run that the model is, where known.
        saliency: A PNG with Grad-CAM.
        saliency_text: What it shows, for those who cannot see it.
        notes: Sentences for the reader: choices that were made, warnings. Text in backquotes is set as code.
        mature: FMCS from which a module counts as trained enough.
        model_id: MLflow's id of the model; empty where it has none.

    Raises:
        ConfigError: No module, or figures that cannot be.
    """

    model: str
    run_id: str
    data: DataFacts
    predictor: PredictorFacts
    modules: tuple[ModuleFinding, ...]
    convergence: Convergence | None = None
    snapshot: int | None = None
    saliency: bytes | None = None
    saliency_text: str = "Grad-CAM over the first images, by module"
    notes: tuple[str, ...] = ()
    mature: float = MATURE
    model_id: str = ""

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


def evaluation_page(report: EvaluationReport) -> str:
    """The page of an evaluation.

    Args:
        report: What was found.

    Returns:
        HTML; write it as UTF-8.

    Example:
        >>> finding = ModuleFinding(
        ...     name="conv5", fmcs=0.62, std=0.07, low=0.5, high=0.74, levels=(0.0, 0.1, 0.6, 0.3, 0.0)
        ... )
        >>> page = evaluation_page(
        ...     EvaluationReport(
        ...         model="models:/digits/3", run_id="3f2a", data=DataFacts(name="digits", images=256),
        ...         predictor=PredictorFacts(name="models:/fmcs/1"), modules=(finding,),
        ...     )
        ... )
        >>> "about 62% of the way to convergence" in page
        True
    """
    mature, convergence = report.mature, report.convergence
    columns, figures = _predictor_table(report.predictor)
    picture = None
    if report.saliency is not None:
        picture = f"data:image/png;base64,{base64.b64encode(report.saliency).decode()}"
    return render(
        "evaluation.html.j2",
        title=f"Convergence of {report.model}",
        report=report,
        images=_images(report.data),
        overall=_overall(report),
        steps=next_steps(report),
        modules=[_module(finding, mature) for finding in report.modules],
        measured=any(finding.measured is not None for finding in report.modules),
        intervals=interval_chart(
            [
                (f"{m.name}{' (?)' if m.state() == 'unknown' else ''}", m.fmcs, m.low, m.high, m.measured)
                for m in report.modules
            ],
            mature=mature,
            label="; ".join(f"{m.name}: FMCS {m.fmcs:.2f}, {m.low:.2f} to {m.high:.2f}" for m in report.modules),
        ),
        curve=None
        if convergence is None
        else loss_chart(convergence, label=f"Loss by snapshot. {convergence.verdict()}", here=report.snapshot),
        picture=picture,
        trust=_trust(report),
        columns=columns,
        figures=figures,
    )


def verdict(finding: ModuleFinding, mature: float = MATURE) -> str:
    """One module in a sentence or two, plain text.

    Args:
        finding: What was found of it.
        mature: FMCS from which it counts as trained enough.

    Returns:
        The sentences.

    Example:
        >>> print(verdict(ModuleFinding(name="conv5", fmcs=0.62, std=0.07, low=0.5, high=0.74, levels=(0.4, 0.6))))
        conv5 is about 62% of the way to convergence (90% interval 50–74%); it is not yet trained enough to build on.
    """
    if finding.low < finding.high:
        how_sure = f" (90% interval {100 * finding.low:.0f}–{100 * finding.high:.0f}%)"
    else:
        how_sure = " (the predictor gives no interval)"
    bar = f"{mature:.0%}"
    end = {
        "mature": "it is trained enough to build on.",
        "likely": f"it is probably trained enough to build on, though the interval reaches below the bar of {bar}.",
        "unlikely": f"it is probably not yet trained enough to build on, though the interval reaches the bar of {bar}.",
        "immature": "it is not yet trained enough to build on.",
        "unknown": "but its feature maps are unlike those that the predictor was trained on, so this figure may be "
        "far off."
        if finding.far
        else "but it lies earlier in its network than the modules that the predictor was trained on, so this figure "
        "may be far off.",
    }[finding.state(mature)]
    start = f"{finding.name} is about {finding.fmcs:.0%} of the way to convergence{how_sure}"
    if finding.fmcs >= 0.995:
        start = f"{finding.name} looks fully converged{how_sure}"
    return f"{start}{', ' if finding.state(mature) == 'unknown' else '; '}{end}"


def next_steps(report: EvaluationReport) -> tuple[str, ...]:
    """What to do with the findings, plain text with commands in backquotes, the most important first.

    Example:
        >>> finding = ModuleFinding(name="conv5", fmcs=0.97, std=0.02, low=0.93, high=1, levels=(0.1, 0.9))
        >>> report = EvaluationReport(
        ...     model="models:/digits/3", run_id="3f2a", data=DataFacts(name="digits", images=256),
        ...     predictor=PredictorFacts(name="models:/fmcs/1"), modules=(finding,),
        ... )
        >>> print(next_steps(report)[0])
        Let it through: `fmce promote` moves a registered version to a stage or an alias where `fmcs_predicted>=0.9`.
    """
    by_state: dict[State, list[str]] = {state: [] for state in BADGES}
    for module in report.modules:
        by_state[module.state(report.mature)].append(module.name)
    steps = []
    early = [module.name for module in report.modules if module.early]
    if early:
        steps.append(
            f"Score {_names(early)} with a predictor that knows such modules: record them in runs like the model's own "
            "with `fmce build-fmcs --modules …`, then `fmce train-fmce-net`."
        )
    if far := [name for name in by_state["unknown"] if name not in early]:
        steps.append(
            f"Score {_names(far)} with a predictor that knows such models: record runs of this "
            "architecture or on such data with `fmce build-fmcs`, then `fmce train-fmce-net` on all of them."
        )
    if by_state["immature"] or by_state["unlikely"]:
        young = by_state["immature"] + by_state["unlikely"]
        done = f"; {_names(by_state['mature'])} could be frozen meanwhile" if by_state["mature"] else ""
        steps.append(f"Train {_names(young)} further, then evaluate the new version on the same images{done}.")
    if by_state["unlikely"] or by_state["likely"]:
        steps.append(
            f"The interval of {_names(by_state['likely'] + by_state['unlikely'])} lies across the bar of "
            f"{report.mature:g}: look at the losses or the validation accuracy before you decide."
        )
    if len(by_state["mature"]) == len(report.modules):
        steps.append(
            "Let it through: `fmce promote` moves a registered version to a stage or an alias where "
            f"`fmcs_predicted>={report.mature:g}`."
        )
    for module in report.modules:
        if module.measured is not None and module.state() != "unknown" and not _agrees(module):
            steps.append(
                f"Find out why {module.name} scores {module.fmcs:.2f} where the losses of its run say "
                f"{module.measured:.2f}. If the validation loss of that run has not fallen, BatchNorm statistics lag "
                "and the score is right; otherwise trust the losses: the predictor may not know modules like this one."
            )
    if report.convergence is not None and report.convergence.point is None:
        steps.append("The run that trained the model has not converged by its losses: train it longer.")
    if report.data.images < FEW_IMAGES:
        steps.append(f"Evaluate on more images: {report.data.images} are few; {2 * FEW_IMAGES} or more score steadier.")
    return tuple(steps)


def _overall(report: EvaluationReport) -> dict[str, str]:
    least, mature = report.least, report.mature
    text = verdict(least, mature)
    if len(report.modules) > 1:
        text = f"The least mature of {len(report.modules)} modules: {text}"
    state = least.state(mature)
    known = [module for module in report.modules if module.state(mature) != "unknown"]
    if state == "unknown" and known:
        other = min(known, key=lambda module: module.fmcs)
        text += f" Of the modules that it knows{', the least mature' if len(known) > 1 else ''}: "
        text += verdict(other, mature)
    return {"state": state, "badge": BADGES[state], "text": text}


def _module(finding: ModuleFinding, mature: float) -> dict[str, Any]:
    """What the template shows of a module."""
    levels = len(finding.levels)
    scores = finding.sample_scores[np.isfinite(finding.sample_scores)]
    facts = [
        ("FMCS, predicted", f"{finding.fmcs:.2f}"),
        ("90% interval", f"{finding.low:.2f} – {finding.high:.2f}" if finding.low < finding.high else "none given"),
        ("standard deviation", f"{finding.std:.3f}" if finding.std else "none given"),
        ("expected level", f"{np.dot(finding.levels, np.arange(levels)):.1f} of 0 … {levels - 1}"),
    ]
    if finding.measured is not None:
        inside = "" if finding.low == finding.high else ", inside" if _agrees(finding) else ", outside the interval"
        facts.append(("FMCS, measured by losses", f"{finding.measured:.2f}{inside}"))
    if finding.focus is not None:
        facts.append(("focus of Grad-CAM", f"{finding.focus:.2f}"))
    if _known(finding.distance):
        facts.append(("distance from the corpus", f"{finding.distance:.2f}{', too far' if finding.far else ''}"))
    if finding.shape is not None:
        facts.append(("feature map", " × ".join(map(str, finding.shape))))
    if finding.bags:
        facts.append(("bags", f"{finding.bags:,}"))
    state = finding.state(mature)
    histogram: Markup | None = None
    if len(scores):
        histogram = histogram_chart(
            scores,
            mark=finding.fmcs,
            quantity="FMCS",
            count="images",
            label=f"Scores of {len(scores)} images in {finding.name}: from {scores.min():.2f} to {scores.max():.2f}, "
            f"half of them between {np.quantile(scores, 0.25):.2f} and {np.quantile(scores, 0.75):.2f}",
        )
    shares = ", ".join(f"{k / max(1, levels - 1):.2f}: {share:.0%}" for k, share in enumerate(finding.levels))
    return {
        "finding": finding,
        "state": state,
        "badge": BADGES[state],
        "verdict": verdict(finding, mature),
        "facts": facts,
        "levels": levels_chart(finding.levels, label=f"Probability of each level of {finding.name}. {shares}"),
        "scores": histogram,
    }


def _trust(report: EvaluationReport) -> list[str]:
    """How sure the predictor is, and how far the model lies from what it knows."""
    predictor = report.predictor
    texts = [f"Trained on: {predictor.corpus.rstrip('.')}."] if predictor.corpus else []
    texts += predictor.limits
    far = [module.name for module in report.modules if module.far]
    if early := [module.name for module in report.modules if module.early]:
        texts.append(
            f"{_names(early)} {'lie' if len(early) > 1 else 'lies'} earlier in the network than the last feature "
            "stage, and that corpus has no such module: the score and its interval are a guess there."
        )
    known = [m.distance for m in report.modules if m.distance is not None and math.isfinite(m.distance)]
    if far:
        texts.append(
            f"{_names(far)} {'lie' if len(far) > 1 else 'lies'} outside "
            f"that corpus (distance up to {max(known, default=math.nan):.1f}; about 1 inside): the score and its "
            "interval are a guess there."
        )
    elif known:
        texts.append(
            f"By its features the model lies within that corpus (distance {max(known):.1f}; about 1 inside). That does "
            "not prove that the predictor knows such modules: its figures below are on modules of its corpus."
        )
    else:
        texts.append("This predictor cannot tell how far the model lies from its training corpus.")
    unmeasured = [meaning for name, meaning in PROTOCOLS.items() if name not in predictor.figures and name != "images"]
    if unmeasured:
        texts.append(f"It has not been measured on {'; nor on '.join(unmeasured)}.")
    return texts


def _predictor_table(predictor: PredictorFacts) -> tuple[list[str], list[dict[str, Any]]]:
    shown = [key for key in _FIGURES if any(key in figures for figures in predictor.figures.values())]
    rows = [
        {
            "name": PROTOCOLS.get(protocol, protocol),
            "figures": [_figure(key, figures[key]) if key in figures else "" for key in shown],
        }
        for protocol, figures in predictor.figures.items()
    ]
    return [_FIGURES[key] for key in shown], rows


def _figure(key: str, value: float) -> str:
    if not math.isfinite(value):
        return ""
    return f"{value:.0%}" if key in ("accuracy", "within_one", "coverage") else f"{value:.2f}"


def _images(data: DataFacts) -> str:
    text = f"{data.name}, {data.images:,} image{'' if data.images == 1 else 's'}"
    if data.bag_size:
        text += f" in bags of {data.bag_size}"
    return f"{text}, digest {data.digest}" if data.digest else text


def _agrees(finding: ModuleFinding) -> bool:
    """Whether the measured FMCS lies in the interval, or within a tenth where there is none."""
    assert finding.measured is not None
    if finding.low == finding.high:
        return abs(finding.measured - finding.fmcs) <= 0.1
    return finding.low <= finding.measured <= finding.high


def _known(distance: float | None) -> bool:
    return distance is not None and math.isfinite(distance)


def _names(names: list[str]) -> str:
    if len(names) > 3:
        return f"{len(names)} modules ({', '.join(names[:3])} …)"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
