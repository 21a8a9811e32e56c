"""One HTML page of a registry: versions in rows, modules in columns, each cell a link to its run. Loads no torch.

It is sorted by a script; without scripts it reads the same. Every name that comes from outside is escaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import quote

from markupsafe import Markup, escape

from fmce_mlflow.evaluation.states import BADGES, MATURE
from fmce_mlflow.report.svg import shortened
from fmce_mlflow.report.templating import render, script
from fmce_mlflow.showing.trend import trend
from fmce_mlflow.showing.versions import Evaluation, ModuleScore, Overview, Version
from fmce_mlflow.wording import counted, some

MOST_COLUMNS = 16
LONGEST = 40  # characters of a name in a row; the whole one is in the table of models
RANKS = {state: rank for rank, state in enumerate(BADGES)}
"""How verdicts are sorted, the best first."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Condition = tuple[str, str, str]
"""Predictor, images and what these are called."""


def overview_page(overview: Overview, now: datetime | None = None) -> str:
    """The page, HTML to be written as UTF-8.

    Args:
        overview: What it shows.
        now: The time that it gives as its own; None: the present.

    Example:
        >>> score = ModuleScore("conv5", 0.95, 0.92, 0.98, "mature")
        >>> made = Evaluation("3f2a", "1", 1_700_000_000_000, (score,), score)
        >>> page = overview_page(Overview("sqlite:///mlflow.db", {"digits": (
        ...     Version(model="digits", number=1, evaluation=made),
        ...     Version(model="digits", number=2, why="It has not been evaluated yet."),
        ... )}))
        >>> "0.92–0.98" in page and "It has not been evaluated yet." in page
        True
    """
    source, policy = script("overview.js")
    letters = _letters(overview)
    alone = len(overview.models) == 1
    return render(
        "overview.html.j2",
        title=next(iter(overview.models)) if alone else "Registered models",
        facts=_facts(overview, now or datetime.now(timezone.utc), letters),
        notes=overview.notes,
        models=[_model(name, versions, overview.ui) for name, versions in overview.models.items()],
        tables=_tables(overview, letters, alone=alone),
        alone=alone,
        letters={letter: _told(condition) for condition, letter in letters.items()} if len(letters) > 1 else {},
        reasons=_reasons(overview.versions),
        badges=BADGES,
        ranks=RANKS,
        mature=MATURE,
        code=source,
        source=policy,
    )


@dataclass(frozen=True, slots=True)
class _Model:
    """A model's row."""

    name: str
    link: Markup
    versions: int
    evaluated: int
    number: int  # of the newest version that was evaluated
    newest: ModuleScore | None
    lags: str
    run: Markup
    held: list[str]
    trend: Markup


@dataclass(frozen=True, slots=True)
class _Row:
    """A version's row, with its scores by the columns of its table."""

    name: str
    link: Markup
    version: Version
    evaluation: Evaluation | None
    run: Markup
    held: str
    lags: str
    scores: list[ModuleScore | None]
    letter: str
    time: str


@dataclass(frozen=True, slots=True)
class _Table:
    """Versions whose modules share columns."""

    title: str
    rows: list[_Row]
    modules: list[str]
    scored: bool
    left_out: str


def _model(name: str, versions: Sequence[Version], ui: str) -> _Model:
    scored = [one for one in versions if one.evaluation is not None]
    last = scored[-1] if scored else None
    return _Model(
        name=name,
        link=_link(ui, "models", name),
        versions=len(versions),
        evaluated=len(scored),
        number=last.number if last else 0,
        newest=last.verdict if last else None,
        lags=_lags(last) if last else "–",
        run=_run(last, ui) if last else Markup(),
        held=[f"{_held(one)}: version {one.number}" for one in reversed(versions) if _held(one)],
        trend=trend(versions),
    )


def _tables(overview: Overview, letters: Mapping[Condition, str], *, alone: bool) -> list[_Table]:
    """A table for all models that share modules, directly or through others; one for those without any score."""
    groups: list[tuple[dict[str, None], list[str]]] = []  # modules in order, models
    silent = []
    for name, versions in overview.models.items():
        modules = _modules(versions)
        if not modules:
            silent += [name] if versions else []
            continue
        near = [group for group in groups if not modules.keys().isdisjoint(group[0])]
        groups = [group for group in groups if group not in near]
        merged = {module: None for group in [*near, (modules, [])] for module in group[0]}
        groups.append((merged, sorted([name, *(model for _, models in near for model in models)])))
    tables = [
        _table(overview, list(modules), models, letters, alone=alone, several=len(groups) > 1)
        for modules, models in groups
    ]
    if silent:
        tables.append(_table(overview, [], silent, letters, alone=alone, several=bool(tables)))
    return tables


def _modules(versions: Iterable[Version]) -> dict[str, None]:
    """All modules that were scored, in the order of the network."""
    return {one.module: None for version in versions if version.evaluation for one in version.evaluation.scores}


def _table(
    overview: Overview,
    modules: list[str],
    models: Sequence[str],
    letters: Mapping[Condition, str],
    *,
    alone: bool,
    several: bool,
) -> _Table:
    versions = [one for name in models for one in reversed(overview.models[name])]
    shown = _shown(modules, versions)
    title = f"Versions of {some([shortened(name, 30) for name in models], 3)}" if several else "Versions"
    rows = [_row(one, shown, letters, overview.ui, alone=alone) for one in versions]
    left_out = ""
    if len(shown) < len(modules):
        left_out = (
            f"{len(shown)} of {counted(len(modules), 'module')} are shown, those that lag most often; the others are "
            "in the runs."
        )
    return _Table(title, rows, shown, bool(modules), left_out)


def _shown(modules: list[str], versions: Iterable[Version]) -> list[str]:
    """The modules that there are columns for: of too many those that decide most often, in the order of the network."""
    decided = Counter(one.verdict.module for one in versions if one.verdict)
    chosen = sorted(modules, key=lambda name: -decided[name])[:MOST_COLUMNS]
    return [name for name in modules if name in chosen]


def _row(version: Version, modules: Sequence[str], letters: Mapping[Condition, str], ui: str, *, alone: bool) -> _Row:
    found = version.evaluation
    scores = {one.module: one for one in found.scores} if found else {}
    name, number = version.model, version.number
    return _Row(
        name=str(number) if alone else f"{shortened(name, LONGEST)} {number}",
        link=_link(ui, "models", name, "versions", str(number)),
        version=version,
        evaluation=found,
        run=_run(version, ui),
        held=_held(version),
        lags=_lags(version),
        scores=[scores.get(module) for module in modules],
        letter=letters[_condition(found)] if found else "",
        time=_time(found.time / 1000) if found else "",
    )


def _held(version: Version) -> str:
    return ", ".join(filter(None, [*version.aliases, version.stage]))


def _lags(version: Version) -> str:
    """The module that decides where it is not mature."""
    verdict = version.verdict
    return "–" if verdict is None or verdict.state == "mature" else verdict.module or "–"


def _run(version: Version, ui: str) -> Markup:
    """Where the run is that a row is about; empty without one."""
    found = version.evaluation
    where = (found.experiment_id, found.run_id) if found else version.attempt
    return _link(ui, "experiments", where[0], "runs", where[1]) if where else Markup()


def _link(ui: str, *parts: str) -> Markup:
    """An address in MLflow's pages, escaped already; empty where there are none to lead to."""
    return escape(f"{ui}/#/{'/'.join(quote(part, safe='') for part in parts)}") if ui else Markup()


def _condition(found: Evaluation) -> Condition:
    return found.predictor, found.images, found.image_set


def _letters(overview: Overview) -> dict[Condition, str]:
    """A letter for each predictor and set of images, A for the most frequent."""
    found = Counter(_condition(one.evaluation) for one in overview.versions if one.evaluation)
    return {condition: _letter(place) for place, (condition, _) in enumerate(found.most_common())}


def _letter(place: int) -> str:
    """The letters of a place: A … Z, AA and so on.

    Example:
        >>> _letter(0), _letter(25), _letter(26), _letter(701)
        ('A', 'Z', 'AA', 'ZZ')
    """
    before, at = divmod(place, len(LETTERS))
    return (_letter(before - 1) if before else "") + LETTERS[at]


def _told(condition: Condition) -> str:
    predictor, images, image_set = condition
    what = image_set or "images that the run does not name"
    digest = f" ({shortened(images, 19)})" if images else ""
    return f"{what}{digest}, by the predictor {shortened(predictor, 40)}" if predictor else f"{what}{digest}"


def _facts(overview: Overview, now: datetime, letters: Mapping[Condition, str]) -> dict[str, str]:
    versions = overview.versions
    evaluated = sum(one.evaluation is not None for one in versions)
    facts = {"Registry": overview.store}
    if len(overview.models) != 1:
        facts["Models"] = f"{len(overview.models):,}"
    facts["Versions"] = f"{len(versions):,}, {evaluated:,} of them evaluated"
    if len(letters) == 1:
        facts["Evaluated on"] = _told(next(iter(letters)))
    return facts | {"As of": f"{_time(now.timestamp())} UTC, as are all times here"}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M")


def _reasons(versions: Sequence[Version]) -> dict[str, str]:
    """Why versions have no score, each reason with the versions that it is true of, the most frequent first."""
    found: dict[str, list[str]] = {}
    for one in versions:
        if one.why:
            found.setdefault(one.why, []).append(f"{shortened(one.model, LONGEST)} {one.number}")
    order = sorted(found.items(), key=lambda item: -len(item[1]))
    return {f"{why.rstrip('.')} ({counted(len(names), 'version')})": some(names, 12) for why, names in order}
