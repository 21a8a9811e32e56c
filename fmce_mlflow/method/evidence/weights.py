"""Evidence from weights: what a functional module's own parameters tell of its training, without an image.

Each parameter is held against what initialisations leave: norm layers at 1 and 0, biases at 0 or within the bound that
PyTorch draws them in, matrices of independent entries. What BatchNorm keeps in buffers is told in words alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fmce_mlflow.method.evidence.random_draw import DRAW_FIGURES, draw_figures, is_pattern
from fmce_mlflow.method.networks.capture import locate
from fmce_mlflow.method.networks.fresh_weights import Parameter, is_token, parameters_of
from fmce_mlflow.method.networks.model_forms import bare_name, forms_of_modules, unwrap_with_prefix

_MOST = ("top", "outside", "row_norms", "row_sums", "neighbours")
_VECTORS = ("gain_constant", "gain_spread", "gain_shift", "offset_constant", "offset_size", "offset_mean")
_BIASES = ("bias_zero", "bias_size", "bias_bound")
WEIGHT_FIGURES: tuple[str, ...] = (
    *_VECTORS,
    *_BIASES,
    "drawn",
    *DRAW_FIGURES,
    *(f"{name}_most" for name in _MOST),
)
"""Names of the figures of :class:`WeightEvidence`; ``docs/method.md`` explains them."""


@dataclass(frozen=True)
class WeightEvidence:
    """What the parameters of one functional module tell.

    Attributes:
        figures: One number for each of ``WEIGHT_FIGURES``, NaN where the module has nothing of the kind.
        untouched: The share of its parameter tensors that look as an initialisation left them, of those that can be
            judged, in [0, 1]; 1 if nothing contradicts that the module was never trained, None if none can be judged.
        said: The same in sentences, for a report.
    """

    figures: Mapping[str, float]
    untouched: float | None
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Judged:
    """One parameter, what kind of thing it is, and whether it looks untouched; None where that cannot be judged."""

    kind: str  # gain, offset, bias, matrix
    untouched: bool | None
    figures: Mapping[str, float]
    size: int


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
    judged = [one for part in _parts(network, name) for one in _judge_all(part)]
    known = [one.untouched for one in judged if one.untouched is not None]
    untouched = sum(known) / len(known) if known else None
    figures = _pooled(judged)
    return WeightEvidence(figures, untouched, _sentences(judged, figures, _parts(network, name)))


def _parts(network: nn.Module, name: str) -> tuple[nn.Module, ...]:
    """The module, in all forms in which it was exported."""
    bare, prefix = unwrap_with_prefix(network)
    if not (own := bare_name(name, prefix)):
        return (bare,)
    found = forms_of_modules(bare)
    return found[locate(found, own)]


def _judge_all(part: nn.Module) -> list[_Judged]:
    """Every parameter of a module, and the weights that frozen norm layers keep as buffers."""
    found = parameters_of(part)
    fan_in = {one.owner: one.value[0].numel() for one in found if one.role == "weight" and one.value.dim() > 1}
    judged = [_judge(one, fan_in.get(one.owner)) for one in found if one.value.is_floating_point()]
    frozen = [value for module in part.modules() for value in _frozen(module)]
    return [one for one in judged if one is not None] + frozen


def _frozen(module: nn.Module) -> list[_Judged]:
    own = dict(module.named_buffers(recurse=False))
    if not any(name.endswith("running_var") for name in own):
        return []
    return [_vector(kind, own[name]) for name, kind in (("weight", "gain"), ("bias", "offset")) if name in own]


def _judge(one: Parameter, fan_in: int | None) -> _Judged | None:
    value, role = one.value.detach(), one.role.lower()
    if value.numel() < 2 or is_token(role, value):
        return None
    if not value.isfinite().all():
        return _Judged("broken", False, {}, value.numel())
    if one.norm is not None and not _is_norm_of(one.norm.detach(), value):
        return _Judged("gain", False, {}, value.numel())
    if max(value.shape) < value.numel():
        found = draw_figures(value)
        return found and _Judged("matrix", found[1], found[0], value.numel())
    if role.endswith("bias") and fan_in is not None:
        return _bias(value.flatten(), fan_in)
    return _vector("offset" if role.endswith(("bias", "beta")) else "gain", value.flatten())


def _is_norm_of(norm: Tensor, value: Tensor) -> bool:
    """Whether what weight norm keeps beside a weight is still that weight's norm."""
    kept = [place for place, size in enumerate(norm.shape) if size == 1]
    fresh = torch.linalg.vector_norm(value, dim=kept or None, keepdim=True).view(norm.shape)
    return torch.allclose(norm, fresh, rtol=1e-4, atol=1e-8)


def _vector(kind: str, value: Tensor) -> _Judged:
    """A gain or an offset, of a norm layer or alone: a constant until it is trained."""
    values = value.detach().float().cpu()
    constant = bool((values == values[0]).all())
    mean, size = float(values.mean()), float(values.square().mean().sqrt())
    figures = {f"{kind}_constant": float(constant)}
    if kind == "gain":
        figures["gain_spread"] = float(values.std(correction=0)) / max(size, 1e-12)
        figures["gain_shift"] = 0.0 if constant else mean - 1
    else:
        figures |= {"offset_size": math.log1p(size), "offset_mean": mean / size if size else 0.0}
    return _Judged(kind, constant or is_pattern(values), figures, len(values))


def _bias(value: Tensor, fan_in: int) -> _Judged:
    """A bias beside a matrix: a constant, or within the bound in which PyTorch draws it."""
    values = value.detach().float().cpu()
    bound = 1 / math.sqrt(fan_in)
    most, size = float(values.abs().max()), float(values.square().mean().sqrt())
    figures = {
        "bias_zero": float(most == 0),
        "bias_size": math.log1p(size / bound),
        "bias_bound": math.log1p(most / bound),
    }
    untouched = is_pattern(values) or most < 1e-5 or (most <= bound * (1 + 1e-5) and _is_uniform(values.abs() / bound))
    return _Judged("bias", untouched, figures, len(values))


def _is_uniform(values: Tensor) -> bool:
    """Kolmogorov and Smirnov's test against the uniform distribution on [0, 1], at about one in a million."""
    ordered, count = values.sort().values, len(values)
    steps = torch.arange(count + 1) / count
    distance = torch.maximum((ordered - steps[:-1]).abs(), (steps[1:] - ordered).abs()).max()
    return float(distance) * math.sqrt(count) < 2.7


def _pooled(judged: Sequence[_Judged]) -> dict[str, float]:
    """Means over the parameters that have a figure, and for some the largest."""
    matrices = [one for one in judged if one.kind == "matrix"]
    figures = {name: _mean(one.figures.get(name) for one in judged) for name in WEIGHT_FIGURES}
    figures["drawn"] = _mean(float(bool(one.untouched)) for one in matrices)
    for name in _MOST:
        known = [one.figures[name] for one in matrices if not math.isnan(one.figures[name])]
        figures[f"{name}_most"] = max(known, default=float("nan"))
    return figures


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _sentences(judged: Sequence[_Judged], figures: Mapping[str, float], parts: Iterable[nn.Module]) -> tuple[str, ...]:
    said = _of_batches(parts)
    norms = [one for one in judged if one.kind in ("gain", "offset")]
    if norms:
        still = sum(bool(one.untouched) for one in norms)
        said.append(f"{still} of its {len(norms)} gains and offsets are still constants.")
    matrices = [one for one in judged if one.kind == "matrix"]
    if matrices:
        drawn = sum(bool(one.untouched) for one in matrices)
        said.append(f"{drawn} of its {len(matrices)} weight matrices look like random draws.")
    if any(one.kind == "broken" for one in judged):
        said.append("Some of its weights are not finite.")
    if not math.isnan(figures["alpha"]):
        said.append(f"Spectral alpha {figures['alpha']:.1f} (WeightWatcher's 2 to 6 is usual for trained networks).")
    return tuple(said)


def _of_batches(parts: Iterable[nn.Module]) -> list[str]:
    """Whether BatchNorm's running statistics have ever been settled."""
    fresh: list[bool] = []
    for part in parts:
        for module in part.modules():
            own = dict(module.named_buffers(recurse=False))
            mean, variance = own.get("running_mean"), own.get("running_var")
            if mean is not None and variance is not None:
                fresh.append(bool((mean == 0).all() and (variance == 1).all()))
    return ["Its BatchNorm layers have seen no batch."] if fresh and all(fresh) else []
