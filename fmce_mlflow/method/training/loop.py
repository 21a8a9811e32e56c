"""Train a network and give control at each snapshot.

Nothing here logs. Everything random is a function of ``(seed, epoch)`` or ``(seed, step)`` and of nothing before it, so
a run that is picked up at a snapshot goes on exactly as it would have.
"""

from __future__ import annotations

import atexit
import copy
import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.nn import functional as F

from fmce_mlflow.errors import ConfigError, NonFiniteLossError
from fmce_mlflow.method.images.split import ImageData
from fmce_mlflow.method.images.training_batches import loader, told_if_a_worker_ends
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.method.training.observe import untrained_loss
from fmce_mlflow.method.training.state import (
    TrainingState,
    load_optimizer,
    load_weights,
    make_optimizer,
    training_state,
)
from fmce_mlflow.method.training.steps import (
    deterministic,
    epoch_order,
    learning_rate,
    memory_format,
    private_rng,
    seed_generators,
    snapshot_steps,
    steps_per_epoch,
)

if TYPE_CHECKING:
    from tqdm import tqdm


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment of training at which the network may be looked at.

    Attributes:
        index: 0 for the untrained network, then 1, 2, ….
        train_loss: Mean cross-entropy of the training steps since the last snapshot, in nats; at snapshot 0 that of
            the untrained network on the first training images.
        train_seconds: Wall time of these steps.
        images_per_second: Of these steps; 0 at snapshot 0.
        state: What is needed to go on from here; present on the main process only.
    """

    index: int
    epoch: float
    train_loss: float
    train_seconds: float
    images_per_second: float
    state: TrainingState | None


def make_accelerator(config: TrainingConfig, *, freezes: bool = False) -> Accelerator:
    """An Accelerator for this training, also if the process has trained with another precision before.

    Args:
        config: How to train.
        freezes: Whether parts of the network may stop to train, which a network shared by processes has to know.

    Raises:
        ConfigError: If the device cannot compute in that precision.
    """
    AcceleratorState._reset_state(reset_partial_state=False)
    try:
        accelerator = Accelerator(
            mixed_precision=config.precision,
            cpu=config.cpu,
            gradient_accumulation_steps=config.gradient_accumulation,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)] if freezes else None,
        )
    except ValueError as error:
        raise ConfigError(f"precision {config.precision!r} is not available here: {error} Use bf16 or no.") from None
    if config.precision == "fp16" and not accelerator.native_amp:  # Accelerate would train in float32 and not say so
        raise ConfigError(f"precision 'fp16' is not available on device {accelerator.device.type!r}. Use bf16 or no.")
    if accelerator.num_processes > 1:  # a process that ends within its group may abort, and its launcher stops the rest
        atexit.register(accelerator.state.destroy_process_group)
    return accelerator


def train(
    model: nn.Module,
    data: ImageData,
    config: TrainingConfig,
    *,
    resume: TrainingState | None = None,
    accelerator: Accelerator | None = None,
    progress: tqdm[Any] | None = None,
    begin: Callable[[], None] | None = None,
) -> Generator[Snapshot, None, None]:
    """Train ``model`` on ``data`` and yield at each snapshot, first with the untrained network.

    The network may be looked at there, as long as it is left as it was; its global random state is at every ``yield``
    what it was before. Of several processes, those that do not look wait for the one that does.

    Args:
        model: The network; trained in place, moved to the accelerator's device.
        data: Training, validation and probe images.
        config: How to train.
        resume: Go on after this state; the first snapshot yielded is the one after it.
        accelerator: The caller's, if it needs to know its process index.
        progress: A bar that is moved on by images.
        begin: Called when the network and its optimizer have their state, before any step. What was frozen before
            ``resume`` is frozen there: the optimizer's state is by position among all that was trained at first.

    Yields:
        Snapshot: Snapshots 0 … ``config.snapshots``, or those after ``resume``.

    Raises:
        NonFiniteLossError: If a loss is NaN or infinite; names the snapshot.
        ConfigError: If batches cannot be shared out over processes, an epoch has too few steps, or the network does not
            take channels last.
    """
    accelerator = accelerator or make_accelerator(config)
    device = accelerator.device
    batch_size, micro = _shares(config, len(data.train), accelerator.num_processes)
    steps = steps_per_epoch(len(data.train), batch_size)
    at = snapshot_steps(steps, config.snapshots_per_epoch)
    if resume is not None:
        load_weights(model, resume.model)
    if config.channels_last:
        _check_layout(model, data)
        model.to(memory_format=torch.channels_last)
    network, optimizer = accelerator.prepare(model, make_optimizer(model, config))
    model = accelerator.unwrap_model(network)
    if resume is not None:
        load_optimizer(optimizer, resume, accelerator)
    if begin is not None:
        begin()

    def snapshot(index: int, train_loss: float, seconds: float, images: int) -> Snapshot:
        if not math.isfinite(train_loss):
            raise NonFiniteLossError(index, train_loss, "training loss")
        return Snapshot(
            index=index,
            epoch=index / config.snapshots_per_epoch,
            train_loss=train_loss,
            train_seconds=seconds,
            images_per_second=images / seconds if images else 0.0,
            state=training_state(index, model, optimizer, accelerator) if accelerator.is_main_process else None,
        )

    if resume is None:
        yield snapshot(0, untrained_loss(model, data, config, device, micro), 0.0, 0)
        accelerator.wait_for_everyone()

    done = resume.snapshot if resume is not None else 0
    try:
        for index in range(done + 1, config.snapshots + 1):
            epoch, part = divmod(index - 1, config.snapshots_per_epoch)
            start, end = (at[part - 1] if part else 0), at[part]
            started = time.perf_counter()
            images = _images(data, config, accelerator, epoch, slice(start * batch_size, end * batch_size))
            with private_rng(device), deterministic(device), told_if_a_worker_ends():
                loss = _train_steps(
                    network, optimizer, accelerator, images, config, epoch * steps + start, steps, progress, batch_size
                )
            yield snapshot(index, loss, time.perf_counter() - started, (end - start) * batch_size)
            accelerator.wait_for_everyone()
    finally:  # also where whoever looks has seen enough
        if config.channels_last:
            model.to(memory_format=torch.contiguous_format)


def _images(data: ImageData, config: TrainingConfig, accelerator: Accelerator, epoch: int, part: slice) -> Any:
    """This process's batches of a part of an epoch."""
    return loader(
        data.train,
        preprocessing=data.preprocessing,
        batches=_batches(len(data.train), config, accelerator, epoch, part),
        augmentation=config.augmentation,
        seed=config.seed,
        epoch=epoch,
        num_workers=config.num_workers,
        pin_memory=accelerator.device.type == "cuda",
    )


def _shares(config: TrainingConfig, images: int, world: int) -> tuple[int, int]:
    """Images of an optimizer step, and of one pass of one process."""
    batch_size = min(config.batch_size, images)
    micro = batch_size // (config.gradient_accumulation * world)
    if micro * config.gradient_accumulation * world != batch_size:
        raise ConfigError(
            f"a batch of {batch_size} images cannot be shared evenly by {world} processes × "
            f"{config.gradient_accumulation} accumulation steps; choose a batch-size that is a multiple"
        )
    return batch_size, micro


def _batches(images: int, config: TrainingConfig, accelerator: Accelerator, epoch: int, part: slice) -> list[list[int]]:
    """This process's images, pass by pass, of a part of an epoch's order."""
    world = accelerator.num_processes
    _, micro = _shares(config, images, world)
    order = epoch_order(images, config.seed, epoch)[part]
    mine: list[list[int]] = order.reshape(-1, world, micro)[:, accelerator.process_index].tolist()
    return mine


def _train_steps(
    network: nn.Module,
    optimizer: Any,
    accelerator: Accelerator,
    images: Any,
    config: TrainingConfig,
    first_step: int,
    steps: int,
    progress: tqdm[Any] | None,
    batch_size: int,
) -> float:
    """Run the batches of ``images`` and return their mean loss over all processes."""
    network.train()
    layout = memory_format(config)
    losses = []
    for i, (x, y) in enumerate(images):  # x (b, 3, H, W), y (b,)
        step, part = divmod(i, config.gradient_accumulation)
        step += first_step
        if part == 0:
            seed_generators(accelerator.device, config.seed, step, accelerator.process_index)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step, steps)
        x = x.to(accelerator.device, non_blocking=True, memory_format=layout)
        y = y.to(accelerator.device, non_blocking=True)
        with accelerator.accumulate(network):
            loss = F.cross_entropy(network(x), y, label_smoothing=config.label_smoothing)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.detach())
        # The loss is fetched only when the bar is drawn: fetching it waits for the GPU.
        if progress is not None and part == config.gradient_accumulation - 1 and progress.update(batch_size):
            progress.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
    mean: Tensor = accelerator.reduce(torch.stack(losses).mean(), reduction="mean")
    return float(mean)


@torch.no_grad()
def _check_layout(model: nn.Module, data: ImageData) -> None:
    """Raise unless the network gives for images with channels last what it gives for others."""
    (x, _) = next(iter(loader(data.validation, preprocessing=data.preprocessing, batches=[[0, 1]])))
    twin = copy.deepcopy(model).cpu().eval()  # x (2, 3, H, W)
    expected = twin(x)
    try:
        found = twin.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
        alike = torch.allclose(found, expected, rtol=1e-2, atol=1e-2 * float(expected.abs().max()))
    except RuntimeError:  # a view of what is not contiguous
        alike = False
    if not alike:
        raise ConfigError(
            "the network reads its input's memory in its own order, so it cannot be trained with channels-last; leave "
            "that out, or use reshape where it uses view"
        )
