"""The command that evaluates what has not been evaluated, and decides by a policy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from fmce_mlflow.cli.command import Command, both
from fmce_mlflow.cli.evaluate import evaluation_images, how_to_evaluate, scoring_options
from fmce_mlflow.cli.options import options_of
from fmce_mlflow.cli.runs import experiment_id, make_client, say
from fmce_mlflow.evaluation.options import EvaluationConfig, EvaluationImages
from fmce_mlflow.gate.options import GateOptions
from fmce_mlflow.gate.policy import Policy
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.options import build

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from fmce_mlflow.gate.ask import Question
    from fmce_mlflow.gate.evaluate import Evaluator

Choices = tuple[tuple[GateOptions, Policy | None], tuple[EvaluationConfig, EvaluationImages]]


def gate_options(values: Mapping[str, Any]) -> Choices:
    """Whose versions, by which policy, and how they are evaluated."""
    what = lambda: both(lambda: build(GateOptions, values), lambda: _policy(values["policy"]))  # noqa: E731
    return both(what, lambda: scoring_options(values))


@click.command("gate", cls=Command, build=gate_options)
@options_of(GateOptions)
@how_to_evaluate
@click.pass_context
def gate_command(ctx: click.Context, /, choices: Choices) -> None:
    """Evaluate each version of a registered model that was not evaluated yet, and decide on it by a policy.

    The verdict becomes tags of the version. Called again, it does what is left to do. Its exit code is 1 if a version
    could not be evaluated or decided on, 3 if the latest one is refused.

    \b
    Examples:
      fmce gate --model digits --dataset folder:photos
      fmce gate --model digits --policy gate.yaml
      fmce gate --all --policy gate.yaml --dataset folder:photos --predictor models:/fmcs/1
    """
    (options, policy), (config, which) = choices
    client = make_client(ctx)
    from fmce_mlflow.gate.ask import Question
    from fmce_mlflow.gate.gate import MODEL_TAG, ROLE, Gate, models_to_look_at, pass_through

    question = Question(client, config, which)

    def begin(model: str) -> Run:
        name, tags = f"gate of {model}", {MODEL_TAG: model}
        if above := os.environ.get("MLFLOW_RUN_ID"):
            return Run(client, above, say).nested(name, role=ROLE, tags=tags)
        experiment = experiment_id(client, ctx.obj["experiment"])
        return Run.create(client, experiment, role=ROLE, name=name, tags=tags, say=say)

    gate = Gate(question, policy, begin, lambda: _evaluator(question), say, options.retry)
    names = models_to_look_at(client, lambda uri: _is_other(client, uri)) if options.every else [options.model]
    if not names:
        say("There is no registered PyTorch model.")
    if code := pass_through(gate, names):
        ctx.exit(code)


def _policy(path: str) -> Policy | None:
    return Policy.read(path) if path else None


def _evaluator(question: Question) -> Evaluator:
    """What evaluates; images and predictor that are named have to be there."""
    from fmce_mlflow.gate.evaluate import Evaluator
    from fmce_mlflow.predictor.find import find_predictor

    if question.config.predictor:
        find_predictor(question.config.predictor, question.client)
    evaluator = Evaluator(question, lambda images: evaluation_images(images, question.config.unreadable or "raise"))
    if (images := question.named_images) is not None:
        evaluator.data(images)
    return evaluator


def _is_other(client: MlflowClient, uri: str) -> bool:
    """Whether a model is no PyTorch model; what cannot be fetched may be one."""
    from fmce_mlflow.runs.descriptions import fetch_description

    try:
        return "pytorch" not in fetch_description(uri, client).flavors
    except Exception:  # each kind of store has errors of its own; the gate meets it again, and says it
        return False
