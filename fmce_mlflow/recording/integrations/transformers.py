"""Record a training of the Hugging Face ``Trainer``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from transformers import Trainer, TrainerCallback

from fmce_mlflow.recording.integrations.callback import RecordingCallback

STATE = "fmce_mlflow"
"""Where the trainer's state, which its checkpoints keep, has ours."""


class FeatureMapRecorder(RecordingCallback, TrainerCallback):
    """Records the feature maps of a training with ``Trainer`` in its MLflow run.

    The Trainer tells callbacks no losses. So this one is given the trainer, and takes what ``training_step`` returns:
    the loss that is trained on, whoever computes it, summed up where it is and read at snapshots only.

    Args:
        trainer: The trainer, to which the callback is added by ``trainer.add_callback(…)``.
        args: Modules, as for :class:`~fmce_mlflow.recording.integrations.callback.RecordingCallback`.
        monitor: The evaluation's metric that is the validation loss.
        kwargs: As for that class. ``every`` counts steps of the optimizer. Unless ``forward`` says otherwise, the model
            is called with ``pixel_values``, or with all of a batch that is a dict.

    Example:
        ::

            trainer = Trainer(model, args, train_dataset=images, eval_dataset=held_out)
            trainer.add_callback(FeatureMapRecorder(trainer, ["vit.layers.11"], probe=probe))
            trainer.train()
    """

    def __init__(self, trainer: Trainer, *args: Any, monitor: str = "eval_loss", **kwargs: Any) -> None:
        super().__init__(*args, **{"forward": called_by_keywords, **kwargs})
        self.trainer, self.monitor = trainer, monitor
        self._loss: Tensor | None = None  # of the batches since the last step
        self._due: float | None = None  # epoch of a snapshot that waits for its evaluation
        self._unwatch: Callable[[], None] = lambda: None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take snapshot 0, or go on with a recording that was cut off."""
        self._leave(RuntimeError("another training begins"))
        self._loss = self._due = None
        self._begin(kwargs["model"], state.stateful_callbacks.get(STATE, {}), epoch=state.epoch or 0.0)
        self._keep(state)
        self._watch()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take a snapshot whose evaluation did not come."""
        self._take_due(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the loss of a step."""
        if self._recording is None:
            return
        if self._loss is not None:
            self._recording.loss(self._loss)
        self._loss = None
        if self.every is not None and state.global_step % self.every == 0:
            self._take_after_evaluation(state, control)
        if control.should_save or control.should_evaluate:
            self._keep(state)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the snapshot of an epoch."""
        if self._recording is not None and self.every is None:
            self._take_after_evaluation(state, control)
            self._keep(state)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Mapping[str, float], **kwargs: Any) -> None:
        """Keep the validation loss, and take the snapshot that waited for it."""
        if self._recording is None:
            return
        self._val_loss = metrics.get(self.monitor, self._val_loss)
        several = isinstance(self.trainer.eval_dataset, dict)  # each is evaluated by itself
        if self.monitor not in metrics and not several:
            self._say_once(f"No validation loss is recorded: the evaluation has no {self.monitor!r}.")
        if self.monitor in metrics or not several:
            self._take_due(control)
        if state.global_step == 0 and self._val_loss is not None:
            self._take(0.0)
        self._keep(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the recording."""
        if not args.load_best_model_at_end:  # which has taken the place of the model by now
            self._take_due(control)
        self._end()

    def _watch(self) -> None:
        """Let the trainer's steps tell their losses, until the recording ends."""
        self._unwatch()  # of a recording that somebody ended by hand
        trainer, step = self.trainer, self.trainer.training_step
        before = {key: value for key, value in vars(trainer).items() if key == "training_step"}  # somebody's wrapper

        def training_step(*args: Any, **kwargs: Any) -> Tensor:
            try:
                loss: Tensor = step(*args, **kwargs)
            except BaseException as error:
                self._leave(error)
                raise
            self._loss = loss if self._loss is None else self._loss + loss
            return loss

        def unwatch() -> None:
            if vars(trainer).get("training_step") is training_step:
                del trainer.training_step
                vars(trainer).update(before)

        trainer.training_step, self._unwatch = training_step, unwatch

    def _close(self, status: str) -> None:
        self._unwatch()
        super()._close(status)

    def _take_after_evaluation(self, state: Any, control: Any) -> None:
        self._due = round(state.epoch, 6)
        if not control.should_evaluate:
            self._take_due(control)

    def _take_due(self, control: Any) -> None:
        """Take the snapshot that waits, if one does."""
        if self._due is None:
            return
        epoch, self._due = self._due, None
        if self._take(epoch):
            control.should_training_stop = True

    def _keep(self, state: Any) -> None:
        """Put into the trainer's state, and with it into its next checkpoint, what goes on with the recording."""
        if kept := self._state():
            state.stateful_callbacks[STATE] = kept


def called_by_keywords(model: nn.Module, batch: Any) -> Any:
    """How models of transformers are called."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(pixel_values=batch[0] if isinstance(batch, (tuple, list)) else batch)
