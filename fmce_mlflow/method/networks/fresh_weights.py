"""A network as it was before it was trained: the same architecture with fresh weights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args
from zlib import crc32

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from fmce_mlflow.method.networks.copies import copied
from fmce_mlflow.method.networks.model_forms import bare_name, type_name, unwrap

Scheme = Literal["torch", "fan-out", "truncated"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
PRELU_SLOPE = 0.25
LAYER_SCALE = 1e-5
POWER_STEPS = 30  # of spectral norm's power iteration
_INSIDE = re.compile(r"(?:^|\.)(?:parametrizations\.(\w+)\.|(\w+)_)(?P<part>original1?|orig|v)$")
"""Name of a parameter from which another is computed, by a parametrization or a hook."""
_NORMS, _VECTORS = ("g", "original0"), (("u", "v"), ("0._u", "0._v"))
"""What it has beside it: a parameter of weight norm, or buffers of spectral norm."""


def reinitialised(model: nn.Module, *, seed: int = 0, scheme: Scheme = "torch") -> nn.Module:
    """A copy of a network with new random weights.

    What is drawn depends on the seed and on a parameter's role alone: its name and its module's, its shape, the name of
    its module's class. Code of the network, such as ``reset_parameters``, is not asked, for an exported network has
    none. So a network has the same fresh weights in every form, and inside another module that has no other parts with
    parameters, such as an ``AveragedModel``.

    ====================================== ==========================================================
    parameter                              value
    ====================================== ==========================================================
    class and other tokens, positions      normal, deviation 0.02: names with ``token``, ``pos_embed``,
                                           ``position`` …, or a leading dimension of 1 and at most
                                           three of them
    an ``Embedding``'s table               normal, deviation 1
    a ``PReLU``'s slopes                   0.25
    other weights of two and more          Kaiming uniform with a = √5
    dimensions
    bias beside such a ``weight``          uniform, as PyTorch's linear and convolutional layers
    others of one dimension, or of four    0 where the name ends in ``bias``, else 1
    or more that are wide in one only
    running mean, running variance         0, 1
    ====================================== ==========================================================

    That is how PyTorch's layers begin. Libraries draw weights of their networks in other ways, of which two are common;
    in both a bias is 0, and what is not named is as above:

    - ``fan-out``, as residual and efficient networks: Kaiming normal by fan-out in convolutions, by that of one channel
      in depthwise ones; in linear layers normal with deviation 0.01.
    - ``truncated``, as transformers and ConvNeXts: truncated normal with deviation 0.02; a scale of a whole layer,
      ``gamma`` or ``layer_scale`` without a bias beside it, 1e-5.

    Of a weight under spectral or weight norm, by hook or by parametrization, the weight inside is drawn; its norm, and
    the singular vectors that spectral norm keeps, are computed from that. Weights that are shared stay shared. Buffers
    that are no statistics, such as a grid of positions, stay as they are; the given network is left alone, and so are
    PyTorch's random states.

    Args:
        model: An eager network or one from ``load_exported``, also wrapped.
        seed: Of the new weights.
        scheme: Which initialisation, one of :data:`SCHEMES`.

    Returns:
        The copy, on the same device, in eval mode.

    Raises:
        ValueError: Another scheme.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        >>> one, two = reinitialised(net, seed=1), reinitialised(net, seed=1)
        >>> torch.equal(one[0].weight, two[0].weight), torch.equal(one[0].weight, net[0].weight)
        (True, False)
    """
    if scheme not in SCHEMES:
        raise ValueError(f"scheme is one of {', '.join(SCHEMES)}, got {scheme!r}")
    made = copied(unwrap(model))
    with torch.no_grad():
        for key, parameters in _by_module(parameters_of(made)).items():
            drawn = f"{seed} {key}" if scheme == "torch" else f"{seed} {scheme} {key}"
            generator = Generator().manual_seed(crc32(drawn.encode()))
            beside = {one.role: one.value for one in parameters}
            for one in sorted(parameters, key=lambda one: one.role != "weight"):
                _fill(one, beside, scheme, generator)
        for module in made.modules():
            _reset_statistics(module)
    return made.eval()


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    """What is drawn, and what follows from it."""

    owner: str  # the module that it belongs to
    role: str  # its name there
    kind: str  # name of that module's class
    value: Tensor
    norm: Tensor | None  # of weight norm
    vectors: tuple[Tensor, Tensor] | None  # of spectral norm: left and right singular


def parameters_of(model: nn.Module) -> list[Parameter]:
    """Every parameter of an unwrapped network once, by the first of its names in the alphabet, as registered."""
    kinds = {bare_name(name): type_name(module) for name, module in model.named_modules(remove_duplicate=False)}
    named = {bare_name(name): value for name, value in model.named_parameters(remove_duplicate=False)}
    buffers = {bare_name(name): value for name, value in model.named_buffers(remove_duplicate=False)}
    names: dict[int, str] = {}
    for name, value in named.items():
        names[id(value)] = min(name, names.get(id(value), name))
    found = [_parameter(name, named, buffers, kinds) for name in named if names[id(named[name])] == name]
    norms = {id(one.norm) for one in found}
    return [one for one in found if id(one.value) not in norms]


def _parameter(
    name: str, named: Mapping[str, Tensor], buffers: Mapping[str, Tensor], kinds: Mapping[str, str]
) -> Parameter:
    owner, _, role = name.rpartition(".")
    norm, vectors = None, None
    if inside := _INSIDE.search(name):
        stem = name[: inside.start("part")]
        norm = next((named[stem + part] for part in _NORMS if stem + part in named), None)
        pairs = [(buffers.get(stem + left), buffers.get(stem + right)) for left, right in _VECTORS]
        vectors = next(((left, right) for left, right in pairs if left is not None and right is not None), None)
        if norm is not None or inside["part"] != "v":
            owner, role = name[: inside.start()], inside[1] or inside[2]
    kind = kinds.get(owner, "").rpartition(".")[2].removeprefix("Parametrized")
    return Parameter(owner, role, kind, named[name], norm, vectors)


def _by_module(parameters: Iterable[Parameter]) -> dict[str, list[Parameter]]:
    """Parameters by the place of their module in the part of the network below which all others lie."""
    found: dict[str, list[Parameter]] = {}
    for one in parameters:
        found.setdefault(one.owner, []).append(one)
    top: list[str] = []
    paths = {name: name.split(".") if name else [] for name in found}
    while True:
        depth = len(top)
        below = {path[depth] for path in paths.values() if path[:depth] == top and len(path) > depth}
        if len(below) != 1:
            break
        top.append(below.pop())
    return {
        ".".join(path[len(top) :]) if path[: len(top)] == top else "^" * (len(top) - len(path)): found[name]
        for name, path in paths.items()
    }


def _fill(one: Parameter, beside: Mapping[str, Tensor], scheme: Scheme, generator: Generator) -> None:
    """Give a parameter its fresh value, and what belongs to it the values that follow."""
    value = one.value
    if value.is_complex():
        value.copy_(torch.complex(*(_drawn(one, beside, scheme, generator) for _ in range(2))))
    elif value.is_floating_point():
        fresh = _drawn(one, beside, scheme, generator)
        value.copy_(fresh)
        if one.norm is not None:
            kept = [place for place, size in enumerate(one.norm.shape) if size == 1]
            one.norm.copy_(torch.linalg.vector_norm(fresh, dim=kept or None, keepdim=True).view(one.norm.shape))
        if one.vectors is not None:
            _align(fresh, *one.vectors, transposed="Transpose" in one.kind)


def _drawn(one: Parameter, beside: Mapping[str, Tensor], scheme: Scheme, generator: Generator) -> Tensor:
    """Initial values of a parameter, float32 on the CPU; ``beside`` are those of its module by their names."""
    name, shape = one.role.lower(), one.value.shape
    value = torch.empty(shape, dtype=torch.float32, device="cpu")
    if name == "weight" and one.kind in ("Embedding", "EmbeddingBag"):
        return value.normal_(generator=generator)
    if name == "weight" and one.kind == "PReLU":
        return value.fill_(PRELU_SLOPE)
    if scheme == "truncated" and _is_layer_scale(name, one.value, beside):
        return value.fill_(LAYER_SCALE)
    if is_token(name, one.value):
        return value.normal_(generator=generator) * 0.02
    if len(shape) >= 2 and not _is_scale(name, one.value):
        return _weight(value, scheme, generator)
    weight = beside.get("weight")
    if scheme == "torch" and name == "bias" and weight is not None and weight.dim() >= 2 and weight[0].numel():
        bound = 1 / math.sqrt(weight[0].numel())
        return value.uniform_(-bound, bound, generator=generator)
    return value.fill_(0 if name.endswith("bias") else 1)


def _weight(value: Tensor, scheme: Scheme, generator: Generator) -> Tensor:
    """A weight of two and more dimensions."""
    if scheme == "torch":
        return nn.init.kaiming_uniform_(value, a=math.sqrt(5), generator=generator)
    if scheme == "truncated":
        return nn.init.trunc_normal_(value, std=0.02, generator=generator)
    if value.dim() == 2:
        return value.normal_(std=0.01, generator=generator)
    depthwise = value.shape[1] == 1
    fan_out = math.prod(value.shape[2:]) * (1 if depthwise else value.shape[0])
    return value.normal_(std=math.sqrt(2 / max(1, fan_out)), generator=generator)


def is_token(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is a token or a table of positions."""
    if any(word in name for word in ("token", "pos_embed", "position", "relative_")):
        return True
    return 1 < parameter.dim() <= 3 and parameter.shape[0] == 1 and "weight" not in name


def _is_scale(name: str, parameter: Tensor) -> bool:
    """A gain or an offset of channels, shaped to be multiplied with a weight or a map, as of NFNets."""
    return parameter.dim() > 3 and max(parameter.shape) == parameter.numel() and "weight" not in name


def _is_layer_scale(name: str, parameter: Tensor, beside: Mapping[str, Tensor]) -> bool:
    """A scale of a branch as a whole, which libraries begin near 0 so that the branch hardly counts; no norm's gain."""
    wide_in_one = max(parameter.shape, default=0) == parameter.numel()
    return wide_in_one and name.startswith(("gamma", "layer_scale")) and not {"bias", "beta"} & set(beside)


def _align(weight: Tensor, left: Tensor, right: Tensor, *, transposed: bool) -> None:
    """Make two vectors the first singular ones of a weight, whose rows are along its second dimension if transposed."""
    matrix = (weight.transpose(0, 1) if transposed else weight).flatten(1)  # (m, n)
    if (left.numel(), right.numel()) != matrix.shape:
        return
    u = torch.ones(len(matrix))
    for _ in range(POWER_STEPS):
        v = F.normalize(matrix.T @ u, dim=0)
        u = F.normalize(matrix @ v, dim=0)
    left.copy_(u)
    right.copy_(v)


def _reset_statistics(module: nn.Module) -> None:
    """Statistics of a norm as before training; of a frozen one, whose weight and bias are buffers, these as well."""
    buffers = dict(module.named_buffers(recurse=False))
    frozen = any(name.endswith("running_var") for name in buffers)
    for name, buffer in buffers.items():
        if name.endswith(("running_mean", "num_batches_tracked")) or (frozen and name == "bias"):
            buffer.zero_()
        elif name.endswith("running_var") or (frozen and name == "weight"):
            buffer.fill_(1)
