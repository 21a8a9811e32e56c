"""Read every registered version and its newest evaluation, by a few searches however many there are. Loads no torch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fmce_mlflow.evaluation.states import State, standing
from fmce_mlflow.method.fmce_net.interval import interval
from fmce_mlflow.promotion.registry import every, find_model, list_versions, model_id_of
from fmce_mlflow.runs.metric_names import metric_name
from fmce_mlflow.runs.run import ROLE_TAG
from fmce_mlflow.safety.credentials import without_credentials
from fmce_mlflow.showing.versions import Evaluation, ModuleScore, Overview, Version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

PAGE = 1000  # of a search, which MLflow's servers all give
CHUNK = 100  # ids in one filter
PREDICTORS = {"fmce_net", "calibration", "tuning"}
"""Roles of runs whose models are predictors, which score others."""
SCORE, DEVIATION, DRAWN = "fmcs_predicted", "fmcs_std", "fmce_untouched"
LOCAL_UI = "http://127.0.0.1:5000"
DATABASES = ("sqlite:", "postgresql", "mysql", "mssql")
_EVALUATIONS = "tags.`fmce.model_uri` LIKE '%'"


def read_overview(client: MlflowClient, name: str = "", ui: str | None = None) -> Overview:
    """All versions of the registry, or those of one model, each with its newest evaluation or why it has none.

    Args:
        client: MLflow client.
        name: A registered model; empty: all.
        ui: Address of MLflow's pages; None: the tracking server itself, or where ``mlflow ui`` shows a database.

    Raises:
        RunError: If there is no such model.
    """
    if name:
        registered = [find_model(client, name)]
        found = list_versions(client, name)
    else:
        registered = list(every(partial(client.search_registered_models, max_results=PAGE)))
        found = list(every(partial(client.search_model_versions, max_results=PAGE)))
    experiments = [one.experiment_id for one in every(partial(client.search_experiments, max_results=PAGE))]
    runs = _runs_by_model(client, experiments) if found else {}
    aliases = _aliases(registered)
    made = [_version(one, aliases[one.name, str(one.version)], _of(one, runs)) for one in found]
    asked = [one for one, mine in zip(found, made, strict=True) if mine.evaluation is None and not mine.why]
    reasons = _reasons(client, asked, experiments) if experiments else {}
    by_model: dict[str, list[Version]] = {model.name: [] for model in sorted(registered, key=lambda one: one.name)}
    for one, version in zip(found, made, strict=True):
        why = version.why or reasons.get((one.name, str(one.version)), "")
        by_model.setdefault(one.name, []).append(replace(version, why=why))
    models = {model: tuple(sorted(versions, key=lambda one: one.number)) for model, versions in by_model.items()}
    address, notes = _pages(client.tracking_uri) if ui is None else (ui, ())
    return Overview(without_credentials(client.tracking_uri), models, without_credentials(address).rstrip("/"), notes)


def _pages(tracking_uri: str) -> tuple[str, tuple[str, ...]]:
    """Where MLflow shows what is in a store, and what is to be done before it does; empty where that is not known."""
    if tracking_uri.startswith(("http://", "https://")):
        return tracking_uri, ()
    if tracking_uri.startswith(DATABASES):
        how = f"`mlflow ui --backend-store-uri {without_credentials(tracking_uri)}`"
        return LOCAL_UI, (f"The links lead to {LOCAL_UI}, where {how} shows the runs.",)
    return "", ()


def _aliases(registered: Iterable[RegisteredModel]) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """By model and version; searches for versions may leave them out."""
    found: dict[tuple[str, str], tuple[str, ...]] = defaultdict(tuple)
    for model in registered:
        for alias, number in sorted(model.aliases.items()):
            found[model.name, str(number)] += (alias,)
    return found


def _runs_by_model(client: MlflowClient, experiments: list[str]) -> Mapping[str, list[Run]]:
    """Runs that evaluated a model, the newest first, by its id and by its URI."""
    found: dict[str, list[Run]] = defaultdict(list)
    newest = partial(
        client.search_runs,
        experiments,
        _EVALUATIONS,
        max_results=PAGE,
        order_by=["attributes.start_time DESC"],
    )
    for run in every(newest) if experiments else ():
        for key in {run.data.tags.get("fmce.model_id", ""), run.data.tags["fmce.model_uri"]} - {""}:
            found[key].append(run)
    return found


def _of(version: ModelVersion, runs: Mapping[str, list[Run]]) -> list[Run]:
    """The runs that evaluated a version, the newest first: by its model's id, or by its URI where a run has no id."""
    model_id = model_id_of(version)
    found = {run.info.run_id: run for run in runs.get(model_id, ())} if model_id else {}
    for uri in (f"models:/{version.name}/{version.version}", version.source):
        for run in runs.get(uri or "", ()):
            if not model_id or run.data.tags.get("fmce.model_id", model_id) == model_id:
                found[run.info.run_id] = run
    return sorted(found.values(), key=lambda run: run.info.start_time, reverse=True)


def _version(version: ModelVersion, aliases: tuple[str, ...], runs: list[Run]) -> Version:
    scored = next((run for run in runs if run.info.status == "FINISHED" and _has_scores(run)), None)
    last = runs[0] if runs else None
    stage, tags = str(version.current_stage or "None"), version.tags
    return Version(
        model=version.name,
        number=int(version.version),
        aliases=aliases,
        stage="" if stage == "None" else stage,
        created=int(version.creation_timestamp or 0),
        decision=_decision(tags),
        evaluation=evaluation_of(scored) if scored else None,
        why="" if scored else _why(version, last),
        attempt=(last.info.experiment_id, last.info.run_id) if last and not scored else None,
    )


def _decision(tags: Mapping[str, str]) -> str:
    """What the last promotion decided; of one that was carried out, the alias or stage says it."""
    decision = tags.get("fmce.promotion.decision", "")
    target = tags.get("fmce.promotion.target", "")
    if decision not in ("refused", "failed", "not decided"):
        return ""
    return f"{decision} for {target}" if target else decision


def _has_scores(run: Run) -> bool:
    return any(name == SCORE or name.startswith(f"{SCORE}/") for name in run.data.metrics)


def evaluation_of(run: Run) -> Evaluation:
    """An evaluation as its run's metrics and tags tell it."""
    tags, metrics = run.data.tags, run.data.metrics
    named = list(filter(None, tags.get("fmce.modules", "").split(",")))
    by_metric = {metric_name(name): name for name in named}
    logged = [key.partition("/")[2] for key in metrics if key.startswith(f"{SCORE}/")]
    keys = [*(key for key in by_metric if key in logged), *(key for key in logged if key not in by_metric)]
    unknown = {metric_name(name) for name in tags.get("fmce.unknown_modules", "").split(",") if name}
    scores = {key: _score(by_metric.get(key, key), key, metrics, known=key not in unknown) for key in keys}
    return Evaluation(
        run.info.run_id,
        run.info.experiment_id,
        int(run.info.start_time),
        tuple(scores.values()),
        _verdict(metrics.get(SCORE, math.nan), tags.get("fmce.least_mature", ""), list(scores.values())),
        tags.get("fmce.predictor", ""),
        tags.get("fmce.images", ""),
        tags.get("fmce.image_set", ""),
    )


def _score(module: str, key: str, metrics: Mapping[str, float], *, known: bool) -> ModuleScore:
    fmcs, std = metrics[f"{SCORE}/{key}"], metrics.get(f"{DEVIATION}/{key}", 0.0)
    low, high = interval(fmcs, std)
    state: State = standing(fmcs, low, high) if known else "unknown"
    if fmcs == 0 and metrics.get(f"{DRAWN}/{key}", 0.0) >= 1:
        state = "untrained"
    return ModuleScore(module, fmcs, low, high, state)


def _verdict(overall: float, least: str, scores: list[ModuleScore]) -> ModuleScore | None:
    """The score of the module that decides: the one that the run names, else the one whose score is the model's."""
    if not math.isfinite(overall):
        return None
    deciding = [one for one in scores if one.module == least] or [one for one in scores if one.fmcs == overall]
    return deciding[0] if deciding else ModuleScore("", overall, overall, overall, standing(overall, overall, overall))


def _why(version: ModelVersion, last: Run | None) -> str:
    """Why a version has no score, as far as the registry and its newest run tell; else empty."""
    if version.status != "READY":
        what = version.status_message or f"its registration is {version.status.lower().replace('_', ' ')}"
        return f"It is not ready: {what}."
    if problem := version.tags.get("fmce.problem"):
        return problem
    if last is None:
        return ""
    if last.info.status == "FINISHED":
        return "Its weights alone were evaluated, without images."
    how = {"RUNNING": "is still running", "SCHEDULED": "has not begun", "KILLED": "was stopped"}
    return f"Its evaluation {how.get(last.info.status, 'failed')}."


def _reasons(client: MlflowClient, asked: list[ModelVersion], experiments: list[str]) -> dict[tuple[str, str], str]:
    """Why versions that no run is about have no score: they are predictors, their model is gone, or nobody tried."""
    roles: dict[str | None, str] = {}
    for ids in _chunks({one.run_id for one in asked if one.run_id}):
        search = partial(client.search_runs, experiments, f"attributes.run_id IN ({ids})", max_results=PAGE)
        roles |= {run.info.run_id: run.data.tags.get(ROLE_TAG, "") for run in every(search)}
    there: set[str] = set()
    for ids in _chunks({model_id_of(one) for one in asked} - {""}):
        models = partial(client.search_logged_models, experiments, f"model_id IN ({ids})", max_results=CHUNK)
        there |= {model.model_id for model in every(models)}
    found = {}
    for one in asked:
        model_id, why = model_id_of(one), "It has not been evaluated yet."
        if roles.get(one.run_id, "") in PREDICTORS:
            why = "It is a predictor, which scores other models."
        elif model_id and model_id not in there:
            why = f"Its logged model {model_id} is deleted."
        found[one.name, str(one.version)] = why
    return found


def _chunks(ids: set[str]) -> Iterator[str]:
    """Ids as the lists of filters, so many at a time; what MLflow cannot have given is left out."""
    listed = sorted(one for one in ids if one.replace("-", "").isalnum())
    for start in range(0, len(listed), CHUNK):
        yield ", ".join(f"'{one}'" for one in listed[start : start + CHUNK])
