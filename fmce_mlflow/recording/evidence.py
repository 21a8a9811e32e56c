"""Evidence of each snapshot, beside the maps: what a predictor is calibrated to. It never stops a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fmce_mlflow.method.fmce_net.statistics import bag_features
from fmce_mlflow.method.networks.layout import TokenGrid
from fmce_mlflow.method.networks.model_forms import unwrap
from fmce_mlflow.method.networks.untouched import untouched
from fmce_mlflow.method.scoring.collect import BAG, IMAGES, collect, maps_of
from fmce_mlflow.recording.probe import NO_LABEL, ProbeImages
from fmce_mlflow.runs.evidence_file import SnapshotEvidence

SMALL = (8, 12, 16, 24, 32)
"""Images of which one more bag of each snapshot has a number; another has the images of one to three classes."""
FEW_CLASSES = 3


class EvidenceTaker:
    """Takes the evidence of a model's modules on probe images, at most :data:`~.collect.IMAGES` of them.

    Args:
        model: The network as it is trained, in its wrappers.
        modules: As they are asked for.
        probe: Inputs of one size that the model is called with alone; of others there is no evidence.
        token_grid: As :func:`~fmce_mlflow.method.networks.capture.capture` takes it.
        say: Is told why there is none, each reason once.
    """

    def __init__(
        self,
        model: nn.Module,
        modules: Sequence[str],
        probe: ProbeImages,
        token_grid: TokenGrid | None,
        say: Callable[[str], None],
    ) -> None:
        self._model, self._modules, self._probe, self._grid = model, modules, probe, token_grid
        self._said: set[str] = set()
        self._say = say
        self._images: tuple[Tensor, Tensor] | None = None
        self._fresh: dict[str, Tensor] | None = None

    def take(self, snapshot: int) -> SnapshotEvidence | None:
        """The evidence of the model as it is now; None where it cannot be had."""
        try:
            with untouched(self._model):
                return self._taken(snapshot)
        except Exception as error:  # a network's forward raises what it likes, and a training is worth more than this
            self._once(
                f"no evidence, the training goes on. {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            )
            return None

    def _taken(self, snapshot: int) -> SnapshotEvidence:
        pixels, labels = self._images = self._images or _chosen(self._probe)
        classes = int(labels.max()) + 1
        labelled = bool((labels != NO_LABEL).all())

        def targets(outputs: int | None) -> Tensor | None:
            fits = labelled and outputs is not None and classes <= outputs
            if labelled and outputs is not None and not fits:
                self._once(
                    f"labels up to {classes - 1} do not fit the model's {outputs} outputs: evidence without them."
                )
            return labels if fits else None

        network, batches = unwrap(self._model), list(pixels.split(BAG))
        found = collect(network, self._modules, batches, targets=targets, token_grid=self._grid, fresh=self._fresh)
        self._fresh = {name: one.fresh for name, one in found.modules.items()}
        for note in found.notes:
            self._once(note)
        bags = list(_bags(labels.numpy(), snapshot))
        module, features, rows = [], [], []
        maps = maps_of(found.network, self._modules, batches, token_grid=self._grid)
        for place, (name, known) in enumerate(found.modules.items()):
            for chosen in bags if bool(torch.isfinite(maps[name]).all()) else ():
                bag = maps[name][chosen]
                own = bag_features(bag)
                module.append(place)
                features.append(own)
                rows.append(known.row(own, bag.shape, len(bag)))
        if not module:
            raise ValueError("the maps of all modules are NaN")
        nothing = torch.full_like(features[0], float("nan"))
        references = [nothing if one.reference is None else one.reference for one in found.modules.values()]
        return SnapshotEvidence(
            snapshot, tuple(found.modules), np.array(module, dtype=np.int64),
            *(_finite(torch.stack(part)) for part in (features, rows, references)),
        )  # fmt: skip

    def _once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)


def _finite(values: Tensor) -> NDArray[np.float32]:
    """Without infinite ones."""
    most = torch.finfo(torch.float32).max
    found: NDArray[np.float32] = values.float().clamp(-most, most).numpy()
    return found


def _chosen(probe: ProbeImages) -> tuple[Tensor, Tensor]:
    """Images from all over the probe, (n, C, H, W), in an order of their own, and their classes, (n,)."""
    if probe.forward is not None:
        raise ValueError("the model is called by a function of its own")
    whole = len(probe.labels)
    places = np.random.default_rng(0).permutation(whole)[:IMAGES]
    wanted, found, start = {int(place): number for number, place in enumerate(places)}, {}, 0
    for batch in probe.batches:
        if not isinstance(batch, Tensor):
            raise ValueError(f"the probe's batches are {type(batch).__name__}s and no tensors")
        for place in range(start, start + len(batch)):
            if place in wanted:
                found[wanted[place]] = batch[place - start].clone()
        start += len(batch)
    return torch.stack([found[number] for number in range(len(places))]), torch.from_numpy(probe.labels[places])


def _bags(labels: NDArray[np.int64], snapshot: int) -> Iterator[NDArray[np.int64]]:
    """Places of the images of each bag: all in bags of :data:`~.collect.BAG`, then few of them, then of few classes."""
    draw = np.random.default_rng([0, snapshot])
    order = draw.permutation(len(labels))
    yield from (part for part in np.array_split(order, max(1, len(order) // BAG)) if len(part) >= 2)
    size = int(draw.choice(SMALL))
    if size < len(labels):
        yield draw.permutation(len(labels))[:size]
    kinds = np.unique(labels)
    kept = draw.permutation(kinds)[: 1 + int(draw.integers(FEW_CLASSES))]
    few = order[np.isin(labels[order], kept)][:BAG]
    if len(kept) < len(kinds) and len(few) >= 2:
        yield few
