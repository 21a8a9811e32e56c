"""Record a training of ``lightning.pytorch``; for ``pytorch_lightning`` there is the same beside this."""

from __future__ import annotations

from lightning.pytorch import Callback
from lightning.pytorch.loggers import MLFlowLogger

from fmce_mlflow.recording.integrations.lightning_hooks import LightningHooks


class FeatureMapRecorder(LightningHooks, Callback):
    """Records the feature maps of a ``lightning.pytorch`` training in its logger's MLflow run."""

    mlflow_logger = MLFlowLogger
