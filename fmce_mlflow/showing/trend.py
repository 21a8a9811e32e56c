"""The scores of a model over its versions, as a small chart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from fmce_mlflow.evaluation.states import MATURE
from fmce_mlflow.report import svg
from fmce_mlflow.showing.versions import ModuleScore, Version

WIDTH, TOP, BOTTOM = 250, 6, 46
MOST_DOTS = 30
Scored = list[tuple[int, Version, ModuleScore]]  # place among the versions, ascending


def trend(versions: Sequence[Version]) -> Markup:
    """FMCS with its interval by version, ascending; empty where fewer than two have a score."""
    scored = [(place, one, one.verdict) for place, one in enumerate(versions) if one.verdict is not None]
    if len(scored) < 2:
        return Markup()
    x, y = svg.Scale(0, len(versions) - 1, 12, WIDTH - 12), svg.Scale(0, 1, BOTTOM, TOP)
    parts = [
        svg.line(4, BOTTOM, WIDTH - 4, BOTTOM, "axis"),
        svg.line(4, y(MATURE), WIDTH - 4, y(MATURE), "bar"),
    ]
    for part in _comparable(scored):
        at = np.array([place for place, _, _ in part])
        low, fmcs, high = (np.array([getattr(score, end) for *_, score in part]) for end in ("low", "fmcs", "high"))
        parts.append(svg.path(x, y, np.concatenate([at, at[::-1]]), np.concatenate([low, high[::-1]]), "band"))
        parts.append(svg.path(x, y, at, fmcs, "thin"))
        if len(part) == 1:
            parts.append(svg.line(x(at[0]), y(low[0]), x(at[0]), y(high[0]), "thin"))
        if len(part) == 1 or len(scored) <= MOST_DOTS:
            parts += [svg.dot(x(place), y(score.fmcs), 2.2, "fill-blue") for place, _, score in part]
    place, _, last = scored[-1]
    parts.append(svg.dot(x(place), y(last.fmcs), 3.4, "fill-blue"))
    parts.append(svg.text(4, BOTTOM + 12, str(versions[0].number), "start", "t-tick"))
    parts.append(svg.text(WIDTH - 4, BOTTOM + 12, str(versions[-1].number), "end", "t-tick"))
    return svg.drawing(parts, BOTTOM + 15, _label(scored), WIDTH)


def _comparable(scored: Scored) -> list[Scored]:
    """Stretches of versions that were evaluated alike."""
    parts: list[Scored] = []
    for one in scored:
        before = parts[-1][-1][1].evaluation if parts else None
        now = one[1].evaluation
        if before is not None and now is not None and before.comparable(now):
            parts[-1].append(one)
        else:
            parts.append([one])
    return parts


def _label(scored: Scored) -> str:
    (_, first, start), (_, last, end) = scored[0], scored[-1]
    lowest = min(scored, key=lambda one: one[2].fmcs)
    return (
        f"FMCS of {len(scored)} versions, from {start.fmcs:.2f} (version {first.number}) to {end.fmcs:.2f} (version "
        f"{last.number}); lowest {lowest[2].fmcs:.2f} (version {lowest[1].number})"
    )
