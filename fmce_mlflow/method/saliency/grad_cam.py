"""Where in an image a module's features speak for a score: Grad-CAM (Selvaraju et al. 2017), and its focus.

Targets are those of pytorch-grad-cam, and maps are scaled as it does; it takes a second to be imported, which is spent
where a map is asked for. Its own ``GradCAM`` is not used: it calls ``backward``, which adds to the gradients of a
network that is being trained, and takes a module at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fmce_mlflow.errors import CaptureError
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.forward import as_input
from fmce_mlflow.method.networks.layout import TokenGrid
from fmce_mlflow.method.networks.model_forms import unwrap

ScoreTarget: TypeAlias = Callable[[Any], Tensor]
"""From the model's output for one image, without the batch dimension, to a number."""
ScoreTargets: TypeAlias = "ScoreTarget | int | Sequence[ScoreTarget | int] | None"
Maps: TypeAlias = NDArray[np.float32]

HOW_TO_TARGET = (
    "Pass targets: a class index, or a function from the output for one image to a number, such as "
    "lambda out: out['scores'].sum() for a detector, lambda out: out['out'][3].mean() for a segmentation model; "
    "one for all images, or one for each. pytorch_grad_cam.utils.model_targets has more."
)


def grad_cam(
    model: nn.Module, module: str, images: Tensor, targets: ScoreTargets = None, *, batch_size: int = 32
) -> Maps:
    """Grad-CAM of one module.

    Args:
        model: An eager model, or one from ``load_exported``. It stays as it is: its mode, its gradients.
        module: Dotted name of a module that gives one feature map, or of one of a module's outputs (``fpn.0``).
        images: The network's input, float (n, c, H, W).
        targets: What each image is asked about: class indices, or functions from the output for one image to a number;
            one for all images, or one for each. The most probable class where None, which needs class scores.
        batch_size: Images per forward and backward pass.

    Returns:
        float32 (n, H, W), each image's map scaled to [0, 1]; all zeros where nothing speaks for the target.

    Raises:
        BackboneError: A module that the model does not have.
        CaptureError: A module without a feature map or without a gradient, or an output that needs ``targets``.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        >>> grad_cam(net, "1", torch.rand(2, 3, 8, 8)).shape
        (2, 8, 8)
    """
    if not len(images):
        return np.zeros((0, *images.shape[2:]), np.float32)
    found, done = [], 0
    for part in images.split(batch_size):
        asked = _part(targets, done, done + len(part))
        done += len(part)
        found.append(resized(cams(model, [module], part, asked)[module], images.shape[2:]))
    return np.concatenate(found)


def cams(
    model: nn.Module,
    modules: Sequence[str],
    images: Tensor,
    targets: ScoreTargets = None,
    token_grid: TokenGrid | None = None,
) -> dict[str, Maps]:
    """Grad-CAM of several modules in their maps' own resolution, float32 (n, h, w) in [0, 1]: one pass each way.

    Arguments and errors are those of :func:`grad_cam`.
    """
    with torch.inference_mode(False), capture(model, modules, token_grid=token_grid, grad=True) as forward:
        pixels = as_input(unwrap(model), images)
        output, maps = forward(pixels)
        for name in modules:
            if name not in maps:
                given = ", ".join(key for key in maps if key.startswith(f"{name}."))
                raise CaptureError(f"Module {name!r} gives several feature maps. Name one of them: {given}.")
        scores = _scores(output, len(images), targets)
        gradients = _gradients(scores, {name: maps[name] for name in modules})
    return {
        name: _scaled((gradient.mean((2, 3), keepdim=True) * maps[name]).sum(1).clamp(min=0).detach().cpu().numpy())
        for name, gradient in gradients.items()
    }


def resized(cam: Maps, size: Sequence[int]) -> Maps:
    """Non-negative maps (n, h, w) brought to a size (H, W), bilinearly, and scaled to [0, 1] again."""
    height, width = size
    if not len(cam):
        return np.zeros((0, height, width), np.float32)
    from pytorch_grad_cam.utils.image import scale_cam_image

    return _scaled(scale_cam_image(cam, (width, height)))


def focus(saliency: Maps) -> NDArray[np.float64]:
    """How concentrated non-negative saliency (n, H, W) is, (n,): 1 − (Σ s)² / (P · Σ s²) over an image's P pixels.

    0 where it is the same everywhere or there is none, 1 − 1/P where all of it is in one pixel.

    Example:
        >>> focus(np.array([[[1.0, 1.0]], [[2.0, 0.0]]], dtype=np.float32)).tolist()
        [0.0, 0.5]
    """
    flat = saliency.reshape(len(saliency), -1).astype(np.float64)
    squares = (flat**2).sum(1)
    spread = np.divide(flat.sum(1) ** 2, flat.shape[1] * squares, out=np.ones(len(flat)), where=squares > 0)
    concentrated: NDArray[np.float64] = 1 - spread
    return concentrated


def _part(targets: ScoreTargets, start: int, stop: int) -> list[ScoreTarget | int] | None:
    """The targets of images ``start`` … ``stop`` − 1."""
    if targets is None:
        return None
    if callable(targets) or isinstance(targets, int | np.integer):
        return [targets] * (stop - start)
    found = list(targets[start:stop])
    if len(found) < stop - start:
        raise CaptureError(f"There are {len(targets)} targets for at least {stop} images. {HOW_TO_TARGET}")
    return found


def _scores(output: Any, n: int, targets: ScoreTargets) -> list[Tensor]:
    """The number that each image is asked about."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    if targets is None:
        logits = class_scores(output, n)
        return [row[int(row.argmax())] for row in logits]
    each = _part(targets, 0, n) or []
    by_class = None if all(map(callable, each)) else _by_class(output, n)
    found = []
    for i, target in enumerate(each):
        try:
            if callable(target):
                score = torch.as_tensor(target(_row(output, i, n))).sum()
            else:
                assert by_class is not None
                score = ClassifierOutputTarget(int(target))(by_class[i])
        except Exception as error:  # of a function of the user's
            raise CaptureError(
                f"The target of image {i} cannot be taken of the model's output, {_kind(output)}: "
                f"{type(error).__name__}: {error}. {HOW_TO_TARGET}"
            ) from error
        found.append(score)
    return found


def _by_class(output: Any, n: int) -> Tensor:
    """Scores (n, classes); of a single output (n, 1), that of class 1, and its negative as that of class 0."""
    if isinstance(output, Tensor) and output.shape == (n, 1) and output.is_floating_point():
        return torch.cat([-output, output], dim=1)
    return class_scores(output, n)


def class_scores(output: Any, n: int | None = None) -> Tensor:
    """The output's one tensor (n, classes); a CaptureError where it has none or several."""
    values = [output] if isinstance(output, Tensor) else _children(output)
    fitting = [v for v in values if isinstance(v, Tensor) and v.dim() == 2 and n in (None, len(v)) and v.shape[1] > 1]
    if len(fitting) != 1 or not fitting[0].is_floating_point():
        raise CaptureError(f"The model's output is no class score for each image but {_kind(output)}. {HOW_TO_TARGET}")
    return fitting[0]


def _row(output: Any, i: int, n: int) -> Any:
    """The output for image i: of a list with one entry per image that entry, of tensors the row."""
    if isinstance(output, Tensor):
        return output[i]
    if isinstance(output, Mapping):
        return {key: _row(value, i, n) for key, value in output.items()}
    if isinstance(output, (list, tuple)):
        if len(output) == n and not all(isinstance(v, Tensor) and v.dim() and len(v) == n for v in output):
            return output[i]
        return type(output)(_row(value, i, n) for value in output) if type(output) in (list, tuple) else output[i]
    return output


def _children(output: Any) -> list[Any]:
    if isinstance(output, Mapping):
        return list(output.values())
    return list(output) if isinstance(output, (list, tuple)) else []


def _kind(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"{str(output.dtype).removeprefix('torch.')} of shape {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a dict of {', '.join(map(str, output))}"
    if isinstance(output, (list, tuple)) and output:
        return f"a {type(output).__name__} of {len(output)}, the first {_kind(output[0])}"
    return f"a {type(output).__name__}"


def _gradients(scores: Sequence[Tensor], maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the sum of scores by each map; images do not depend on each other, so each gets its own."""
    total = torch.stack([score.float() for score in scores]).sum()
    found: Sequence[Tensor | None] = [None] * len(maps)
    if total.requires_grad:
        reached = [value for value in maps.values() if value.requires_grad]
        given = iter(torch.autograd.grad(total, reached, allow_unused=True) if reached else ())
        found = [next(given) if value.requires_grad else None for value in maps.values()]
    missing = [name for name, gradient in zip(maps, found, strict=True) if gradient is None]
    if missing:
        raise CaptureError(
            f"What the images are asked about does not depend on the feature map of {', '.join(map(repr, missing))} in "
            "a way that a gradient can follow, so there is no Grad-CAM of it. Name a module before the output, "
            "or another target."
        )
    return {name: gradient.float() for name, gradient in zip(maps, found, strict=True) if gradient is not None}


def _scaled(cam: NDArray[Any]) -> Maps:
    """(n, h, w) as float32, each from 0 to 1; a map of one value becomes all zeros."""
    values = np.nan_to_num(cam.astype(np.float32))
    flat = values.reshape(len(values), -1)
    low, high = flat.min(1)[:, None, None], flat.max(1)[:, None, None]
    found: Maps = np.divide(values - low, high - low, out=np.zeros_like(values), where=high > low)
    return found
