"""Train one backbone as one MLflow run: a plain loop with a recorder, the model at the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list
from torch import nn
from tqdm import tqdm

from fmce_mlflow.backbone import models
from fmce_mlflow.backbone import resume as checkpoint
from fmce_mlflow.backbone.finish import closing, opened
from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.backbone.record import begin, make_recorder, refuse_other_images, save_state, snapshot_line
from fmce_mlflow.backbone.result import BackboneResult
from fmce_mlflow.backbone.stopping import decide, freeze_again, has_ended, tell_stop
from fmce_mlflow.method.images.split import ImageData, load_images
from fmce_mlflow.method.networks.backbones import build_backbone
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.method.training.loop import Snapshot, make_accelerator, train
from fmce_mlflow.method.training.observe import validate
from fmce_mlflow.method.training.state import load_weights
from fmce_mlflow.recording.loop import IdleRecorder
from fmce_mlflow.recording.recorder import Recorder
from fmce_mlflow.recording.signals import run_convergence
from fmce_mlflow.runs import checkpoint_slots
from fmce_mlflow.runs.logged_models import check_name
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.sink import Uploads
from fmce_mlflow.runs.uploads.options import UploadOptions
from fmce_mlflow.safety import interrupts
from fmce_mlflow.wording import printable


def train_backbone(
    run: Run,
    options: BackboneOptions,
    *,
    data: ImageData | None = None,
    name: str = "",
    uploads: UploadOptions | None = None,
    network: Callable[[int], nn.Module] | None = None,
    bar: bool = True,
) -> BackboneResult:
    """Train a backbone in an existing MLflow run, or go on with one that was killed.

    If the run has a checkpoint, training goes on after it with the run's own options. The run is closed: FINISHED,
    FAILED with all it had logged, or KILLED by Ctrl-C or SIGTERM. :mod:`fmce_mlflow.runs.uploads` says how its
    snapshots reach a server.

    Args:
        run: The MLflow run; it must be running, or have been.
        options: What to train; every process of a distributed job passes the same.
        data: The images, if they are loaded already.
        name: What progress lines begin with.
        uploads: How snapshots wait for a server.
        network: Makes the untrained network from the training's seed, where the options do not name what builds it.
        bar: Whether a terminal shows a bar; else there is a line per snapshot.

    Raises:
        FmceError: For every mistake that a user can make.
    """
    if not PartialState(cpu=options.training.cpu).is_main_process:
        return _train(
            replace(run, say=lambda line: None), options, None, data, name, network, bar
        )  # the first process records
    with interrupts.stoppable():
        out = opened(run, uploads)
        with closing(run, out):
            result = _train(run, options, out, data, name, network, bar)
        out.persist(partial(checkpoint_slots.remove, run))  # not before: without one, an unfinished run starts anew
    return result


def _train(
    run: Run, options: BackboneOptions, out: Uploads | None, data: ImageData | None, name: str,
    network: Callable[[int], nn.Module] | None, bar: bool,
) -> BackboneResult:  # fmt: skip
    """Train, on every process; the one that has ``out`` records."""
    config = options.training
    name = name or printable(f"{options.backbone} on {options.dataset}, seed {config.seed}")
    accelerator = make_accelerator(config, freezes=options.freeze_converged)
    data = data or load_images(options)
    model = network(config.seed) if network is not None else _new_network(options, data)
    load = partial(checkpoint.load, run)
    resume = load() if out is None else out.persist(load)
    recorder = None
    if out is not None:
        recorder = _recorder(run, model, options, data, out, name, resume)
        out.persist(recorder.log_missing if resume else partial(begin, recorder, options, data, accelerator))

    said = replace(run, say=lambda line: run.say(f"{name}: {line}"))
    deciding = recorder or IdleRecorder(model)
    last = resume.state.snapshot if resume else 0
    if resume is not None and has_ended(options, resume.record):
        load_weights(model, resume.state.model)
        freeze_again(deciding, options)
    else:
        with _progress(config, data, last, name, shown=bar and accelerator.is_main_process) as images:
            last = _snapshots(said, model, options, data, accelerator, resume, deciding, images)
    if recorder is not None and last < config.snapshots:
        tell_stop(said, recorder.uploads, options, last)

    model = accelerator.unwrap_model(model, keep_fp32_wrapper=False).cpu()
    metrics = broadcast_object_list([recorder.record.metrics if recorder else None])[0]
    signals = (recorder and recorder.finish()) or run_convergence(metrics, options.convergence)
    convergence, uri = signals.primary(options.signal), ""
    if recorder is not None:
        log_models = partial(
            models.log_models,
            said.saying_once(),
            model,
            data,
            modules=tuple(recorder.shapes),
            backbone=options.backbone,
            serialization=options.model_format,
            final=last,
            markers=convergence.markers if options.log_checkpoints and convergence.markers else (),
            register_as=options.register_as,
            kept=recorder.record.weights,
        )
        uri = recorder.uploads.persist(log_models)
    return BackboneResult(run.id, convergence, signals.disagreement, metrics[-1]["val_accuracy"], uri)


def _snapshots(
    run: Run, model: nn.Module, options: BackboneOptions, data: ImageData, accelerator: Accelerator,
    resume: checkpoint.Checkpoint | None, recorder: Recorder, bar: tqdm[Any],
) -> int:  # fmt: skip
    """Train to the end, or until the training has converged; record each snapshot, and return the last one's index."""
    config, state = options.training, resume.state if resume else None
    index = first = state.snapshot if state else 0
    started = time.monotonic()

    def again() -> None:
        freeze_again(recorder, options)
        recorder.recall_weights()

    snapshots = train(
        model, data, config, resume=state, accelerator=accelerator, progress=bar, begin=again if resume else None
    )
    with contextlib.closing(snapshots):
        for snapshot in snapshots:
            index = snapshot.index
            if not isinstance(recorder, IdleRecorder):
                _record(recorder, model, options, data, snapshot)
            if not isinstance(recorder, IdleRecorder) and bar.disable:
                each = (time.monotonic() - started) / max(1, index - first)
                run.say(snapshot_line(recorder.record, config, each))
            if decide(recorder, options, run, index):
                break
    return index


def _record(
    recorder: Recorder, model: nn.Module, options: BackboneOptions, data: ImageData, snapshot: Snapshot
) -> None:
    maps = recorder.take_maps(keep_outputs=True)
    val_loss, val_accuracy = validate(model, data, maps.outputs, options.training)
    recorder.snapshot(
        maps=maps,
        save=partial(save_state, recorder, snapshot.state, options),
        train_loss=snapshot.train_loss,
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        epoch=snapshot.epoch,
        images_per_second=snapshot.images_per_second,
    )


def _recorder(
    run: Run, model: nn.Module, options: BackboneOptions, data: ImageData, out: Uploads, name: str,
    resume: checkpoint.Checkpoint | None,
) -> Recorder:  # fmt: skip
    """The recorder of a run that is begun or gone on with, once what the run's end needs has been tried."""
    out.persist(partial(refuse_other_images, run, data))
    out.persist(partial(check_name, run.client, options.register_as))
    models.check_saving(model, data, options.model_format)
    recorder = make_recorder(run, model, options, data, out, name, resume.record if resume else None)
    if resume is not None:
        run.say(f"{name}: going on after snapshot {resume.state.snapshot}.")
    out.persist(partial(run.client.update_run, run.id, status="RUNNING"))
    return recorder


def _new_network(options: BackboneOptions, data: ImageData) -> nn.Module:
    """The untrained network, with weights that its seed decides."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(options.training.seed)
        return build_backbone(
            options.backbone,
            num_classes=len(data.classes),
            image_size=data.preprocessing.height,
            stem=options.stem,
        )


@contextmanager
def _progress(config: TrainingConfig, data: ImageData, first: int, name: str, *, shown: bool) -> Iterator[tqdm[Any]]:
    """A bar of images; off if nobody looks at a terminal."""
    batch = min(config.batch_size, len(data.train))
    per_epoch = len(data.train) // batch * batch
    with tqdm(
        total=config.epochs * per_epoch, initial=first * per_epoch // config.snapshots_per_epoch, unit="img", desc=name,
        disable=None if shown else True, leave=False,
    ) as bar:  # fmt: skip
        yield bar
