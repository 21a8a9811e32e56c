"""Train and score FMCE-Net as one MLflow run: figures by protocol beside the baselines', plots, the model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from mlflow.entities import Metric
from tqdm import tqdm

from fmce_mlflow.errors import RunError
from fmce_mlflow.fmcs_dataset.log import log_input
from fmce_mlflow.fmcs_dataset.table import load_fmcs_dataset
from fmce_mlflow.method.fitting.bags import Bags, Read, collect_bags
from fmce_mlflow.method.fitting.config import Protocol
from fmce_mlflow.method.fitting.protocols import Scores, splits
from fmce_mlflow.method.fitting.threads import fits_at_once
from fmce_mlflow.method.fmce_net.kinds import FitData, NetKind, kind_named
from fmce_mlflow.predictor.card import model_card, predictor_info
from fmce_mlflow.predictor.flavor import Predictor, log_predictor
from fmce_mlflow.predictor.fmcs_source import artifact_reader, latest_fmcs_run
from fmce_mlflow.predictor.logged_weights import snapshot_alphas
from fmce_mlflow.predictor.options import NetOptions
from fmce_mlflow.predictor.protocol_scores import Task, score_protocol
from fmce_mlflow.runs.logged_models import check_name, register
from fmce_mlflow.runs.run import Run

RESULTS = "results.json"
BY_RUN = "results_by_run.json"


@dataclass(frozen=True, slots=True)
class NetResult:
    """What an FMCE-Net run came to."""

    run_id: str
    model_uri: str  # the net fitted to all groups
    scores: dict[Protocol, dict[str, Scores]]  # the net's kind, then the baselines


def train_fmce_net(run: Run, options: NetOptions) -> NetResult:
    """Score FMCE-Net by its protocols, then fit it to all groups and log it.

    Under every protocol the net is scored on bags of images, and except for ``images`` of groups, that it was not
    fitted to. The net that is logged is fitted to all of them; its model card says so.

    Args:
        run: The run, with role ``fmce_net`` from here on; the caller closes it.
        options: What to do.

    Raises:
        FmceError: For every mistake that a user can make.
    """
    run.set_role("fmce_net")
    check_name(run.client, options.register_as)
    source = options.fmcs_run or latest_fmcs_run(run.client)
    task = _prepare(run, options, source)
    with fits_at_once() if task.kind.needs_bags else nullcontext() as fits:
        whole = partial(task.kind.fit, task.data, None, task.shape, options.fit)
        fitting = fits.submit(whole).result if fits else whole
        scores = {protocol: score_protocol(run, task, protocol, fits) for protocol in options.protocols}
        _log_tables(run, scores)
        fitted = fitting()
    if task.kind.calibrates and not fitted.calibrated:
        run.say("There is one run only: nothing could be held out, so the net's interval is not calibrated.")
    curve = [Metric("validation_mae", value, 0, i) for i, value in enumerate(fitted.validation, start=1)]
    run.client.log_batch(run.id, metrics=curve)
    info = predictor_info(task.data.table, source, options.flat(), scores)
    predictor = Predictor(fitted.net, info, model_card(info, fitted.net))
    model_id = log_predictor(run, predictor)
    run.client.log_text(run.id, predictor.card, "model_card.md")
    if options.register_as:
        version = register(run.client, run.id, model_id, options.register_as)
        run.say(f"Registered as {options.register_as}, version {version}.")
    return NetResult(run.id, f"models:/{model_id}", scores)


def _prepare(run: Run, options: NetOptions, source: str) -> Task:
    """Read the FMCS-dataset and refuse what cannot work before any map is read; then draw the bags."""
    whole = load_fmcs_dataset(run.client, source)
    log_input(run.client, run.id, whole, source)
    table = whole[whole["fmcs"].notna()].reset_index(drop=True)
    levels = _levels(table, source)
    run.log_params({**options.flat(), "fmcs_run_used": source, "levels": levels})
    for protocol in options.protocols:
        splits(table, protocol, seed=options.fit.seed)  # raises where there are too few groups
    kind = kind_named(options.kind)
    kind.check(table)
    runs = table["run_id"].nunique()
    run.say(f"FMCS-dataset {source}: {len(table)} labelled maps of {runs} runs, {levels} levels.")
    read = artifact_reader(run.client)
    data = FitData(table, read, options.bags, _bags(table, read, options, kind))
    return Task(options, kind, {**options.shape(), "levels": levels}, data, _alphas(run, table, options), levels)


def _levels(table: pd.DataFrame, source: str) -> int:
    highest = table["level"].max()
    if pd.isna(highest) or highest < 1:
        raise RunError(f"The FMCS-dataset {source} has no labelled marker snapshot. Build it from converged runs.")
    return int(highest) + 1


def _bags(table: pd.DataFrame, read: Read, options: NetOptions, kind: NetKind) -> Bags | None:
    if not kind.needs_bags and not options.baselines:
        return None
    with tqdm(total=len(table), desc="Bags", unit="map", mininterval=0.5, leave=False, disable=None) as bar:
        return collect_bags(table, read, options.bags, progress=bar.update)


def _alphas(run: Run, table: pd.DataFrame, options: NetOptions) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Spectral alpha of each row, for its baseline."""
    if not options.baselines:
        return np.full(len(table), np.nan)
    with tqdm(desc="Weights", unit="model", mininterval=0.5, leave=False, disable=None) as bar:
        return snapshot_alphas(run.client, table, progress=bar.update)


def _log_tables(run: Run, scores: Mapping[Protocol, Mapping[str, Scores]]) -> None:
    names = ("accuracy", "precision", "recall", "f1", "within_one", "mae", "spearman", "coverage", "width", "maps")
    results, by_run = [], []
    for protocol, group in scores.items():
        for name, one in group.items():
            key = {"protocol": protocol, "predictor": name}
            results.append({**key, **{metric: one.metrics.get(metric, np.nan) for metric in names}})
            by_run.append(one.by_run.assign(**key))
    run.client.log_table(run.id, pd.DataFrame(results), RESULTS)
    run.client.log_table(run.id, pd.concat(by_run, ignore_index=True), BY_RUN)
