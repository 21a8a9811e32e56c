"""Evaluations as runs of their own, nested below another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fmce_mlflow.evaluation.evaluate import evaluate_model
from fmce_mlflow.runs.run import ROLE_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from fmce_mlflow.evaluation.options import EvaluationConfig


def nested_evaluations(
    client: MlflowClient, parent: str, data: Any, config: EvaluationConfig, *, say: Callable[[str], None] = print
) -> Callable[[str], str]:
    """A function that evaluates a model in a new run below another, for :func:`~fmce_mlflow.promotion.promote.promote`.

    Args:
        client: MLflow client.
        parent: The run below which the evaluations are nested.
        data: The images, as :func:`~fmce_mlflow.evaluation.evaluate.evaluate_model` takes them.
        config: How to evaluate.
        say: Prints a line for the user.

    Returns:
        From a model URI to the id of the run that has its figures, closed.
    """
    experiment = client.get_run(parent).info.experiment_id

    def evaluate(model_uri: str) -> str:
        tags = {"mlflow.parentRunId": parent, ROLE_TAG: "evaluation"}
        run = client.create_run(experiment, run_name=f"evaluation of {model_uri}", tags=tags)
        run_id = str(run.info.run_id)
        try:
            found = evaluate_model(client, model_uri, data, config, run_id).findings
        except BaseException as error:
            client.set_terminated(run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        client.set_terminated(run_id, "FINISHED")
        for text in (found.verdict(), *found.warnings):
            say(f"{model_uri}: {text}")
        return run_id

    return evaluate
