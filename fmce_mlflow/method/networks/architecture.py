"""A hash by which two networks are known as the same architecture."""

from __future__ import annotations

import hashlib
import math
import re

from torch import nn
from torch.nn.parameter import is_lazy

from fmce_mlflow.method.networks.model_forms import bare_name, unwrap

_COMPUTED = re.compile(r"(?P<before>^|\.)parametrizations\.(?P<name>\w+)\.original\d?$")


def architecture(network: nn.Module) -> str:
    """sha256 over names and shapes of a network's parameters, whatever their values, order, wrappers and form.

    A weight that is computed from others by a parametrization counts as the one weight that it is.

    Example:
        >>> architecture(nn.Linear(2, 1)) == architecture(nn.Linear(2, 1)) != architecture(nn.Linear(2, 3))
        True
    """
    named = {bare_name(name): value for name, value in unwrap(network).named_parameters(remove_duplicate=False)}
    first: dict[int, str] = {}  # of the names of a shared weight, the first in the alphabet
    for name, value in named.items():
        first[id(value)] = min(name, first.get(id(value), name))
    shapes: dict[str, tuple[int, ...]] = {}
    for name, value in named.items():
        if first[id(value)] == name and not is_lazy(value):
            plain = _COMPUTED.sub(r"\g<before>\g<name>", name)
            shapes[plain] = max(shapes.get(plain, ()), tuple(value.shape), key=math.prod)
    return hashlib.sha256("\n".join(f"{name} {shapes[name]}" for name in sorted(shapes)).encode()).hexdigest()
