"""Score functional modules: images in batches, their maps in bags, each bag's score by FMCE-Net.

Maps are let go as soon as a bag of them has been reduced to its statistics, so the memory that this takes does not grow
with the number of images. Reduction has a thread of its own and overlaps with the next forward pass.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fmce_mlflow.errors import CaptureError, ModelError, PredictorError
from fmce_mlflow.method.bag_statistics import bag_features
from fmce_mlflow.method.capture import capture
from fmce_mlflow.method.fmce_net import NORMAL_90, FmceNet, Prediction, SetNet, with_reference
from fmce_mlflow.method.image_inputs import Batch

BAGS = 8
"""Bags that a module is scored on at least, where there are images for more than one."""
AHEAD = 2
"""Bags that wait to be reduced at most."""
REFERENCE_IMAGES, REFERENCE_BAG = 128, 64
"""Images that an untrained network is shown, and how many make a bag."""
CHANNELS_LAST_FROM = 512
"""Images from which a network on the CPU is asked whether it takes them with channels last, which most run faster."""
FAR = 2.0
"""Distance from the corpus from which a predictor that has no thresholds of its own is not to be trusted."""
_SAME = 1e-3  # of the largest value


@dataclass(frozen=True, slots=True, eq=False)
class BagScore:
    """What FMCE-Net says of one bag.

    Attributes:
        prediction: FMCS, its uncertainty and its levels.
        distance: How far the bag lies from the training corpus, see :func:`corpus_distance`; NaN where unknown.
    """

    prediction: Prediction
    distance: float


@dataclass(frozen=True, slots=True, eq=False)
class ModuleScore:
    """What FMCE-Net says of one module over all its bags.

    Attributes:
        module: Its dotted name.
        fmcs: Mean over bags.
        std: √(mean of the bags' variances + variance between bags).
        low: Lower end of the 90 % interval, fmcs − 1.645·std, in [0, 1].
        high: Upper end.
        levels: Mean probability of each of the K levels, float64 (K,).
        level: The level that the net decides for.
        distance: Mean distance from the predictor's training corpus; NaN where unknown.
        bags: How many there were.
        shape: (C, H, W) of its maps.
        image_scores: Per image, the mean score of the bags it was in, float64 (n,); NaN for images that were left out.
    """

    module: str
    fmcs: float
    std: float
    low: float
    high: float
    levels: NDArray[np.float64]
    level: int
    distance: float
    bags: int
    shape: tuple[int, int, int]
    image_scores: NDArray[np.float64]


def bag_order(n: int, *, bag_size: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of n images come when, and how they are cut into bags.

    The images are shuffled. Where they make :data:`BAGS` bags or more, each image is in one, and the bags have almost
    the same size, at most ``bag_size``. Fewer images are dealt in several rounds, each shuffled anew, and the last bag
    of a round is filled up from its beginning. Images for one bag only make one.

    Args:
        n: Images.
        bag_size: Images in a bag.
        seed: Shuffles.

    Returns:
        Positions of images in order, and the bags' sizes, which add up to their number.

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


def score_bag(net: FmceNet, maps: Tensor, reference: Tensor | None = None) -> BagScore:
    """From maps to a prediction: the one place where that happens.

    Args:
        net: FMCE-Net in eval mode.
        maps: Of one module, (n, C, H, W), floating point.
        reference: Features of the untrained module, float32 (FEATURES,), for a net that looks at them.

    Raises:
        PredictorError: If they are no bag that the net can score.

    Example:
        >>> from fmce_mlflow.method.fmce_net import SetConfig
        >>> 0 <= score_bag(SetNet(SetConfig(members=1)).eval(), torch.rand(8, 16, 4, 4)).prediction.fmcs <= 1
        True
    """
    if not isinstance(net, SetNet):
        return BagScore(net.predict(maps), float("nan"))
    features = bag_features(maps)[None]
    if net.config.reference and reference is not None:
        features = with_reference(features, reference)
    return BagScore(net.predict_features(features)[0], corpus_distance(net, features))


@torch.no_grad()
def corpus_distance(net: SetNet, features: Tensor) -> float:
    """How far bags lie from those that the net was trained on: the root mean square of their standardised features.

    It is about 1 within the corpus. Features count at most 5 standard deviations, as for the net itself.

    Args:
        net: The net; it knows the corpus's mean and deviation of each feature.
        features: Of B bags, (B, FEATURES).

    Returns:
        A number from 0 to 5.
    """
    return float(net.standardize(features).square().mean().sqrt())


def is_far(distance: float, info: Mapping[str, Any]) -> bool:
    """Whether a distance is beyond what the predictor's training corpus spans.

    Args:
        distance: Of :func:`corpus_distance`.
        info: The predictor's; ``corpus_distance`` in it, ``{"far": number}``, goes before :data:`FAR`.

    Example:
        >>> is_far(2.5, {}), is_far(2.5, {"corpus_distance": {"far": 3.0}}), is_far(float("nan"), {})
        (True, False, False)
    """
    known = info.get("corpus_distance")
    limit = known.get("far") if isinstance(known, Mapping) else None
    return distance > (limit if isinstance(limit, (int, float)) else FAR)


def score_modules(
    network: nn.Module,
    modules: Sequence[str],
    batches: Iterable[Batch],
    net: FmceNet,
    *,
    images: int,
    bag_sizes: Iterable[int],
    fixed_batch: int | None = None,
    untrained: nn.Module | None = None,
) -> dict[str, ModuleScore]:
    """Score functional modules on images.

    Args:
        network: As for :func:`~fmce_mlflow.method.capture.capture`; images are brought to its device and dtype.
        modules: Dotted names.
        batches: The network's input, in the order in which bags are cut from it.
        net: FMCE-Net in eval mode.
        images: How many images there are; the batches' indices are below it.
        bag_sizes: Images in each bag. Where images were skipped, the last bags have fewer.
        fixed_batch: The only number of images that the network takes at a time, if there is one.
        untrained: The network with fresh weights, for a net that looks at the contrast; it sees the first images only.

    Returns:
        By name of the map, in the order of ``modules``; a module with several outputs has several.

    Raises:
        PredictorError: If there are fewer than two images, or maps that the net cannot score; names the module.
        CaptureError: As :func:`~fmce_mlflow.method.capture.capture`.
        ModelError: If the network cannot take the images.
    """
    cutter: _Cutter | None = None
    references: dict[str, Tensor] = {}
    if untrained is not None:
        first, batches = _peek(batches, REFERENCE_IMAGES)
        references = untrained_features(untrained, modules, first, fixed_batch)
    with ThreadPoolExecutor(1, thread_name_prefix="fmce-bags") as pool, capture(network, modules) as forward:
        layout: torch.memory_format | None = None
        for batch in batches:
            if layout is None:
                faster = images >= CHANNELS_LAST_FROM and takes_channels_last(
                    forward, network, batch.pixels, fixed_batch
                )
                layout = torch.channels_last if faster else torch.preserve_format
            maps = run_network(forward, network, batch.pixels, fixed_batch, layout)
            cutter = cutter or _Cutter(net, tuple(bag_sizes), pool, references)
            cutter.add(batch.indices, maps)
        scores = cutter.finish() if cutter else {}
    if not scores:
        seen = cutter.seen if cutter else 0
        raise PredictorError(
            f"A bag needs the feature maps of at least 2 images, got {seen}. Pass more images; 64 serve well."
        )
    return {name: _merge(name, found, images, net) for name, found in scores.items()}


def untrained_features(
    network: nn.Module, modules: Sequence[str], pixels: Sequence[Tensor], fixed_batch: int | None = None
) -> dict[str, Tensor]:
    """Features of an untrained network's modules, against which those of the trained one are contrasted.

    Args:
        network: The network with fresh weights.
        modules: As for :func:`score_modules`.
        pixels: Its input in batches, float32 (b, C, H, W).
        fixed_batch: As for :func:`score_modules`.

    Returns:
        By name of the map, the mean over bags of their features, float32 (FEATURES,); nothing where a module's fresh
        weights give no finite maps.
    """
    parts: dict[str, list[Tensor]] = {}
    with capture(network, modules) as forward:
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


def _peek(batches: Iterable[Batch], images: int) -> tuple[list[Tensor], Iterator[Batch]]:
    """The pixels of the first images, at least so many if there are, and all batches as they were."""
    rest, taken, count = iter(batches), [], 0
    for batch in rest:
        taken.append(batch)
        count += len(batch.indices)
        if count >= images:
            break
    return [batch.pixels for batch in taken], itertools.chain(taken, rest)


def takes_channels_last(forward: Any, network: nn.Module, pixels: Tensor, fixed_batch: int | None = None) -> bool:
    """Whether a network on the CPU gives the same maps for images whose channels come last in memory.

    Convolutions on a CPU then run up to twice as fast. A network that looks at how its tensors lie in memory fails, or
    differs, and is told from others by running it both ways.

    Args:
        forward: What ``capture`` yields.
        network: The network.
        pixels: float32 (n, C, H, W).
        fixed_batch: As for :func:`score_modules`.
    """
    if any(p.device.type != "cpu" for p in network.parameters()):
        return False
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


def run_network(
    forward: Any,
    network: nn.Module,
    pixels: Tensor,
    fixed_batch: int | None = None,
    layout: torch.memory_format = torch.preserve_format,
) -> dict[str, Tensor]:
    """One forward pass within :func:`~fmce_mlflow.method.capture.capture`; what the network cannot take is told.

    Args:
        forward: What ``capture`` yields.
        network: The network.
        pixels: float32 (n, C, H, W).
        fixed_batch: As for :func:`score_modules`.
        layout: How the images lie in memory.

    Returns:
        The maps by name, (n, C, H, W) each.

    Raises:
        ModelError: If the network fails.
        CaptureError: As ``capture``.
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
    """Images on a network's device and in its floating dtype, half precision included."""
    weight = next((p for p in network.parameters() if p.is_floating_point()), None)
    return pixels if weight is None else pixels.to(device=weight.device, dtype=weight.dtype)


@contextmanager
def told_if_refused(pixels: Tensor) -> Iterator[None]:
    """Say which images it was that a network cannot take.

    Raises:
        ModelError: In place of what PyTorch raises.
    """
    try:
        yield
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"The model cannot take these images, {str(pixels.dtype).removeprefix('torch.')} of shape "
            f"{tuple(pixels.shape)}: {reason} Check channels, height and width, and name a preprocessing that gives "
            "what the model was trained on."
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


@dataclass(slots=True)
class _Pending:
    """Maps of one module that do not make a bag yet."""

    maps: list[Tensor]
    scores: list[tuple[NDArray[np.int64], Future[BagScore]]]
    shape: tuple[int, int, int]


class _Cutter:
    """Cuts the maps that come into bags, and has each reduced as soon as it is complete."""

    def __init__(
        self, net: FmceNet, sizes: tuple[int, ...], pool: ThreadPoolExecutor, references: Mapping[str, Tensor]
    ) -> None:
        self.net, self.sizes, self.pool, self.references = net, sizes, pool, references
        self.number = 0  # of the bag that is being filled
        self.indices: list[NDArray[np.int64]] = []
        self.count = self.seen = 0
        self.modules: dict[str, _Pending] = {}
        self.waiting: deque[Future[BagScore]] = deque()

    def add(self, indices: NDArray[np.int64], maps: Mapping[str, Tensor]) -> None:
        """Take the maps of a batch."""
        for name, value in maps.items():
            self.modules.setdefault(name, _Pending([], [], tuple(value.shape[1:])))  # type: ignore[arg-type]
        if maps.keys() != self.modules.keys():
            missing = ", ".join(sorted(self.modules.keys() ^ maps.keys()))
            raise CaptureError(f"The outputs {missing} are there for some images only, so they make no bag.")
        maps = {name: value.cpu() for name, value in maps.items()}
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

    def finish(self) -> dict[str, tuple[tuple[int, int, int], list[tuple[NDArray[np.int64], BagScore]]]]:
        """The last bag, and by module its shape and all scores; nothing where there were too few images."""
        if self.count >= 2:
            self._cut()
        return {
            name: (pending.shape, [(members, future.result()) for members, future in pending.scores])
            for name, pending in self.modules.items()
            if pending.scores
        }

    def _room(self) -> int:
        size = self.sizes[self.number] if self.number < len(self.sizes) else self.sizes[-1]
        return size - self.count

    def _cut(self) -> None:
        members = np.concatenate(self.indices)
        for name, pending in self.modules.items():
            while len(self.waiting) >= AHEAD:
                self.waiting.popleft().result()
            future = self.pool.submit(self._score, name, pending.maps)
            self.waiting.append(future)
            pending.scores.append((members, future))
            pending.maps = []
        self.indices, self.count, self.number = [], 0, self.number + 1

    def _score(self, name: str, maps: list[Tensor]) -> BagScore:
        try:
            whole = maps[0] if len(maps) == 1 else torch.cat(maps)
            return score_bag(self.net, whole, self.references.get(name))
        except RuntimeError as error:
            raise PredictorError(f"Module {name}: the maps of images differ in shape: {error}") from error
        except PredictorError as error:
            raise PredictorError(f"Module {name}: {error}") from None


def _merge(
    name: str, found: tuple[tuple[int, int, int], list[tuple[NDArray[np.int64], BagScore]]], images: int, net: FmceNet
) -> ModuleScore:
    shape, bags = found
    predictions = [one.prediction for _, one in bags]
    fmcs = np.array([p.fmcs for p in predictions])
    mean = float(fmcs.mean())
    std = float(np.sqrt(np.mean([p.std**2 for p in predictions]) + fmcs.var()))
    levels = np.mean([p.levels for p in predictions], axis=0)
    total, times = np.zeros(images), np.zeros(images)
    for (members, _), value in zip(bags, fmcs, strict=True):
        np.add.at(total, members, value)
        np.add.at(times, members, 1)
    return ModuleScore(
        module=name,
        fmcs=mean,
        std=std,
        low=max(0.0, mean - NORMAL_90 * std),
        high=min(1.0, mean + NORMAL_90 * std),
        levels=levels,
        level=net.decide(levels),
        distance=float(np.mean([one.distance for _, one in bags])),
        bags=len(bags),
        shape=shape,
        image_scores=np.divide(total, times, out=np.full(images, np.nan), where=times > 0),
    )
