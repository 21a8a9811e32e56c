"""Train one backbone as one MLflow run: maps, losses and convergence at every snapshot, the model at the end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from mlflow.entities import Metric, Param, RunTag
from tqdm import tqdm

from fmce_mlflow.backbone import models as model_logging
from fmce_mlflow.backbone import resume as checkpoint
from fmce_mlflow.backbone.finish import run_convergence
from fmce_mlflow.backbone.images import load_options_images
from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.backbone.resume import OPTIONS, Checkpoint, Record
from fmce_mlflow.errors import ArtifactError, UploadError
from fmce_mlflow.method.convergence import drift
from fmce_mlflow.method.convergence import verdict as cv
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.method.images.split import ImageData
from fmce_mlflow.method.networks.backbones import build_backbone, resolve_stem
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.find_modules import resolve_modules
from fmce_mlflow.method.saliency.history import SaliencyHistory, input_images, spread_snapshots
from fmce_mlflow.method.training.loop import make_accelerator, train
from fmce_mlflow.method.training.observe import Snapshot
from fmce_mlflow.report.convergence_figure import convergence_figure
from fmce_mlflow.report.saliency_figure import history_figure
from fmce_mlflow.runs import checkpoint_slots
from fmce_mlflow.runs.artifacts import artifact_repository
from fmce_mlflow.runs.feature_index import INDEX, ROOT, Probe
from fmce_mlflow.runs.feature_maps import FeatureMapWriter
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import Sink, Uploads
from fmce_mlflow.runs.uploads.open import open_uploads
from fmce_mlflow.runs.uploads.options import UploadOptions
from fmce_mlflow.safety import interrupts
from fmce_mlflow.safety.reading import seal

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from torch import nn

CONVERGENCE = "convergence.json"
PLOT = "plots/convergence.png"
SALIENCY = "plots/saliency.png"
GRACE = 10.0
"""Seconds in which a training that is stopped still uploads; schedulers kill after 30."""


@dataclass(frozen=True, slots=True)
class BackboneResult:
    """What a backbone run came to.

    Attributes:
        run_id: The MLflow run.
        convergence: By the run's signal; for ``drift``, of its first module.
        disagreement: A sentence where training and eval-mode losses tell different stories.
        val_accuracy: At the last snapshot, in [0, 1].
        model_uri: The final model's URI; empty on other processes than the first.
    """

    run_id: str
    convergence: Convergence
    disagreement: str | None
    val_accuracy: float
    model_uri: str


def train_backbone(
    run: Run,
    options: BackboneOptions,
    *,
    data: ImageData | None = None,
    name: str = "",
    uploads: UploadOptions | None = None,
) -> BackboneResult:
    """Train a backbone in an existing MLflow run, or go on with one that was killed.

    Where the run has a checkpoint, training goes on after it with the run's own options. The run is closed: FINISHED,
    FAILED with all it had logged, or KILLED by Ctrl-C or SIGTERM. :mod:`fmce_mlflow.runs.uploads` says how its
    snapshots reach a server.

    Args:
        run: The MLflow run; it must be running, or have been.
        options: What to train; every process of a distributed job passes the same.
        data: The images, if they are at hand.
        name: What progress lines begin with.
        uploads: How snapshots wait for a server.

    Returns:
        What the run came to.

    Raises:
        FmceError: For every mistake that a user can make.
    """
    if not PartialState(cpu=options.training.cpu).is_main_process:
        return _Run(run, options, None, name).train(data)
    with interrupts.stoppable():
        out = open_uploads(run, uploads)
        try:
            result = _Run(run, options, out, name).train(data)
            out.close("FINISHED")
        except BaseException as error:
            stopped, away = isinstance(error, KeyboardInterrupt), isinstance(error, UploadError)
            left = out.give_up("KILLED" if stopped else "FAILED", within=GRACE if stopped else 0 if away else None)
            if stopped:
                run.say(f"Stopped. Go on with: fmce train-backbone --resume {run.id}")
            if left and not away:
                run.say(left)
            raise
        out.persist(
            partial(checkpoint_slots.remove, run)
        )  # not before: a run without a checkpoint that is not finished starts anew
    return result


class _Run:
    """One training, from its data to its last artifact."""

    def __init__(
        self,
        run: Run,
        options: BackboneOptions,
        out: Uploads | None,
        name: str,
    ) -> None:
        self.run, self.client, self.run_id, self.options = run, run.client, run.id, options
        self.out = out  # the main process has it
        self.accelerator = make_accelerator(options.training)
        self.main = self.accelerator.is_main_process
        self.say: Callable[[str], None] = run.say if self.main else _silent
        self.name = name or f"{options.backbone} on {options.dataset}, seed {options.training.seed}"
        self.record = Record()
        self.grams: dict[str, Any] = {}

    def train(self, data: ImageData | None) -> BackboneResult:
        options, config = self.options, self.options.training
        data = data or load_options_images(options)
        image_size = data.preprocessing.height
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            model = build_backbone(
                options.backbone, num_classes=len(data.classes), image_size=image_size, stem=options.stem
            )
        example = torch.zeros(2, 3, data.preprocessing.height, data.preprocessing.width)
        shapes = _map_shapes(model, resolve_modules(model, options.modules, example=example), example, options.map_size)
        modules = tuple(shapes)  # a module with several outputs has a name for each
        load = partial(checkpoint.load, self.run)
        resume = load() if self.out is None else self.out.persist(load)
        first = resume.state.snapshot if resume else 0
        labels = np.asarray(data.probe.labels, dtype=np.int64)
        self.probe, self.labels = Probe(options.dataset, len(labels), data.probe_sha256), labels
        self.attention = SaliencyHistory.of(data, modules, resume.saliency if resume else None)
        if resume is not None:
            self.record, self.grams = resume.record, dict(resume.grams)
            self.say(f"{self.name}: going on after snapshot {first}.")
        if self.out is not None:
            self.out.persist(partial(self.client.update_run, self.run_id, status="RUNNING"))
            self.out.persist(self._log_missing if resume else partial(self._begin, data, modules, shapes))
        batch = min(config.batch_size, len(data.train))
        per_epoch = len(data.train) // batch * batch
        total, done = config.epochs * per_epoch, first * per_epoch // config.snapshots_per_epoch
        bar = tqdm(
            total=total, initial=done, unit="img", desc=self.name, disable=None if self.main else True, mininterval=0.5,
            leave=False,
        )  # fmt: skip
        started = time.monotonic()
        with bar:
            for snapshot in train(
                model,
                data,
                config,
                modules,
                map_size=options.map_size,
                resume=resume.state if resume else None,
                accelerator=self.accelerator,
                progress=bar,
            ):
                if self.out is not None:
                    self.out.make_room()
                    with interrupts.held(), self.out.snapshot(snapshot.index) as sink:
                        self._log_snapshot(snapshot, model, sink)
                    if bar.disable:
                        left = (time.monotonic() - started) / max(1, snapshot.index - first)
                        self._say_snapshot(snapshot, left * (config.snapshots - snapshot.index))
        model = self.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        self.record.metrics = broadcast_object_list([self.record.metrics])[0]
        model = model.cpu()
        if self.out is None:
            return self._finish(model, data, modules)
        self.out.drain()
        self.say = _once(self.say)
        return self.out.persist(partial(self._finish, model, data, modules))

    def _writer(self, sink: MlflowClient | Sink) -> FeatureMapWriter:
        return FeatureMapWriter(sink, self.run_id, self.probe, self.labels, self.record.entries)

    def _begin(self, data: ImageData, modules: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Everything about the run that is known before the first snapshot."""
        options = self.options
        self.run.set_role("backbone")
        before = self.client.get_run(self.run_id).data
        stem = resolve_stem(options.stem, data.preprocessing.height, options.backbone)
        params = {
            **options.flat(),
            "input_size": f"{data.preprocessing.height}x{data.preprocessing.width}",
            "stem_used": stem,
            "modules_used": ",".join(modules),
            "train_images": str(len(data.train)),
            "validation_images": str(len(data.validation)),
            "probe_images": str(len(data.probe)),
            "probe_sha256": data.probe_sha256,
            "classes": str(len(data.classes)),
            "processes": str(self.accelerator.num_processes),
            "device": str(self.accelerator.device.type),
        }
        stored = self.run.log_json(options.to_dict(), OPTIONS)
        tags = {"fmce.probe_sha256": data.probe_sha256, **seal(OPTIONS, stored)}
        if "mlflow.project.entryPoint" not in before.tags:
            tags["mlflow.runName"] = self.name
        self.client.log_batch(
            self.run_id,
            params=[Param(k, v[:6000]) for k, v in params.items() if k not in before.params],
            tags=[RunTag(k, v) for k, v in tags.items()],
        )
        n = len(data.probe)
        size = sum(2 * n * int(np.prod(shape)) for shape in shapes.values())
        total = size * (options.training.snapshots + 1)
        maps = ", ".join(f"{m} {'×'.join(map(str, s))}" for m, s in shapes.items())
        self._check_space(total)
        self.say(
            f"{self.name}: {len(data.train):,} training, {len(data.validation):,} validation and {n:,} probe images; "
            f"maps of {maps}. Will write {_mebibytes(total)} of feature maps in {options.training.snapshots + 1} "
            f"snapshots of {_mebibytes(size)}."
        )

    def _check_space(self, needed: int) -> None:
        """Refuse to begin what the artifact store's disk cannot hold, where that disk is ours to see."""
        root = getattr(artifact_repository(self.client, self.run_id), "artifact_dir", None)
        if root is None:
            return
        folder = Path(root)
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise ArtifactError(
                f"The feature maps need {_mebibytes(needed)}, and the artifact store at {folder} has "
                f"{_mebibytes(free)} free. Use a smaller --probe-size, a --map-size or fewer snapshots, or make room."
            )

    def _log_snapshot(self, snapshot: Snapshot, model: nn.Module, sink: Sink) -> None:
        """Maps and index, checkpoint, its tag, then metrics: in this order a kill at any point loses nothing."""
        metrics = {
            "train_loss": snapshot.train_loss,
            "val_loss": snapshot.val_loss,
            "val_accuracy": snapshot.val_accuracy,
            "epoch": snapshot.epoch,
            "images_per_second": snapshot.images_per_second,
        }
        maps = {module: value.numpy() for module, value in snapshot.maps.items()}
        for module, value in maps.items():
            gram = drift.centered_gram(value)
            if module in self.grams:
                metrics[f"drift/{module}"] = float(np.clip(1 - drift.gram_cka(self.grams[module], gram), 0, 1))
            self.grams[module] = gram
        metrics |= {f"focus/{module}": value for module, value in self.attention.take(model).items()}
        writer = self._writer(sink)
        writer.write(snapshot.index, maps, snapshot.clipped)
        self.record.metrics.append(metrics)
        self.record.epochs.append(snapshot.epoch)
        self.record.entries = dict(writer.index.entries)
        assert snapshot.state is not None  # the main process has it
        if self.options.log_checkpoints:
            kept = model_logging.save_weights(sink, self.run_id, snapshot.index, snapshot.state.model)
            self.record.weights[snapshot.index] = kept
        checkpoint.save(sink, self.run_id, Checkpoint(snapshot.state, self.record, self.grams, self.attention.kept))
        self._log_metrics(sink, metrics, snapshot.index)

    def _log_metrics(self, sink: MlflowClient | Sink, metrics: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        sink.log_batch(self.run_id, metrics=[Metric(k, v, now, step) for k, v in metrics.items()])

    def _log_missing(self) -> None:
        """Metrics that the record has and the run lacks: the process died between its checkpoint and its metrics."""
        names = dict.fromkeys(name for metrics in self.record.metrics for name in metrics)
        logged = {name: {m.step for m in self.client.get_metric_history(self.run_id, name)} for name in names}
        for step, metrics in enumerate(self.record.metrics):
            missing = {name: value for name, value in metrics.items() if step not in logged[name]}
            if missing:
                self._log_metrics(self.client, missing, step)

    def _say_snapshot(self, snapshot: Snapshot, left: float) -> None:
        self.say(
            f"{self.name}: snapshot {snapshot.index}/{self.options.training.snapshots}, epoch {snapshot.epoch:.2f}, "
            f"training loss {snapshot.train_loss:.4f}, validation loss {snapshot.val_loss:.4f}, "
            f"accuracy {snapshot.val_accuracy:.1%}"
            + (f", {snapshot.images_per_second:.0f} images/s, {_clock(left)} left" if snapshot.index else "")
        )

    def _finish(self, model: nn.Module, data: ImageData, modules: tuple[str, ...]) -> BackboneResult:
        """Convergence of the whole run, its plots, its models; each step can be done again after a kill."""
        options, record = self.options, self.record
        verdicts = run_convergence(record.metrics, options.convergence, modules)
        primary = verdicts["drift"][modules[0]] if options.signal == "drift" else verdicts[options.signal]
        note = cv.disagreement(verdicts["train"], verdicts["val"])
        accuracy = record.metrics[-1]["val_accuracy"]
        result = BackboneResult(self.run_id, primary, note, accuracy, "")
        if not self.main:
            return result
        self.say(f"{self.name}: {primary.verdict()}")
        if note:
            self.say(f"{self.name}: note: {note}")
        for step in range(len(primary.losses)):
            values = {"cqi": primary.cqi[step]}
            if primary.fmcs is not None:
                values["fmcs"] = primary.fmcs[step]
            self.record.metrics[step] |= {k: float(v) for k, v in values.items() if np.isfinite(v)}
        self._log_missing()
        self.run.log_json(
            {
                "signal": options.signal,
                "disagreement": note,
                "epochs": record.epochs,
                "train": verdicts["train"].to_dict(),
                "val": verdicts["val"].to_dict(),
                "drift": {module: verdict.to_dict() for module, verdict in verdicts["drift"].items()},
            },
            CONVERGENCE,
        )
        other = verdicts["val"] if options.signal == "train" else None
        self.client.log_figure(
            self.run_id,
            convergence_figure(primary, title=self.name, epochs=record.epochs, other=other),
            PLOT,
            save_kwargs={"dpi": 160},
        )
        self._log_saliency(primary, data)
        uri = model_logging.log_models(
            self.client,
            self.run_id,
            model,
            data,
            modules=modules,
            backbone=options.backbone,
            serialization=options.model_format,
            final=options.training.snapshots,
            markers=primary.markers if options.log_checkpoints and primary.markers else (),
            register_as=options.register_as,
            say=self.say,
            kept=record.weights,
        )
        writer = self._writer(self.client)
        if options.keep == "markers":
            if primary.markers is None:
                self.say(f"{self.name}: all maps are kept, for a run that has not converged has no markers.")
            else:
                dropped = writer.keep_only(set(primary.markers))
                self.say(f"{self.name}: kept the maps of snapshots {primary.markers}, dropped {dropped} files.")
        for key, value in seal(f"{ROOT}/{INDEX}", writer.index.to_json().encode()).items():
            self.client.set_tag(self.run_id, key, value)  # last of the maps: a finished run's index stays as it is
        self.client.set_tag(self.run_id, "fmce.converged", str(primary.converged).lower())
        if primary.point is not None:
            self.client.set_tag(self.run_id, "fmce.convergence_point", str(primary.point))
        return BackboneResult(self.run_id, primary, note, accuracy, uri)

    def _log_saliency(self, convergence: Convergence, data: ImageData) -> None:
        """Attention over the markers; a network without Grad-CAM is no mistake."""
        history, last = self.attention, len(self.record.metrics) - 1
        if history.problem is not None:
            self.say(f"{self.name}: no saliency: {history.problem}")
            return
        markers = convergence.markers
        snapshots = spread_snapshots(last, convergence.config.levels) if markers is None else markers
        labels = convergence.fmcs if markers is not None else None
        figure = history_figure(
            input_images(history.inputs, data.preprocessing),
            history.at(snapshots, last),
            [data.classes[label] for label in history.labels],
            fmcs={s: None if labels is None else float(labels[s]) for s in snapshots},
            title=f"Grad-CAM of the true class over training: {self.name}",
        )
        self.client.log_figure(self.run_id, figure, SALIENCY, save_kwargs={"dpi": 160})


def _map_shapes(
    model: nn.Module, modules: tuple[str, ...], example: torch.Tensor, map_size: int | None
) -> dict[str, tuple[int, ...]]:
    with capture(model, modules, map_size=map_size) as forward:
        _, maps = forward(example)
    return {name: tuple(value.shape[1:]) for name, value in maps.items()}


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Say a line the first time only."""
    said: set[str] = set()

    def new(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return new


def _silent(_: str) -> None:
    """Say nothing: another process speaks."""
