"""Predictors that were logged before the move to ``predictor/`` name this module as their loader."""

from fmce_mlflow.predictor.flavor import _load_pyfunc as _load_pyfunc
