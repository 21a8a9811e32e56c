"""Score functional modules: images in batches, their maps in bags, each bag's score by FMCE-Net.

Maps are let go as soon as a bag of them has been reduced to its statistics, so the memory that this takes does not grow
with the number of images. Reduction overlaps with the next forward pass: it has a thread of its own, and maps on a GPU
are reduced there, which nothing waits for but that thread.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fmce_mlflow.errors import CaptureError, PredictorError
from fmce_mlflow.method.fmce_net.kinds import FmceNet
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.method.fmce_net.statistics import ReducedBag, bag_features, reduce_bag
from fmce_mlflow.method.images.input_batches import Batch
from fmce_mlflow.method.networks.capture import Forward, capture
from fmce_mlflow.method.networks.forward import CHANNELS_LAST_FROM, run_network, takes_channels_last
from fmce_mlflow.method.networks.layout import TokenGrid
from fmce_mlflow.method.networks.model_forms import probing, unwrap
from fmce_mlflow.method.scoring.collect import Collected, ModuleEvidence, outputs_of
from fmce_mlflow.method.scoring.module_finding import ModuleFinding, ScoredBag, merge_bags

AHEAD = 2  # the most bags that wait to be reduced
QUEUED = 64  # the most whose statistics a GPU was asked for
BAGS = 8  # that a module is scored on at least, where there are images for more than one

REFERENCE_IMAGES, REFERENCE_BAG = 128, 64  # that an untrained network is shown, and that make a bag


def bag_order(n: int, *, bag_size: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of n images come when, and the sizes of the bags that they are cut into.

    The images are shuffled. Where they make :data:`BAGS` bags or more, each image is in one, and the bags have almost
    the same size, at most ``bag_size``. Fewer images are dealt in several rounds, each shuffled anew, and the last bag
    of a round is filled up from its beginning. Where there are images for one bag only, there is one.

    Example:
        >>> order, sizes = bag_order(100, bag_size=64)
        >>> sizes.tolist(), len(np.unique(order))
        ([64, 64, 64, 64, 64, 64, 64, 64], 100)
        >>> bag_order(1000, bag_size=64)[1].tolist()[-2:]
        [62, 62]
    """
    rng = np.random.default_rng(seed)
    if n <= bag_size:
        return rng.permutation(n), np.array([n])
    per_round = -(-n // bag_size)
    if per_round >= BAGS:
        return rng.permutation(n), np.array([len(part) for part in np.array_split(np.arange(n), per_round)])
    rounds = -(-BAGS // per_round)
    order = np.concatenate([np.resize(rng.permutation(n), per_round * bag_size) for _ in range(rounds)])
    return order, np.full(rounds * per_round, bag_size)


def score_modules(
    network: nn.Module,
    modules: Sequence[str],
    batches: Iterable[Batch],
    net: FmceNet,
    *,
    images: int,
    bag_sizes: Iterable[int],
    fixed_batch: int | None = None,
    token_grid: TokenGrid | None = None,
    untrained: nn.Module | None = None,
    evidence: Callable[[list[Batch]], Collected] | None = None,
    watch: Callable[[NDArray[np.int64], Sequence[Any]], None] | None = None,
) -> dict[str, ModuleFinding]:
    """Score functional modules on images.

    Args:
        network: As for :func:`~fmce_mlflow.method.networks.capture.capture`; images get its device and dtype.
        modules: Dotted names.
        batches: The network's input, in the order in which bags are cut from it.
        net: FMCE-Net in eval mode.
        images: How many images there are; the batches' indices are below it.
        bag_sizes: Images in each bag. Where images were skipped, the last bags have fewer.
        fixed_batch: The only number of images that the network takes at a time, if there is one.
        token_grid: As :func:`~fmce_mlflow.method.networks.capture.capture` takes it.
        untrained: The network with fresh weights, for a net that looks at the contrast; it sees the first images only.
        evidence: Collects what else the net looks at, from the first images; instead of ``untrained``. Where
            BatchNorm's statistics lag, maps are those of the settled copy.
        watch: Is given the images of each batch, and what the network gave for it in each pass.

    Returns:
        By name of the map, in the order of ``modules``; a module with several outputs has several.

    Raises:
        PredictorError: If there are fewer than two images, or maps that the net cannot score; names the module.
        CaptureError: As :func:`~fmce_mlflow.method.networks.capture.capture`.
        ModelError: If the network cannot take the images.
    """
    cutter: _Cutter | None = None
    references: dict[str, Tensor] = {}
    known: Mapping[str, ModuleEvidence] = {}
    judged = network
    first, batches = _peek(batches, REFERENCE_IMAGES)
    layout = _quicker_layout(network, modules, first, images, fixed_batch, token_grid)
    first = [Batch(one.indices, one.pixels.to(memory_format=layout)) for one in first]
    if evidence is not None:
        found_so_far = evidence(first)
        known = found_so_far.modules
        references = {name: one.reference for name, one in known.items() if one.reference is not None}
        if found_so_far.lags:
            judged = found_so_far.network
    elif untrained is not None:
        references = untrained_features(untrained, modules, [one.pixels for one in first], fixed_batch, token_grid)
    with (
        ThreadPoolExecutor(1, thread_name_prefix="fmce-bags") as pool,
        capture(judged, modules, token_grid=token_grid) as forward,
        nullcontext() if judged is network else probing(unwrap(network)),
    ):
        for batch in batches:
            outputs: list[Any] = []
            pixels = batch.pixels.to(memory_format=layout)
            maps = run_network(_kept(forward, outputs), judged, pixels, fixed_batch)
            if watch is not None:
                watch(batch.indices, outputs if judged is network else outputs_of(unwrap(network), pixels, fixed_batch))
            cutter = cutter or _Cutter(net, tuple(bag_sizes), pool, references, known)
            cutter.add(batch.indices, maps)
        found = cutter.finish(images) if cutter else {}
        found = {name: _with_evidence(one, known.get(name)) for name, one in found.items()}
    if not found:
        seen = cutter.seen if cutter else 0
        raise PredictorError(
            f"A bag needs the feature maps of at least 2 images, got {seen}. Pass more images; 64 work well."
        )
    return found


def _with_evidence(found: ModuleFinding, known: ModuleEvidence | None) -> ModuleFinding:
    if known is None:
        return found
    return replace(
        found, untouched=known.untouched, evidence=dict(known.figures), groups=known.groups, said=known.said,
        part=known.part,
    )  # fmt: skip


def _quicker_layout(
    network: nn.Module,
    modules: Sequence[str],
    first: Sequence[Batch],
    images: int,
    fixed_batch: int | None,
    token_grid: TokenGrid | None,
) -> torch.memory_format:
    """How images lie in memory when a network is given many of them."""
    if images < CHANNELS_LAST_FROM or not first:
        return torch.preserve_format
    with capture(network, modules, token_grid=token_grid) as forward:
        faster = takes_channels_last(forward, network, first[0].pixels, fixed_batch)
    return torch.channels_last if faster else torch.preserve_format


def _kept(forward: Forward, outputs: list[Any]) -> Forward:
    """The same forward, which adds the network's outputs to a list."""

    def kept(pixels: Tensor) -> tuple[Any, dict[str, Tensor]]:
        output, maps = forward(pixels)
        outputs.append(output)
        return output, maps

    return kept


def untrained_features(
    network: nn.Module,
    modules: Sequence[str],
    pixels: Sequence[Tensor],
    fixed_batch: int | None = None,
    token_grid: TokenGrid | None = None,
) -> dict[str, Tensor]:
    """Features of an untrained network's modules, against which those of the trained one are contrasted.

    By name of the map, their mean over bags, float32 (FEATURES,); nothing where fresh weights give no finite maps.
    """
    parts: dict[str, list[Tensor]] = {}
    with capture(network, modules, token_grid=token_grid) as forward:
        for batch in pixels:
            for name, maps in run_network(forward, network, batch, fixed_batch).items():
                parts.setdefault(name, []).append(maps.cpu())
    found = {}
    for name, each in parts.items():
        whole = torch.cat(each)[:REFERENCE_IMAGES]
        count = max(1, len(whole) // REFERENCE_BAG)
        if len(whole) >= 2 and bool(torch.isfinite(whole.float()).all()):
            found[name] = torch.stack([bag_features(bag) for bag in whole.tensor_split(count)]).mean(0)
    return found


def _peek(batches: Iterable[Batch], images: int) -> tuple[list[Batch], Iterator[Batch]]:
    """The first images, at least so many if there are, and all batches as they were."""
    rest, taken, count = iter(batches), [], 0
    for batch in rest:
        taken.append(batch)
        count += len(batch.indices)
        if count >= images:
            break
    return taken, itertools.chain(taken, rest)


@dataclass(slots=True)
class _Pending:
    """One module: maps that do not make a bag yet, and the bags that were cut."""

    shape: tuple[int, int, int]
    maps: list[Tensor] = field(default_factory=list)
    bags: list[Future[ScoredBag]] = field(default_factory=list)


class _Cutter:
    """Cuts the maps that come into bags, and has each reduced as soon as it is complete."""

    def __init__(
        self,
        net: FmceNet,
        sizes: tuple[int, ...],
        pool: ThreadPoolExecutor,
        references: Mapping[str, Tensor],
        evidence: Mapping[str, ModuleEvidence],
    ) -> None:
        self.net, self.sizes, self.pool = net, sizes, pool
        self.references, self.evidence = references, evidence
        self.number = 0  # of the bag that is being filled
        self.indices: list[NDArray[np.int64]] = []
        self.count = self.seen = 0
        self.modules: dict[str, _Pending] = {}
        self.waiting: deque[Future[ScoredBag]] = deque()

    def add(self, indices: NDArray[np.int64], maps: Mapping[str, Tensor]) -> None:
        """Take the maps of a batch."""
        for name, value in maps.items():
            self.modules.setdefault(name, _Pending(tuple(value.shape[1:])))  # type: ignore[arg-type]
        if maps.keys() != self.modules.keys():
            missing = ", ".join(sorted(self.modules.keys() ^ maps.keys()))
            raise CaptureError(f"The outputs {missing} exist for some images only, so they make no bag.")
        self.seen += len(indices)
        start = 0
        while start < len(indices):
            stop = min(len(indices), start + self._room())
            self.indices.append(np.asarray(indices[start:stop]))
            for name, value in maps.items():
                self.modules[name].maps.append(value[start:stop])
            self.count += stop - start
            start = stop
            if not self._room():
                self._cut()

    def finish(self, images: int) -> dict[str, ModuleFinding]:
        """Cut the last bag and merge each module's; nothing where there were too few images."""
        if self.count >= 2:
            self._cut()
        found = {}
        for name, one in self.modules.items():
            bags = [future.result() for future in one.bags]
            if bags:
                found[name] = merge_bags(name, one.shape, bags, images=images, decide=self.net.decide)
        return found

    def _room(self) -> int:
        size = self.sizes[self.number] if self.number < len(self.sizes) else self.sizes[-1]
        return size - self.count

    def _cut(self) -> None:
        members = np.concatenate(self.indices)
        for name, one in self.modules.items():
            on_gpu = one.maps[0].is_cuda and isinstance(self.net, SetNet)
            while len(self.waiting) >= (QUEUED if on_gpu else AHEAD):
                self.waiting.popleft().result()
            with _named(name):
                bag = reduce_bag(_joined(one.maps)) if on_gpu else one.maps
            future = self.pool.submit(self._score, name, members, bag)
            self.waiting.append(future)
            one.bags.append(future)
            one.maps = []
        self.indices, self.count, self.number = [], 0, self.number + 1

    def _score(self, name: str, members: NDArray[np.int64], bag: ReducedBag | list[Tensor]) -> ScoredBag:
        reference, known = self.references.get(name), self.evidence.get(name)
        with _named(name):
            if not isinstance(self.net, SetNet):
                assert isinstance(bag, list)
                return ScoredBag(members, *self.net.score(_joined(bag), reference))
            reduced = reduce_bag(_joined(bag)) if isinstance(bag, list) else bag
            row = None if known is None else partial(known.row, shape=reduced.shape, images=len(members))
            return ScoredBag(members, *self.net.score_features(reduced.features(), reference, row))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """The maps of a bag, (n, C, H, W)."""
    if len(shapes := {tuple(part.shape[1:]) for part in parts}) > 1:
        given = " and ".join("×".join(map(str, shape)) for shape in sorted(shapes))
        raise PredictorError(f"the maps of images differ in shape: {given}.")
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


@contextmanager
def _named(module: str) -> Iterator[None]:
    """Say whose bag it is that the net cannot score."""
    try:
        yield
    except PredictorError as error:
        raise PredictorError(f"Module {module}: {error}") from None
