"""Begin to record a training, or go on with a recording that was cut off."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any, Literal

import mlflow
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from torch import nn

from fmce_mlflow.errors import DataError, ModelError, RunError
from fmce_mlflow.method.networks.architecture import architecture
from fmce_mlflow.method.networks.model_forms import Call
from fmce_mlflow.method.networks.take_maps import random_state_kept
from fmce_mlflow.recording import state
from fmce_mlflow.recording.freezing import Freezing, look
from fmce_mlflow.recording.loop import IdleRecorder, LoopRecorder
from fmce_mlflow.recording.options import RecordingOptions
from fmce_mlflow.recording.probe import ProbeImages, probe_images
from fmce_mlflow.recording.record import Record
from fmce_mlflow.recording.recorder import PROBE_TAG
from fmce_mlflow.recording.signals import LOSSES
from fmce_mlflow.runs import checkpoint_slots
from fmce_mlflow.runs.evidence_file import ARCHITECTURE_TAG
from fmce_mlflow.runs.recordings import TAG, RecordingTag, frozen_of, has_ended
from fmce_mlflow.runs.run import ROLE_TAG, Run, status_after
from fmce_mlflow.runs.sink import Uploads
from fmce_mlflow.runs.uploads.open import open_uploads
from fmce_mlflow.runs.uploads.options import UploadOptions
from fmce_mlflow.safety import interrupts
from fmce_mlflow.safety.credentials import hide_credentials, without_credentials
from fmce_mlflow.safety.terminal import tell

OURS = "fmce/"
"""Before metrics of a run that has others of these names."""
_NAMES = {"train_loss", "val_loss", "epoch", "cqi", "fmcs"}


def record(
    model: nn.Module,
    modules: Sequence[str] = (),
    *,
    probe: Any,
    labels: Any = None,
    forward: Call | None = None,
    every: Literal["epoch"] | int = "epoch",
    run_id: str | None = None,
    client: MlflowClient | None = None,
    name: str = "",
    dataset: str = "",
    uploads: UploadOptions | None = None,
    say: Callable[[str], None] = tell,
    **options: Any,
) -> LoopRecorder:
    """Record the feature maps of a training in any loop.

    Everything goes to an MLflow run: ``run_id``, or the active one, which the caller closes; or a new one, which is
    active until the recording ends. A recording that was cut off goes on if its run is named again, and closes it
    unless it is active. Only the first process of a distributed training records.

    Args:
        model: The network, also in ``DistributedDataParallel`` or ``torch.compile``, or its averaged copy.
        modules: Functional modules, names or globs; empty: the last feature stage.
        probe: Images that are never trained on, as the model takes them, in any form of
            :func:`~fmce_mlflow.recording.probe.probe_images`.
        labels: Their classes, for Grad-CAM; None: those of the probe's batches.
        forward: Calls the model with a batch of the probe, where it takes more or other arguments than the images.
        every: Snapshots where the loop takes them, as after each ``epoch``; or besides at each n-th loss.
        run_id: The run; None: MLflow's active one, or else a new one.
        client: MLflow client; None: one of the current tracking URI.
        name: What lines and figures call the training; empty: the model's class.
        dataset: Where the probe images come from.
        uploads: How snapshots wait for a server.
        say: Prints a line for the user.
        options: ``map_size``, ``token_grid``, ``keep``, ``signal``, ``patience``, ``prefix``, ``page``,
            ``evidence``, ``starts_trained`` and ``convergence`` of
            :class:`~fmce_mlflow.recording.options.RecordingOptions`.

    Returns:
        A context manager: snapshot 0 is taken on entering, convergence found on leaving.

    Raises:
        BackboneError: If the model has no such module.
        BusyError: If another recorder holds the run.
        CaptureError: If a module has no feature map.
        ConfigError: If options cannot be used.
        DataError: If the probe images have an unknown form, or are not those of the recording that is to go on.
        ModelError: If the model cannot take the probe images, or its weights are sharded.
        RunError: If there is no such run, or it is finished, deleted, or another kind of run.

    Example:
        ::

            with fmce_mlflow.record(model, ["backbone.layer4", "neck"], probe=images) as recorder:
                for epoch in range(epochs):
                    for batch in batches:
                        ...
                        recorder.loss(loss)
                    recorder.snapshot(epoch=epoch + 1, val_loss=validate(model))
    """
    _refuse_shards(model)  # in each of its processes, so that none waits for another
    choices = RecordingOptions(every=None if every == "epoch" else every, **options)
    if not is_first_process() and run_id is None:
        return IdleRecorder(model)
    # A DataLoader that begins draws a number, and so does MLflow for a run's name.
    with random_state_kept(model), interrupts.held():  # whatever comes to be is closed
        images = probe if isinstance(probe, ProbeImages) else probe_images(probe, labels, name=dataset, forward=forward)
        if not is_first_process():
            return _idle(Run(client or MlflowClient(), str(run_id), say), model, images, choices)
        run, owned = _chosen_run(run_id, client, say)
        out: Uploads | None = None
        try:
            _check_usable(run, waiting=((uploads or UploadOptions()).root / run.id).is_dir())
            out = open_uploads(run, uploads)
            made = _begin(run, out, model, modules, images, name, choices, owned)
        except BaseException as error:
            if out is not None:
                out.release()
            if owned:
                with suppress(Exception):
                    mlflow.end_run(status_after(error))
            raise
    return made


def _begin(
    run: Run,
    out: Uploads,
    model: nn.Module,
    modules: Sequence[str],
    probe: ProbeImages,
    name: str,
    options: RecordingOptions,
    owned: bool,
) -> LoopRecorder:
    """A recorder of a new recording, or of one that goes on, and what the run says of it."""
    before = out.persist(partial(state.load, run))
    if before is not None:
        about, _ = before
        if about.probe.sha256 != probe.sha256:
            raise DataError(
                f"The probe images are not those of the recording in run {run.id}: the digest of these is "
                f"{probe.sha256:.12}…, of those {about.probe.sha256:.12}…. Pass the same images in the same order, or "
                "record in a new run."
            )
        evidence = options.evidence or about.options.evidence
        modules, options = (
            modules or tuple(about.modules),
            replace(options, prefix=about.options.prefix, evidence=evidence),
        )
    elif not options.prefix and (taken := sorted(_NAMES & set(run.fetch().data.metrics))):
        options = replace(options, prefix=OURS)
        run.say(f"Run {run.id} has metrics {', '.join(taken)} of its own: those of the recording begin with {OURS!r}.")
    active = mlflow.active_run()
    closes = before is not None and (active is None or active.info.run_id != run.id)  # nobody else may
    values = {f.name: getattr(options, f.name) for f in fields(options)}
    made = LoopRecorder(
        model, modules, probe, run, name=name, uploads=out, owned=owned, closes=closes,
        record=None if before is None else before[1], goes_on=before is not None, **values,
    )  # fmt: skip
    if before is not None and set(made.shapes) != set(before[0].modules):
        raise RunError(
            f"Run {run.id} records {', '.join(before[0].modules)}, and this model gives {', '.join(made.shapes)}. Name "
            "the same modules, or record in a new run."
        )
    if before is not None:
        made.record.metrics[0] |= out.persist(partial(_told_of_first, run, made))
        made.record.frozen |= {name: at for name, at in frozen_before(run).items() if name in made.shapes}
        out.persist(made.log_missing)
        run.say(f"{made.name}: going on after snapshot {made.snapshots - 1}, epoch {made.record.epochs[-1]:g}.")
    out.persist(partial(_describe, run, made, probe))
    return made


def _told_of_first(run: Run, made: LoopRecorder) -> dict[str, float]:
    """Losses of snapshot 0 that were logged after its state was written."""
    lacking = [name for name in LOSSES if name not in made.record.metrics[0]]
    logged = {name: run.client.get_metric_history(run.id, made.options.prefix + name) for name in lacking}
    return {name: one.value for name, values in logged.items() for one in values if one.step == 0}


def _idle(run: Run, model: nn.Module, probe: ProbeImages, options: RecordingOptions) -> IdleRecorder:
    """For another process than the first, of a recording that goes on: it freezes what was frozen."""
    frozen = frozen_before(run)
    freezing = Freezing(model, lambda: look(model, tuple(frozen), probe, options.token_grid))
    return IdleRecorder(model, freezing, Record(frozen=frozen))


def frozen_before(run: Run) -> dict[str, int]:
    """The modules that a recording froze so far, which its state may not know if it was cut off right after."""
    return frozen_of(run.fetch().data.tags)


def _describe(run: Run, made: LoopRecorder, probe: ProbeImages) -> None:
    options = made.options
    told = RecordingTag(
        made.name, probe.name, options.prefix, options.signal, asdict(options.convergence), options.starts_trained
    )
    run.set_role("backbone")
    run.set_tags({PROBE_TAG: probe.sha256, ARCHITECTURE_TAG: architecture(made.model), TAG: told.to_json()})
    if run.fetch().info.status != "RUNNING":
        run.client.update_run(run.id, status="RUNNING")


def is_first_process() -> bool:
    """Whether this process is the one that records."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return bool(torch.distributed.get_rank() == 0)
    return os.environ.get("RANK", "0") == "0"  # as of torchrun, before the group is made


def _refuse_shards(model: nn.Module) -> None:
    """Refuse weights of which each process has a part: a forward pass needs all processes."""
    kinds = {kind.__name__ for module in model.modules() for kind in type(module).__mro__}
    kinds |= {type(parameter).__name__ for parameter in model.parameters()}
    if kinds & {"FSDPModule", "FullyShardedDataParallel", "DTensor", "FlatParameter"}:
        raise ModelError(
            "The model's weights are sharded over processes (FSDP), and the recorder, which runs in one of them, "
            "cannot pass images through a part of a model. Record before it is sharded, with DistributedDataParallel, "
            "or an averaged copy that one process holds whole."
        )


def _chosen_run(run_id: str | None, client: MlflowClient | None, say: Callable[[str], None]) -> tuple[Run, bool]:
    """The run to record in, and whether it was opened for that."""
    active = mlflow.active_run()
    if run_id is not None or active is not None:
        return Run(client or MlflowClient(), run_id or active.info.run_id, say), False  # type: ignore[union-attr]
    if client is not None:
        raise RunError("There is no run to record in. Pass run_id=…, or open one with `with mlflow.start_run():`.")
    run = Run(MlflowClient(), mlflow.start_run().info.run_id, say)
    say(f"Recording in a new run, {run.id}, of {without_credentials(run.client.tracking_uri)}.")
    return run, True


def _check_usable(run: Run, *, waiting: bool) -> None:
    """Refuse a run that is not there, has ended, or is of another kind.

    Raises:
        RunError: Says which.
    """
    try:
        logged = run.fetch()
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise RunError(
            f"There is no run {run.id!r} on {without_credentials(run.client.tracking_uri)}: {hide_credentials(error)}"
        ) from None
    tags, role = logged.data.tags, logged.data.tags.get(ROLE_TAG, "backbone")
    if logged.info.lifecycle_stage == "deleted":
        raise RunError(f"Run {run.id} is deleted. Restore it with `mlflow runs restore --run-id {run.id}`.")
    if role != "backbone":
        raise RunError(f"Run {run.id} is of another kind ({ROLE_TAG} is {role!r}). Record in a new run.")
    if has_ended(tags):
        raise RunError(f"Run {run.id} has a recording that has ended. Record in a new run.")
    if logged.info.status == "FINISHED" and checkpoint_slots.TAG not in tags and not waiting:
        raise RunError(f"Run {run.id} is finished. Record in a new run, or in one that is active.")
