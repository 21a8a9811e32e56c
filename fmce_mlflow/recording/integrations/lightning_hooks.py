"""What a recorder does at each hook of Lightning's trainer; for both of its packages, whose classes differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

from mlflow import MlflowClient

from fmce_mlflow.recording.integrations.callback import RecordingCallback
from fmce_mlflow.wording import did_you_mean


class LightningHooks(RecordingCallback):
    """The hooks of a ``FeatureMapRecorder``, which inherits from its package's ``Callback`` besides.

    Attributes:
        mlflow_logger: The package's ``MLFlowLogger``.
        monitor: The name under which the LightningModule logs its validation loss.
    """

    mlflow_logger: ClassVar[type]

    def __init__(self, *args: Any, monitor: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.monitor = monitor
        self._saved: Mapping[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return self._state() or dict(self._saved)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what a checkpoint kept."""
        self._saved = state_dict

    def on_sanity_check_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the untrained network's validation loss, where the check went through all of its batches."""
        if trainer.num_sanity_val_steps == math.inf:
            self._validated(trainer)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Take snapshot 0; in a training that goes on, the one that its checkpoint came before."""
        if trainer.fast_dev_run:
            self._say_once("Nothing is recorded in a fast_dev_run.")
            return
        logger: Any = next((one for one in trainer.loggers if isinstance(one, self.mlflow_logger)), None)
        client = None if logger is None else logger.experiment
        known = isinstance(client, MlflowClient)  # other processes than the first have a dummy
        untrained, epochs = self._val_loss is not None, self._epochs(trainer)
        where = {"run_id": logger.run_id, "client": client} if known else {}
        recorder = self._begin(pl_module, self._saved, epoch=epochs, **where)
        done = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if untrained or (done and recorder.snapshots and epochs > recorder.record.epochs[-1]):
            self._take(epochs)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take the loss of a batch."""
        if self._recording is None:
            return
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is not None:
            # Lightning divides it by the number of batches whose gradients are added up
            parts = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
            self._recording.loss(loss * parts)
        done = trainer.fit_loop.total_batch_idx + 1
        if self.every is not None and done % self.every == 0:
            batches = trainer.num_training_batches
            self._step(trainer, self._epochs(trainer) + (batch_idx + 1) / batches if batches < math.inf else done)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the validation loss for the next snapshot."""
        if self._recording is not None and not trainer.sanity_checking:
            self._validated(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the snapshot of an epoch; before the callbacks that save checkpoints."""
        if self._recording is not None and self.every is None:
            self._step(trainer, trainer.current_epoch + 1)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End the recording; Lightning's logger closes its run afterwards."""
        self._end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave a recording that can go on, also from a checkpoint that another callback saves now."""
        with suppress(Exception):  # a GPU may be lost
            self._saved = self._state() or self._saved
        self._leave(exception)

    def _step(self, trainer: Any, epoch: float) -> None:
        if self._take(epoch):
            trainer.should_stop = True

    def _validated(self, trainer: Any) -> None:
        known = trainer.callback_metrics
        if self.monitor is not None and self.monitor in known:
            self._val_loss = known[self.monitor]
        elif self.monitor is not None:
            near = did_you_mean(self.monitor, known)
            self._say_once(f"No validation loss is recorded: the module has logged no {self.monitor!r}.{near}")

    def _epochs(self, trainer: Any) -> float:
        return float(trainer.fit_loop.epoch_progress.current.processed)
