"""How far the network's output moves when channels of a module's maps are dropped out.

After the box stability score (BoS; Yang et al. 2024, arXiv 2403.13803), which finds that the boxes of a good detector
hardly move when features of its backbone are dropped out, with no labels at hand. Here it is done module by module, and
read from class scores, or from any output of floats.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fmce_mlflow.method.evidence.outputs import class_output, class_scores
from fmce_mlflow.method.networks.batches import images_in
from fmce_mlflow.method.networks.capture import locate, parts, shows_grid
from fmce_mlflow.method.networks.forward import as_input, padded, told_if_refused
from fmce_mlflow.method.networks.layout import Known, Layout, Pass
from fmce_mlflow.method.networks.model_forms import (
    Call,
    bare_name,
    call_of,
    forms_of_modules,
    probing,
    unwrap_with_prefix,
)
from fmce_mlflow.method.networks.take_maps import random_state_kept
from fmce_mlflow.method.networks.untouched import untouched

RATES = (0.1, 0.3, 0.5)
"""Shares of the channels that are dropped; those that stay are multiplied by 1 / (1 − rate)."""
DROP_FIGURES: tuple[str, ...] = tuple(
    f"drop {rate} {figure}" for rate in RATES for figure in ("distance", "changed", "moved")
)
_BATCH = 64
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

    ========== ================================================================================================
    distance   mean total variation distance between the predictions with and without, in [0, 1]
    changed    share of predictions whose class is another, in [0, 1]
    moved      ‖change‖ / ‖output‖, of class scores where there are some, otherwise of all floats of the output
    ========== ================================================================================================

    Each is taken at the three :data:`RATES`. Maps may be (n, C, H, W) or (n, H, W, C), tokens, vectors, or parts of a
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
        By name, figures by name of :data:`DROP_FIGURES`; NaN where the output is none of classes, has no floats or
        another number of them, or the module is not called.

    Raises:
        BackboneError: A name that the model does not have.
        CaptureError: A model in which hooks or eval mode cannot work.
        ModelError: If the network cannot take the images.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
        >>> found = dropped_change(net, ["0"], torch.rand(16, 3, 8, 8))["0"]
        >>> found["drop 0.1 distance"] < found["drop 0.5 distance"] < 1
        True
    """
    bare, prefix = unwrap_with_prefix(network)
    found = forms_of_modules(bare)
    inner = {name: bare_name(name, prefix) for name in names}
    heads = {name: locate(found, one) for name, one in inner.items()}
    draws = {(name, rate): torch.Generator().manual_seed(seed) for name in names for rate in RATES}
    changes = {key: _Change() for key in draws}
    caller, known = call_of(call), Known.of(bare)

    def forward(images: Tensor) -> Any:
        with random_state_kept(bare, seed=seed), told_if_refused(images):
            return caller(bare, images)

    with untouched(network), probing(bare), torch.no_grad():
        for chunk in as_input(bare, pixels).split(fixed_batch or _BATCH):
            images = padded(chunk, fixed_batch)
            with _noted(found, set(heads.values()), Pass(images_in(images), known)) as made:
                plain = _Output.of(forward(images), len(chunk), len(images))
            for name, rate in draws:
                chosen = _chosen(inner[name], heads[name], made.get(heads[name], []))
                with _dropping(found[heads[name]], chosen, rate, draws[name, rate]):
                    changes[name, rate].add(plain, _Output.of(forward(images), len(chunk), len(images)), bool(chosen))
    return {
        name: dict(zip(DROP_FIGURES, [x for rate in RATES for x in changes[name, rate].figures()], strict=True))
        for name in names
    }


@contextmanager
def _noted(found: Mapping[str, tuple[nn.Module, ...]], heads: set[str], now: Pass) -> Iterator[dict[str, Any]]:
    """Of each call of the modules, which tensors it gives, with the axes of each."""
    made: dict[str, list[dict[Path, Axes]]] = {}
    with ExitStack() as hooks:
        for head, forms in found.items():
            for module in forms:
                if shows_grid(module):
                    hooks.callback(module.register_forward_hook(lambda _m, _i, output: now.see(output)).remove)
                if head in heads:

                    def note(_module: nn.Module, _inputs: Any, output: Any, head: str = head) -> None:
                        axes = {path: found for path, value in parts(output) if (found := _axes(value, now))}
                        made.setdefault(head, []).append(axes)

                    hooks.callback(module.register_forward_hook(note).remove)
        yield made


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
    forms: Iterable[nn.Module], chosen: Mapping[tuple[int, Path], Axes], rate: float, draw: torch.Generator
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
class _Output:
    """What of a network's output is compared."""

    floats: list[Tensor]  # the class scores where there are some, else all floats
    scores: Tensor | None  # log-probabilities (n, P, K)

    @classmethod
    def of(cls, output: Any, images: int, batch: int) -> _Output:
        """Without what was added to fill a batch."""
        of_classes = class_output(output)
        found = [of_classes] if of_classes is not None else [v for _, v in parts(output) if v.is_floating_point()]
        found = [value[:images] if value.dim() and len(value) == batch else value for value in found]
        return cls([value.double().cpu() for value in found], class_scores(found[0]) if len(found) == 1 else None)


@dataclass(slots=True)
class _Change:
    """Sums over images of how far outputs differ."""

    sums: list[float] = field(default_factory=lambda: [0.0] * 3)  # of distances, of other classes, of predictions
    squares: list[float] = field(default_factory=lambda: [0.0] * 2)  # of the change, of the output

    def add(self, plain: _Output, other: _Output, dropped: bool) -> None:
        """Compare the outputs of one batch."""
        nothing = float("nan")
        if plain.scores is None or other.scores is None or plain.scores.shape != other.scores.shape or not dropped:
            self.sums = [nothing] * 3
        else:
            distance = (plain.scores.exp() - other.scores.exp()).abs().sum(2) / 2  # (n, P)
            changed = plain.scores.argmax(2) != other.scores.argmax(2)
            for place, value in enumerate((distance.sum(), changed.sum(), torch.tensor(distance.numel()))):
                self.sums[place] += float(value)
        shapes = [[value.shape for value in one.floats] for one in (plain, other)]
        if shapes[0] != shapes[1] or not shapes[0] or not dropped:
            self.squares = [nothing] * 2
        else:
            for one, two in zip(plain.floats, other.floats, strict=True):
                self.squares[0] += float((one - two).square().sum())
                self.squares[1] += float(one.square().sum())

    def figures(self) -> tuple[float, float, float]:
        """Distance, changed, moved."""
        distances, changed, predictions = self.sums
        change, size = self.squares
        moved = math.sqrt(change / size) if size else float("nan")
        found = (distances / predictions, changed / predictions) if predictions else (float("nan"),) * 2
        return found[0], found[1], moved if math.isfinite(moved) else float("nan")
