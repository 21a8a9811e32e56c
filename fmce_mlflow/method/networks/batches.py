"""Batches of any form as a network takes them: where the images in one are, and what of it the network is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from torch import Tensor, nn

from fmce_mlflow.method.networks.forward import as_input

Images: TypeAlias = "Tensor | list[Tensor]"


def images_in(batch: Any) -> Images | None:
    """The images of a batch: a tensor (n, C, H, W), or a list of tensors (C, H, W) as detectors take; None without any.

    They are looked for in tuples, lists and dicts, and the first are taken.

    Example:
        >>> import torch
        >>> pictures, boxes = [torch.zeros(3, 8, 8), torch.zeros(3, 6, 9)], [{"boxes": torch.zeros(0, 4)}] * 2
        >>> len(images_in((pictures, boxes))), images_in({"pixel_values": torch.zeros(2, 3, 8, 8)}).shape
        (2, torch.Size([2, 3, 8, 8]))
    """
    if isinstance(batch, Tensor):
        return batch if batch.dim() == 4 else None
    values = list(batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (list, tuple)) else ())
    if values and not isinstance(batch, Mapping) and all(isinstance(v, Tensor) and v.dim() == 3 for v in values):
        return values
    return next((found for value in values if (found := images_in(value)) is not None), None)


def inputs_of(batch: Any) -> Any:
    """What of a batch the network is given: the first part of a pair such as (images, labels), else all of it.

    Example:
        >>> import torch
        >>> inputs_of((torch.zeros(2, 3, 8, 8), torch.zeros(2))).shape
        torch.Size([2, 3, 8, 8])
    """
    if isinstance(batch, (list, tuple)) and batch and not _is_images(batch):
        return inputs_of(batch[0])
    return batch


def placed(network: nn.Module, batch: Any) -> Any:
    """A batch on the network's device; images of floats in the dtype of its weights.

    Example:
        >>> import torch
        >>> placed(nn.Conv2d(3, 4, 1).double(), torch.zeros(2, 3, 8, 8)).dtype
        torch.float64
    """
    if isinstance(batch, Tensor):
        return as_input(network, batch) if batch.is_floating_point() else batch.to(_device(network))
    if isinstance(batch, Mapping):
        return {key: placed(network, value) for key, value in batch.items()}
    return type(batch)(placed(network, value) for value in batch) if type(batch) in (list, tuple) else batch


def on_cpu(batch: Any) -> Any:
    """A batch on the CPU, without gradients.

    Example:
        >>> import torch
        >>> on_cpu((torch.zeros(2, requires_grad=True) * 2, "a label"))
        (tensor([0., 0.]), 'a label')
    """
    if isinstance(batch, Tensor):
        return batch.detach().cpu()
    if isinstance(batch, Mapping):
        return {key: on_cpu(value) for key, value in batch.items()}
    return type(batch)(map(on_cpu, batch)) if type(batch) in (list, tuple) else batch


def _is_images(batch: Any) -> bool:
    return all(isinstance(value, Tensor) and value.dim() == 3 for value in batch)


def _device(network: nn.Module) -> Any:
    weights = next(network.parameters(), None)
    return "cpu" if weights is None else weights.device
