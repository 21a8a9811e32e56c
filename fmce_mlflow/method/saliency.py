"""Where in an image a module's features speak for a class: Grad-CAM (Selvaraju et al. 2017), and its focus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from fmce_mlflow.errors import CaptureError
from fmce_mlflow.method.capture import as_map, named_modules, unwrap


def grad_cam(
    model: nn.Module, module: str, images: Tensor, classes: Sequence[int] | None = None
) -> NDArray[np.float32]:
    """Grad-CAM of one module.

    Args:
        model: An eager model, or one from ``load_exported``; it gives class scores (n, classes).
        module: Dotted name of a module that gives one feature map.
        images: The network's input, float (n, 3, H, W).
        classes: The class that each image is asked about; the most probable one where None.

    Returns:
        float32 (n, H, W), each image's map scaled to [0, 1]; all zeros where nothing speaks for the class.

    Raises:
        CaptureError: A module that the model does not have, or one without a feature map or a gradient.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        >>> grad_cam(net, "1", torch.rand(2, 3, 8, 8)).shape
        (2, 8, 8)
    """
    network = unwrap(model)
    target = named_modules(network).get(module)
    if target is None:
        raise CaptureError(f"The model has no module {module!r}. `fmce list-modules` prints those of a backbone.")
    training = [(part, part.training) for part in network.modules()]
    targets = None if classes is None else [ClassifierOutputTarget(int(c)) for c in classes]
    try:
        network.eval()
        with torch.enable_grad(), GradCAM(network, [target], reshape_transform=_as_map) as cam:
            found: NDArray[np.float32] = cam(images, targets, aug_smooth=False, eigen_smooth=False)
    except (AttributeError, IndexError, ValueError, RuntimeError) as error:
        raise CaptureError(
            f"Grad-CAM of module {module!r} cannot be taken: {type(error).__name__}: {error} It needs class scores and "
            "a module in front of them that gives one feature map."
        ) from error
    finally:
        for part, flag in training:
            part.training = flag
    return np.nan_to_num(found).astype(np.float32)


def focus(saliency: NDArray[np.float32]) -> NDArray[np.float64]:
    """How concentrated saliency is: 1 − (Σ s)² / (P · Σ s²) over an image's P pixels.

    Args:
        saliency: Non-negative, (n, H, W).

    Returns:
        float64 (n,): 0 where it is the same everywhere or there is none, 1 − 1/P where it is in one pixel.

    Example:
        >>> focus(np.array([[[1.0, 1.0]], [[2.0, 0.0]]], dtype=np.float32)).tolist()
        [0.0, 0.5]
    """
    flat = saliency.reshape(len(saliency), -1).astype(np.float64)
    squares = (flat**2).sum(1)
    spread = np.divide(flat.sum(1) ** 2, flat.shape[1] * squares, out=np.ones(len(flat)), where=squares > 0)
    concentrated: NDArray[np.float64] = 1 - spread
    return concentrated


def _as_map(value: Tensor) -> Tensor:
    found = as_map(value)
    if isinstance(found, str):
        raise ValueError(f"its output is {found}.")
    return found
