"""Evidence from weights: what a functional module's own parameters tell of its training, without an image.

Each parameter is held against what initialisations leave: norm layers at 1 and 0, biases at 0 or within the bound that
PyTorch draws them in, matrices of independent entries. What BatchNorm keeps in buffers is told in words alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from fmce_mlflow.method.evidence.parameters import VECTOR_FIGURES, Judged, judge_parameters
from fmce_mlflow.method.evidence.random_draw import DRAW_FIGURES
from fmce_mlflow.method.networks.capture import locate
from fmce_mlflow.method.networks.model_forms import bare_name, forms_of_modules, unwrap_with_prefix

EXACT = ("gain_constant", "offset_constant", "bias_zero", "grid")
"""Figures that a single step of training changes. That a few weights look drawn is no proof: a stem's still do after a
whole training."""
PART = 0.1  # least share of a module's parameters, in tensors, that are a part of it worth naming
_MOST = ("top", "row_sums", "neighbours")
WEIGHT_FIGURES: tuple[str, ...] = (*VECTOR_FIGURES, "drawn", *DRAW_FIGURES, *(f"{name}_most" for name in _MOST))
"""Names of the figures of :class:`WeightEvidence`: means over parameters, and the largest of some."""


@dataclass(frozen=True)
class WeightEvidence:
    """What the parameters of one functional module tell.

    Attributes:
        figures: One number for each of ``WEIGHT_FIGURES``, NaN where the module has nothing of the kind.
        untouched: The share of its parameter tensors that look as an initialisation left them, of those that can be
            judged, in [0, 1]; 1 if nothing contradicts that the module was never trained, None if none can be judged.
        said: The same in sentences, for a report.
        part: The first part of the module that was never trained, its name within it, where the module as a whole was;
            empty if there is none.
    """

    figures: Mapping[str, float]
    untouched: float | None
    said: tuple[str, ...]
    part: str = ""


def weight_evidence(network: nn.Module, name: str) -> WeightEvidence:
    """Judge the parameters of a functional module; neither the network nor a random state changes.

    Args:
        network: An eager network or one from ``load_exported``, also wrapped.
        name: Dotted name of a module, or of an output of one; empty for the whole network.

    Raises:
        BackboneError: The network has no such module.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> weight_evidence(net, "").untouched
        1.0
        >>> nn.init.uniform_(net[1].weight).shape, weight_evidence(net, "1").untouched
        (torch.Size([8]), 0.5)
        >>> weight_evidence(net, "2").untouched is None
        True
    """
    part = _module(network, name)
    judged = judge_parameters(part)
    untouched = sum(one.untouched for one in judged) / len(judged) if judged else None
    figures, fresh = _pooled(judged), _untrained_part(judged)
    told = [f"Its part {fresh} was never trained."] if fresh else []
    return WeightEvidence(figures, untouched, (*_of_batches(part), *told, *_sentences(judged, figures["alpha"])), fresh)


def _untrained_part(judged: Sequence[Judged]) -> str:
    """The first of the largest parts that are as drawn beyond doubt, where the rest is not; without one, nothing."""
    if all(one.untouched for one in judged):
        return ""
    words = [one.owner.split(".") for one in judged]
    paths = dict.fromkeys(".".join(each[:depth]) for each in words for depth in range(1, len(each) + 1))
    for path in sorted(filter(None, paths), key=lambda path: path.count(".")):
        own = [one for one in judged if f"{one.owner}.".startswith(f"{path}.")]
        if len(own) >= max(2, PART * len(judged)) and all(one.untouched for one in own):
            figures = _pooled(own)
            if any(figures[name] == 1 for name in EXACT):
                return path
    return ""


def _module(network: nn.Module, name: str) -> nn.Module:
    """A module by name; where its calls were exported as several graphs, these share their weights."""
    bare, prefix = unwrap_with_prefix(network)
    if not (own := bare_name(name, prefix)):
        return bare
    found = forms_of_modules(bare)
    return found[locate(found, own)][0]


def _pooled(judged: Sequence[Judged]) -> dict[str, float]:
    """Means over the parameters that have a figure, and for some the largest."""
    matrices = [one for one in judged if one.kind == "matrix"]
    figures = {name: _mean(one.figures.get(name) for one in judged) for name in WEIGHT_FIGURES}
    figures["drawn"] = _mean(float(one.untouched) for one in matrices)
    for name in _MOST:
        known = [one.figures[name] for one in matrices if not math.isnan(one.figures[name])]
        figures[f"{name}_most"] = max(known, default=float("nan"))
    return figures


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _of_batches(part: nn.Module) -> list[str]:
    """Whether BatchNorm's running statistics have ever been settled."""
    fresh: list[bool] = []
    for module in part.modules():
        own = dict(module.named_buffers(recurse=False))
        mean, variance = own.get("running_mean"), own.get("running_var")
        if mean is not None and variance is not None:
            fresh.append(bool((mean == 0).all() and (variance == 1).all()))
    return ["Its BatchNorm layers have seen no batch."] if fresh and all(fresh) else []


def _sentences(judged: Sequence[Judged], alpha: float) -> list[str]:
    moved = {one.owner for one in judged if not one.untouched and one.kind in ("gain", "offset")}
    norms = [owner not in moved for owner in dict.fromkeys(one.owner for one in judged if one.kind == "gain")]
    biases, matrices = ([one.untouched for one in judged if one.kind == kind] for kind in ("bias", "matrix"))
    said = [
        *_said_of(norms, "norm layer", "norm layers", "still stand{s} at 1 and 0", "no longer stands at 1 and 0"),
        *_said_of(biases, "bias", "biases", "could be as initialised", "cannot be as initialised"),
        *_said_of(matrices, "weight matrix", "weight matrices", "could be a random draw", "is no random draw"),
    ]
    if any(one.kind == "broken" for one in judged):
        said.append("Some of its weights are not finite.")
    if not math.isnan(alpha):
        said.append(f"Spectral alpha {alpha:.1f} (WeightWatcher's 2 to 6 is usual for trained networks).")
    return said


def _said_of(holds: Sequence[bool], one: str, many: str, what: str, not_so: str) -> list[str]:
    """Of how many things something holds, in a sentence, if there are any."""
    count, true = len(holds), sum(holds)
    if not count:
        return []
    if count == 1:
        return [f"Its {one} {what.format(s='s') if true else not_so}."]
    of = f"Its {count}" if true == count else f"{true or 'None'} of its {count}"
    return [f"{of} {many} {what.format(s='' if true > 1 else 's')}."]
