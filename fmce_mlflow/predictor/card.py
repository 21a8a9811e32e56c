"""What a predictor says of itself: training corpus, figures by protocol, limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fmce_mlflow.method.fitting.protocols import Scores
from fmce_mlflow.method.fmce_net.kinds import KINDS, FmceNet, kind_named

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


_FAILS = 0.2
"""Mean error of FMCS from which a card names what was held out as a failure: most of a level is lost."""


def describe(
    table: pd.DataFrame, source: str, params: Mapping[str, str], scores: Mapping[Any, Mapping[str, Scores]]
) -> dict[str, Any]:
    """JSON values about a predictor.

    Args:
        table: The FMCS-dataset's labelled rows.
        source: The run they come from.
        params: How the net was made.
        scores: By protocol and predictor.

    Returns:
        ``corpus``, ``params``, ``figures`` (protocol → predictor → metric → value), ``failures`` (protocol → what the
        net was farthest off on, by backbone and data set) and ``fmcs_run``.
    """
    keys = ["backbone", "dataset", "module"]
    corpus = table.groupby(keys, sort=False, observed=True).agg(
        runs=("run_id", "nunique"), maps=("snapshot", "size"), channels=("channels", "first"),
        height=("height", "first"), width=("width", "first"),
    )  # fmt: skip
    records = [{str(k): v for k, v in row.items()} for row in corpus.reset_index().to_dict("records")]
    return {
        "fmcs_run": source,
        "corpus": [{k: v if isinstance(v, str) else int(v) for k, v in record.items()} for record in records],
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
    found = each.agg(runs=("run_id", "nunique"), mae=("mae", "mean"), spearman=("spearman", "mean")).reset_index()
    worst = found[found["mae"] >= _FAILS].sort_values("mae", ascending=False)
    columns = [[str(v) for v in worst["backbone"]], [str(v) for v in worst["dataset"]], worst["runs"].tolist()]
    columns += [worst["mae"].tolist(), worst["spearman"].tolist()]
    names = ("backbone", "dataset", "runs", "mae", "spearman")
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def render(info: Mapping[str, Any], net: FmceNet) -> str:
    """The model card, Markdown.

    Args:
        info: From :func:`describe`.
        net: The net it is about.

    Returns:
        The card.
    """
    corpus = pd.DataFrame(info["corpus"])
    lines = [
        f"# FMCE-Net, kind `{net.kind}`",
        "",
        "Predicts the Feature Map Convergence Score (FMCS, 0 untrained to 1 converged) of a functional module of a "
        "vision model from its feature maps, shape (n, C, H, W), for n ≥ 2 images. Method: arXiv 2405.04041; "
        "the `set` kind and its features are this project's.",
        "",
        "## Trained on",
        "",
        f"{int(corpus['maps'].sum())} labelled maps of {int(corpus['runs'].sum())} runs and modules "
        f"(FMCS-dataset of run `{info['fmcs_run']}`):",
        "",
        _table(corpus),
        "",
        "## How good it is",
        "",
        "Measured on nets fitted without what they were scored on; this net is fitted to everything above. All bags "
        "are of images that were in no training bag.",
        "",
    ]
    for protocol, group in info["figures"].items():
        figures = pd.DataFrame(
            [
                {"predictor": name} | {title: _shown(k, m[k]) if k in m else "" for k, title in _COLUMNS.items()}
                for name, m in group.items()
            ]
        )
        lines += [f"Protocol `{protocol}`: {_MEANING[protocol]}.", "", _table(figures), ""]
    lines += [*_calibration(info, net), *_known_failures(info)]
    lines += ["## Limits", "", *(f"- {text}" for text in _limits(info, net)), ""]
    return "\n".join(lines)


def _calibration(info: Mapping[str, Any], net: FmceNet) -> list[str]:
    """How its interval was set and how often it held."""
    held = [
        f"`{protocol}` {own['coverage']:.1%} (width {own['width']:.2f})"
        for protocol, group in info["figures"].items()
        if {"coverage", "width"} <= (own := group.get(net.kind, {})).keys()
    ]
    if not held:
        return []
    widened = (
        "widened until it held 90 % of the groups that were left out while it was fitted"
        if net.calibrated
        else "not calibrated"
    )
    return [
        "## Calibration", "",
        f"The 90 % interval is the net's own deviation, {widened}. Of what its nets had not seen at all, it held: "
        f"{', '.join(held)}.", "",
    ]  # fmt: skip


def _known_failures(info: Mapping[str, Any]) -> list[str]:
    """On what it was farthest off, where it was measured."""
    lines = []
    for protocol, found in info.get("failures", {}).items():
        if found:
            table = pd.DataFrame(found).rename(columns={"mae": "MAE", "spearman": "ρ, mean"})
            shown = _table(table.assign(**{name: table[name].map("{:.2f}".format) for name in ("MAE", "ρ, mean")}))
            lines += [f"Protocol `{protocol}`, MAE of {_FAILS} or more:", "", shown, ""]
    said = [f"- {text}" for text in info.get("known_failures", ())]
    if said:
        lines += [*said, ""]
    return ["## Known failures", "", *lines] if lines else []


def _shown(metric: str, value: float) -> str:
    return f"{value:.0f}" if metric == "maps" else f"{value:.3f}"


def _limits(info: Mapping[str, Any], net: FmceNet) -> list[str]:
    limits = list(kind_named(net.kind).limits)
    unmeasured = [name for name in ("run", "architecture", "dataset") if name not in info["figures"]]
    if unmeasured:
        limits.append(f"Not measured on: {'; '.join(_MEANING[name] for name in unmeasured)}.")
    limits.append(
        "FMCS tells how far training has come by its own loss, not how good the model is at its task; a module that "
        "converged on little data scores high."
    )
    return limits


def _table(frame: pd.DataFrame) -> str:
    """A Markdown table."""
    rows = [list(map(str, frame.columns)), ["---"] * len(frame.columns)]
    rows += [[str(value) for value in row] for row in frame.itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
