"""Look at the weights of a model's modules alone, where there are no images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mlflow.entities import LoggedModelInput
from torch import nn

from fmce_mlflow.errors import ModelError
from fmce_mlflow.evaluation.log import log_weights
from fmce_mlflow.evaluation.options import EvaluationConfig
from fmce_mlflow.evaluation.provenance import model_facts
from fmce_mlflow.evaluation.weight_findings import ModuleWeights, WeightFindings
from fmce_mlflow.method.evidence.groups import UNTOUCHED, never_trained
from fmce_mlflow.method.evidence.weights import weight_evidence
from fmce_mlflow.method.networks.capture import locate
from fmce_mlflow.method.networks.copies import borrowed
from fmce_mlflow.method.networks.model_forms import bare_name, named_modules, unwrap_with_prefix
from fmce_mlflow.method.networks.stages import modules_named, stages
from fmce_mlflow.runs.metric_names import renamed
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.torch_models import load_torch_model
from fmce_mlflow.wording import some


def evaluate_weights(run: Run, model_uri: str, config: EvaluationConfig | Mapping[str, Any] | None) -> WeightFindings:
    """Look at the weights of a model, and log what they tell to an open run: no image, no predictor and no score.

    Of the config only ``modules`` and ``device`` are used; without ``modules`` all stages are looked at.

    Raises:
        FmceError: For every mistake that a user can make.
    """
    options = config if isinstance(config, EvaluationConfig) else EvaluationConfig.read(config)
    model = load_torch_model(model_uri, run.client)
    choices = []
    with borrowed(model.network, options.device) as network:
        names = modules_named(network, options.modules) if options.modules else stages(network)
        if not options.modules:
            choices.append(f"No module is named, so all stages are looked at: {some(names, 40)}.")
        if not names:
            raise ModelError("The model has no module with weights, so without images nothing is known of it.")
        for line in renamed(names):
            run.say(line)
        modules = tuple(_weights(network, name) for name in names)
    plain = [one.name for one in modules if not one.parameters]
    have, them = ("have", "them") if len(plain) > 1 else ("has", "it")
    warning = f"{some(plain)} {have} no weights: without images nothing is known of {them}."
    if model.model_id:
        run.client.log_inputs(run.id, models=[LoggedModelInput(model.model_id)])
    found = WeightFindings(
        run_id=run.id,
        model=model_facts(run.client, model),
        modules=modules,
        choices=tuple(choices),
        warnings=(warning,) if plain else (),
    )
    log_weights(run, found)
    return found


def _weights(network: nn.Module, name: str) -> ModuleWeights:
    found = weight_evidence(network, name)
    share = found.untouched
    bare, prefix = unwrap_with_prefix(network)
    modules = named_modules(bare)
    return ModuleWeights(
        name=name,
        untouched=found.untouched,
        never_trained=never_trained({**found.figures, UNTOUCHED: math.nan if share is None else share}) == 1,
        alpha=found.figures["alpha"],
        parameters=sum(value.numel() for value in modules[locate(modules, bare_name(name, prefix))].parameters()),
        said=found.said,
    )
