"""Train a backbone and yield a snapshot at a time.

The caller consumes snapshots and does with them what it likes; nothing here logs. Everything random is a function of
``(seed, epoch)`` or ``(seed, step)`` and of nothing before it, so a run that is picked up at a snapshot goes on exactly
as it would have.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.nn import functional as F

from fmce_mlflow.errors import ConfigError, NonFiniteLossError
from fmce_mlflow.method.capture import capture
from fmce_mlflow.method.images import AUGMENTATIONS, ImageData, loader

if TYPE_CHECKING:
    from tqdm import tqdm

Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["constant", "cosine"]
Precision = Literal["no", "bf16", "fp16"]

FIRST_LOSS_IMAGES = 512
"""Training images over which the loss of the untrained network, L_0, is taken."""

FLOAT16_MAX = float(torch.finfo(torch.float16).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How a backbone is trained and how often it is looked at.

    Attributes:
        epochs: Passes over the training images, at least 1.
        snapshots_per_epoch: Snapshots in each pass, evenly spaced; at least 1.
        batch_size: Images per optimizer step, over all processes and accumulation steps.
        gradient_accumulation: Forward and backward passes per optimizer step.
        optimizer: ``sgd`` (with ``momentum``) or ``adamw``.
        lr: Peak learning rate.
        momentum: Momentum of SGD; AdamW uses its own moments.
        weight_decay: Weight decay of either optimizer.
        schedule: ``constant``, or ``cosine`` towards zero, which a step behind the last would have.
        warmup_epochs: Epochs of linear warm-up from zero.
        label_smoothing: Label smoothing of the training loss, in [0, 1).
        augmentation: One of :data:`fmce_mlflow.method.images.AUGMENTATIONS`.
        precision: ``no`` (float32), ``bf16`` or ``fp16`` automatic mixed precision.
        channels_last: Keep images and convolutions with their channels last in memory, which GPUs with mixed precision
            are faster with; for networks that do not look at the layout of their input.
        seed: Seeds the initial weights, the order of images, augmentation and dropout; below 2**63.
        num_workers: Processes that read images.
        cpu: Stay on the CPU even where a GPU is there.

    Raises:
        ConfigError: If any value is out of range; names every such value.

    Example:
        >>> TrainingConfig(epochs=3, snapshots_per_epoch=2).snapshots
        6
    """

    epochs: int = 8
    snapshots_per_epoch: int = 3
    batch_size: int = 64
    gradient_accumulation: int = 1
    optimizer: Optimizer = "adamw"
    lr: float = 0.002
    momentum: float = 0.9
    weight_decay: float = 0.01
    schedule: Schedule = "cosine"
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    augmentation: str = "none"
    precision: Precision = "no"
    channels_last: bool = False
    seed: int = 0
    num_workers: int = 0
    cpu: bool = False

    def __post_init__(self) -> None:
        problems = [
            f"{name.replace('_', '-')} must be at least 1, got {value}"
            for name in ("epochs", "snapshots_per_epoch", "batch_size", "gradient_accumulation")
            if (value := getattr(self, name)) < 1
        ]
        problems += [
            f"{name.replace('_', '-')} must not be negative, got {value}"
            for name in ("weight_decay", "warmup_epochs", "seed", "num_workers")
            if not (value := getattr(self, name)) >= 0
        ]
        if self.seed >= 2**63:
            problems.append(f"seed must be below 2**63, got {self.seed}")
        if not (self.lr > 0 and math.isfinite(self.lr)):
            problems.append(f"lr must be a positive number, got {self.lr}")
        problems += [
            f"{name.replace('_', '-')} must be in [0, 1), got {value}"
            for name in ("momentum", "label_smoothing")
            if not 0 <= (value := getattr(self, name)) < 1
        ]
        choices: tuple[tuple[str, Sequence[str]], ...] = (
            ("optimizer", get_args(Optimizer)),
            ("schedule", get_args(Schedule)),
            ("precision", get_args(Precision)),
            ("augmentation", AUGMENTATIONS),
        )
        problems += [
            f"{name} must be one of {', '.join(valid)}; got {value!r}"
            for name, valid in choices
            if (value := getattr(self, name)) not in valid
        ]
        if self.batch_size >= 1 and self.gradient_accumulation >= 1 and self.batch_size % self.gradient_accumulation:
            problems.append(
                f"batch-size ({self.batch_size}) must be a multiple of gradient-accumulation "
                f"({self.gradient_accumulation})"
            )
        if self.warmup_epochs > self.epochs:
            problems.append(f"warmup-epochs ({self.warmup_epochs}) must not exceed epochs ({self.epochs})")
        if problems:
            raise ConfigError(problems)

    @property
    def snapshots(self) -> int:
        """Index of the last snapshot; there is one more, snapshot 0, of the untrained network."""
        return self.epochs * self.snapshots_per_epoch

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TrainingState:
    """What is needed to go on from a snapshot.

    Attributes:
        snapshot: The snapshot it was taken at.
        model: The network's state dict, on the CPU.
        optimizer: Tensors of the optimizer's state, keyed ``<parameter>.<name>``.
        scaler: State of the fp16 gradient scaler; empty otherwise.
    """

    snapshot: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    scaler: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment of training.

    Attributes:
        index: 0 for the untrained network, then 1, 2, ….
        epoch: Epochs trained so far.
        train_loss: Mean cross-entropy of the training steps since the last snapshot, in nats; at snapshot 0 that of
            the untrained network on the first training images.
        val_loss: Mean cross-entropy in eval mode over the validation images, in nats.
        val_accuracy: Accuracy over the validation images, in [0, 1].
        maps: Feature maps of the probe images by module, float16 (n, C, H, W), on the CPU. Values beyond float16 are
            set to its largest.
        clipped: Number of such values, by module.
        train_seconds: Wall time of the training steps since the last snapshot.
        probe_seconds: Wall time of the pass over probe and validation images.
        images_per_second: Training images per second since the last snapshot; 0 at snapshot 0.
        state: What is needed to go on from here; present on the main process only.
    """

    index: int
    epoch: float
    train_loss: float
    val_loss: float
    val_accuracy: float
    maps: dict[str, Tensor]
    clipped: dict[str, int]
    train_seconds: float
    probe_seconds: float
    images_per_second: float
    state: TrainingState | None


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The order in which an epoch visits n images, int64 (n,): a function of seed and epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Optimizer steps in an epoch; images that do not fill a batch wait for another epoch's order."""
    return max(1, images // batch_size)


def snapshot_steps(steps: int, snapshots: int) -> list[int]:
    """Steps of an epoch, counted from 1, after which a snapshot is taken.

    Raises:
        ConfigError: If there are fewer steps than snapshots.

    Example:
        >>> snapshot_steps(24, 3)
        [8, 16, 24]
    """
    if snapshots > steps:
        raise ConfigError(
            f"snapshots-per-epoch ({snapshots}) exceeds the {steps} optimizer steps of an epoch; "
            "use a smaller batch-size or fewer snapshots"
        )
    return [round(steps * (i + 1) / snapshots) for i in range(snapshots)]


def learning_rate(config: TrainingConfig, step: int, steps: int) -> float:
    """Learning rate of optimizer step ``step`` (from 0) in epochs of ``steps`` steps.

    Warm-up rises linearly to ``lr`` at its last step; behind it starts the cosine (Loshchilov and Hutter,
    arXiv 1608.03983, eq. 5, without restarts).

    Example:
        >>> config = TrainingConfig(epochs=2, lr=1.0, schedule="cosine", warmup_epochs=1)
        >>> [round(learning_rate(config, step, 2), 3) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
    """
    total, warmup = config.epochs * steps, config.warmup_epochs * steps
    if step < warmup:
        return config.lr * min(1.0, (step + 1) / warmup)
    if config.schedule == "constant":
        return config.lr
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """An Accelerator for this training, also where the process has trained with another precision before.

    Raises:
        ConfigError: If the device cannot compute in that precision.
    """
    AcceleratorState._reset_state(reset_partial_state=False)
    try:
        accelerator = Accelerator(
            mixed_precision=config.precision, cpu=config.cpu, gradient_accumulation_steps=config.gradient_accumulation
        )
    except ValueError as error:
        raise ConfigError(f"precision {config.precision!r} cannot be had here: {error} Use bf16 or no.") from None
    if config.precision == "fp16" and not accelerator.native_amp:  # Accelerate would train in float32 and not say so
        raise ConfigError(f"precision 'fp16' cannot be had on device {accelerator.device.type!r}. Use bf16 or no.")
    return accelerator


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a model weights that have been in a file, where a state dict's versions of modules are lost.

    Args:
        model: The model; those versions are its own.
        weights: All of its parameters and buffers, by name.

    Example:
        >>> net = nn.BatchNorm1d(2)
        >>> load_weights(net, {name: value.clone() for name, value in net.state_dict().items()})
    """
    state = OrderedDict(weights)
    state._metadata = getattr(model.state_dict(), "_metadata", {})  # type: ignore[attr-defined]
    model.load_state_dict(state)


def train(
    model: nn.Module,
    data: ImageData,
    config: TrainingConfig,
    modules: Sequence[str],
    *,
    map_size: int | None = None,
    resume: TrainingState | None = None,
    accelerator: Accelerator | None = None,
    progress: tqdm[Any] | None = None,
    probe_batch: int = 256,
) -> Iterator[Snapshot]:
    """Train ``model`` on ``data`` and yield its snapshots, the untrained network first.

    The network's global random state is left as it was at every ``yield``.

    Args:
        model: The network; trained in place, moved to the accelerator's device.
        data: Training, validation and probe images.
        config: How to train.
        modules: Functional modules whose maps are taken, at least one.
        map_size: Pool larger maps to this height and width.
        resume: Go on behind this state; the first snapshot yielded is the one after it.
        accelerator: The caller's, where it needs to know its process index.
        progress: A bar that is moved on by images.
        probe_batch: Images per forward pass over probe and validation images.

    Yields:
        Snapshot: Snapshots 0 … ``config.snapshots``, or those after ``resume``.

    Raises:
        NonFiniteLossError: If a loss is NaN or infinite; names the snapshot.
        ConfigError: If batches cannot be shared out over processes, an epoch has too few steps, or the network does not
            take channels last.
        CaptureError: If a module gives no feature map.
    """
    accelerator = accelerator or make_accelerator(config)
    world, rank, device = accelerator.num_processes, accelerator.process_index, accelerator.device
    batch_size = min(config.batch_size, len(data.train))
    micro = batch_size // (config.gradient_accumulation * world)
    if micro * config.gradient_accumulation * world != batch_size:
        raise ConfigError(
            f"a batch of {batch_size} images cannot be shared evenly by {world} processes × "
            f"{config.gradient_accumulation} accumulation steps; choose a batch-size that is a multiple"
        )
    steps = steps_per_epoch(len(data.train), batch_size)
    at = snapshot_steps(steps, config.snapshots_per_epoch)
    if resume is not None:
        load_weights(model, resume.model)
    layout = torch.preserve_format
    if config.channels_last:
        layout = torch.channels_last
        _check_layout(model, data)
        model.to(memory_format=layout)
    network, optimizer = accelerator.prepare(model, _make_optimizer(model, config))
    model = accelerator.unwrap_model(network)
    if resume is not None:
        _load_optimizer(optimizer, resume, accelerator)

    def snapshot(index: int, train_loss: float, seconds: float, images: int) -> Snapshot:
        started = time.perf_counter()
        observed = (
            _observe(model, data, modules, map_size, probe_batch, device, layout)
            if accelerator.is_main_process
            else None
        )
        accelerator.wait_for_everyone()
        val_loss, val_accuracy, maps, clipped = observed or (math.nan, math.nan, {}, {})
        if accelerator.is_main_process and not math.isfinite(val_loss):
            raise NonFiniteLossError(index, val_loss, "validation loss")
        return Snapshot(
            index=index,
            epoch=index / config.snapshots_per_epoch,
            train_loss=train_loss,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            maps=maps,
            clipped=clipped,
            train_seconds=seconds,
            probe_seconds=time.perf_counter() - started,
            images_per_second=images / seconds if images else 0.0,
            state=_state(index, model, optimizer, accelerator) if accelerator.is_main_process else None,
        )

    if resume is None:
        first = _untrained_loss(model, data, config, device, micro)
        _check(first, 0)
        yield snapshot(0, first, 0.0, 0)

    done = resume.snapshot if resume is not None else 0
    for index in range(done + 1, config.snapshots + 1):
        epoch, part = divmod(index - 1, config.snapshots_per_epoch)
        begin, end = (at[part - 1] if part else 0), at[part]
        started = time.perf_counter()
        order = epoch_order(len(data.train), config.seed, epoch)
        batches = [
            order[step * batch_size : (step + 1) * batch_size].reshape(-1, world, micro)[i, rank].tolist()
            for step in range(begin, end)
            for i in range(config.gradient_accumulation)
        ]
        images = loader(
            data.train,
            preprocessing=data.preprocessing,
            batches=batches,
            augmentation=config.augmentation,
            seed=config.seed,
            epoch=epoch,
            num_workers=config.num_workers,
            pin_memory=device.type == "cuda",
        )
        with _private_rng(device), _deterministic(device):
            loss = _train_steps(
                network, optimizer, accelerator, images, config, epoch * steps + begin, steps, progress, batch_size
            )
        _check(loss, index)
        yield snapshot(index, loss, time.perf_counter() - started, (end - begin) * batch_size)
    if config.channels_last:
        model.to(memory_format=torch.contiguous_format)


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
    layout = torch.channels_last if config.channels_last else torch.preserve_format
    losses = []
    for i, (x, y) in enumerate(images):  # x (b, 3, H, W), y (b,)
        step, part = divmod(i, config.gradient_accumulation)
        step += first_step
        if part == 0:
            _seed(accelerator.device, config.seed, step, accelerator.process_index)
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


def _observe(
    model: nn.Module,
    data: ImageData,
    modules: Sequence[str],
    map_size: int | None,
    batch: int,
    device: torch.device,
    layout: torch.memory_format,
) -> tuple[float, float, dict[str, Tensor], dict[str, int]]:
    """One pass over the validation images in eval mode; the maps of the probe images, which come first."""
    n_probe, n = len(data.probe), len(data.validation)
    edges = [*range(0, n_probe, batch), *range(n_probe, n, batch), n]
    chunks = [list(range(a, b)) for a, b in itertools.pairwise(edges)]
    pinned = device.type == "cuda"  # copies then run beside the next batch
    maps: dict[str, Tensor] = {}
    over: dict[str, list[Tensor]] = {}
    losses: list[Tensor] = []
    correct: list[Tensor] = []
    with capture(model, modules, map_size=map_size) as forward:
        for chunk, (x, y) in zip(
            chunks, loader(data.validation, preprocessing=data.preprocessing, batches=chunks), strict=True
        ):
            x, y = x.to(device, non_blocking=True, memory_format=layout), y.to(device)
            if chunk[0] < n_probe:
                output, captured = forward(x)
                for name, value in captured.items():  # (b, C, H, W)
                    value = value.float()  # bfloat16 has no number between 65280 and 65536 to compare with
                    if name not in maps:
                        shape = (n_probe, *value.shape[1:])
                        maps[name] = torch.empty(shape, dtype=torch.float16, pin_memory=pinned)
                    over.setdefault(name, []).append((value.abs() > FLOAT16_MAX).sum())
                    value = value.clamp(-FLOAT16_MAX, FLOAT16_MAX).half()
                    maps[name][chunk[0] : chunk[-1] + 1].copy_(value, non_blocking=pinned)
            else:
                with torch.no_grad():
                    output = model(x)
            losses.append(F.cross_entropy(output.float(), y, reduction="sum"))
            correct.append((output.argmax(1) == y).sum())
    # Only here the GPU is waited for, and with it the copies that were queued before.
    loss, right = sum(map(float, losses)), sum(map(int, correct))
    return loss / n, right / n, maps, {name: sum(map(int, counts)) for name, counts in over.items()}


def _untrained_loss(
    model: nn.Module, data: ImageData, config: TrainingConfig, device: torch.device, batch: int
) -> float:
    """Training-mode loss of the untrained network, on a copy, so that running statistics stay as they are."""
    twin = copy.deepcopy(model).train()
    order = epoch_order(len(data.train), config.seed, 0)
    n = max(1, min(len(order), FIRST_LOSS_IMAGES) // batch)
    images = loader(
        data.train,
        preprocessing=data.preprocessing,
        batches=order[: n * batch].reshape(n, batch).tolist(),
        augmentation=config.augmentation,
        seed=config.seed,
    )
    with _private_rng(device), torch.no_grad():
        _seed(device, config.seed, 0, 0)
        losses = [
            float(F.cross_entropy(twin(x.to(device)).float(), y.to(device), label_smoothing=config.label_smoothing))
            for x, y in images
        ]
    return float(np.mean(losses))


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


def _check(loss: float, snapshot: int) -> None:
    if not math.isfinite(loss):
        raise NonFiniteLossError(snapshot, loss, "training loss")


def _seed(device: torch.device, *numbers: int) -> None:
    """Seed dropout and the like from several numbers."""
    seed = int(np.random.SeedSequence(list(numbers)).generate_state(1, np.uint64)[0] >> np.uint64(1))
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too, which nobody puts back
    else:
        torch.manual_seed(seed)


def _private_rng(device: torch.device) -> Any:
    """A context that gives torch's global generators back as they were."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def _deterministic(device: torch.device) -> Any:
    """Reproducible cuDNN kernels while training on a GPU."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True)


def _make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def _state(index: int, model: nn.Module, optimizer: Any, accelerator: Accelerator) -> TrainingState:
    moments = optimizer.state_dict()["state"]
    return TrainingState(
        snapshot=index,
        model={k: _kept(v) for k, v in model.state_dict().items()},
        optimizer={
            f"{i}.{k}": _kept(torch.as_tensor(v))
            for i, values in moments.items()
            for k, v in values.items()
            if v is not None
        },
        scaler={k: float(v) for k, v in accelerator.scaler.state_dict().items()} if accelerator.scaler else {},
    )


def _kept(value: Tensor) -> Tensor:
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def _load_optimizer(optimizer: Any, state: TrainingState, accelerator: Accelerator) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in state.optimizer.items():
        i, _, name = key.partition(".")
        moments.setdefault(int(i), {})[name] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    if accelerator.scaler is not None and state.scaler:
        accelerator.scaler.load_state_dict(
            {k: int(v) if k in ("growth_interval", "_growth_tracker") else v for k, v in state.scaler.items()}
        )
