"""Record a training of ``pytorch_lightning``; for ``lightning.pytorch`` there is the same beside this."""

from __future__ import annotations

from pytorch_lightning import Callback
from pytorch_lightning.loggers import MLFlowLogger

from fmce_mlflow.recording.integrations.lightning_hooks import LightningHooks


class FeatureMapRecorder(LightningHooks, Callback):
    """Records the feature maps of a ``pytorch_lightning`` training in its logger's MLflow run."""

    mlflow_logger = MLFlowLogger
