"""Take snapshots of any model in any training loop, and find out at the end when it converged."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import mlflow
import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.entities import Metric
from torch import nn

from fmce_mlflow.errors import NonFiniteLossError, RunError
from fmce_mlflow.method.convergence.config import ConvergenceConfig, Signal
from fmce_mlflow.method.convergence.drift import centered_gram, gram_cka
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.config import read_token_grid
from fmce_mlflow.method.networks.find_modules import resolve_modules
from fmce_mlflow.method.networks.layout import TokenGrid
from fmce_mlflow.method.networks.take_maps import TakenMaps, device_of, random_state_kept, take_maps
from fmce_mlflow.method.saliency.history import SaliencyHistory, spread_snapshots
from fmce_mlflow.recording.probe import NO_LABEL, ProbeImages, probe_images
from fmce_mlflow.recording.record import Record
from fmce_mlflow.recording.signals import DRIFT, LOSSES, Signals, run_convergence
from fmce_mlflow.report.convergence_figure import convergence_figure
from fmce_mlflow.report.saliency_figure import history_figure
from fmce_mlflow.report.style import png
from fmce_mlflow.runs.feature_index import INDEX, ROOT
from fmce_mlflow.runs.feature_maps import FeatureMapWriter
from fmce_mlflow.runs.metric_names import logged_name, renamed
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import Sink, Uploads
from fmce_mlflow.runs.uploads.open import open_uploads
from fmce_mlflow.safety import interrupts
from fmce_mlflow.safety.reading import seal
from fmce_mlflow.safety.terminal import tell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONVERGENCE = "convergence.json"
PLOT = "plots/convergence.png"
SALIENCY = "plots/saliency.png"
PROBE_TAG = "fmce.probe_sha256"


class Recorder:
    """Records the snapshots of a training in its MLflow run.

    The model is left as it was: modes module by module, gradients, buffers, random state. So losses are those of the
    same training without a recorder, to the bit.

    Args:
        model: The network; wrappers (``DistributedDataParallel``, ``torch.compile``) are looked through.
        modules: Functional modules, names or globs; empty: the last feature stage.
        probe: The images whose maps are recorded.
        run: The MLflow run; it is not closed here.
        map_size: Pool larger maps to this height and width.
        token_grid: (h, w) of a transformer's tokens where the model does not show it, or (h, w, before).
        keep: ``all`` maps, or only those of the ``markers`` once the training has ended.
        signal: What labels the run: ``train`` or ``val`` loss, or the modules' own ``drift``.
        convergence: The constants of convergence.
        name: What lines and figures call the training.
        uploads: Where snapshots go, if the caller opens and closes that.
        record: What was recorded before, of a training that goes on.

    Attributes:
        shapes: Shape of one map (C, H, W) by module; a module with several outputs has a name for each.
        record: What was measured so far.

    Raises:
        BackboneError: If the model has no such module.
        CaptureError: If a module has no feature map.
    """

    def __init__(
        self,
        model: nn.Module,
        modules: Sequence[str],
        probe: ProbeImages,
        run: Run,
        *,
        map_size: int | None = None,
        token_grid: TokenGrid | None = None,
        keep: Literal["all", "markers"] = "all",
        signal: Signal = "train",
        convergence: ConvergenceConfig | None = None,
        name: str = "",
        uploads: Uploads | None = None,
        record: Record | None = None,
    ) -> None:
        self.model, self.probe, self.run, self.map_size = model, probe, run, map_size
        self.token_grid = read_token_grid(token_grid)
        self.keep, self.signal, self.convergence = keep, signal, convergence or ConvergenceConfig()
        self.name = name or type(model).__name__
        self.record = record or Record()
        self.shapes = _map_shapes(model, modules, torch.zeros_like(probe.shown[:2]), map_size, self.token_grid)
        labels = [int(label) for label in probe.labels[: len(probe.shown)]]
        for line in renamed(self.shapes):
            run.say(line)
        self._saliency = SaliencyHistory(
            probe.shown, labels, tuple(self.shapes), self.record.saliency, token_grid=self.token_grid
        )
        if NO_LABEL in labels:
            self._saliency.problem = "the probe images have no labels that the network could be asked about."
        self._owns_uploads = uploads is None
        self.uploads = uploads or open_uploads(run)

    def take_maps(self, *, keep_outputs: bool = False) -> TakenMaps:
        """The modules' maps of the probe images as the network is now, for a loop that uses its outputs too."""
        return take_maps(
            self.model,
            tuple(self.shapes),
            self.probe.batches,
            len(self.probe.labels),
            map_size=self.map_size,
            token_grid=self.token_grid,
            keep_outputs=keep_outputs,
        )

    def snapshot(
        self, *, maps: TakenMaps | None = None, save: Callable[[Sink], None] | None = None, **metrics: float
    ) -> None:
        """Record a snapshot: maps and index, what ``save`` writes, metrics, in an order in which a kill loses nothing.

        Args:
            maps: Of this moment, if :meth:`take_maps` was called for it already.
            save: Writes what the loop needs to go on from here, such as a checkpoint with ``record`` in it.
            metrics: ``train_loss`` and ``val_loss`` are signals of convergence, ``epoch`` counts epochs (snapshots
                if it is missing); any other is logged with them.

        Raises:
            NonFiniteLossError: If a loss is NaN or infinite; nothing is written.
            UploadError: If snapshots wait and the server takes none.
        """
        index = len(self.record.metrics)
        for name, what in LOSSES.items():
            if not math.isfinite(metrics.get(name, 0.0)):
                raise NonFiniteLossError(index, metrics[name], what)
        metrics.setdefault("epoch", float(index))
        maps = maps or self.take_maps()
        self.uploads.make_room()
        with interrupts.held(), self.uploads.snapshot(index) as sink:
            metrics |= self._drift(maps) | {f"focus/{m}": value for m, value in self._saliency.take(self.model).items()}
            writer = self._writer(sink)
            writer.write(index, maps.maps, maps.clipped)
            self.record.metrics.append(metrics)
            self.record.epochs.append(metrics["epoch"])
            self.record.entries = dict(writer.index.entries)
            if save is not None:
                save(sink)
            sink.log_batch(self.run.id, metrics=metric_rows(metrics, index))

    def finish(self) -> Signals:
        """Find out whether and when the training converged, and log what shows it; it can be done again after a kill.

        Raises:
            ConvergenceError: If the signal that labels the run was not recorded.
            UploadError: If the server takes nothing.
        """
        self.uploads.drain()
        run = replace(self.run, say=lambda line: self.run.say(f"{self.name}: {line}")).saying_once()
        found = self.uploads.persist(lambda: self._finish(run))
        if self._owns_uploads:
            self.uploads.close(None)
        return found

    def log_missing(self) -> None:
        """Log metrics that the record has and the run lacks, because a process died after its checkpoint."""
        rows = [row for step, metrics in enumerate(self.record.metrics) for row in metric_rows(metrics, step)]
        self.run.client.log_batch(self.run.id, metrics=self.run.lacking(rows))

    def _drift(self, taken: TakenMaps) -> dict[str, float]:
        """How far each module's maps have moved since the last snapshot."""
        found = {}
        for module, value in taken.maps.items():
            gram = centered_gram(value)
            if module in self.record.grams:
                found[f"{DRIFT}{module}"] = float(np.clip(1 - gram_cka(self.record.grams[module], gram), 0, 1))
            self.record.grams[module] = gram
        return found

    def _writer(self, sink: MlflowClient | Sink) -> FeatureMapWriter:
        return FeatureMapWriter(sink, self.run.id, self.probe.identity, self.probe.labels, self.record.entries)

    def _finish(self, run: Run) -> Signals:
        record = self.record
        signals = run_convergence(record.metrics, self.convergence)
        primary, note = signals.primary(self.signal), signals.disagreement
        run.say(primary.verdict())
        if note:
            run.say(f"note: {note}")
        for step in range(len(primary.losses)):
            labels = {"cqi": primary.cqi[step]} | ({} if primary.fmcs is None else {"fmcs": primary.fmcs[step]})
            record.metrics[step] |= {k: float(v) for k, v in labels.items() if np.isfinite(v)}
        self.log_missing()
        about = {"signal": self.signal, "disagreement": note, "epochs": record.epochs}
        run.log_json({**about, **signals.to_dict()}, CONVERGENCE)
        other = signals.val if self.signal == "train" else None
        draw = partial(convergence_figure, primary, title=self.name, epochs=record.epochs, other=other)
        log_figure(run, draw, PLOT)
        self._log_saliency(run, primary)
        self._close_index(run, primary)
        run.client.set_tag(run.id, "fmce.converged", str(primary.converged).lower())
        if primary.point is not None:
            run.client.set_tag(run.id, "fmce.convergence_point", str(primary.point))
        return signals

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

    def _close_index(self, run: Run, convergence: Convergence) -> None:
        """Drop the maps that are not to be kept, and seal the index: from here on it stays as it is."""
        writer = self._writer(run.client)
        if self.keep == "markers" and convergence.markers is None:
            run.say("all maps are kept, because a run that has not converged has no markers.")
        elif self.keep == "markers":
            dropped = writer.keep_only(set(convergence.markers or ()))
            run.say(f"kept the maps of snapshots {convergence.markers}, dropped {dropped} files.")
        run.set_tags(seal(f"{ROOT}/{INDEX}", writer.index.to_json().encode()))


def record(
    model: nn.Module,
    modules: Sequence[str] = (),
    *,
    probe: Any,
    labels: Any = None,
    run_id: str | None = None,
    client: MlflowClient | None = None,
    say: Callable[[str], None] = tell,
    **options: Any,
) -> Recorder:
    """A recorder of a training in any loop, in an MLflow run that the caller opens and closes.

    Args:
        model: The network.
        modules: Functional modules, names or globs; empty: the last feature stage.
        probe: Images that are never trained on, as :func:`~fmce_mlflow.recording.probe.probe_images` takes them.
        labels: Their classes.
        run_id: The run; None: MLflow's active one.
        client: MLflow client; None: one of the current tracking URI.
        say: Prints a line for the user.
        options: As for :class:`Recorder`.

    Raises:
        RunError: If no run is named and none is active.
        DataError: If the probe images have an unknown form.
        BackboneError: If the model has no such module.

    Example:
        A loop calls ``recorder.snapshot(train_loss=…)`` before training and after each epoch, then
        ``recorder.finish()``.
    """
    active = mlflow.active_run()
    if run_id is None:
        if active is None:
            raise RunError("There is no run to record in. Open one with `with mlflow.start_run():`, or pass run_id=….")
        run_id = active.info.run_id
    images = probe if isinstance(probe, ProbeImages) else probe_images(probe, labels)
    run = Run(client or MlflowClient(), run_id, say)
    made = Recorder(model, modules, images, run, **options)
    run.set_role("backbone")
    run.set_tags({PROBE_TAG: images.sha256})
    run.log_params({"backbone": made.name, "dataset": images.name, "modules_used": ",".join(made.shapes)})
    return made


def metric_rows(metrics: Mapping[str, float], step: int) -> list[Metric]:
    """Metrics of a snapshot, as of now."""
    now = int(time.time() * 1000)
    return [Metric(logged_name(k), v, now, step) for k, v in metrics.items()]


def log_figure(run: Run, draw: Callable[[], Figure], path: str) -> None:
    """Draw a figure and log it; where that fails, say so: no figure is worth the run that it shows."""
    try:
        picture = png(draw(), dpi=160)
    except Exception as error:
        run.say(f"note: {path} cannot be drawn ({type(error).__name__}: {error!s:.200}).")
        return
    run.log_bytes(picture, path)


def _map_shapes(
    model: nn.Module, modules: Sequence[str], example: torch.Tensor, map_size: int | None, grid: TokenGrid | None
) -> dict[str, tuple[int, ...]]:
    """(C, H, W) of the maps that a model gives for an example (2, C, H, W), by name."""
    with random_state_kept(model):
        x = example.to(device_of(model))
        names = resolve_modules(model, modules, example=x, token_grid=grid)
        with capture(model, names, map_size=map_size, token_grid=grid) as forward:
            _, maps = forward(x)
    return {name: tuple(value.shape[1:]) for name, value in maps.items()}
