"""All evidence of a network's modules on some images, as FMCE-Net takes it: what a fit and an evaluation share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fmce_mlflow.errors import FmceError
from fmce_mlflow.method.evidence.dropped import dropped_change
from fmce_mlflow.method.evidence.fresh import FRESH_FIGURES, fresh_copies, fresh_distance
from fmce_mlflow.method.evidence.groups import GROUPS, NEVER, UNTOUCHED, as_row, never_trained
from fmce_mlflow.method.evidence.labels import label_evidence
from fmce_mlflow.method.evidence.outputs import class_output, output_evidence
from fmce_mlflow.method.evidence.place import PLACE_FIGURES, depths, of_bag
from fmce_mlflow.method.evidence.settle import GAP_FIGURES, gap, settled
from fmce_mlflow.method.evidence.settle import said as said_of_gap
from fmce_mlflow.method.evidence.views import augmented, view_agreement
from fmce_mlflow.method.evidence.weights_before import weights_before
from fmce_mlflow.method.fmce_net.statistics import bag_features
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.forward import layout_of, padded, run_network
from fmce_mlflow.method.networks.layout import TokenGrid
from fmce_mlflow.method.networks.model_forms import run

IMAGES = 128
"""The most images on which evidence beside that of bags is taken."""
SAME_DRIFT = 0.01
"""``gap drift`` up to which maps as they are stand for the settled ones: one pass less over all images."""
BAG = 64  # images in a bag of what fresh copies show
VIEWED, DROPPED = 32, 16  # images that are shown in several views, and whose maps are dropped out


@dataclass(frozen=True, slots=True, eq=False)
class ModuleEvidence:
    """What is known of a module beside the statistics of its bags."""

    figures: Mapping[str, float]  # by name, of every group but those of bags
    fresh: Tensor  # features of the same module in fresh copies, (R, FEATURES); R may be 0
    said: tuple[str, ...] = ()  # sentences for people
    part: str = ""  # the first part of it that was never trained, where it as a whole was

    @property
    def untouched(self) -> bool:
        """Whether its weights are as an initialisation left them, beyond doubt."""
        return self.figures.get(NEVER) == 1

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of evidence of which there is a figure."""
        there = {name for name, value in self.figures.items() if math.isfinite(value)}
        there |= {PLACE_FIGURES[-1], *(FRESH_FIGURES if len(self.fresh) else ())}  # which are those of a bag
        return tuple(group for group, names in GROUPS.items() if there.intersection(names))

    @property
    def reference(self) -> Tensor | None:
        """Mean features of the fresh copies, (FEATURES,)."""
        return self.fresh.mean(0) if len(self.fresh) else None

    def row(self, features: Tensor, shape: Sequence[int], images: int) -> Tensor:
        """The evidence of a bag with those features (FEATURES,) and shape of maps: a row of :data:`~.groups.NAMES`."""
        near = fresh_distance(features, self.fresh) if len(self.fresh) else {}
        return as_row({**self.figures, **of_bag(shape, images), **near})


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """The evidence of a network, and the network whose maps are to be judged."""

    network: nn.Module  # with BatchNorm's statistics settled on the images, or the given one
    is_settled: bool
    modules: Mapping[str, ModuleEvidence]  # by map
    notes: tuple[str, ...] = ()  # what could not be had

    @property
    def lags(self) -> bool:
        """Whether the maps of some module as they are are others than the settled ones."""
        return self.is_settled and any(one.figures[GAP_FIGURES[0]] > SAME_DRIFT for one in self.modules.values())


@dataclass(slots=True)
class _Seen:
    """Maps and outputs of the images, as a network gave them."""

    maps: dict[str, list[Tensor]] = field(default_factory=dict)
    outputs: list[Any] = field(default_factory=list)

    def of(self, name: str) -> Tensor:
        """All maps of a module, (n, C, H, W)."""
        return torch.cat(self.maps[name])

    @property
    def logits(self) -> Tensor | None:
        """Class scores of all images, where the network gives such."""
        found = [class_output(output) for output in self.outputs]
        known = [one for one in found if one is not None]
        return torch.cat(known) if known and len(known) == len(found) else None


def collect(
    network: nn.Module,
    modules: Sequence[str],
    batches: Sequence[Tensor],
    *,
    targets: Callable[[int | None], Tensor | None] = lambda outputs: None,
    build: Callable[[int], nn.Module] | None = None,
    fixed_batch: int | None = None,
    token_grid: TokenGrid | None = None,
    fresh: Mapping[str, Tensor] | None = None,
    seed: int = 0,
) -> Collected:
    """Collect the evidence of a network's modules.

    Args:
        network: In any form; left as it is.
        modules: Dotted names.
        batches: Images as the network takes them, (b, C, H, W) each, :data:`IMAGES` in all at most.
        targets: From the number of the network's outputs, None where unknown, to the images' classes, int64, where they
            count these; else None.
        build: From the number of the network's outputs, makes it anew, as its library draws it.
        fixed_batch: How many images the network takes at a time, where it takes no other number.
        token_grid: As :func:`~fmce_mlflow.method.networks.capture.capture` takes it.
        fresh: Features of fresh copies by map, (R, FEATURES), where they are known already.
        seed: Of fresh copies, views and dropped channels.

    Raises:
        CaptureError: As ``capture``.
        ModelError: If the network cannot take the images.
    """
    notes: list[str] = []
    calm = _settled(network, batches, fixed_batch, notes)
    judged = network if calm is None else calm
    seen = _pass(judged, modules, batches, fixed_batch, token_grid)
    names = list(seen.maps)
    raw = seen if calm is None else _pass(network, modules, batches, fixed_batch, token_grid)
    figures: dict[str, dict[str, float]] = {name: {} for name in names}
    said: dict[str, list[str]] = {name: [] for name in names}
    example = padded(batches[0], fixed_batch)[: fixed_batch or 2]
    _safely(notes, "its depths", lambda: _into(figures, depths(judged, names, example, token_grid=token_grid)))
    weights = weights_before(network, names, example, token_grid=token_grid)
    outputs = {} if seen.logits is None else output_evidence(seen.logits)
    classes = targets(None if seen.logits is None else seen.logits.shape[1])
    for name in names:
        gaps = dict.fromkeys(GAP_FIGURES, 0.0) if calm is None else gap(raw.of(name), seen.of(name))
        sentence = said_of_gap(gaps)
        said[name] += [*weights[name].said, *([sentence] if sentence else [])]
        own = weights[name].untouched
        share = math.nan if own is None else own
        of_weights = {**weights[name].figures, UNTOUCHED: share}
        figures[name] |= {**of_weights, NEVER: never_trained(of_weights), **gaps, **outputs}
        if classes is not None:
            figures[name] |= label_evidence(seen.of(name), classes, seen.logits)
    pixels = torch.cat([batch for batch in batches])
    _safely(
        notes, "views", lambda: _into(figures, _views(judged, names, pixels[:VIEWED], fixed_batch, token_grid, seed))
    )
    dropped = pixels[: max(DROPPED, fixed_batch or 0)]
    _safely(
        notes,
        "dropped channels",
        lambda: _into(figures, dropped_change(judged, names, dropped, fixed_batch=fixed_batch, seed=seed)),
    )
    if fresh is None:
        anew = None if build is None or seen.logits is None else partial(build, seen.logits.shape[1])
        fresh = fresh_features(network, names, batches, anew, fixed_batch, token_grid, seed=seed, notes=notes)
    found = {
        name: ModuleEvidence(figures[name], fresh.get(name, torch.zeros(0, 0)), tuple(said[name]), weights[name].part)
        for name in names
    }
    return Collected(judged, calm is not None, found, tuple(notes))


def _settled(
    network: nn.Module, batches: Sequence[Tensor], fixed_batch: int | None, notes: list[str]
) -> nn.Module | None:
    """A settled copy, where the network has statistics to settle and can be copied."""
    try:
        return settled(network, batches, fixed_batch=fixed_batch)
    except FmceError:
        raise  # on the images, as the network itself would
    except Exception as error:  # a model's __deepcopy__ raises what it likes
        reason = " ".join(str(error).split())[:200]
        notes.append(
            f"The model cannot be copied ({type(error).__name__}: {reason}), so BatchNorm's statistics are taken as "
            "they are."
        )
        return None


def _into(figures: Mapping[str, dict[str, float]], found: Mapping[str, Mapping[str, float]]) -> None:
    for name, values in found.items():
        if name in figures:
            figures[name] |= values


def _safely(notes: list[str], what: str, call: Callable[[], None]) -> None:
    """Evidence that a network cannot give is missing; it is no reason to give none."""
    try:
        call()
    except Exception as error:  # a network's forward raises what it likes
        notes.append(f"No evidence of {what}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _pass(
    network: nn.Module,
    modules: Sequence[str],
    batches: Sequence[Tensor],
    fixed_batch: int | None,
    token_grid: TokenGrid | None,
) -> _Seen:
    seen = _Seen()
    with capture(network, modules, token_grid=token_grid) as forward:

        def kept(pixels: Tensor) -> tuple[Any, dict[str, Tensor]]:
            output, maps = forward(pixels)
            seen.outputs.append(output)
            return output, maps

        for batch in batches:
            for name, maps in run_network(kept, network, batch, fixed_batch).items():
                seen.maps.setdefault(name, []).append(maps.float().cpu())
    return seen


def _views(
    network: nn.Module,
    names: Sequence[str],
    pixels: Tensor,
    fixed_batch: int | None,
    token_grid: TokenGrid | None,
    seed: int,
) -> dict[str, dict[str, float]]:
    views = [view.contiguous(memory_format=layout_of(pixels)) for view in augmented(pixels, seed=seed)]
    seen = _pass(network, names, views, fixed_batch, token_grid)
    return {name: view_agreement(torch.stack(seen.maps[name])) for name in names}


def fresh_features(
    network: nn.Module,
    names: Sequence[str],
    batches: Sequence[Tensor],
    build: Callable[[], nn.Module] | None,
    fixed_batch: int | None = None,
    token_grid: TokenGrid | None = None,
    *,
    seed: int = 0,
    notes: list[str],
) -> dict[str, Tensor]:
    """Features of copies of a network with fresh weights, settled on the same images: (R, FEATURES) by map.

    Arguments are those of :func:`collect`, but ``build`` takes none; why there are no copies is added to ``notes``.
    """
    found: dict[str, list[Tensor]] = {}
    try:
        for copy in fresh_copies(network, seed=seed, build=build):
            settled(copy, batches, fixed_batch=fixed_batch, in_place=True)
            for name, value in features(copy, names, batches, fixed_batch, token_grid).items():
                found.setdefault(name, []).append(value)
    except FmceError as error:
        notes.append(f"The network cannot be drawn anew: {error}")
    except Exception as error:  # a model's reset_parameters and __deepcopy__ raise what they like
        reason = " ".join(str(error).split())[:200]
        notes.append(
            f"The model cannot be copied with fresh weights ({type(error).__name__}: {reason}), so the predictor does "
            "without the contrast and is less sure."
        )
    return {name: torch.stack(values) for name, values in found.items()}


def features(
    network: nn.Module,
    names: Sequence[str],
    batches: Sequence[Tensor],
    fixed_batch: int | None = None,
    token_grid: TokenGrid | None = None,
) -> dict[str, Tensor]:
    """Mean features over bags of a network's modules, (FEATURES,); none of maps that are not finite."""
    seen, found = _pass(network, names, batches, fixed_batch, token_grid), {}
    for name in seen.maps:
        whole = seen.of(name)
        count = max(1, len(whole) // BAG)
        if len(whole) >= 2 and bool(torch.isfinite(whole).all()):
            found[name] = torch.stack([bag_features(bag) for bag in whole.tensor_split(count)]).mean(0)
    return found


def maps_of(
    network: nn.Module, names: Sequence[str], batches: Sequence[Tensor], *, token_grid: TokenGrid | None = None
) -> dict[str, Tensor]:
    """All maps of a network's modules, float32 (n, C, H, W) on the CPU."""
    seen = _pass(network, names, batches, None, token_grid)
    return {name: seen.of(name) for name in seen.maps}


def outputs_of(network: nn.Module, pixels: Tensor, fixed_batch: int | None) -> list[Any]:
    """What an unwrapped network, which is in eval mode, gives for images, in each of its passes."""
    outputs: list[Any] = []

    def forward(images: Tensor) -> tuple[Any, dict[str, Tensor]]:
        outputs.append(run(network, images))
        return outputs[-1], {"": images}

    with torch.no_grad():
        run_network(forward, network, pixels, fixed_batch)
    return outputs
