"""Feature Map Convergence Evaluation as a suite of MLflow plugins.

Importing the package is cheap on purpose: MLflow loads plugins in every process that calls ``evaluate``, so nothing
here imports torch.
"""

from fmce_mlflow.errors import FmceError

__version__ = "0.1.0"

__all__ = ["FmceError", "__version__"]
