"""Each parameter of a module held against what initialisations leave."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fmce_mlflow.method.evidence.random_draw import draw_figures, is_pattern
from fmce_mlflow.method.evidence.uniform_draw import is_moved
from fmce_mlflow.method.networks.fresh_weights import Parameter, is_token, parameters_of

VECTOR_FIGURES = (
    "gain_constant", "gain_spread", "gain_shift", "offset_constant", "offset_size", "offset_mean",
    "scale_constant", "scale_spread", "bias_zero", "bias_size", "bias_bound",
)  # fmt: skip
"""Of gains and offsets of norm layers, of other scales, and of biases beside matrices."""
_SCALES = {"alpha", "beta", "gamma", "gain", "scale", "ls"}
_TINY = 1e-5  # some libraries draw biases with a deviation of 1e-6


@dataclass(frozen=True, slots=True)
class Judged:
    """One parameter: what kind of thing it is, and whether it looks as an initialisation left it."""

    owner: str  # the module that it belongs to
    kind: str  # gain, offset, scale, bias, matrix, or broken
    untouched: bool
    figures: Mapping[str, float]


def judge_parameters(part: nn.Module) -> list[Judged]:
    """Every parameter of a module that can be judged, and the weights that frozen norm layers keep as buffers.

    Tokens and tables of positions are left out, for they start at many things, and so are single numbers and small
    matrices, in which chance looks like training.
    """
    found = [one for one in parameters_of(part) if one.value.is_floating_point()]
    fan_in = {(one.owner, one.role): one.value[0].numel() for one in found if one.value.dim() > 1}
    judged = [_judge(one, fan_in.get((one.owner, _beside(one.role)))) for one in found]
    frozen = [one for name, module in part.named_modules() for one in _frozen(name, module)]
    return [one for one in judged if one is not None] + frozen


def _beside(role: str) -> str:
    """The weight whose inputs bound the draw of a bias; of a recurrent layer, both are bounded by the hidden units."""
    return role.replace("bias", "weight").replace("_ih", "_hh")


def _frozen(owner: str, module: nn.Module) -> list[Judged]:
    own = dict(module.named_buffers(recurse=False))
    if not any(name.endswith("running_var") for name in own):
        return []
    return [_vector(owner, kind, own[name]) for name, kind in (("weight", "gain"), ("bias", "offset")) if name in own]


def _judge(one: Parameter, fan_in: int | None) -> Judged | None:
    value, role = one.value.detach(), one.role.lower()
    flat, is_scale = max(value.shape, default=1) == value.numel(), not _SCALES.isdisjoint(re.split(r"[_\d]+", role))
    if value.numel() < 2 or (is_token(role, value) and not (flat and is_scale)):
        return None
    if not math.isfinite(value.sum(dtype=torch.float32)):
        return Judged(one.owner, "broken", False, {})
    if one.norm is not None and not _is_norm_of(one.norm.detach(), value):
        return Judged(one.owner, "scale", False, {})
    if not flat:
        found = draw_figures(value)
        return found and Judged(one.owner, "matrix", found[1], found[0])
    if "bias" in role:
        return _bias(one.owner, value.flatten(), fan_in) if fan_in else _vector(one.owner, "offset", value.flatten())
    if role == "weight" and value.dim() == 1 and one.kind != "PReLU":
        return _vector(one.owner, "gain", value)
    if one.kind == "PReLU" or is_scale:
        return _vector(one.owner, "scale", value.flatten())
    return None


def _is_norm_of(norm: Tensor, value: Tensor) -> bool:
    """Whether what weight norm keeps beside a weight is still that weight's norm."""
    kept = [place for place, size in enumerate(norm.shape) if size == 1]
    fresh = torch.linalg.vector_norm(value, dim=kept or None, keepdim=True).view(norm.shape)
    return torch.allclose(norm, fresh, rtol=1e-4, atol=1e-8)


def _vector(owner: str, kind: str, value: Tensor) -> Judged:
    """Of a norm layer or alone: constant until it is trained."""
    values = value.detach().float().cpu()
    constant = bool((values == values[0]).all())
    mean, size = float(values.mean()), float(values.square().mean().sqrt())
    figures = {f"{kind}_constant": float(constant)}
    if kind == "offset":
        figures |= {"offset_size": math.log1p(size), "offset_mean": mean / size if size else 0.0}
    else:
        figures[f"{kind}_spread"] = float(values.std(correction=0)) / max(size, 1e-12)
    if kind == "gain":
        figures["gain_shift"] = 0.0 if constant else mean - 1
    return Judged(owner, kind, constant or is_pattern(values), figures)


def _bias(owner: str, value: Tensor, fan_in: int) -> Judged:
    """Beside a matrix: a constant, or within the bound in which PyTorch draws it."""
    values = value.detach().float().cpu()
    bound = 1 / math.sqrt(fan_in)
    most, size = float(values.abs().max()), float(values.square().mean().sqrt())
    figures = {
        "bias_zero": float(most == 0),
        "bias_size": math.log1p(size / bound),
        "bias_bound": math.log1p(most / bound),
    }
    drawn = most <= bound * (1 + 1e-5) and _is_uniform(values.abs() / bound)
    moved = is_moved(values, fan_in, fan_in) if drawn and value.dtype == torch.float32 else None
    figures["grid"] = math.nan if moved is None else float(not moved)
    drawn = drawn and not moved
    return Judged(owner, "bias", drawn or is_pattern(values.masked_fill(values.abs() < _TINY, 0)), figures)


def _is_uniform(values: Tensor) -> bool:
    """Kolmogorov and Smirnov's test against the uniform distribution on [0, 1], at about one in a million."""
    ordered, count = values.sort().values, len(values)
    steps = torch.arange(count + 1) / count
    distance = torch.maximum((ordered - steps[:-1]).abs(), (steps[1:] - ordered).abs()).max()
    return float(distance) * math.sqrt(count) < 2.7 and float(ordered[-1]) ** count > 1e-6
