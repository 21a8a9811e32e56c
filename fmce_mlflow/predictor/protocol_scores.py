"""How good nets of a kind are by a protocol, beside the baselines: fitted to one part, scored on the other."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from fmce_mlflow.method.fitting.baselines import as_predictions, monotone, run_baselines
from fmce_mlflow.method.fitting.config import Protocol
from fmce_mlflow.method.fitting.protocols import Predicted, Scores, Split, score, splits
from fmce_mlflow.method.fmce_net.kinds import FitData, NetKind
from fmce_mlflow.predictor.figures import confusion_figure, predictions_figure
from fmce_mlflow.predictor.options import NetOptions
from fmce_mlflow.report.style import png
from fmce_mlflow.runs.run import Run
from fmce_mlflow.wording import counted


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is fitted, and to what."""

    options: NetOptions
    kind: NetKind
    shape: Mapping[str, Any]  # fields of the net's config besides those that follow from the maps
    data: FitData
    alphas: NDArray[np.float64]  # by row of the table, NaN where unknown
    levels: int


def score_protocol(run: Run, task: Task, protocol: Protocol, fits: Executor | None = None) -> dict[str, Scores]:
    """Score a kind of net and the baselines by a protocol, folds side by side in ``fits``; log and say the figures."""
    options, own = task.options, task.kind.name
    folds = splits(task.data.table, protocol, cross_validate=options.cross_validate, seed=options.fit.seed)
    found: dict[str, list[Predicted]] = {}
    each = (fits.map if fits else map)(partial(_predict, task), folds)
    for predictions in tqdm(
        each, desc=f"Protocol {protocol}", total=len(folds), unit="fold", leave=False, disable=None
    ):
        for name, predicted in predictions.items():
            found.setdefault(name, []).append(predicted)
    whole = {name: _joined(parts) for name, parts in found.items()}
    scores = {name: _scored(predicted, task.levels) for name, predicted in whole.items()}
    _log(run, protocol, own, scores, whole[own])
    held = f", {folds[0].held_out} held out" if len(folds) == 1 and folds[0].held_out else ""
    run.say(f"Protocol {protocol}, {counted(len(folds), 'fold')}{held}:")
    for name, one in scores.items():
        run.say(_line(name, one.metrics, scores[own].metrics["maps"]))
    return scores


def _predict(task: Task, split: Split) -> dict[str, Predicted]:
    """Fit to a split's training part and predict its test part: the net first, then the baselines."""
    data, kind = task.data, task.kind
    fitted = kind.fit(data, split, task.shape, task.options.fit)
    found: dict[str, Predicted] = {kind.name: kind.predict(fitted.net, data, split)}
    if not task.options.baselines:
        return found
    train, (test, rows) = data.training(split), data.scored(split)
    seen = kind.seen(data.known_bags(), task.shape)
    for name, predictions in run_baselines(seen, np.flatnonzero(train), test, task.levels).items():
        found[name] = Predicted(rows, predictions)
    return found | _spectral_alpha(task, train, test)


def _spectral_alpha(task: Task, train: NDArray[np.bool_], test: NDArray[np.int64]) -> dict[str, Predicted]:
    """The baseline that needs weights, on those snapshots alone whose models are logged; empty where there are none."""
    bags = task.data.known_bags()
    alphas = task.alphas[bags.row]
    fit, scored = np.flatnonzero(train & ~np.isnan(alphas)), test[~np.isnan(alphas[test])]
    if not len(fit) or not len(scored):
        return {}
    found = monotone(alphas, bags.fmcs, fit, scored)
    rows = task.data.table.iloc[bags.row[scored]].reset_index(drop=True)
    return {"spectral_alpha": Predicted(rows, as_predictions(found, task.levels))}


def _joined(parts: list[Predicted]) -> Predicted:
    """The predictions of all folds; of the figures that a predictor gave itself, the means."""
    metrics = {name: float(np.mean([part.metrics[name] for part in parts])) for name in parts[0].metrics}
    rows = pd.concat([part.rows for part in parts], ignore_index=True)
    return Predicted(rows, [one for part in parts for one in part.predictions], metrics)


def _scored(predicted: Predicted, levels: int) -> Scores:
    scores = score(predicted.rows, predicted.predictions, levels)
    maps = predicted.rows[["run_id", "module", "snapshot"]].drop_duplicates()
    scores.metrics["maps"] = float(len(maps))  # spectral alpha has fewer than the others
    scores.metrics.update(predicted.metrics)
    return scores


def _log(run: Run, protocol: Protocol, own: str, scores: Mapping[str, Scores], predicted: Predicted) -> None:
    """Log the figures of all predictors, those by level of the net alone, and the net's plots."""
    metrics: dict[str, float] = {}
    for name, one in scores.items():
        prefix = protocol if name == own else f"{protocol}/{name}"
        kept = {k: v for k, v in one.metrics.items() if np.isfinite(v) and (name == own or "/" not in k)}
        metrics |= {f"{prefix}/{k}": v for k, v in kept.items()}
    run.log_metrics(metrics)
    title = f"{own} net, protocol {protocol}"
    figures = {
        "confusion": confusion_figure(scores[own].confusion, title=title),
        "predictions": predictions_figure(predicted.rows, predicted.predictions, title=title),
    }
    for name, figure in figures.items():
        run.log_bytes(png(figure, dpi=200), f"plots/{name}_{protocol}.png")


def _line(name: str, m: Mapping[str, float], most_maps: float) -> str:
    """A predictor's figures in a line."""
    text = (
        f"  {name:<21} accuracy {m.get('accuracy', np.nan):.3f}  within one {m.get('within_one', np.nan):.3f}  "
        f"MAE {m['mae']:.3f}  ρ {m['spearman']:.3f}"
    )
    if "coverage" in m:
        text += f"  90 % interval holds {m['coverage']:.1%}"
    if m["maps"] < most_maps:
        text += f"  on {m['maps']:.0f} maps"
    return text
