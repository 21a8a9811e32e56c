"""Calibrate a predictor to one architecture as one MLflow run, and tie it to the registered model of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.entities import Metric

from fmce_mlflow.backbone.anew import Anew, anew
from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.errors import ConfigError, NonFiniteLossError, PredictorError, RunError
from fmce_mlflow.method.fitting.bags import Bags
from fmce_mlflow.method.fitting.calibrate import Calibrated, calibrated
from fmce_mlflow.method.fitting.protocols import Scores, score
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.method.networks.architecture import architecture
from fmce_mlflow.predictor.card import model_card, predictor_info
from fmce_mlflow.predictor.find import NamedPredictor, find_predictor
from fmce_mlflow.predictor.flavor import Predictor, log_predictor
from fmce_mlflow.predictor.options import CalibrationOptions
from fmce_mlflow.predictor.recorded_bags import RecordedBags, labelling, recorded_bags
from fmce_mlflow.predictor.tied import CALIBRATION, Place, place_of, tie
from fmce_mlflow.runs.logged_models import check_name, register
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.torch_models import TorchModel, load_torch_model
from fmce_mlflow.safety.credentials import without_credentials
from fmce_mlflow.wording import counted

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from fmce_mlflow.runs.uploads.options import UploadOptions

FIGURES = ("mae", "accuracy", "within_one", "spearman", "coverage", "width")
"""Of held-out runs, logged as ``held_out/…`` and, of the predictor as it was, ``held_out/before/…``."""
ONE_RUN = "one run: not measured"


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """All that a calibration needs, found and tried before a run is made."""

    options: CalibrationOptions
    model: TorchModel
    place: Place | None  # where the model is on the server
    start: NamedPredictor
    source: RecordedBags | None  # of the runs that were named
    training: Anew | None  # else what is trained


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """What a calibration came to."""

    run_id: str
    predictor_uri: str  # models:/NAME/VERSION where it was registered, else models:/m-…
    runs: tuple[str, ...]  # that it is calibrated to
    said: str
    tied_to: str  # in words; empty: to nothing


def prepare(
    client: MlflowClient, options: CalibrationOptions, training: BackboneOptions | None = None, *, factory: str = ""
) -> Prepared:
    """Find all that a calibration needs, and refuse what cannot work.

    Args:
        client: MLflow client.
        options: What to calibrate.
        training: How to train the architecture anew, where no runs are named.
        factory: A backbone that builds the model's network; empty: found out.

    Raises:
        FmceError: For every mistake that a user can make.
    """
    if not options.source_runs and training is None:
        raise ConfigError("name recorded runs in source-runs, or in dataset the images to train the architecture on")
    start = find_predictor(options.predictor, client)
    net = start.predictor.net
    if not isinstance(net, SetNet):
        raise PredictorError(
            f"The predictor {without_credentials(start.name)} is of kind {net.kind}, which reads channels by their "
            "place and cannot be calibrated to other runs. Name one of kind set."
        )
    model = load_torch_model(options.model, client)
    place = place_of(client, options.model, model.model_id)
    if place is not None and place.name and options.register_as is None:
        options = replace(options, register_as=f"{place.name}-predictor")
    check_name(client, options.register_as)
    modules = training.modules if training is not None else ()
    if options.source_runs:
        source = recorded_bags(client, options.source_runs, model, start.predictor, modules)
        return Prepared(options, model, place, start, source, None)
    assert training is not None
    config, signal = labelling(client, start.predictor, net.config.levels)
    training = replace(training, evidence=True, convergence=config, signal=signal, register_as=None)
    return Prepared(options, model, place, start, None, anew(model, training, factory))


def calibrate(run: Run, prepared: Prepared, *, uploads: UploadOptions | None = None) -> CalibrationResult:
    """Calibrate a predictor, log and register it, and tie it to the model.

    Args:
        run: The run, with role ``calibration`` from here on; the caller closes it.
        prepared: By :func:`prepare`.
        uploads: How snapshots of trainings wait for a server.

    Raises:
        RunError: If a training did not converge.
    """
    options, model, start = prepared.options, prepared.model, prepared.start
    run.set_role("calibration")
    run.log_params({"model": model.uri, "predictor": start.name, **options.fit.to_dict(), "tie": options.tie})
    source = prepared.source or _trained(run, prepared, uploads)
    for note in source.notes:
        run.say(f"Note: {note}")
    net = start.predictor.net
    assert isinstance(net, SetNet)
    runs = tuple(dict.fromkeys(source.bags.column("run_id").tolist()))
    run.log_params({"source_runs": ",".join(runs), "bags": len(source.bags.row)})
    found = calibrated(net, source.bags, options.fit)
    scores = _scores(found, source.bags, net.config.levels)
    said = _said(runs, prepared, scores)
    run.say(said)
    _log_figures(run, found, scores)
    info = _info(prepared, source.bags, runs, found, scores, said)
    predictor = Predictor(found.net, info, model_card(info, found.net))
    model_id = log_predictor(run, predictor)
    run.client.log_text(run.id, predictor.card, "model_card.md")
    uri = f"models:/{model_id}"
    if options.register_as:
        uri = f"models:/{options.register_as}/{register(run.client, run.id, model_id, options.register_as)}"
        run.say(f"Registered as {uri}.")
    tied_to = "" if prepared.place is None else tie(run.client, prepared.place, uri, options.tie)
    run.set_tags({"fmce.calibrated_model": str(prepared.place or model.uri), "fmce.calibrated_predictor": uri})
    how = f"Tied to {tied_to}: its evaluations use it by themselves." if tied_to else f"Name it in --predictor {uri}."
    run.say(how)
    return CalibrationResult(run.id, uri, runs, said, tied_to)


def _trained(run: Run, prepared: Prepared, uploads: UploadOptions | None) -> RecordedBags:
    """The bags of trainings from fresh weights, each a run below this one."""
    training, seeds = prepared.training, prepared.options.seeds
    assert training is not None
    for note in training.notes:
        run.say(f"Note: {note}")
    made: list[str] = []
    for number, seed in enumerate(seeds, 1):
        run.say(f"Training {number} of {len(seeds)}, from fresh weights.")
        below = run.nested(role="backbone")
        options = replace(training.options, training=replace(training.options.training, seed=seed))
        try:
            train_backbone(below, options, data=training.data, uploads=uploads, network=training.network)
        except NonFiniteLossError as error:
            raise RunError(
                f"The training with seed {seed}, run {below.id}, diverged: {error} Try a smaller --lr."
            ) from error
        made.append(below.id)
    return recorded_bags(run.client, made, prepared.model, prepared.start.predictor, training.options.modules)


def _scores(found: Calibrated, bags: Bags, levels: int) -> dict[str, Scores] | None:
    """On runs that were left out, before and after; None of a single run."""
    held = found.held_out
    if held is None:
        return None
    rows = bags.table.iloc[bags.row[held.index]].reset_index(drop=True)
    return {"before": score(rows, held.before, levels), "after": score(rows, held.after, levels)}


def _said(runs: Sequence[str], prepared: Prepared, scores: Mapping[str, Scores] | None) -> str:
    """A sentence about the calibration."""
    of = f"Calibrated by {counted(len(runs), 'run')} ({', '.join(runs)}) of {prepared.place or prepared.model.uri}"
    start = f"from predictor {without_credentials(prepared.start.name)}"
    if scores is None:
        return f"{of}, {start}; {ONE_RUN}."
    before, after = (scores[name].metrics["mae"] for name in ("before", "after"))
    return f"{of}, {start}; mean error on runs that were left out: {before:.3f} before, {after:.3f} after."


def _log_figures(run: Run, found: Calibrated, scores: Mapping[str, Scores] | None) -> None:
    run.client.log_batch(run.id, metrics=[Metric("validation_mae", v, 0, i) for i, v in enumerate(found.validation)])
    metrics: dict[str, float] = {"passes": float(found.epochs)}
    for name, one in (scores or {}).items():
        prefix = "held_out/" if name == "after" else "held_out/before/"
        metrics |= {prefix + k: v for k, v in one.metrics.items() if k in FIGURES and np.isfinite(v)}
    run.log_metrics(metrics)


def _info(
    prepared: Prepared,
    bags: Bags,
    runs: Sequence[str],
    found: Calibrated,
    scores: Mapping[str, Scores] | None,
    said: str,
) -> dict[str, Any]:
    """What the predictor says of itself: that of the one it began as, with the calibration."""
    base, net = prepared.start.predictor.info, found.net
    measured = {} if scores is None else {"run": {net.kind: scores["after"], f"{net.kind}, before": scores["before"]}}
    own = predictor_info(bags.table, str(base.get("fmcs_run", "")), {}, measured)
    corpus = base.get("corpus", [])
    return {
        **{name: value for name, value in base.items() if name not in ("failures", "known_failures", CALIBRATION)},
        "fmcs_run": own["fmcs_run"],
        "corpus": [*(corpus if isinstance(corpus, list) else []), *own["corpus"]],
        "figures": own["figures"],
        "corpus_distance": _distances(base.get("corpus_distance"), net, bags),
        CALIBRATION: {
            "model": str(prepared.place or without_credentials(prepared.model.uri)),
            "architecture": architecture(prepared.model.network),
            "modules": list(dict.fromkeys(bags.table["module"].tolist())),
            "runs": list(runs),
            "predictor": prepared.start.identity,
            "passes": found.epochs,
            "said": said,
        },
    }


def _distances(known: Any, net: SetNet, bags: Bags) -> dict[str, float]:
    """How far is far from here on: what it is calibrated to is known."""
    rows = bags.rows(reference=net.config.reference, evidence=net.wants_evidence)
    own = [net.distance(rows.take(np.array([i]))) for i in range(len(bags.row))]
    before = dict(known) if isinstance(known, Mapping) else {}
    return {**before, "far": max(float(before.get("far", 0.0)), float(np.quantile(own, 0.99)))}
