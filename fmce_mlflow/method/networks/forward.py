"""One forward pass of a model of any form, on its own device, in its own dtype, in batches of its own size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fmce_mlflow.errors import CaptureError, FmceError, ModelError

CHANNELS_LAST_FROM = 512  # images, from which it is worth while to ask whether a network takes channels last
_ASKED = 8  # images, on which it is asked
_SAME = 1e-3  # of the largest value


def takes_channels_last(forward: Any, network: nn.Module, pixels: Tensor, fixed_batch: int | None = None) -> bool:
    """Whether a network on the CPU gives the same maps for images whose channels come last in memory.

    Convolutions on a CPU then run up to twice as fast. A network that looks at how its tensors lie in memory fails, or
    differs; running it both ways shows which. Arguments are those of :func:`run_network`.
    """
    if any(p.device.type != "cpu" for p in network.parameters()):
        return False
    pixels = pixels[:_ASKED]
    plain = run_network(forward, network, pixels, fixed_batch)
    try:
        other = run_network(forward, network, pixels, fixed_batch, torch.channels_last)
    except (ModelError, CaptureError):
        return False
    return plain.keys() == other.keys() and all(
        value.shape == other[name].shape
        and bool((value - other[name]).abs().max() <= _SAME * value.abs().max().clamp_min(_SAME))
        for name, value in plain.items()
    )


def layout_of(pixels: Tensor) -> torch.memory_format:
    """Whether the channels of images (n, C, H, W) come last in memory.

    Example:
        >>> layout_of(torch.zeros(2, 3, 8, 8).to(memory_format=torch.channels_last)) == torch.channels_last
        True
    """
    last = pixels.is_contiguous(memory_format=torch.channels_last) and not pixels.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def run_network(
    forward: Any,
    network: nn.Module,
    pixels: Tensor,
    fixed_batch: int | None = None,
    layout: torch.memory_format = torch.preserve_format,
) -> dict[str, Tensor]:
    """One pass of images float32 (n, C, H, W) through the ``forward`` of ``capture``: maps by name.

    A network that takes only ``fixed_batch`` images at a time is run several times.

    Raises:
        ModelError: If the network fails.
        CaptureError: As :func:`~fmce_mlflow.method.networks.capture.capture`.
    """
    pixels = as_input(network, pixels)
    with told_if_refused(pixels):
        if fixed_batch is None:
            maps: dict[str, Tensor] = forward(pixels.to(memory_format=layout))[1]
            return maps
        chunks = (padded(chunk, fixed_batch) for chunk in pixels.split(fixed_batch))
        parts = [forward(chunk.to(memory_format=layout))[1] for chunk in chunks]
    return {name: torch.cat([part[name] for part in parts])[: len(pixels)] for name in parts[0]}


def as_input(network: nn.Module, pixels: Tensor) -> Tensor:
    """Images on a network's device and in the dtype of its first convolution, else of its first linear layer.

    Images of uint8 keep it.
    """
    weight = _first_weight(network)
    if weight is None:
        return pixels
    pixels = pixels.to(weight.device, non_blocking=True)  # of pinned images a GPU need not be waited for
    return pixels if pixels.dtype == torch.uint8 else pixels.to(weight.dtype)


def _first_weight(network: nn.Module) -> Tensor | None:
    """Of the first convolution, else of the first linear layer, else any parameter of floats."""
    linear, other = None, None
    for name, parameter in network.named_parameters():
        if not parameter.is_floating_point():
            continue
        if name.endswith("weight") and parameter.dim() >= 4:
            return parameter
        if linear is None and name.endswith("weight") and parameter.dim() >= 2:
            linear = parameter
        other = parameter if other is None else other
    return other if linear is None else linear


@contextmanager
def told_if_refused(pixels: Tensor) -> Iterator[None]:
    """Say which images it was that a network cannot take: a ModelError in place of whatever its forward raises."""
    try:
        yield
    except FmceError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        if not isinstance(error, (RuntimeError, ValueError, TypeError, IndexError, AssertionError)):
            reason = f"{type(error).__name__}: {reason}"
        advice = "Check channels, height and width, and name a preprocessing that gives what the model was trained on."
        if isinstance(error, torch.OutOfMemoryError):
            advice = "Lower batch_size, or take another device."
        elif "dtype" in reason or "expected scalar type" in reason or "Input type" in reason:
            advice = "Its layers want several dtypes. Convert the model to one, as by model.float(), and log it again."
        raise ModelError(
            f"The model cannot take these images, {str(pixels.dtype).removeprefix('torch.')} of shape "
            f"{tuple(pixels.shape)}: {reason.rstrip('. ')}. {advice}"
        ) from error


def padded(pixels: Tensor, size: int | None) -> Tensor:
    """Images repeated to fill a batch of a fixed size.

    Example:
        >>> padded(torch.arange(3), 8).tolist()
        [0, 1, 2, 0, 1, 2, 0, 1]
    """
    if size is None or len(pixels) >= size:
        return pixels
    return pixels[torch.arange(size) % len(pixels)]
