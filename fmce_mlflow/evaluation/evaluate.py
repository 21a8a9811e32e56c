"""Evaluate the functional modules of one model: what the plugin and the command line share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from mlflow.data.dataset import Dataset
from mlflow.data.evaluation_dataset import EvaluationDataset, convert_data_to_mlflow_dataset
from mlflow.data.pyfunc_dataset_mixin import PyFuncConvertibleDatasetMixin
from mlflow.entities import DatasetInput, InputTag, LoggedModelInput
from mlflow.exceptions import MlflowException
from mlflow.models.evaluation.base import EvaluationArtifact

from fmce_mlflow.errors import DataError
from fmce_mlflow.evaluation.choices import (
    Notes,
    Setup,
    choose_bag_size,
    choose_modules,
    choose_setup,
    collected,
    entered,
    fresh_copy,
)
from fmce_mlflow.evaluation.evidence import lag_warning
from fmce_mlflow.evaluation.findings import FEW_IMAGES, Classes, EvaluatedImages, Findings
from fmce_mlflow.evaluation.images import Outputs, classes_of, identity, treatment
from fmce_mlflow.evaluation.log import log_findings, log_metrics
from fmce_mlflow.evaluation.options import EvaluationConfig
from fmce_mlflow.evaluation.provenance import find_training_run, model_facts, predictor_facts
from fmce_mlflow.evaluation.saliency import Saliency, take_saliency
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.method.images.input_batches import Batch, InputBatches
from fmce_mlflow.method.networks.call_order import in_order, namesakes, weightless
from fmce_mlflow.method.networks.copies import borrowed
from fmce_mlflow.method.networks.forward import as_input, padded
from fmce_mlflow.method.networks.model_forms import check_hookable
from fmce_mlflow.method.networks.take_maps import random_state_kept
from fmce_mlflow.method.scoring.collect import Collected
from fmce_mlflow.method.scoring.module_finding import ModuleFinding, is_far
from fmce_mlflow.method.scoring.score_modules import bag_order, score_modules
from fmce_mlflow.predictor.find import NamedPredictor, find_predictor
from fmce_mlflow.predictor.tied import predictor_for
from fmce_mlflow.runs.metric_names import renamed
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.torch_models import TorchModel, load_torch_model, torch_model_of
from fmce_mlflow.safety.credentials import hide_credentials
from fmce_mlflow.wording import counted

MOST_NAMED = 5  # unreadable images that a warning names


def evaluate_model(
    run: Run, model_uri: str, data: Any, config: EvaluationConfig | Mapping[str, Any] | None
) -> Findings:
    """Evaluate a model and log what was found to an open run, whatever run is active.

    ``data`` is a dataset of ``mlflow.data.from_images``, or a DataFrame or 2-D array as for ``mlflow.models.evaluate``.

    Raises:
        FmceError: For every mistake that a user can make.
    """
    options = config if isinstance(config, EvaluationConfig) else EvaluationConfig.read(config)
    run.set_tags({"fmce.model_uri": model_uri})  # at once, so that one that fails says of which model
    if options.predictor:
        find_predictor(options.predictor, run.client)  # one that is not there is said before a model is fetched
    model = load_torch_model(model_uri, run.client)
    predictor = predictor_for(run.client, model, options.predictor)
    dataset, given = _evaluation_dataset(data)
    models = [LoggedModelInput(model.model_id)] if model.model_id else None
    inputs = [DatasetInput(given._to_mlflow_entity(), [InputTag("mlflow.data.context", "evaluation")])] if given else []
    run.client.log_inputs(run.id, inputs, models=models)

    def log(found: Findings, known: Collection[str]) -> None:
        log_findings(run, found)
        log_metrics(run, found, dataset, known)

    return examine(run, model, dataset, options, predictor, log=log)


def nested_evaluations(run: Run, data: Any, config: EvaluationConfig) -> Callable[[str], str]:
    """For ``promote``: a function that evaluates the model of a URI in a run below ``run`` and gives that run's id.

    All use the predictor of the first, so that their figures can be compared.
    """
    used: list[str] = [config.predictor] if config.predictor else []

    def evaluate(model_uri: str) -> str:
        below, found = nested_evaluation(run, model_uri, data, replace(config, predictor=used[0] if used else None))
        used.append(found.predictor.name)
        for text in (found.summary, *found.warnings):
            run.say(f"{model_uri}: {text}")
        return below

    return evaluate


def nested_evaluation(
    run: Run, model_uri: str, data: Any, config: EvaluationConfig, tags: Mapping[str, str] | None = None
) -> tuple[str, Findings]:
    """Evaluate the model of a URI in a new run below ``run``, with tags; that run's id, and what was found."""
    with run.nested(f"evaluation of {model_uri}", role="evaluation", tags=tags).closing() as below:
        return below.id, evaluate_model(below, model_uri, data, config)


def evaluate_loaded(
    run: Run,
    model: Any,
    dataset: EvaluationDataset,
    config: Mapping[str, Any] | None,
    *,
    model_id: str | None,
    warn: Callable[[str], None],
) -> tuple[Findings, dict[str, EvaluationArtifact]]:
    """Evaluate a model that MLflow has loaded, for its ``evaluate``, on MLflow's own tracking server.

    Returns what was found, and its artifacts by name. Where there is a ``model_id``, MLflow ties the metrics to that
    logged model; else they are logged here.
    """
    options = EvaluationConfig.read(config)
    taken = torch_model_of(model)
    predictor = predictor_for(run.client, taken, options.predictor)
    if model_id is None and taken.model_id:
        run.client.log_inputs(run.id, models=[LoggedModelInput(taken.model_id)])
    artifacts: dict[str, EvaluationArtifact] = {}

    def log(found: Findings, known: Collection[str]) -> None:
        artifacts.update(log_findings(run, found))
        if model_id is None:
            log_metrics(run, found, dataset, known)

    findings = examine(run, taken, dataset, options, predictor, log=log)
    for text in findings.choices:
        run.say(text)
    for text in findings.warnings:
        warn(text)
    run.say(findings.summary)
    return findings, artifacts


def examine(
    run: Run,
    model: TorchModel,
    dataset: EvaluationDataset,
    config: EvaluationConfig,
    predictor: NamedPredictor,
    *,
    log: Callable[[Findings, Collection[str]], None] = lambda found, known: None,
) -> Findings:
    """Evaluate a model's functional modules; the model is as before afterwards.

    ``log`` gets what is found, and the names of the metrics that it got before: as soon as the modules are scored, and
    again with what Grad-CAM, which takes its time, shows.
    """
    notes = Notes([predictor.choice] if predictor.choice else [], [predictor.warning] if predictor.warning else [])
    with borrowed(model.network, config.device) as network, random_state_kept(network, seed=config.seed):
        check_hookable(network)
        setup = choose_setup(replace(model, network=network), dataset, config, predictor.predictor, notes)
        with entered(setup):
            modules, early = choose_modules(setup, notes)
            for line in renamed(modules):
                run.say(line)
            bag_size = choose_bag_size(setup)
            scored = _score(setup, modules, bag_size, notes)
            notes.choices.extend(namesakes(network, modules, scored.modules))
            findings = _findings(run, setup, scored, early, predictor, bag_size, notes)
            log(findings, ())
            names = [module.name for module in findings.modules]
            saliency = take_saliency(setup, names, scored.outputs.count, notes)
    if saliency is None and tuple(notes.warnings) == findings.warnings:
        return findings
    full = _with_saliency(findings, saliency, notes, model.facts.backbone or findings.model.name)
    log(full, findings.metrics)
    return full


def _findings(
    run: Run,
    setup: Setup,
    scored: _Scored,
    early: Sequence[str],
    predictor: NamedPredictor,
    bag_size: int,
    notes: Notes,
) -> Findings:
    """What is found, in the order of the network, without Grad-CAM."""
    model = setup.model
    training = find_training_run(run.client, model, notes)
    ordered, plain = _standing(setup, tuple(scored.modules))
    unseen = np.full(len(setup.inputs), np.nan)
    found = tuple(
        replace(
            scored.modules[name],
            far=is_far(scored.modules[name].distance, predictor.predictor.info),
            early=name in early,
            weightless=name in plain,
            measured=training.measured(name) if training else None,
            image_focus=unseen,
        )
        for name in ordered
    )
    images = _evaluated_images(setup, bag_size, scored)
    notes.warnings.extend(filter(None, [lag_warning(found, images.accuracy)]))
    for module in found:
        if not module.known and module.far:
            notes.warnings.append(
                f"Module {module.name} lies {module.distance:.1f} from the corpus that the predictor was trained on, "
                "where 1 is usual: its score may mean little. Train an FMCE-Net on models and images like these."
            )
    return Findings(
        run_id=run.id,
        model=model_facts(run.client, model),
        predictor=predictor_facts(predictor),
        images=images,
        modules=found,
        training=training,
        choices=tuple(notes.choices),
        warnings=tuple(notes.warnings),
    )


def _with_saliency(findings: Findings, saliency: Saliency | None, notes: Notes, title: str) -> Findings:
    warnings, choices = tuple(notes.warnings), tuple(notes.choices)
    if saliency is None:
        return replace(findings, warnings=warnings, choices=choices)
    images = len(findings.modules[0].image_focus)
    modules = tuple(
        replace(module, image_focus=saliency.by_image(module.name, images)) if module.name in saliency.focus else module
        for module in findings.modules
    )
    picture = saliency.picture(findings.images, title)
    return replace(findings, modules=modules, saliency=picture, warnings=warnings, choices=choices)


def _standing(setup: Setup, names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Modules in the order of the network, and those without weights."""
    network = setup.model.network
    if len(names) == 1:
        return names, weightless(network, names)
    size = setup.model.fixed_batch or 2
    batch = next(iter(setup.batches(setup.probe, batch_size=min(size, 2))))
    example = as_input(network, padded(batch.pixels, size))
    return in_order(network, names, example=example), weightless(network, names)


@dataclass(frozen=True, slots=True)
class _Scored:
    """Scores by name of the map; the images as they were read, and what the model gave for them."""

    modules: dict[str, ModuleFinding]
    batches: InputBatches
    outputs: Outputs
    classes: Classes | None


def _score(setup: Setup, modules: tuple[str, ...], bag_size: int, notes: Notes) -> _Scored:
    """Score modules, with warnings of what was seen of the images."""
    outputs = Outputs()
    order, sizes = bag_order(len(setup.probe), bag_size=bag_size, seed=setup.config.seed)
    batches = setup.batches(setup.probe[order], hashed=True)
    net = setup.predictor.net
    looks = isinstance(net, SetNet) and net.wants_evidence

    def evidence(first: list[Batch]) -> Collected:
        found = collected(setup, modules, first)
        notes.warnings.extend(found.notes)
        return found

    scores = score_modules(
        setup.model.network,
        modules,
        batches,
        net,
        images=len(setup.inputs),
        bag_sizes=[int(size) for size in sizes],
        fixed_batch=setup.model.fixed_batch,
        token_grid=setup.config.token_grid,
        untrained=None if looks else fresh_copy(setup, notes),
        evidence=evidence if looks else None,
        watch=outputs.see,
    )
    classes = classes_of(setup.labels, setup.probe, outputs)
    notes.warnings.extend(outputs.warnings(setup.labels.indices(outputs.count), classes))
    if len(setup.probe) < FEW_IMAGES:
        notes.warnings.append(f"{len(setup.probe)} images are few: scores are steadier from {2 * FEW_IMAGES} on.")
    if not setup.labels.problem and (unlike := setup.labels.unlike(outputs.count)):
        notes.choices.append(unlike)
    notes.warnings.extend(dict.fromkeys(batches.notes))
    names = list(dict.fromkeys(f"{one.name} ({one.reason})" for one in batches.skipped))
    if names:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        are = "is" if len(names) == 1 else "are"
        notes.warnings.append(
            f"{counted(len(names), 'image')} cannot be read and {are} left out: {'; '.join(names[:MOST_NAMED])}{more}."
        )
    return _Scored(scores, batches, outputs, classes)


def _evaluated_images(setup: Setup, bag_size: int, scored: _Scored) -> EvaluatedImages:
    inputs, probe, dataset, labels = setup.inputs, setup.probe, setup.dataset, setup.labels
    batches, outputs = scored.batches, scored.outputs
    return EvaluatedImages(
        name=hide_credentials(dataset.name or "images"),
        digest=dataset.digest or dataset.hash or "",
        indices=probe,
        names=[inputs.name(int(index)) for index in probe],
        targets=None if labels.values is None else labels.values[probe],
        classes=labels.classes,
        bag_size=min(bag_size, len(probe)),
        identity=identity(batches.content, inputs.targets, inputs.classes),
        treatment=treatment(batches, setup.preprocessing, setup.model.takes_bytes, setup.origin),
        accuracy=outputs.accuracy(labels.indices(outputs.count)),
        of_classes=scored.classes,
    )


def _evaluation_dataset(data: Any) -> tuple[EvaluationDataset, Dataset | None]:
    try:
        given = data if isinstance(data, Dataset) else convert_data_to_mlflow_dataset(data)
        if isinstance(given, PyFuncConvertibleDatasetMixin) and isinstance(given, Dataset):
            return given.to_evaluation_dataset(), given
        return EvaluationDataset(given), None
    except MlflowException as error:
        raise DataError(f"{hide_credentials(error)} For images use mlflow.data.from_images.") from error
