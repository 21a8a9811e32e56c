"""One HTML page per evaluation of a model: self-contained, without scripts, for screen and print.

Nothing here depends on MLflow. Every name that comes from outside is escaped.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from functools import partial

import numpy as np
from markupsafe import Markup

from fmce_mlflow.evaluation.evidence import columns_of, outputs_text, shown, written
from fmce_mlflow.evaluation.findings import Findings
from fmce_mlflow.evaluation.states import BADGES
from fmce_mlflow.evaluation.verdict import UNSEEN, next_steps, overall, state, trust, verdict
from fmce_mlflow.method.scoring.module_finding import ModuleFinding
from fmce_mlflow.report.loss_chart import loss_chart
from fmce_mlflow.report.svg import histogram_chart, interval_chart, levels_chart
from fmce_mlflow.report.templating import render

FIGURES: Mapping[str, str] = {
    "mae": "mean error of FMCS",
    "spearman": "rank correlation",
    "accuracy": "level right",
    "within_one": "level within one",
    "coverage": "90% interval holds",
}
_SHARES = frozenset({"accuracy", "within_one", "coverage"})


def evaluation_page(findings: Findings) -> str:
    """The page of an evaluation, HTML to be written as UTF-8.

    Example:
        >>> from fmce_mlflow.evaluation.findings import EvaluatedImages, ModelFacts, PredictorFacts
        >>> levels = np.array([0.0, 0.1, 0.6, 0.3, 0.0])
        >>> module = ModuleFinding(name="conv5", fmcs=0.62, std=0.07, low=0.5, high=0.74, levels=levels, level=2)
        >>> findings = Findings(
        ...     run_id="3f2a", model=ModelFacts("models:/digits/3"), predictor=PredictorFacts(name="models:/fmcs/1"),
        ...     images=EvaluatedImages(name="digits", indices=np.arange(256)), modules=(module,),
        ... )
        >>> "about 62% of the way to convergence" in evaluation_page(findings)
        True
    """
    measured = findings.predictor.figures
    return render(
        "evaluation.html.j2",
        findings=findings,
        overall=overall(findings),
        steps=next_steps(findings),
        trust=trust(findings),
        badges=BADGES,
        state=partial(state, mature=findings.mature),
        verdict=partial(verdict, mature=findings.mature),
        intervals=intervals(findings),
        belief=belief,
        image_scores=image_scores,
        curve=curve(findings),
        picture=base64.b64encode(findings.saliency.png).decode() if findings.saliency else None,
        columns={key: title for key, title in FIGURES.items() if any(key in values for values in measured.values())},
        unseen=UNSEEN,
        figure=figure,
        shown=shown,
        outputs=outputs_text(findings.modules),
        evidence=written,
        evidence_columns=columns_of(findings.modules),
    )


def intervals(findings: Findings) -> Markup:
    """Chart of all modules' FMCS with their intervals."""
    rows = [
        (f"{m.name}{' (?)' if state(m) == 'unknown' else ''}", m.fmcs, m.low, m.high, m.measured)
        for m in findings.modules
    ]
    label = "; ".join(f"{m.name}: FMCS {m.fmcs:.2f}, {m.low:.2f} to {m.high:.2f}" for m in findings.modules)
    return interval_chart(rows, mature=findings.mature, label=label)


def belief(module: ModuleFinding) -> Markup:
    """Chart of the probability of each level."""
    last = max(1, len(module.levels) - 1)
    shares = ", ".join(f"{k / last:.2f}: {share:.0%}" for k, share in enumerate(module.levels))
    return levels_chart(module.levels, label=f"Probability of each level of {module.name}. {shares}")


def image_scores(module: ModuleFinding) -> Markup | None:
    """Chart of how the scores of images spread; None without any."""
    scores = module.image_scores[np.isfinite(module.image_scores)]
    if not len(scores):
        return None
    label = (
        f"Scores of {len(scores)} images in {module.name}: from {scores.min():.2f} to {scores.max():.2f}, half of them "
        f"between {np.quantile(scores, 0.25):.2f} and {np.quantile(scores, 0.75):.2f}"
    )
    return histogram_chart(scores, mark=module.fmcs, quantity="FMCS", count="images", label=label)


def curve(findings: Findings) -> Markup | None:
    """Chart of the losses of the run that trained the model; None where they are not known."""
    training = findings.training
    if training is None or training.convergence is None:
        return None
    label = f"Loss by snapshot. {training.convergence.verdict()}"
    return loss_chart(training.convergence, label=label, here=training.snapshot)


def figure(values: Mapping[str, float], key: str) -> str:
    """One of a predictor's own figures; empty where it is not known."""
    value = values.get(key, math.nan)
    if not math.isfinite(value):
        return ""
    return f"{value:.0%}" if key in _SHARES else f"{value:.2f}"
