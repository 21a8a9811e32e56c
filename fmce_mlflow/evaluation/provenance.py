"""Where model and predictor come from: what the server and the predictor's own file say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException

from fmce_mlflow.errors import FmceError
from fmce_mlflow.evaluation.choices import Notes
from fmce_mlflow.evaluation.findings import ModelFacts, PredictorFacts, TrainingRun
from fmce_mlflow.method.convergence.config import Signal
from fmce_mlflow.method.convergence.verdict import Convergence, assess
from fmce_mlflow.method.fmce_net.kinds import kind_named
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.method.networks.fingerprint import Fingerprint, fingerprint, same_weights
from fmce_mlflow.predictor.find import NamedPredictor
from fmce_mlflow.recording.recorded import judged_by
from fmce_mlflow.recording.signals import Signals
from fmce_mlflow.runs.recordings import RecordingTag, recorded_signals
from fmce_mlflow.runs.torch_models import TorchModel
from fmce_mlflow.safety.credentials import hide_credentials, without_credentials
from fmce_mlflow.wording import counted, some

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def model_facts(client: MlflowClient, model: TorchModel) -> ModelFacts:
    """A model's names; where MLflow named it by its id alone, its title is the registered version that it is."""
    facts = ModelFacts(without_credentials(model.uri), model_id=model.model_id or "")
    if not facts.model_id or model.uri != f"models:/{facts.model_id}":
        return facts
    try:
        versions = json.loads(client.get_logged_model(facts.model_id).tags.get("mlflow.modelVersions", "[]"))
        title = f"models:/{versions[-1]['name']}/{versions[-1]['version']}" if versions else ""
    except (MlflowException, ValueError, LookupError, TypeError):
        title = ""
    return replace(facts, title=title)


def predictor_facts(named: NamedPredictor) -> PredictorFacts:
    """A predictor with its corpus and figures, as far as its file, which may be anybody's, says them."""
    net, info = named.predictor.net, named.predictor.info
    kind = net.kind
    return PredictorFacts(
        name=without_credentials(named.name),
        identity=hide_credentials(named.identity),
        limits=kind_named(kind).limits,
        corpus=_corpus(info),
        figures=_figures(info, kind),
        evidence=net.config.evidence if isinstance(net, SetNet) else (),
    )


def find_training_run(client: MlflowClient, model: TorchModel, notes: Notes) -> TrainingRun | None:
    """The run that trained a model, with its label of the model's snapshot; None where it is not there or not known.

    A model's metadata names it; else it is the recording in the run that logged the model, if its weights are those of
    one of the snapshots.
    """
    facts = model.facts
    if facts.source_run is None or facts.snapshot is None:
        return _recording(client, model, notes)
    try:
        run = client.get_run(facts.source_run)
        if (found := _ended(client, run)) is not None:
            return _at(run, facts.snapshot, found[1:])
        told = _told(client, run)
        labels = {m.step: m.value for m in client.get_metric_history(facts.source_run, "fmcs")}
        convergence = _convergence(client, run)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        notes.warnings.append(
            f"The run that trained the model, {facts.source_run}, is not on "
            f"{without_credentials(client.tracking_uri)}; there is no fmcs_measured."
        )
        return None
    own = told[1:] if told else ()
    return TrainingRun(facts.source_run, facts.snapshot, labels.get(facts.snapshot), convergence, *own)


def _recording(client: MlflowClient, model: TorchModel, notes: Notes) -> TrainingRun | None:
    """The recording that a model is a snapshot of."""
    if model.model_id is None:
        return None
    try:
        run_id = client.get_logged_model(model.model_id).source_run_id or ""
        run = client.get_run(run_id) if run_id else None
        found = None if run is None else _ended(client, run)
    except MlflowException:
        return None
    if run is None or found is None:
        return None
    weights, mine = found[0], fingerprint(model.network)
    same = [snapshot for snapshot, other in enumerate(weights) if same_weights(mine, other)]
    if not same:
        notes.choices.append(
            f"The model was logged in run {run_id}, which recorded a training, but its weights are those of none of "
            "the snapshots; there is no fmcs_measured."
        )
        return None
    return _at(run, same[-1], found[1:])


def _ended(client: MlflowClient, run: Run) -> tuple[list[Fingerprint], Signals, Signal] | None:
    """Of a run with a recording of another loop that has ended: as :func:`_told`."""
    return None if RecordingTag.of(run.data.tags) is None else _told(client, run)


def _told(client: MlflowClient, run: Run) -> tuple[list[Fingerprint], Signals, Signal] | None:
    """Of a run that has ended: the weights at each snapshot, what each signal says, and the one that labels it."""
    try:
        told = recorded_signals(client, run)
        if told is None:
            return None
        weights = [(float(a), float(b)) for a, b in told["weights"]]
        signals = Signals.from_dict(told)
        return weights, signals, signals.primary(told["signal"]).signal
    except (FmceError, LookupError, TypeError, ValueError, AttributeError):
        return None


def _at(run: Run, snapshot: int, told: tuple[Signals, Signal]) -> TrainingRun:
    convergence = told[0].primary(told[1])
    known = convergence.fmcs is not None and snapshot < len(convergence.fmcs)
    label = float(convergence.fmcs[snapshot]) if known else None  # type: ignore[index]
    return TrainingRun(run.info.run_id, snapshot, label, convergence, *told)


def _convergence(client: MlflowClient, run: Run) -> Convergence | None:
    """The run's losses, judged by its own constants."""
    signal, config = judged_by(run) or ("drift", None)
    if signal == "drift":
        return None
    losses = {m.step: m.value for m in client.get_metric_history(run.info.run_id, f"{signal}_loss")}
    if sorted(losses) != list(range(len(losses))):
        return None
    try:
        return assess([losses[t] for t in range(len(losses))], config, signal=signal)
    except FmceError:
        return None


def _corpus(info: Mapping[str, Any]) -> str:
    """A predictor's training corpus in a few words."""
    rows = info.get("corpus")
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows) or not rows:
        return ""
    runs = sum(int(row.get("runs", 0)) for row in rows)
    backbones = sorted({str(row.get("backbone")) for row in rows})
    datasets = sorted({str(row.get("dataset")) for row in rows})
    return f"{counted(runs, 'module')} in runs of {some(backbones)} on {some(datasets)}"


def _figures(info: Mapping[str, Any], kind: str) -> dict[str, dict[str, float]]:
    """By protocol, the net's own figures."""
    found = info.get("figures")
    if not isinstance(found, Mapping):
        return {}
    return {
        str(protocol): {str(k): float(v) for k, v in group[kind].items() if isinstance(v, (int, float))}
        for protocol, group in found.items()
        if isinstance(group, Mapping) and isinstance(group.get(kind), Mapping)
    }
