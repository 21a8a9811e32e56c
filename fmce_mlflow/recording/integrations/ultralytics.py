"""Record a training of Ultralytics' YOLO by its callbacks, with nothing of the library imported."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fmce_mlflow.recording.integrations.callback import RecordingCallback

STATE = "fmce_recording.json"
"""In the training's folder: what goes on with the recording if the training does."""
EVENTS = (
    "on_train_start", "on_train_epoch_start", "on_train_batch_end", "on_train_epoch_end", "on_fit_epoch_end",
    "on_train_end", "teardown",
)  # fmt: skip


class FeatureMapRecorder(RecordingCallback):
    """Records the feature maps of a YOLO training.

    Args:
        args: Modules, as for :class:`~fmce_mlflow.recording.integrations.callback.RecordingCallback`: ``model.9`` is
            layer 9 of the model's YAML file.
        averaged: Record the moving average of the weights, which is what the trainer validates and saves; or else the
            weights that it trains.
        kwargs: As for that class. ``every`` counts batches.

    Example:
        ::

            yolo = YOLO("yolo11n.yaml")
            FeatureMapRecorder(["model.4", "model.9"], probe=images).add_to(yolo)
            yolo.train(data="data.yaml", epochs=100)
    """

    def __init__(self, *args: Any, averaged: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.averaged = averaged
        self._batches = 0  # of the epoch that is under way
        self._trained = False  # an epoch, since the last snapshot of one
        self._metrics: Any = None  # those of the last validation

    def __getstate__(self) -> dict[str, Any]:
        """For the processes of a training on several GPUs, which are sent the callbacks before it begins."""
        return {**vars(self), "recorder": None}

    def add_to(self, yolo: Any) -> None:
        """Add the callbacks to a model that is to be trained."""
        for event in EVENTS:
            yolo.add_callback(event, getattr(self, event))

    def on_train_start(self, trainer: Any) -> None:
        """Take snapshot 0, or go on with a recording that was cut off."""
        state = Path(trainer.save_dir, STATE)
        saved = json.loads(state.read_text()) if trainer.start_epoch > 0 and state.exists() else {}
        self._begin(trainer.ema.ema if self.averaged else trainer.model, saved, epoch=trainer.start_epoch)
        if kept := self._state():
            state.write_text(json.dumps(kept))
        self._trained, self._metrics = False, trainer.metrics

    def on_train_batch_end(self, trainer: Any) -> None:
        """Take the losses of a batch."""
        if self._recording is None:
            return
        items = trainer.loss_items  # a dict; in earlier versions a tensor
        named = items if isinstance(items, dict) else dict(zip(trainer.loss_names, items, strict=True))
        self._recording.loss(**named)
        self._batches += 1
        batches = len(trainer.train_loader)
        if self.every is not None and (trainer.epoch * batches + self._batches) % self.every == 0:
            self._step(trainer, trainer.epoch + self._batches / batches)

    def on_train_epoch_start(self, trainer: Any) -> None:
        """An epoch begins, also one that begins again with smaller batches."""
        self._batches = 0

    def on_train_epoch_end(self, trainer: Any) -> None:
        """An epoch was trained; its validation comes next."""
        self._trained = True

    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Take the snapshot of an epoch; after the last one, the trainer calls this once more for its best weights."""
        if self._recording is None or not self._trained:
            return
        self._trained = False
        if trainer.metrics is not self._metrics:
            losses = [float(value) for name, value in trainer.metrics.items() if name.startswith("val/")]
            self._val_loss = sum(losses) if losses else None
        self._metrics = trainer.metrics
        if self.every is None:
            self._step(trainer, trainer.epoch + 1)

    def on_train_end(self, trainer: Any) -> None:
        """End the recording."""
        self._end()

    def teardown(self, trainer: Any) -> None:
        """Leave a recording that can go on, if the training was cut off."""
        self._leave(sys.exc_info()[1] or RuntimeError("the training was cut off"))

    def _step(self, trainer: Any, epoch: float) -> None:
        if self._take(epoch):
            trainer.stop = True
