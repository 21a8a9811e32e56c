"""Feature maps of a fixed set of images, as float16 on the CPU, from a network that notices nothing of it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fmce_mlflow.errors import CaptureError
from fmce_mlflow.method.networks.batches import images_in, inputs_of, placed
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.layout import TokenGrid
from fmce_mlflow.method.networks.model_forms import Call, call_of, unwrap

SMALL = 2.0**-8
FLOAT16_MAX = float(torch.finfo(torch.float16).max)


@dataclass(frozen=True, slots=True, eq=False)
class TakenMaps:
    """What one pass over some images gave."""

    maps: dict[str, NDArray[np.float16]]  # (n, C, H, W) by module; values beyond float16 are set to its largest
    clipped: dict[str, int]  # number of such values, by module
    outputs: list[Any] = field(default_factory=list)  # of the network for each batch, where that was asked for
    exponents: dict[str, int] = field(default_factory=dict)  # maps by module are times 2 to the power of this


def take_maps(
    model: nn.Module,
    modules: Sequence[str],
    batches: Iterable[Any],
    n: int,
    *,
    map_size: int | None = None,
    token_grid: TokenGrid | None = None,
    keep_outputs: bool = False,
    call: Call | None = None,
) -> TakenMaps:
    """Take the maps of all images in one pass in eval mode.

    Maps whose largest value is below 2⁻⁸, as the last ones of deep untrained networks are, are multiplied by a power of
    two: float16 would make zeros of 1e-8. Modes, module by module, gradients and random states are afterwards what they
    were. Autocast is off meanwhile.

    Args:
        model: On any device.
        modules: As :func:`~fmce_mlflow.method.networks.capture.capture` names them.
        batches: Images (b, C, H, W), lists of (C, H, W), pairs that begin with these, or dicts, which become keywords;
            with ``call`` anything that has images in it.
        n: How many images there are.
        map_size: Pool larger maps to this height and width.
        token_grid: As :func:`~fmce_mlflow.method.networks.capture.capture` takes it.
        keep_outputs: Keep what the network gives for each batch.
        call: Calls the network, unwrapped, with a batch.

    Raises:
        CaptureError: If a module gives no feature map or maps of several sizes, or there are not ``n`` images.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten())
        >>> taken = take_maps(net, ["0"], [torch.zeros(2, 3, 8, 8), torch.zeros(1, 3, 8, 8)], 3)
        >>> taken.maps["0"].shape, taken.clipped
        ((3, 4, 8, 8), {'0': 0})
    """
    device = device_of(model)
    pinned = device.type == "cuda"  # copies then run beside the next batch
    maps: dict[str, Tensor] = {}
    over: dict[str, list[Tensor]] = {}
    exponents: dict[str, Tensor] = {}
    outputs, done = [], 0
    options: Any = {"map_size": map_size, "token_grid": token_grid, "call": call_of(call)}
    network = unwrap(model)
    with (
        random_state_kept(model),
        torch.autocast(device.type, enabled=False),
        capture(model, modules, **options) as forward,
    ):
        for batch in batches:
            batch = placed(network, batch if call is not None else inputs_of(batch))
            images = images_in(batch)
            count = 0 if images is None else len(images)
            output, captured = forward(batch)
            if done + count > n:
                raise CaptureError(f"There are more images than the {n} of before; they have to stay the same.")
            for name, value in captured.items():  # (b, C, H, W)
                value = value.float()  # bfloat16 has no number between 65280 and 65536 to compare with
                if name not in maps:
                    maps[name] = torch.empty((n, *value.shape[1:]), dtype=torch.float16, pin_memory=pinned)
                    exponents[name] = _exponent(value)
                if pinned or exponents[name]:  # to ask a GPU is to wait for it
                    value = torch.ldexp(value, exponents[name])
                _check_size(name, value, maps[name], count)
                if not _fits(value):
                    over.setdefault(name, []).append((value.abs() > FLOAT16_MAX).sum())
                    value = value.clamp(-FLOAT16_MAX, FLOAT16_MAX).half()
                maps[name][done : done + count].copy_(value, non_blocking=pinned)
            done += count
            if keep_outputs:
                outputs.append(output)
    if done < n:
        raise CaptureError(f"There are {done} images, and {n} before; they have to stay the same.")
    # Only here the GPU is waited for, and with it the copies that were queued before.
    clipped = {name: sum(map(int, over.get(name, ()))) for name in maps}
    known = {name: int(exponent) for name, exponent in exponents.items()}
    return TakenMaps({name: value.numpy() for name, value in maps.items()}, clipped, outputs, known)


def _exponent(value: Tensor) -> Tensor:
    """The power of two that brings the largest of small values to between 0.5 and 1; 0 where they are not small."""
    largest = value.abs().amax() if value.numel() else value.new_zeros(())
    exponent = -torch.frexp(largest).exponent.clamp(min=-126)
    small = (largest > 0) & (largest < SMALL)
    return torch.where(small, exponent, torch.zeros_like(exponent))


def _fits(value: Tensor) -> bool:
    """Whether all of it is known to be within float16; on a GPU one would have to wait to know."""
    if value.device.type != "cpu" or not value.numel():
        return False
    low, high = value.aminmax()
    return bool(low >= -FLOAT16_MAX and high <= FLOAT16_MAX)


def _check_size(name: str, value: Tensor, others: Tensor, count: int) -> None:
    """Refuse maps that cannot stand in one array with those before."""
    if value.shape != (count, *others.shape[1:]):
        raise CaptureError(
            f"The maps of {name} have several sizes: (C, H, W) = {tuple(others.shape[1:])} for the first images, "
            f"{tuple(value.shape[1:])} for later ones. Give images of one size, or pool all maps to one by map_size, "
            f"at most {min(*value.shape[2:], *others.shape[2:])}."
        )


def device_of(model: nn.Module) -> torch.device:
    """Where a model's weights are; the CPU where it has none."""
    weights = next(model.parameters(), None)
    return torch.device("cpu") if weights is None else weights.device


@contextmanager
def random_state_kept(model: nn.Module, *, seed: int | None = None) -> Iterator[None]:
    """Give every generator, torch's of the CPU and of the model's GPUs, back as it was; inside, begin with a seed."""
    devices = list({p.device for p in model.parameters() if p.device.type == "cuda"})
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices):
            if seed is not None:
                torch.manual_seed(seed)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
