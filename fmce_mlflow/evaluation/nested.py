"""Evaluations as runs of their own, nested below another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fmce_mlflow.evaluation.evaluate import evaluate_model

if TYPE_CHECKING:
    from fmce_mlflow.evaluation.options import EvaluationConfig
    from fmce_mlflow.runs.run import Run


def nested_evaluations(run: Run, data: Any, config: EvaluationConfig) -> Callable[[str], str]:
    """A function that evaluates a model in a new run below another, for :func:`~fmce_mlflow.promotion.promote.promote`.

    It takes a model's URI and returns the id of the run that has its figures, closed.
    """

    def evaluate(model_uri: str) -> str:
        with run.nested(f"evaluation of {model_uri}", role="evaluation").closing() as below:
            found = evaluate_model(below, model_uri, data, config)
        for text in (found.summary, *found.warnings):
            run.say(f"{model_uri}: {text}")
        return below.id

    return evaluate
