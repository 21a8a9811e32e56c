"""What a predictor says of itself: training corpus, figures by protocol, limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fmce_mlflow.method.fmce_net import FmceNet
from fmce_mlflow.method.protocols import Scores

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
    "maps": "maps scored",
}


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
        ``corpus``, ``params``, ``figures`` (protocol → predictor → metric → value) and ``fmcs_run``.
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
    }


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
    lines += ["## Limits", "", *(f"- {text}" for text in _limits(info, net)), ""]
    return "\n".join(lines)


def _shown(metric: str, value: float) -> str:
    return f"{value:.0f}" if metric == "maps" else f"{value:.3f}"


def _limits(info: Mapping[str, Any], net: FmceNet) -> list[str]:
    limits = []
    if net.kind == "outline":
        limits.append(
            "It reads channels by their place: use it on snapshots of the runs it was fitted to, on no other."
        )
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
