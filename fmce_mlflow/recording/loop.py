"""A recorder for any training loop, which it never stops."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Any

import mlflow
from torch import nn

from fmce_mlflow.errors import ConfigError, FmceError, RunError, UploadError
from fmce_mlflow.method.networks.fingerprint import fingerprint, same_weights
from fmce_mlflow.method.networks.model_forms import unwrap
from fmce_mlflow.method.networks.take_maps import TakenMaps
from fmce_mlflow.recording import state
from fmce_mlflow.recording.conclude import metric_rows
from fmce_mlflow.recording.freezing import Freezing
from fmce_mlflow.recording.losses import TOTAL, RunningLoss, number
from fmce_mlflow.recording.record import Record
from fmce_mlflow.recording.recorder import Recorder, told
from fmce_mlflow.recording.signals import LOSSES, Signals
from fmce_mlflow.runs import checkpoint_slots
from fmce_mlflow.runs.map_file import is_finite
from fmce_mlflow.runs.metric_names import loop_metric
from fmce_mlflow.runs.recordings import FROZEN_TAG
from fmce_mlflow.runs.run import status_after
from fmce_mlflow.runs.sink import Sink
from fmce_mlflow.safety import interrupts
from fmce_mlflow.safety.credentials import hide_credentials

GRACE = 10.0
"""Seconds in which a training that is stopped still uploads."""


class LoopRecorder(Recorder):
    """A recorder for somebody's own loop: it warns and goes on where the other one raises.

    Attributes:
        ended: Whether nothing more can be recorded.
    """

    def __init__(
        self, *args: Any, owned: bool = False, goes_on: bool = False, closes: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.ended = False
        self._owned, self._closes, self._losses = owned, owned or closes, RunningLoss()
        self._entered = False
        self._goes_on_after = self.record.named if goes_on else None  # epoch
        self._goes_on_after_step = self.record.steps if goes_on else 0
        self._more_of_first: dict[str, float] = {}  # metrics of snapshot 0 that were told later
        self._warned: set[str] = set()
        self._lost = False
        self._stoppable = ExitStack()

    def __enter__(self) -> LoopRecorder:
        """Record snapshot 0, the network before its first step; of a recording that goes on, freeze what was frozen.

        Until the end SIGTERM closes the run as Ctrl-C does, unless somebody else handles it.

        Raises:
            CaptureError: If a module gives no map of some of the probe images, or maps of several sizes.
            ModelError: If the model cannot take some of them.
        """
        self._entered = True
        self._stoppable.enter_context(interrupts.stoppable())
        try:
            self._safely("what was frozen", lambda: self.freezing.freeze(self.frozen_parts()))
            self.recall_weights()
            if not self.snapshots:
                with told(self.probe):  # nothing is trained yet, so what the probe cannot be is an error
                    maps = self._without_nan(self.take_maps())
                self._safely("snapshot 0", partial(self._take, None, maps, None, {}))
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Find convergence where the training came to its end; else leave a recording that can go on."""
        if self.ended:
            return
        if error is None:
            self.finish()
        else:
            self._leave(error)

    def loss(self, total: Any = None, /, **parts: Any) -> None:
        """Take the loss of a training step into the running mean; nothing waits for a GPU.

        Args:
            total: One number, a tensor on any device or a float; it is not changed, and its graph is not kept.
            parts: Losses by name, logged as ``train_loss/<name>``; without a total, their sum is it.

        Raises:
            ConfigError: If a loss is not one number.
        """
        if not self.snapshots and not self._entered:
            self._warn(
                "entered",
                "there is no snapshot of the untrained network. Use `with record(…) as recorder:`, which takes it "
                "before the first step and finds convergence at the end; or call recorder.snapshot() before the "
                "training and recorder.finish() after it.",
            )
        self._losses.add(total, parts)
        self.record.steps += 1
        if self.options.every is None or self.record.steps % self.options.every:
            return
        if self.record.steps > self._goes_on_after_step:
            self.snapshot()
        else:
            self._pass_over(f"step {self._goes_on_after_step}")

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint within an epoch has to keep, in types of JSON: the losses since the last snapshot."""
        return {"steps": self.record.steps, **self._losses.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave, if it is not empty."""
        if state:
            self.record.steps = int(state["steps"])
            self._losses.restore(state)

    def snapshot(
        self,
        *,
        epoch: float | None = None,
        maps: TakenMaps | None = None,
        save: Callable[[Sink], None] | None = None,
        **metrics: float | None,
    ) -> None:
        """Record a snapshot. What goes wrong is said once, and the training goes on.

        Called before the first step, it adds its metrics, such as ``val_loss``, to snapshot 0; where snapshots wait for
        a server, they are logged with the next one. In a recording that goes on, a snapshot of an epoch that was
        recorded before is left out.

        Args:
            epoch: How many epochs were trained, also a part of one; None: the number of the snapshot.
            maps: As for :class:`Recorder`.
            save: As for :class:`Recorder`.
            metrics: ``val_loss`` is a signal of convergence, and so is ``train_loss``, by default the mean of what
                :meth:`loss` was told; any other is logged with them, under a name that MLflow takes. Each is one
                number, also as a tensor; None: not known at this snapshot.

        Raises:
            RunError: If the recording has ended.
        """
        if self.ended:
            raise RunError(
                "This recording has ended. Take snapshots before finish() and inside the `with` block; for another "
                "training, call record(…) again in a run of its own."
            )
        if epoch is not None and self._goes_on_after is not None and epoch <= self._goes_on_after:
            self._pass_over(f"epoch {self._goes_on_after:g}")
            return
        self._safely(f"snapshot {self.snapshots}", partial(self._take, epoch, maps, save, self._numbers(metrics)))

    def freeze_converged(self) -> tuple[str, ...]:
        """As :meth:`Recorder.freeze_converged`; where it cannot be done, that is said once and nothing is frozen."""
        if self.ended:
            return ()
        try:
            names = super().freeze_converged()
        except Exception as error:
            self._warn("freeze", f"nothing is frozen; the training goes on. {_short(error)}")
            return ()
        if names and self.decisions is not None:
            self._warn(f"froze {names}", f"frozen after snapshot {self.snapshots - 1}: {', '.join(names)}.")
            try:
                self.uploads.tag(FROZEN_TAG, json.dumps(self.record.frozen), self.snapshots - 1)
            except Exception as error:  # the next snapshot has it too, and the end sets the tag again
                self._warn("frozen tag", f"the run does not say yet what is frozen. {_short(error)}")
        return names

    def finish(self) -> Signals | None:
        """Find convergence by each signal, log it, and close the run if it was opened for this recording.

        Returns:
            What each signal says; None if that could not be found out or logged, which is said.
        """
        if self.ended:
            return None
        self.ended = True
        found: Signals | None = None
        try:
            if not self._lost:
                self.uploads.drain()
                found = self._concluded(finite=False)
                self.uploads.persist(partial(checkpoint_slots.remove, self.run))
        except Exception as error:
            self._lost = self._lost or isinstance(error, UploadError)
            self._warn("end", f"the recording could not be completed: {_short(error)}")
        except BaseException as error:
            self._leave(error)
            raise
        self._close("FINISHED")
        return found

    def _take(
        self,
        epoch: float | None,
        maps: TakenMaps | None,
        save: Callable[[Sink], None] | None,
        metrics: dict[str, float],
    ) -> None:
        if self._lost:
            return
        if self._is_untrained():
            self.record.metrics[0] |= metrics
            self._more_of_first |= metrics
            if not self.uploads.waits:  # else nothing waits for a server here
                self._log_more_of_first()
            return
        means, earlier = self._numbers(self._losses.take()), dict(self._more_of_first)
        if self.snapshots == 1 and TOTAL not in self.record.metrics[0]:
            earlier |= self._numbers(self._losses.first())
        metrics = {**means, **metrics}
        for name, what in LOSSES.items():
            if not math.isfinite(metrics.get(name, 0.0)):
                self._warn(f"{name}", f"the {what} is {metrics[name]} at snapshot {self.snapshots}; it is recorded so.")
        epoch = self._trained(epoch)
        self._snapshot(epoch, maps or self._maps(), save or self._save, metrics, earlier)
        self._more_of_first.clear()

    def _trained(self, epoch: float | None) -> float | None:
        """An epoch that was named; where it is not after the one before, say what is meant."""
        if epoch is None or not self.snapshots:
            return epoch
        before = self.record.named or 0.0
        if not epoch > before:
            meant = "it says how many epochs were trained, 1 after the first"
            self._warn("epoch", f"epoch {epoch:g} is not after epoch {before:g}; {meant}.")
        return epoch if math.isfinite(epoch) else None

    def _is_untrained(self) -> bool:
        """Whether nothing was trained since snapshot 0."""
        if self.snapshots != 1 or self._losses.told:
            return False
        return same_weights(self.record.fingerprints[0], fingerprint(unwrap(self.model)))

    def _log_more_of_first(self) -> None:
        rows = metric_rows(self._more_of_first, 0, self.options.prefix)
        self.run.client.log_batch(self.run.id, metrics=self.run.lacking(rows))
        self._more_of_first.clear()

    def _pass_over(self, last: str) -> None:
        """Leave out a snapshot that was recorded before the cut, with the losses before it."""
        self._losses.take()
        self.recall_weights()
        self._warn("again", f"snapshots up to {last} are there already: not taken again.")

    def _numbers(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Metrics that are known, by names that MLflow takes; what is no number is said and left out."""
        found: dict[str, float] = {}
        for given, value in metrics.items():
            name = loop_metric(given)
            if name != given:
                self._warn(f"metric {given}", f"MLflow takes no metric {given!r:.80}; it is called {name:.80}.")
            try:
                found |= {} if value is None else {name: float(number(given, value))}
            except ConfigError as error:
                self._warn(f"metric {given}", f"{error} It is left out of snapshot {self.snapshots}.")
        return found

    def _maps(self) -> TakenMaps:
        """Maps of all modules that still give one."""
        try:
            taken = self.take_maps()
        except FmceError:
            taken = TakenMaps({}, {})
            for module in self.modules:
                try:
                    one = self.take_maps(modules=[module])
                except FmceError as error:
                    self._warn(f"maps of {module}", f"no maps of {module} any more: {_short(error)}")
                else:
                    taken.maps.update(one.maps)
                    taken.clipped.update(one.clipped)
                    taken.exponents.update(one.exponents)
        return self._without_nan(taken)

    def _without_nan(self, taken: TakenMaps) -> TakenMaps:
        for module in [m for m, value in taken.maps.items() if not is_finite(value)]:
            del taken.maps[module]
            self._warn(f"NaN in {module}", f"maps of {module} are NaN at snapshot {self.snapshots}: not recorded.")
        return taken

    def _save(self, sink: Sink) -> None:
        state.save(sink, self.run.id, self.about, self.record)

    def _safely(self, what: str, call: Callable[[], Any]) -> None:
        """Do something; where it fails, say so once for each kind of failure, and let the training go on."""
        try:
            call()
        except UploadError as error:
            self._lost = True
            self._warn("upload", f"{what} cannot be recorded, nor what comes after; the training goes on. {error}")
        except Exception as error:
            self._warn(type(error).__name__, f"{what} was not recorded; the training goes on. {_short(error)}")

    def _warn(self, kind: str, line: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self.run.say(f"{self.name}: {line}")

    def _leave(self, error: BaseException) -> None:
        """Close a recording whose training was cut off."""
        self.ended = True
        self._close(status_after(error))
        if self.snapshots:
            go_on = f"Go on with record(…, run_id={self.run.id!r})."
            self.run.say(f"{self.name}: stopped after snapshot {self.snapshots - 1}. {go_on}")

    def _close(self, status: str) -> None:
        """Upload what waits, and give the run its status if it is ours to close."""
        self._stoppable.close()
        self.freezing.release()
        if self._lost or status != "FINISHED":
            if left := self.uploads.give_up(status, within=0 if self._lost else GRACE):
                self.run.say(f"{self.name}: {left}")
            elif self._more_of_first:
                self._safely("all of snapshot 0", self._log_more_of_first)
        else:
            self._safely("the end", partial(self.uploads.close, status if self._closes else None))
        if self._owned:
            with suppress(Exception):  # a server that is away was spoken of
                mlflow.end_run(status)


class IdleRecorder(LoopRecorder):
    """What the other processes of a distributed training have: it records nothing, and freezes what the first does."""

    def __init__(self, model: nn.Module, freezing: Freezing | None = None, record: Record | None = None) -> None:
        self.model, self.record, self.shapes, self.ended = model, record or Record(), {}, False
        self.name = type(unwrap(model)).__name__
        self.freezing = freezing or Freezing(model)

    def __enter__(self) -> IdleRecorder:
        """Freeze what was frozen."""
        self._safely("what was frozen", lambda: self.freezing.freeze(self.frozen_parts()))
        return self

    def __exit__(self, *_: Any) -> None:
        """Let modules follow ``train()`` again."""
        self.finish()

    def loss(self, total: Any = None, /, **parts: Any) -> None:
        """Nothing."""

    def snapshot(self, **_: Any) -> None:
        """Nothing."""

    def recall_weights(self) -> None:
        """Nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Let modules follow ``train()`` again."""
        self.ended = True
        self.freezing.release()

    def _warn(self, kind: str, line: str) -> None:
        """The first process says it."""


def _short(error: BaseException) -> str:
    text = " ".join(hide_credentials(error).split())[:400]
    return text if isinstance(error, FmceError) else f"{type(error).__name__}: {text}"
