"""What the callbacks for all trainers share: a recorder that is begun, told and ended at the trainer's hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import mlflow
from mlflow import MlflowClient
from torch import nn

from fmce_mlflow.errors import RunError
from fmce_mlflow.recording.loop import LoopRecorder
from fmce_mlflow.recording.options import RecordingOptions
from fmce_mlflow.recording.signals import Signals
from fmce_mlflow.recording.start import OURS, is_first_process, record
from fmce_mlflow.runs.run import status_after
from fmce_mlflow.safety.terminal import tell


class RecordingCallback:
    """A recorder for a trainer.

    Args:
        modules: Functional modules of the model that the trainer is given, names or globs; empty: the last feature
            stage.
        probe: Images that are never trained on, as the model takes them, in any form of
            :func:`~fmce_mlflow.recording.probe.probe_images`.
        labels: Their classes, for Grad-CAM; None: those of the probe's batches.
        forward: Calls the model with a batch of the probe, where it takes more or other arguments than the images.
        every: A snapshot after each ``epoch``, or after each n-th step.
        stop_when_converged: End the training as soon as the recorder's ``should_stop`` says so.
        run_id: The run; None: that of the checkpoint from which the training goes on, or else of the trainer's MLflow
            logger, or else MLflow's active one, or else a new one, which is closed when the training ends.
        prefix: Put before the names of metrics, since trainers log losses and epochs of their own.
        say: Prints a line for the user.
        options: As for :func:`~fmce_mlflow.recording.start.record`.

    Attributes:
        recorder: The recorder of the training that is under way, or of the last one.
        signals: What each signal said when the training had ended.

    Raises:
        ConfigError: If options cannot be used.
    """

    def __init__(
        self,
        modules: Sequence[str] = (),
        *,
        probe: Any,
        labels: Any = None,
        forward: Callable[[nn.Module, Any], Any] | None = None,
        every: Literal["epoch"] | int = "epoch",
        stop_when_converged: bool = False,
        run_id: str | None = None,
        prefix: str = OURS,
        say: Callable[[str], None] = tell,
        **options: Any,
    ) -> None:
        super().__init__()
        self.modules, self.run_id, self.say, self.stop_when_converged = modules, run_id, say, stop_when_converged
        self.options = {"probe": probe, "labels": labels, "forward": forward, "prefix": prefix, "say": say, **options}
        self.every = RecordingOptions(every=None if every == "epoch" else every).every
        self.recorder: LoopRecorder | None = None
        self.signals: Signals | None = None
        self._val_loss: Any = None  # of a validation since the last snapshot
        self._said: set[str] = set()
        self._owned = self._reopened = False

    @property
    def _recording(self) -> LoopRecorder | None:
        """The recorder, while it takes something."""
        return None if self.recorder is None or self.recorder.ended else self.recorder

    def _begin(
        self,
        model: nn.Module,
        saved: Mapping[str, Any],
        *,
        epoch: float = 0.0,
        run_id: str | None = None,
        client: MlflowClient | None = None,
    ) -> LoopRecorder:
        """Begin a recording, by default in the run of the trainer's logger, or go on with that of a checkpoint.

        A recording that has ended, or a run that is not there, is no reason to stop a training that goes on.
        """
        before = saved.get("run_id")
        chosen = self.run_id or before or run_id
        if run_id is not None and chosen != run_id and is_first_process():
            self.say(f"The recording is in run {chosen}, and the trainer logs to run {run_id}.")
        if chosen is None:
            self._owned = mlflow.active_run() is None
        else:
            self._owned = chosen == before and bool(saved["owned"])
        named = chosen if is_first_process() else None  # others may not even know on which server it is
        try:
            self.recorder = record(model, self.modules, run_id=named, client=client, **self.options)
        except RunError as error:
            if chosen != before or chosen == run_id:
                raise
            self.say(f"The checkpoint's recording cannot go on, so a new one begins. {error}")
            return self._begin(model, {}, epoch=epoch, run_id=run_id, client=client)
        self._reopened = self._owned and chosen is not None and is_first_process() and mlflow.active_run() is None
        if self._reopened:  # as it was when the recorder had opened it
            mlflow.start_run(run_id=chosen)
        if epoch and not self.recorder.snapshots:
            self.recorder.snapshot(epoch=epoch)
        self.recorder.__enter__()
        self.recorder.load_state_dict(saved.get("recorder", {}))
        self._val_loss = saved.get("val_loss", self._val_loss)
        return self.recorder

    def _state(self) -> dict[str, Any]:
        """What a checkpoint keeps, in types of JSON: the run, and what its recorder was told."""
        if self._recording is None or not is_first_process():
            return {}
        told: dict[str, Any] = {"recorder": self._recording.state_dict()}
        if self._val_loss is not None:
            told["val_loss"] = float(self._val_loss)
        return {"run_id": self._recording.run.id, "owned": self._owned, **told}

    def _take(self, epoch: float) -> bool:
        """Take a snapshot; whether the training is to stop, which all processes ask and the first one answers."""
        if self._recording is None:
            return False
        val_loss: dict[str, Any] = {} if self._val_loss is None else {"val_loss": float(self._val_loss)}
        self._val_loss = None
        self._recording.snapshot(epoch=epoch, **val_loss)
        return self.stop_when_converged and self._recording.should_stop

    def _end(self) -> None:
        """The training has come to its end."""
        if self._recording is not None:
            self.signals = self._recording.finish()
            self._close("FINISHED")

    def _leave(self, error: BaseException) -> None:
        """The training was cut off."""
        if self._recording is not None:
            self._recording.__exit__(type(error), error, error.__traceback__)
            self._close(status_after(error))

    def _close(self, status: str) -> None:
        self._val_loss = None
        if self._reopened:
            mlflow.end_run(status)
            self._reopened = False

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.say(line)
