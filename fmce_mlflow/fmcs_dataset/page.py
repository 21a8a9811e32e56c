"""One HTML page per FMCS-dataset: what is in it, how its labels came about, what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fmce_mlflow.method.convergence.config import SIGNAL_NAMES
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.report.svg import histogram_chart, loss_chart
from fmce_mlflow.report.templating import render

MOST_CURVES = 60
"""Curves that are drawn; of more runs, the first."""
WIDE = 4
"""Backbones from which on a predictor has something to learn about one that it has not seen."""


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
        convergences: By run id, or ``<run id>/<module>`` where modules are labelled by their own drift.
        run_id: The run that built it.
        left_out: By run id, why a run or one of its modules is not in it.
        unlabelled: By run id, why a run that was kept has no label.

    Returns:
        HTML; write it as UTF-8.
    """
    left_out, unlabelled = left_out or {}, unlabelled or {}
    labelled, runs = table.dropna(subset="fmcs"), table["run_id"].nunique()
    groups = [
        _Group(str(key[0]), str(key[1]), part, convergences)
        for key, part in table.groupby(["run_id", "module"], sort=False, observed=True)
    ]
    drawn = dict.fromkeys(group.key for group in groups if group.key in convergences)
    first = {group.key: group for group in reversed(groups)}
    curves = [
        {"svg": loss_chart(convergences[key], label=first[key].alternative, small=True), "caption": first[key].caption}
        for key in list(drawn)[:MOST_CURVES]
    ]
    histogram = None
    if len(labelled):
        histogram = histogram_chart(
            labelled["fmcs"].to_numpy(float),
            quantity="FMCS",
            count="rows",
            label=f"FMCS of {len(labelled):,} labelled rows; {(labelled['fmcs'] == 1).mean():.0%} of them have 1",
        )
    return render(
        "dataset.html.j2",
        title=f"FMCS-dataset {run_id}",
        heading=f"{_count(runs, 'run')} of {_some(table['backbone'])} on {_some(table['dataset'])}",
        facts=_facts(table, convergences, run_id),
        state="immature" if left_out or unlabelled else "mature",
        summary=_summary(table, left_out, unlabelled),
        steps=_steps(table, run_id, left_out, unlabelled),
        columns=[
            ("run", "name"), ("backbone", "name"), ("data", "name"), ("seed", "number"), ("module", "name"),
            ("maps", "number"), ("T", "number"), ("markers", "name"), ("snapshots", "number"),
        ],
        rows=[group.row for group in groups],
        histogram=histogram,
        curves=curves,
        curves_text=_curves_text(convergences),
        more_curves=f"{len(drawn) - MOST_CURVES} more are not drawn." if len(drawn) > MOST_CURVES else "",
        left=[
            (title, reasons.items())
            for title, reasons in (("Left out", left_out), ("Kept without a label", unlabelled))
            if reasons
        ],
    )  # fmt: skip


class _Group:
    """The rows of one run and module."""

    def __init__(self, run_id: str, module: str, part: pd.DataFrame, convergences: Mapping[str, Convergence]) -> None:
        by_module = f"{run_id}/{module}"
        self.key = by_module if by_module in convergences else run_id
        found = convergences.get(self.key)
        row = part.iloc[0]
        markers = part.dropna(subset="level").sort_values("level")["snapshot"].tolist()
        point = "" if found is None or found.point is None else str(found.point)
        self.row = [
            run_id[:8], row.backbone, row.dataset, str(row.seed), module,
            f"{row.n} × {row.channels} × {row.height} × {row.width}",
            point or "none", ", ".join(map(str, markers)) or "none", str(len(part)),
        ]  # fmt: skip
        name = f"{row.backbone} on {row.dataset}, seed {row.seed}"
        if self.key == by_module:
            name += f", {module}"
        self.caption = f"{name}: {f'T = {point}' if point else 'not converged'}"
        self.alternative = f"{name}. {found.verdict() if found else ''}"


def _facts(table: pd.DataFrame, convergences: Mapping[str, Convergence], run_id: str) -> list[tuple[str, str]]:
    facts = [
        ("Run", run_id),
        ("Rows", f"{len(table):,}, of which {int(table['level'].notna().sum()):,} are markers"),
        ("Modules", _some(table["module"], most=8)),
    ]
    found = next(iter(convergences.values()), None)
    if found is not None:
        c = found.config
        facts.append(
            (
                "Labels",
                f"by {SIGNAL_NAMES[found.signal]}: {c.levels} levels spaced by {c.spacing}; CQI with smoothing "
                f"{c.smoothing:g}, window {c.window}, threshold {c.threshold:g}, aggregation {c.aggregation}, "
                f"rule {c.rule}",
            )
        )
    return facts


def _summary(table: pd.DataFrame, left_out: Mapping[str, str], unlabelled: Mapping[str, str]) -> list[str]:
    labelled = int(table["fmcs"].notna().sum())
    texts = [
        f"{labelled:,} labelled feature-map files of {_count(table['run_id'].nunique(), 'run')}, "
        f"{_count(table['backbone'].nunique(), 'backbone')} and {_count(table['dataset'].nunique(), 'data set')}."
    ]
    if left_out:
        texts.append(f"{_count(len(left_out), 'run')} asked for could not be used, wholly or in part: see “Left out”.")
    if unlabelled:
        texts.append(f"{_count(len(unlabelled), 'run')} in it {'has' if len(unlabelled) == 1 else 'have'} no label.")
    return texts


def _steps(table: pd.DataFrame, run_id: str, left_out: Mapping[str, str], unlabelled: Mapping[str, str]) -> list[str]:
    runs, backbones = table["run_id"].nunique(), table["backbone"].nunique()
    steps = []
    if left_out or unlabelled:
        steps.append(
            "Runs without a label mostly need longer training or more snapshots before they converge; the reasons are "
            "below."
        )
    if runs > 1:
        steps.append(f"Train a predictor: `fmce train-fmce-net --fmcs-run {run_id} --cross-validate`.")
    else:
        steps.append("Add runs with other seeds, `fmce build-fmcs --seeds 0,1,2`: one run cannot be scored on another.")
    if backbones < WIDE:
        steps.append(
            f"For a predictor of models with other backbones, add some: {_count(backbones, 'backbone')} will not teach "
            "it about one that it has not seen."
        )
    return steps


def _curves_text(convergences: Mapping[str, Convergence]) -> str:
    found = next(iter(convergences.values()), None)
    if found is None:
        return ""
    return (
        f"Smoothed {SIGNAL_NAMES[found.signal]} over snapshots, with the epoch markers (diamonds). Shaded: from the "
        "convergence point on."
    )


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _some(values: Any, most: int = 4) -> str:
    names = list(dict.fromkeys(map(str, values)))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
