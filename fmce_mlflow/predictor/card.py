"""What a predictor says of itself: training corpus, figures by protocol, limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fmce_mlflow.method.fitting.protocols import Scores
from fmce_mlflow.method.fmce_net.kinds import KINDS, FmceNet, kind_named
from fmce_mlflow.report.templating import render

_MEANING = {
    "images": "unseen images of the runs it was fitted to",
    "run": "training runs that it was not fitted to",
    "architecture": "backbones that it was not fitted to",
    "dataset": "data sets that it was not fitted to",
}
_COLUMNS = {
    "accuracy": "accuracy",
    "within_one": "within one level",
    "mae": "MAE",
    "spearman": "ρ, median",
    "coverage": "90 % interval holds",
    "width": "its width, mean",
    "maps": "maps scored",
}


_FAILS = 0.2  # mean error of FMCS from which a card names what was held out as a failure: most of a level is lost


def predictor_info(
    table: pd.DataFrame, source: str, params: Mapping[str, str], scores: Mapping[Any, Mapping[str, Scores]]
) -> dict[str, Any]:
    """JSON values about a predictor: corpus, params, figures by protocol and predictor, failures, and the run."""
    each = table.groupby(["backbone", "dataset", "module"], sort=False, observed=True)
    corpus = each.agg(
        runs=("run_id", "nunique"), maps=("snapshot", "size"), channels=("channels", "first"),
        height=("height", "first"), width=("width", "first"),
    )  # fmt: skip
    return {
        "fmcs_run": source,
        "corpus": _records(corpus),
        "params": dict(params),
        "figures": {
            str(protocol): {
                name: {k: float(v) for k, v in one.metrics.items() if k in _COLUMNS and v == v}
                for name, one in group.items()
            }
            for protocol, group in scores.items()
        },
        "failures": {str(protocol): _failures(group) for protocol, group in scores.items()},
    }


def _failures(scores: Mapping[str, Scores]) -> list[dict[str, Any]]:
    """Backbones and data sets on which the net's mean error is :data:`_FAILS` or more, the worst first."""
    net = next((scores[kind] for kind in KINDS if kind in scores), None)
    if net is None:
        return []
    each = net.by_run.groupby(["backbone", "dataset"], sort=False, observed=True)
    found = each.agg(runs=("run_id", "nunique"), mae=("mae", "mean"), spearman=("spearman", "mean"))
    found["spearman"] = found["spearman"].fillna(0.0)  # of modules that never moved alone
    return _records(found[found["mae"] >= _FAILS].sort_values("mae", ascending=False))


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a grouped table as plain values of JSON."""
    return [{str(name): value for name, value in row.items()} for row in frame.reset_index().to_dict("records")]


def model_card(info: Mapping[str, Any], net: FmceNet) -> str:
    """The model card of a net, Markdown, by :func:`predictor_info`."""
    figures = info["figures"]
    intervals = {protocol: group.get(net.kind, {}) for protocol, group in figures.items()}
    failures = {protocol: found for protocol, found in info.get("failures", {}).items() if found}
    return render(
        "model_card.md.j2",
        kind=net.kind,
        corpus=info["corpus"],
        corpus_rows=[list(row.values()) for row in info["corpus"]],
        fmcs_run=info["fmcs_run"],
        columns=["predictor", *_COLUMNS.values()],
        figures={
            protocol: [[name, *(_shown(key, m) for key in _COLUMNS)] for name, m in group.items()]
            for protocol, group in figures.items()
        },
        meaning=_MEANING,
        calibrated=net.calibrated,
        held=[
            f"`{protocol}` {m['coverage']:.1%} (width {m['width']:.2f})"
            for protocol, m in intervals.items()
            if {"coverage", "width"} <= m.keys()
        ],
        fails=_FAILS,
        failures={
            protocol: [
                (one["backbone"], one["dataset"], one["runs"], f"{one['mae']:.2f}", f"{one['spearman']:.2f}")
                for one in found
            ]
            for protocol, found in failures.items()
        },
        calibration=info.get("calibration"),
        known_failures=info.get("known_failures", ()),
        limits=kind_named(net.kind).limits,
        unmeasured=[_MEANING[name] for name in ("run", "architecture", "dataset") if name not in figures],
    )


def _shown(name: str, metrics: Mapping[str, float]) -> str:
    if name not in metrics:
        return ""
    return f"{metrics[name]:.0f}" if name == "maps" else f"{metrics[name]:.3f}"
