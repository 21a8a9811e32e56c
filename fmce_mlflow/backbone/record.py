"""What a backbone run says of itself, and the recorder of its snapshots."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from mlflow.entities import Param, RunTag
from torch import Tensor, nn

from fmce_mlflow.backbone import resume as checkpoint
from fmce_mlflow.backbone.models import save_weights
from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.backbone.resume import OPTIONS, Checkpoint
from fmce_mlflow.errors import ArtifactError, DataError
from fmce_mlflow.method.images.split import ImageData
from fmce_mlflow.method.images.training_batches import loader
from fmce_mlflow.method.networks.architecture import architecture
from fmce_mlflow.method.networks.backbones import resolve_stem
from fmce_mlflow.method.saliency.history import IMAGES, input_images
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.method.training.state import TrainingState
from fmce_mlflow.method.training.steps import memory_format
from fmce_mlflow.recording.probe import ProbeImages
from fmce_mlflow.recording.record import Record
from fmce_mlflow.recording.recorder import PROBE_TAG, Recorder
from fmce_mlflow.runs.artifacts import artifact_repository
from fmce_mlflow.runs.evidence_file import ARCHITECTURE_TAG
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import Sink, Uploads
from fmce_mlflow.safety.credentials import hide_credentials
from fmce_mlflow.safety.reading import seal

BATCH = 256
"""Probe images per forward pass."""


def make_recorder(
    run: Run,
    model: nn.Module,
    options: BackboneOptions,
    data: ImageData,
    out: Uploads,
    name: str,
    record: Record | None,
) -> Recorder:
    """The recorder of a training, with what was recorded before it was killed."""
    return Recorder(
        model,
        options.modules,
        probe_of(data, options),
        run,
        map_size=options.map_size,
        token_grid=options.token_grid,
        keep=options.keep,
        signal=options.signal,
        patience=options.patience,
        evidence=options.evidence,
        convergence=options.convergence,
        name=name,
        uploads=out,
        record=record,
    )


def probe_of(data: ImageData, options: BackboneOptions) -> ProbeImages:
    """The probe images of a data set, read anew at every snapshot."""
    few = [data.probe[i] for i in range(min(IMAGES, len(data.probe)))]
    shown = torch.stack([data.preprocessing(image) for image, _ in few])
    return ProbeImages(
        batches=_ProbeBatches(data, memory_format(options.training)),
        labels=np.asarray(data.probe.labels, dtype=np.int64),
        sha256=data.probe_sha256,
        name=options.dataset,
        shown=shown,
        pictures=input_images(shown, data.preprocessing),
        classes=data.classes,
    )


class _ProbeBatches:
    """Inputs (b, 3, H, W) of the probe images, as often as they are asked for."""

    def __init__(self, data: ImageData, layout: torch.memory_format) -> None:
        self._data, self._layout = data, layout

    def __iter__(self) -> Iterator[Tensor]:
        n = len(self._data.probe)
        batches = [list(range(start, min(start + BATCH, n))) for start in range(0, n, BATCH)]
        for x, _ in loader(self._data.probe, preprocessing=self._data.preprocessing, batches=batches):
            yield x.to(memory_format=self._layout)


def refuse_other_images(run: Run, data: ImageData) -> None:
    """Refuse to go on with other images than those that the run was begun with, as far as it says which these were.

    Raises:
        DataError: Says whether its probe changed, or others alone.
    """
    before = run.fetch().data.params
    for param, now, which in (
        ("probe_sha256", data.probe_sha256, "probe images, or their preprocessing,"),
        ("images_sha256", data.digest, "training or validation images, or names of classes,"),
    ):
        if before.get(param, now) != now:
            raise DataError(
                f"The {which} of {data.name} are not those that run {run.id} was begun with ({param} was "
                f"{before[param]:.12}…, is {now:.12}…): its snapshots would be of different images. Put the images "
                "back as they were, or start a new run."
            )


def begin(recorder: Recorder, options: BackboneOptions, data: ImageData, accelerator: Accelerator) -> None:
    """Log all about the run that is known before the first snapshot, and refuse what its disk cannot hold."""
    run, pre = recorder.run, data.preprocessing
    run.set_role("backbone")
    before = run.fetch().data
    params = {
        **options.flat(),
        "input_size": f"{pre.height}x{pre.width}",
        "stem_used": resolve_stem(options.stem, pre.height, options.backbone),
        "modules_used": ",".join(recorder.shapes),
        "train_images": str(len(data.train)),
        "validation_images": str(len(data.validation)),
        "probe_images": str(len(data.probe)),
        "probe_sha256": data.probe_sha256,
        "images_sha256": data.digest,
        "classes": str(len(data.classes)),
        "processes": str(accelerator.num_processes),
        "device": str(accelerator.device.type),
    }
    tags = seal(OPTIONS, run.log_json(options.to_dict(), OPTIONS))
    tags |= {PROBE_TAG: data.probe_sha256, ARCHITECTURE_TAG: architecture(recorder.model)}
    if "mlflow.project.entryPoint" not in before.tags:
        tags["mlflow.runName"] = recorder.name
    run.client.log_batch(
        run.id,
        params=[Param(k, hide_credentials(v)[:6000]) for k, v in params.items() if k not in before.params],
        tags=[RunTag(k, v) for k, v in tags.items()],
    )
    snapshots = options.training.snapshots + 1
    size = sum(2 * len(data.probe) * int(np.prod(shape)) for shape in recorder.shapes.values())
    _check_space(run, size * snapshots)
    maps = ", ".join(f"{m} {'×'.join(map(str, s))}" for m, s in recorder.shapes.items())
    run.say(
        f"{recorder.name}: {len(data.train):,} training, {len(data.validation):,} validation and {len(data.probe):,} "
        f"probe images; maps of {maps}. Will write {_mebibytes(size * snapshots)} of feature maps in {snapshots} "
        f"snapshots of {_mebibytes(size)}."
    )


def _check_space(run: Run, needed: int) -> None:
    """Refuse to begin what the artifact store's disk cannot hold, where that disk is ours to see."""
    root = getattr(artifact_repository(run.client, run.id), "artifact_dir", None)
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


def save_state(recorder: Recorder, state: TrainingState | None, options: BackboneOptions, sink: Sink) -> None:
    """Write a snapshot's checkpoint, and first the weights that may become a marker's model."""
    assert state is not None  # the process that records has it
    if options.log_checkpoints:
        recorder.record.weights[state.snapshot] = save_weights(sink, recorder.run.id, state.snapshot, state.model)
    checkpoint.save(sink, recorder.run.id, Checkpoint(state, recorder.record))


def snapshot_line(record: Record, config: TrainingConfig, each: float) -> str:
    """The last snapshot in a line; ``each`` is how many seconds one takes."""
    index, last = len(record.metrics) - 1, record.metrics[-1]
    minutes, seconds = divmod(round(each * (config.snapshots - index)), 60)
    return (
        f"snapshot {index}/{config.snapshots}, epoch {last['epoch']:.2f}, training loss {last['train_loss']:.4f}, "
        f"validation loss {last['val_loss']:.4f}, accuracy {last['val_accuracy']:.1%}"
        + (f", {last['images_per_second']:.0f} images/s, {minutes}:{seconds:02d} left" if index else "")
    )


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
