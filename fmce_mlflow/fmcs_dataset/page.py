"""One HTML page per FMCS-dataset: what is in it, where its labels come from, what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fmce_mlflow.method.convergence.config import SIGNAL_NAMES
from fmce_mlflow.method.convergence.moving import how_it_moved
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.report.loss_chart import loss_chart
from fmce_mlflow.report.svg import histogram_chart
from fmce_mlflow.report.templating import render
from fmce_mlflow.wording import counted, some

MOST_CURVES = 60  # curves that are drawn; of more runs, the first
WIDE = 4  # backbones from which on a predictor has something to learn about one that it has not seen
COLUMNS = {
    "run": "name", "backbone": "name", "data": "name", "seed": "number", "module": "name", "maps": "number",
    "T": "number", "markers": "name", "snapshots": "number",
}  # fmt: skip
"""Of the page's table, with how each is set."""


def dataset_page(
    table: pd.DataFrame,
    convergences: Mapping[str, Convergence],
    *,
    run_id: str,
    left_out: Mapping[str, str] | None = None,
    unlabelled: Mapping[str, str] | None = None,
) -> str:
    """The page of an FMCS-dataset, HTML to be written as UTF-8; the fields are those of ``FmcsDataset``."""
    left_out, unlabelled = left_out or {}, unlabelled or {}
    labels = table["fmcs"].dropna().to_numpy(float)
    groups = [
        _group(str(key[0]), str(key[1]), rows, convergences)
        for key, rows in table.groupby(["run_id", "module"], sort=False, observed=True)
    ]
    curves: dict[str, _Group] = {}
    for group in groups:
        if group.convergence:
            curves.setdefault(group.key, group)
    histogram = None
    if len(labels):
        text = f"FMCS of {len(labels):,} labelled rows; {(labels == 1).mean():.0%} of them have 1"
        histogram = histogram_chart(labels, quantity="FMCS", count="rows", label=text)
    return render(
        "dataset.html.j2",
        run_id=run_id,
        table=table,
        judged=next(iter(convergences.values()), None),
        signals=SIGNAL_NAMES,
        some=some,
        summary=_summary(table, left_out, unlabelled),
        steps=_steps(table, run_id, incomplete=bool(left_out or unlabelled)),
        columns=COLUMNS,
        groups=groups,
        moves=[group.moved for group in groups if group.moved],
        histogram=histogram,
        curves=list(curves.values())[:MOST_CURVES],
        more_curves=len(curves) - MOST_CURVES,
        loss_chart=loss_chart,
        left_out=left_out,
        unlabelled=unlabelled,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """The rows of one run and module: what stands in the table, and which curve is theirs."""

    row: dict[str, str]
    key: str
    name: str
    convergence: Convergence | None
    moved: str  # how its weights did, in a sentence; empty where they moved all the time, or that is not known

    @property
    def caption(self) -> str:
        point = self.convergence.point if self.convergence else None
        return f"{self.name}: {'not converged' if point is None else f'T = {point}'}"

    @property
    def alternative(self) -> str:
        return f"{self.name}. {self.convergence.verdict() if self.convergence else ''}"


def _group(run_id: str, module: str, rows: pd.DataFrame, convergences: Mapping[str, Convergence]) -> _Group:
    by_module = f"{run_id}/{module}"
    key = by_module if by_module in convergences else run_id
    found, first = convergences.get(key), rows.iloc[0]
    moved_from, moved_until = (_whole(first, name) for name in ("moved_from", "moved_until"))
    never = moved_from is None and moved_until is not None
    last = int(rows["snapshot"].max()) if found is None else len(found.losses) - 1
    story = how_it_moved(moved_from, moved_until, last)
    marked = rows.dropna(subset="level").sort_values(["level", "snapshot"])
    markers = [] if never else marked.drop_duplicates("level", keep="last")["snapshot"].tolist()
    point = "none" if found is None or found.point is None or never else str(found.point)
    name = f"{first.backbone} on {first.dataset}, seed {first.seed}"
    row = {
        "run": run_id[:8],
        "backbone": first.backbone,
        "data": first.dataset,
        "seed": str(first.seed),
        "module": module,
        "maps": f"{first.n} × {first.channels} × {first.height} × {first.width}",
        "T": point,
        "markers": ", ".join(map(str, markers)) or "none",
        "snapshots": str(len(rows)),
    }
    title = f"{name}, {module}" if key == by_module else name
    return _Group(row, key, title, found, f"`{module}` of run {run_id[:8]} {story}." if story else "")


def _whole(row: Any, column: str) -> int | None:
    """A whole number of a row, None where it has none."""
    value = row.get(column)
    return None if value is None or pd.isna(value) else int(value)


def _summary(table: pd.DataFrame, left_out: Mapping[str, str], unlabelled: Mapping[str, str]) -> list[str]:
    labelled = int(table["fmcs"].notna().sum())
    texts = [
        f"{labelled:,} labelled feature-map files of {counted(table['run_id'].nunique(), 'run')}, "
        f"{counted(table['backbone'].nunique(), 'backbone')} and {counted(table['dataset'].nunique(), 'data set')}."
    ]
    if left_out:
        texts.append(f"{counted(len(left_out), 'requested run')} could not be used, wholly or in part: see “Left out”.")
    labelled_runs = set(table.loc[table["fmcs"].notna(), "run_id"])
    for what, runs in (
        ("no label", [one for one in unlabelled if one not in labelled_runs]),
        ("rows without a label", [one for one in unlabelled if one in labelled_runs]),
    ):
        if runs:
            texts.append(f"{counted(len(runs), 'run')} in it {'has' if len(runs) == 1 else 'have'} {what}.")
    return texts


def _steps(table: pd.DataFrame, run_id: str, *, incomplete: bool) -> list[str]:
    runs, backbones = table["run_id"].nunique(), table["backbone"].nunique()
    steps = []
    if incomplete:
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
            f"For a predictor of models with other backbones, add some: {counted(backbones, 'backbone')} will not "
            "teach it about one that it has not seen."
        )
    return steps
