"""Take snapshots of any model in any training loop, and find out at the end when it converged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from fmce_mlflow.errors import CaptureError, FmceError, ModelError, NonFiniteLossError
from fmce_mlflow.method.convergence.drift import centered_gram, gram_cka
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.method.networks.batches import images_in, placed
from fmce_mlflow.method.networks.call_order import namesakes
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.find_modules import resolve_modules
from fmce_mlflow.method.networks.fingerprint import fingerprint
from fmce_mlflow.method.networks.model_forms import bare_name, call_of, unwrap, unwrap_with_prefix
from fmce_mlflow.method.networks.take_maps import TakenMaps, take_maps
from fmce_mlflow.method.networks.untouched import untouched
from fmce_mlflow.method.networks.weight_change import WeightChange
from fmce_mlflow.method.saliency.history import SaliencyHistory, spread_snapshots
from fmce_mlflow.recording.conclude import conclude, log_figure, log_missing, metric_rows, named
from fmce_mlflow.recording.decisions import Decisions
from fmce_mlflow.recording.evidence import EvidenceTaker
from fmce_mlflow.recording.freezing import Deciding, Freezing, look
from fmce_mlflow.recording.map_page import log_page
from fmce_mlflow.recording.options import RecordingOptions
from fmce_mlflow.recording.probe import NO_LABEL, ProbeImages
from fmce_mlflow.recording.probe_pictures import log_probe
from fmce_mlflow.recording.record import Record
from fmce_mlflow.recording.signals import DRIFT, LOSSES, WEIGHTS, Signals
from fmce_mlflow.recording.state import About
from fmce_mlflow.report.saliency_figure import history_figure
from fmce_mlflow.runs.evidence_file import write_evidence
from fmce_mlflow.runs.feature_maps import FeatureMapWriter
from fmce_mlflow.runs.metric_names import renamed
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import Sink, Uploads
from fmce_mlflow.runs.uploads.open import open_uploads
from fmce_mlflow.safety import interrupts

SALIENCY = "plots/saliency.png"
PROBE_TAG = "fmce.probe_sha256"


class Recorder(Deciding):
    """Records the snapshots of a training in its MLflow run; :func:`~fmce_mlflow.recording.start.record` makes one.

    The model is left as it was: modes module by module, gradients, buffers, random state. So losses are those of the
    same training without a recorder, to the bit.

    Args:
        model: The network; wrappers (``DistributedDataParallel``, ``torch.compile``) are looked through.
        modules: Functional modules, names or globs; empty: the last feature stage.
        probe: The images whose maps are recorded.
        run: The MLflow run; it is not closed here.
        name: What lines and figures call the training.
        uploads: Where snapshots go, if the caller opens and closes that.
        record: What was recorded before, of a training that goes on.
        options: Those of :class:`~fmce_mlflow.recording.options.RecordingOptions`.

    Attributes:
        shapes: Shape of one map (C, H, W) by module; a module with several outputs has a name for each.
        record: What was measured so far.

    Raises:
        BackboneError: If the model has no such module.
        CaptureError: If a module has no feature map.
        ConfigError: If options cannot be used.
        ModelError: If the model cannot take the probe images.
    """

    def __init__(
        self,
        model: nn.Module,
        modules: Sequence[str],
        probe: ProbeImages,
        run: Run,
        *,
        name: str = "",
        uploads: Uploads | None = None,
        record: Record | None = None,
        **options: Any,
    ) -> None:
        self.model, self.probe, self.run = model, probe, run
        self.options = RecordingOptions(**options)
        self.name = name or type(unwrap(model)).__name__
        self.record = record or Record()
        self._asked, self.shapes = find_maps(model, modules, probe, self.options)
        for line in (*renamed(self.shapes), *namesakes(model, self._asked, self.shapes)):
            run.say(line)
        self.freezing = Freezing(model, lambda: look(model, self.modules, probe, self.options.token_grid))
        self.decisions = Decisions(self.options.convergence, self.options.patience, self.options.signal, self.modules)
        self._saliency = self._history()
        self._once = run.saying_once()
        self._weights = WeightChange(model, self.modules, self._upstream, self.record.weights_of)
        tell = lambda line: run.say(f"{self.name}: {line}")  # noqa: E731
        self._evidence = EvidenceTaker(model, self._asked, probe, self.options.token_grid, tell)
        self._owns_uploads = uploads is None
        self.uploads = uploads or open_uploads(run)

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of what is recorded."""
        return tuple(self.shapes)

    @property
    def snapshots(self) -> int:
        """How many snapshots were recorded so far."""
        return len(self.record.metrics)

    @property
    def about(self) -> About:
        """What is recorded, for whoever goes on with it or ends it."""
        return About(self.name, self.probe.identity, self.shapes, self.options)

    def take_maps(self, *, keep_outputs: bool = False, modules: Sequence[str] | None = None) -> TakenMaps:
        """The modules' maps of the probe images as the network is now, for a loop that uses its outputs too."""
        with untouched(self.model):
            return take_maps(
                self.model,
                self._asked if modules is None else modules,
                self.probe.batches,
                len(self.probe.labels),
                map_size=self.options.map_size,
                token_grid=self.options.token_grid,
                keep_outputs=keep_outputs,
                call=self.probe.forward,
            )

    def snapshot(
        self,
        *,
        epoch: float | None = None,
        maps: TakenMaps | None = None,
        save: Callable[[Sink], None] | None = None,
        **metrics: float,
    ) -> None:
        """Record a snapshot: maps and index, what ``save`` writes, metrics, in an order in which a kill loses nothing.

        Args:
            epoch: How many epochs were trained, also a part of one; None: the number of the snapshot.
            maps: Of this moment, if :meth:`take_maps` was called for it already.
            save: Writes what the loop needs to go on from here, such as a checkpoint with ``record`` in it.
            metrics: ``train_loss`` and ``val_loss`` are signals of convergence; any other is logged with them.

        Raises:
            NonFiniteLossError: If a loss is NaN or infinite; nothing is written.
            UploadError: If snapshots wait and the server takes none.
        """
        index = self.snapshots
        for name, what in LOSSES.items():
            if not math.isfinite(metrics.get(name, 0.0)):
                raise NonFiniteLossError(index, metrics[name], what)
        self._snapshot(epoch, maps or self.take_maps(), save, metrics)

    def finish(self) -> Signals | None:
        """Find out whether and when the training converged, and log what shows it; it can be done again after a kill.

        Returns:
            What each signal says.

        Raises:
            ConvergenceError: If the signal that labels the run was not recorded.
            UploadError: If the server takes nothing.
        """
        self.freezing.release()
        self.uploads.drain()
        found = self._concluded(finite=True)
        if self._owns_uploads:
            self.uploads.close(None)
        return found

    def log_missing(self) -> None:
        """Log metrics that the record has and the run lacks, because a process died after its checkpoint."""
        log_missing(self.run, self.record, self.options.prefix)

    def _snapshot(
        self,
        epoch: float | None,
        maps: TakenMaps,
        save: Callable[[Sink], None] | None,
        metrics: dict[str, float],
        earlier: dict[str, float] | None = None,
    ) -> None:
        """Record a snapshot, with metrics of the one before that became known since."""
        index, record = self.snapshots, self.record
        metrics = {**metrics, "epoch": float(index) if epoch is None else float(epoch)}
        evidence = self._evidence.take(index) if self.options.evidence else None
        self.uploads.make_room()
        with interrupts.held(), self._or_as_it_was(), self.uploads.snapshot(index) as sink:
            metrics |= self._drift(maps) | self._focus() | self._moved()
            writer = FeatureMapWriter(sink, self.run.id, self.probe.identity, self.probe.labels, record.entries)
            writer.write(index, maps.maps, maps.clipped, maps.exponents)
            if evidence is not None:
                record.evidence[index] = write_evidence(sink, self.run.id, evidence)
            record.metrics.append(metrics)
            record.epochs.append(metrics["epoch"])
            record.named = record.named if epoch is None else float(epoch)
            record.fingerprints.append(fingerprint(unwrap(self.model)))
            record.entries = dict(writer.index.entries)
            rows = metric_rows(metrics, index, self.options.prefix)
            if earlier:
                record.metrics[index - 1] |= earlier
                rows = metric_rows(earlier, index - 1, self.options.prefix) + rows
            if save is not None:
                save(sink)
            sink.log_batch(self.run.id, metrics=rows)

    @contextmanager
    def _or_as_it_was(self) -> Iterator[None]:
        """Forget a snapshot of which a part could not be written."""
        before, record = copy(self.record), self.record
        metrics, lists = [dict(m) for m in record.metrics[-1:]], (len(record.metrics), len(record.fingerprints))
        of_modules: tuple[dict[Any, Any], ...] = (record.grams, record.saliency, record.weights_of, record.evidence)
        as_it_was = [(one, dict(one)) for one in of_modules]
        try:
            yield
        except BaseException:
            record.entries, record.steps, record.named = before.entries, before.steps, before.named
            del record.metrics[lists[0] :], record.epochs[lists[0] :], record.fingerprints[lists[1] :]
            record.metrics[-1:] = metrics
            for now, then in as_it_was:
                now.clear()
                now.update(then)
            self._weights.forget()
            raise

    def _drift(self, taken: TakenMaps) -> dict[str, float]:
        """How far each module's maps have moved since the last snapshot."""
        found = {}
        for module, value in taken.maps.items():
            gram = centered_gram(value)
            if module in self.record.grams:
                found[f"{DRIFT}{module}"] = float(np.clip(1 - gram_cka(self.record.grams[module], gram), 0, 1))
            self.record.grams[module] = gram
        return found

    def _moved(self) -> dict[str, float]:
        """How far each module's weights have moved since the last snapshot, where that is known."""
        try:
            return {f"{WEIGHTS}{module}": value for module, value in self._weights.look().items()}
        except Exception as error:  # such as a GPU that has no room for a copy
            self._weights.forget()
            self._once.say(
                f"{self.name}: how far weights moved cannot be found out, and counts as a movement: "
                f"{type(error).__name__}: {error!s:.300}"
            )
            return {}

    def recall_weights(self) -> None:
        """In a recording that goes on, know the weights of its last snapshot if the network has them again."""
        try:
            self._weights.recall()
        except Exception:  # the next snapshot says it
            self._weights.forget()

    def _upstream(self) -> dict[str, tuple[str, ...]]:
        """Names of the weights before each module; of none where that cannot be found out."""
        try:
            return {module: one.parameters for module, one in self.freezing.known.items()}
        except Exception as error:
            self._once.say(
                f"{self.name}: it is not known from which weights modules without any are computed, so these count as "
                f"moving: {type(error).__name__}: {error!s:.300}"
            )
            return {}

    def _focus(self) -> dict[str, float]:
        """How concentrated each module's Grad-CAM is; empty where there is none."""
        with untouched(self.model):
            return {f"focus/{module}": value for module, value in self._saliency.take(self.model).items()}

    def _concluded(self, *, finite: bool) -> Signals:
        """The end of the recording, as often as the server makes it necessary."""
        run = named(self.run, self.name)

        def end() -> Signals:
            extras = (self._log_saliency, lambda run, _: log_probe(run, self.probe))
            found = conclude(run, self.about, self.record, extras, finite=finite)
            if self.options.page:
                log_page(run)
            return found

        return self.uploads.persist(end)

    def _history(self) -> SaliencyHistory:
        labels = [int(label) for label in self.probe.labels[: len(self.probe.shown)]]
        history = SaliencyHistory(
            self.probe.shown, labels, self.modules, self.record.saliency, token_grid=self.options.token_grid
        )
        if NO_LABEL in labels:
            history.problem = "the probe images have no labels that the network could be asked about."
        elif self.probe.forward is not None:
            history.problem = "the network is called by a function of its own."
        return history

    def _log_saliency(self, run: Run, convergence: Convergence) -> None:
        """Attention over the markers; without Grad-CAM, say why there is none."""
        history, last = self._saliency, len(self.record.metrics) - 1
        if history.problem is not None:
            run.say(f"no saliency: {history.problem}")
            return
        markers = convergence.markers
        snapshots = spread_snapshots(last, convergence.config.levels) if markers is None else markers
        labels = convergence.fmcs if markers is not None else None
        draw = partial(
            history_figure,
            self.probe.pictures,
            history.at(snapshots, last),
            [self.probe.class_name(label) for label in history.labels],
            fmcs={s: None if labels is None else float(labels[s]) for s in snapshots},
            title=f"Grad-CAM of the true class over training: {self.name}",
        )
        log_figure(run, draw, SALIENCY)


def find_maps(
    model: nn.Module, modules: Sequence[str], probe: ProbeImages, options: RecordingOptions
) -> tuple[tuple[str, ...], dict[str, tuple[int, ...]]]:
    """Modules to ask for, and by name (C, H, W) of the maps that they give for the first probe images.

    Raises:
        BackboneError: If the model has no such module.
        CaptureError: If a module has no feature map.
        ModelError: If the model cannot take the images.
    """
    modules = [modules] if isinstance(modules, str) else modules
    call, grid = call_of(probe.forward), options.token_grid
    with told(probe), untouched(model):
        batch = placed(unwrap(model), probe.example)
        names = resolve_modules(model, modules, example=batch, token_grid=grid, call=call)
        names = tuple(dict.fromkeys(bare_name(name, unwrap_with_prefix(model)[1]) for name in names))
        with capture(model, names, map_size=options.map_size, token_grid=grid, call=call) as forward:
            _, maps = forward(batch)
    return names, {name: tuple(value.shape[1:]) for name, value in maps.items()}


@contextmanager
def told(probe: ProbeImages) -> Iterator[None]:
    """Say what a model made of the probe images, in place of whatever its forward raises."""
    try:
        yield
    except CaptureError as error:
        if probe.forward is not None and "was not called" in str(error):
            raise CaptureError(
                f"{error} forward=… has to call the model that it is given first, and no other."
            ) from None
        raise
    except FmceError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300].rstrip(". ")
        if not isinstance(error, (RuntimeError, ValueError)):
            reason = f"{type(error).__name__}: {reason}"
        images = images_in(probe.example)
        images = probe.shown if images is None else images
        raise ModelError(
            "The model cannot take the probe images, the first of which are "
            f"{str(images[0].dtype).removeprefix('torch.')} of shape {tuple(images[0].shape)}: {reason}. The probe is "
            "given to the model as it is: prepare it as in the training, and where the model takes more or other "
            "arguments than the images, say how it is called with forward=lambda model, batch: …."
        ) from error
