"""How far the network's output moves when channels of a module's maps are dropped out.

After the box stability score (BoS; Yang et al. 2024, arXiv 2403.13803), which finds that the boxes of a good detector
hardly move when features of its backbone are dropped out, with no labels at hand. Here it is done module by module, and
read from class scores, or from any output of floats.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fmce_mlflow.method.evidence.outputs import class_output, class_scores, some
from fmce_mlflow.method.networks.batches import images_in
from fmce_mlflow.method.networks.capture import locate, parts, shows_grid
from fmce_mlflow.method.networks.forward import as_input, padded, told_if_refused
from fmce_mlflow.method.networks.layout import Known, Layout, Pass
from fmce_mlflow.method.networks.model_forms import (
    Call,
    bare_name,
    call_of,
    check_hookable,
    forms_of_modules,
    probing,
    unwrap_with_prefix,
)
from fmce_mlflow.method.networks.take_maps import random_state_kept
from fmce_mlflow.method.networks.untouched import untouched

RATES = (0.1, 0.3)
"""Shares of the channels that are dropped; those that stay are multiplied by 1 / (1 − rate)."""
DROP_FIGURES: tuple[str, ...] = tuple(
    f"drop {rate} {figure}" for rate in RATES for figure in ("distance", "changed", "moved", "boxes")
)
_BATCH = 64
_BOXES = 100  # of each image, at which is looked
_FLOATS = 2**12  # of each image, at which an output is looked at that is none of classes
_MOST = 10.0  # of the logarithm of a ratio, in size
_ROUNDED = 1e-13  # of the output, squared: what float32 makes of equal values
Path = tuple[str, ...]  # of a tensor in a module's output
Axes = tuple[int, int]  # of images and of channels


def dropped_change(
    network: nn.Module,
    names: Sequence[str],
    pixels: Tensor,
    *,
    call: Call | None = None,
    fixed_batch: int | None = None,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Drop channels of each module's maps in turn, other ones for each image, and compare the network's outputs.

    An output that hardly differs from image to image moves little, too. So each figure but the last is relative to how
    far the outputs of two images are from each other:

    ========== ================================================================================================
    distance   r / (1 + r), with r = root mean square distance of predictions, in [0, 1]
    changed    share of predictions that are of another class, over the share of pairs of images that are
    moved      log of the root mean square distance of logits, each less its mean over classes, in [−10, 10]; of
               an output that is none of classes, of all of its floats
    boxes      1 − BoS: 1 less the mean over images of the mean overlap (IoU) of their boxes with those that they
               are matched with, by generalised IoU, in [0, 1]; a box without a match overlaps with nothing
    ========== ================================================================================================

    Each is taken at both :data:`RATES`. Maps may be (n, C, H, W) or (n, H, W, C), tokens, vectors, or parts of a
    tuple or dict. The network is in eval mode meanwhile; its modes, buffers and all random states are afterwards what
    they were.

    Args:
        network: In any form that :func:`~fmce_mlflow.method.networks.capture.capture` takes.
        names: Of modules or of their outputs, as ``capture`` has them.
        pixels: Images (n, C, H, W) as the network takes them; they get its device and dtype.
        call: Calls the network, unwrapped, with a batch of them.
        fixed_batch: The only number of images that the network takes at a time, if there is one.
        seed: Which channels are dropped depends on it and the order of the images.

    Returns:
        By name, figures by name of :data:`DROP_FIGURES`; NaN where there is one image, the module is not called, or the
        output has no floats for each image; the first two also where it is none of classes, ``changed`` where all
        images are taken for the same. ``boxes`` is known where the output is a list of dicts with ``boxes`` (m, 4) for
        each image, as of torchvision's detectors, and there are some; then the others are not.

    Raises:
        BackboneError: A name that the model does not have.
        CaptureError: A model in which hooks or eval mode cannot work.
        ModelError: If the network cannot take the images.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
        >>> found = dropped_change(net, ["0"], torch.rand(16, 3, 8, 8))["0"]
        >>> found["drop 0.1 distance"] < found["drop 0.3 distance"] < 1
        True
    """
    bare, prefix = unwrap_with_prefix(network)
    found = forms_of_modules(bare)
    inner = {name: bare_name(name, prefix) for name in names}
    heads = {name: locate(found, one) for name, one in inner.items()}
    check_hookable(bare)
    caller, known = call_of(call), Known.of(bare)
    changes: dict[str, dict[str, float]] = {name: dict.fromkeys(DROP_FIGURES, float("nan")) for name in names}

    def forward(images: Tensor) -> Any:
        with random_state_kept(bare, seed=seed), told_if_refused(images):
            return caller(bare, images)

    def outputs(inside: Callable[[Tensor], AbstractContextManager[None]]) -> _Outputs:
        made = []
        for chunk in pixels.split(fixed_batch or _BATCH):
            images = padded(chunk, fixed_batch)
            with inside(images):
                made.append(_Outputs.of(forward(images), len(images), len(chunk)))
        return _Outputs.joined(made)

    with untouched(network), probing(bare), torch.no_grad():
        pixels = as_input(bare, pixels)
        calls: dict[str, list[dict[Path, Axes]]] = {}
        plain = outputs(partial(_noted, found, set(heads.values()), known, calls))
        for name in names:
            if chosen := _chosen(inner[name], heads[name], calls.get(heads[name], [])):
                for rate in RATES:
                    draw = torch.Generator().manual_seed(seed)
                    other = outputs(partial(_dropping, found[heads[name]], chosen, rate, draw))
                    changes[name] |= plain.change(other, rate)
    return changes


@contextmanager
def _noted(
    found: Mapping[str, tuple[nn.Module, ...]],
    heads: set[str],
    known: Known,
    calls: dict[str, list[dict[Path, Axes]]],
    images: Tensor,
) -> Iterator[None]:
    """Note which tensors each call of the modules gives, with the axes of each; of the first batch."""
    now = Pass(images_in(images), known)
    if calls:
        heads = set()

    def note(head: str, output: Any) -> None:
        axes = {path: at for path, value in parts(output) if (at := _axes(value, now))}
        calls.setdefault(head, []).append(axes)

    with ExitStack() as hooks:
        for head, forms in found.items():
            for module in forms:
                if shows_grid(module):
                    hooks.callback(module.register_forward_hook(lambda _m, _i, output: now.see(output)).remove)
                if head in heads:
                    hook = module.register_forward_hook(lambda _m, _i, output, head=head: note(head, output))
                    hooks.callback(hook.remove)
        yield


def _axes(output: Tensor, now: Pass) -> Axes | None:
    """Where images, or what else there is of rows, and channels are in a tensor; None where there are none."""
    if not output.is_floating_point() or output.dim() < 2:
        return None
    layout = now.read(output)
    if isinstance(layout, Layout):
        return layout.order[0], layout.order[1 if output.dim() == 4 else 2]
    return 0, 1 if output.dim() > 3 else output.dim() - 1


def _chosen(name: str, head: str, made: Sequence[Mapping[Path, Axes]]) -> dict[tuple[int, Path], Axes]:
    """The tensors that a name stands for, by number of the call and place in what it gives."""
    found = {}
    for number, places in enumerate(made):
        for path, axes in places.items():
            key = ".".join((head, *([str(number)] if len(made) > 1 else []), *path))
            if key == name or key.startswith(f"{name}."):
                found[number, path] = axes
    return found


@contextmanager
def _dropping(
    forms: Iterable[nn.Module],
    chosen: Mapping[tuple[int, Path], Axes],
    rate: float,
    draw: torch.Generator,
    _images: Tensor,
) -> Iterator[None]:
    """Inside, channels of the chosen tensors are dropped."""
    number = -1

    def drop(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        nonlocal number
        number += 1
        tensors = dict(parts(output))
        other = {
            path: _without(tensors[path], axes, rate, draw)
            for (call, path), axes in chosen.items()
            if call == number and path in tensors
        }
        return _replaced(output, other) if other else None

    with ExitStack() as hooks:
        for module in forms:
            hooks.callback(module.register_forward_hook(drop).remove)
        yield


def _without(value: Tensor, axes: Axes, rate: float, draw: torch.Generator) -> Tensor:
    rows, channels = axes
    shape = [1] * value.dim()
    shape[rows], shape[channels] = value.shape[rows], value.shape[channels]
    kept = torch.rand(value.shape[rows], value.shape[channels], generator=draw) >= rate  # (n, C)
    kept = kept if rows < channels else kept.T
    return value * (kept.reshape(shape) / (1 - rate)).to(value.device, value.dtype)


def _replaced(output: Any, other: Mapping[Path, Tensor], path: Path = ()) -> Any:
    """The output of a module with other tensors in some places; containers are copied."""
    if isinstance(output, Tensor):
        return other.get(path, output)
    if isinstance(output, Mapping):
        made: Any = copy.copy(output)
        for key, value in output.items():
            made[key] = _replaced(value, other, (*path, str(key)))
        return made
    if isinstance(output, (list, tuple)):
        values = [_replaced(value, other, (*path, str(place))) for place, value in enumerate(output)]
        return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)
    if dataclasses.is_dataclass(output):
        made = copy.copy(output)
        for key, value in vars(output).items():
            object.__setattr__(made, key, _replaced(value, other, (*path, key)))
        return made
    return output


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What of a network's outputs is compared, an image a row."""

    scores: Tensor | None  # log-probabilities float64 (n, P, K), of an output of classes
    floats: Tensor | None = None  # float64 (n, D), of another
    boxes: tuple[Tensor, ...] = ()  # float32 (m, 4) of each image, of a detector

    @classmethod
    def of(cls, output: Any, batch: int, images: int) -> _Outputs:
        """Of what a network gave for a batch that was filled up."""
        scores = class_scores(class_output(output))
        if scores is not None:
            return cls(scores[:images])
        if isinstance(output, (list, tuple)) and all(isinstance(one, Mapping) and "boxes" in one for one in output):
            return cls(None, None, tuple(one["boxes"][:_BOXES].float().cpu() for one in output[:images]))
        rows = [
            value[:images].reshape(images, -1).double().cpu()
            for _, value in parts(output)
            if value.is_floating_point() and value.dim() and len(value) == batch
        ]
        return cls(None, torch.cat([row[:, some(row.shape[1], _FLOATS)] for row in rows], 1) if rows else None)

    @classmethod
    def joined(cls, each: Sequence[_Outputs]) -> _Outputs:
        """Of several batches."""
        scores = [one.scores for one in each if one.scores is not None]
        floats = [one.floats for one in each if one.floats is not None]
        return cls(
            torch.cat(scores) if len(scores) == len(each) else None,
            torch.cat(floats) if len(floats) == len(each) else None,
            tuple(boxes for one in each for boxes in one.boxes),
        )

    def change(self, other: _Outputs, rate: float) -> dict[str, float]:
        """Figures of :func:`dropped_change`, as far as they are known."""
        found: dict[str, float] = {}
        if self.scores is not None and other.scores is not None and self.scores.shape == other.scores.shape:
            moved = _moved(_centred(self.scores), _centred(other.scores))
            one, two = self.scores.exp(), other.scores.exp()
            distance = _moved(one, two)
            found[f"drop {rate} distance"] = 1 / (1 + math.exp(-distance))
            found[f"drop {rate} changed"] = _changed(one.argmax(2), two.argmax(2), one.shape[2])
        elif self.floats is not None and other.floats is not None and self.floats.shape == other.floats.shape:
            moved = _moved(self.floats, other.floats)
        else:
            return {f"drop {rate} boxes": _unstable(self.boxes, other.boxes)}
        return found | {f"drop {rate} moved": moved}


def _moved(one: Tensor, two: Tensor) -> float:
    """Log of the root mean square distance of rows over that between two rows of the first; of (n, …)."""
    n = len(one)
    change = float((one - two).square().sum()) / n
    apart = 2 * float((one - one.mean(0)).square().sum()) / max(n - 1, 1)
    least = _ROUNDED * float(one.square().sum()) / n
    if n < 2 or not math.isfinite(change + apart) or max(change, apart) <= least:
        return float("nan")
    ratio = math.log(max(change, least) / max(apart, least)) / 2 if least else _MOST
    return max(-_MOST, min(_MOST, ratio))


def _changed(one: Tensor, two: Tensor, classes: int) -> float:
    """Share of predictions (n, P) that are others, over the share of pairs of images whose predictions are."""
    n = len(one)
    counts = F.one_hot(one, classes).sum(0).double()  # (P, K)
    apart = float((1 - (counts / n).square().sum(1)).mean()) * n / max(n - 1, 1)
    return float((one != two).double().mean()) / apart if apart > 0 else float("nan")


def _unstable(one: Sequence[Tensor], two: Sequence[Tensor]) -> float:
    """1 less the box stability score of the boxes of each image before and after."""
    from scipy.optimize import linear_sum_assignment  # detectors alone need these
    from torchvision.ops import box_iou, generalized_box_iou

    scores = []
    for before, after in zip(one, two, strict=True):
        if len(before) and len(after):
            matched = linear_sum_assignment(-generalized_box_iou(before, after).nan_to_num(-1).numpy())
            scores.append(float(box_iou(before, after).nan_to_num(0)[matched].sum()) / len(before))
        elif len(before):
            scores.append(0.0)
    return 1 - sum(scores) / len(scores) if scores else float("nan")


def _centred(scores: Tensor) -> Tensor:
    return scores - scores.mean(2, keepdim=True)
