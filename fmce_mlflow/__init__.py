"""Feature Map Convergence Evaluation as a suite of MLflow plugins.

Importing the package is cheap on purpose: MLflow loads plugins in every process that calls ``evaluate``, so nothing
here imports torch before ``record`` or ``Recorder`` is asked for.
"""

from typing import TYPE_CHECKING, Any

from fmce_mlflow.errors import FmceError
from fmce_mlflow.version import __version__

if TYPE_CHECKING:
    from fmce_mlflow.recording.recorder import Recorder
    from fmce_mlflow.recording.start import record

__all__ = ["FmceError", "Recorder", "__version__", "record"]


def __getattr__(name: str) -> Any:
    if name not in ("Recorder", "record"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fmce_mlflow.recording import recorder, start

    return start.record if name == "record" else recorder.Recorder
