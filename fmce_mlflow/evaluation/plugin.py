"""Plugin ``mlflow.model_evaluator``: the evaluator ``fmce``.

MLflow loads it whenever anybody evaluates anything, so it is thin: what needs PyTorch is imported when it evaluates.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models.evaluation.base import EvaluationResult, ModelEvaluator
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from fmce_mlflow.errors import FmceError
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.credentials import hide_credentials

NAME = "fmce"
MODEL_TYPE = "fmce"
_OURS = frozenset({"modules", "predictor"})
_logger = logging.getLogger("mlflow.fmce")  # below MLflow's own, which has a handler and says what it does


class FmceEvaluator(ModelEvaluator):
    """How mature the training of a PyTorch model's functional modules is.

    Example:
        >>> FmceEvaluator.can_evaluate(model_type="fmce", evaluator_config={})
        True
        >>> FmceEvaluator.can_evaluate(model_type="classifier", evaluator_config={})
        False
    """

    @classmethod
    def can_evaluate(cls, *, model_type: str | None, evaluator_config: Any, **kwargs: Any) -> bool:
        """Whether the call asks for fmce: by its model type, by naming the evaluator, or by a config that is its own.

        Where no evaluator is named, MLflow asks each one twice: while it chooses, and before it evaluates. One that was
        named is asked the second time only, and MLflow passes nothing else by which to know that.
        """
        if model_type == MODEL_TYPE or sys._getframe(1).f_code.co_name == "_evaluate":
            return True
        return isinstance(evaluator_config, Mapping) and bool(_OURS & evaluator_config.keys())

    def evaluate(
        self,
        *,
        dataset: Any,
        run_id: str,
        evaluator_config: Any,
        model: Any = None,
        model_id: str | None = None,
        **kwargs: Any,
    ) -> EvaluationResult:
        """Evaluate the model's functional modules and log what is found to the run.

        MLflow ties the metrics to the logged model ``model_id``; where that is None, they are logged here. ``kwargs``
        are about predictions, which fmce does not look at, and what later releases of MLflow may pass.

        Raises:
            MlflowException: For whatever keeps the model from being evaluated; says why.
        """
        from fmce_mlflow.evaluation.evaluate import evaluate_loaded

        try:
            run = Run(MlflowClient(), run_id, _logger.info)
            findings, artifacts = evaluate_loaded(
                run, model, dataset, evaluator_config, model_id=model_id, warn=_logger.warning
            )
        except FmceError as error:
            raise MlflowException(hide_credentials(error), error_code=INVALID_PARAMETER_VALUE) from error
        return EvaluationResult(metrics=findings.metrics, artifacts=artifacts, run_id=run_id)
