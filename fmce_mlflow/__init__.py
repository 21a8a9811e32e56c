"""Feature Map Convergence Evaluation as a suite of MLflow plugins.

Importing the package is cheap on purpose: MLflow loads plugins in every process that calls ``evaluate``, so nothing
here imports torch before ``record``, ``Recorder`` or ``bundled_predictor`` is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fmce_mlflow.errors import FmceError
from fmce_mlflow.version import __version__

if TYPE_CHECKING:
    from fmce_mlflow.predictor.find import bundled_predictor
    from fmce_mlflow.recording.recorder import Recorder
    from fmce_mlflow.recording.start import record

__all__ = ["FmceError", "Recorder", "__version__", "bundled_predictor", "record"]

_LATE = {
    "Recorder": "fmce_mlflow.recording.recorder",
    "bundled_predictor": "fmce_mlflow.predictor.find",
    "record": "fmce_mlflow.recording.start",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)
