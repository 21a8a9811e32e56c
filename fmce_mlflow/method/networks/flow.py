"""What of a forward pass is made of what: which maps are outputs of the network, and which feed further weights."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

_WEIGHTED = ("conv", "mm", "linear", "attention", "encoder_layer", "rnn", "lstm", "gru", "higher_order", "wrap_with")
_MATURES = ("norm", "relu", "gelu", "silu", "elu", "hardswish", "hardtanh", "mish", "softplus")
_SQUASHES = ("sigmoid", "softmax", "tanh")
_WEIGHT = -1


class _Value(NamedTuple):
    """A tensor that images went into."""

    sources: tuple[int, ...] = ()
    weighted: bool = False  # made of its sources by weights: a convolution, a linear layer
    deep: bool = False  # behind weights
    bare: bool = True  # nothing after the last weights made features of it: no activation, norm or sum of branches


class Flow(TorchDispatchMode):
    """Watches a forward pass; a mode, since that needs neither gradients nor anything of the model.

    Weights are parameters of two or more dimensions, without those that are frozen among others that are not. As many
    tokens as one of ``queries`` are no map.

    Example:
        >>> import torch
        >>> net, images = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)), torch.zeros(1, 3, 4, 4)
        >>> with torch.no_grad(), Flow(net, [images]) as flow:
        ...     features = net[:2](images)
        ...     logits = net[2](features)
        >>> ends = flow.reach([logits])
        >>> [flow.number(value) in ends for value in (features, logits)], flow.is_bare(flow.number(logits))
        ([False, True], True)
    """

    supports_higher_order_operators = True  # parts of an exported model under no_grad or autocast

    def __init__(self, network: nn.Module, images: Iterable[Tensor], queries: Collection[int] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        heavy = [weight for weight in network.parameters() if weight.dim() > 1]
        trained = [weight for weight in heavy if weight.requires_grad] or heavy
        self._numbers = WeakTensorKeyDictionary()  # of values, by tensor
        for weight in trained:
            self._numbers[weight] = _WEIGHT
        self._values: list[_Value] = []
        self.weighted = 0  # steps so far that weights made of maps of more than one position
        self._images, self._queries = 0, queries
        for image in images:
            self._images += len(image) if image.dim() == 4 else 1
            self._add(image, _Value())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, and note what it made of what."""
        given = [self._numbers.get(value) for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        result = func(*args, **(kwargs or {}))
        made = [value for value in tree_leaves(result) if isinstance(value, Tensor)]
        sources = tuple(number for number in given if number is not None and number >= 0)
        if sources:
            value = self._value(str(func), sources, _WEIGHT in given)
            self.weighted += value.weighted and any(map(self._is_map, made))
            for tensor in made:
                self._add(tensor, value)
        elif _WEIGHT in given:
            for tensor in made:
                self._numbers[tensor] = _WEIGHT
        return result

    def number(self, tensor: Tensor) -> int | None:
        """Of a value as it is now; None where no images went into it."""
        found: int | None = self._numbers.get(tensor)
        return found

    def is_bare(self, number: int) -> bool:
        """Whether nothing after the last weights made features of a value, as of logits."""
        return self._values[number].bare

    def reach(self, outputs: Iterable[Tensor], *, through_weights: bool = False) -> set[int]:
        """The values of which outputs are made, without any weights in between or with them."""
        found: set[int] = set()
        open_ends = [number for output in outputs if (number := self.number(output)) is not None and number >= 0]
        while open_ends:
            number = open_ends.pop()
            if number not in found:
                found.add(number)
                value = self._values[number]
                open_ends += () if value.weighted and not through_weights else value.sources
        return found

    def _add(self, tensor: Tensor, value: _Value) -> None:
        self._values.append(value)
        self._numbers[tensor] = len(self._values) - 1

    def _value(self, operator: str, sources: tuple[int, ...], by_weights: bool) -> _Value:
        before = [self._values[number] for number in sources]
        name = operator.removeprefix("aten.").lower()
        if by_weights and any(word in name for word in _WEIGHTED):
            return _Value(sources, weighted=True, deep=True)
        deep = [value for value in before if value.deep]
        if any(word in name for word in _SQUASHES):
            bare = True
        elif any(word in name for word in _MATURES):
            bare = False
        else:
            bare = all(value.bare for value in before) and not (name.startswith(("add.", "add_.")) and len(deep) > 1)
        return _Value(sources, deep=bool(deep), bare=bare)

    def _is_map(self, tensor: Tensor) -> bool:
        """Whether there is more than one position for each image."""
        if tensor.dim() == 4:
            return tensor.shape[2] * tensor.shape[3] > 1
        tokens = tensor.numel() / max(self._images * tensor.shape[-1], 1) if tensor.dim() > 1 else 0
        return tokens > 1 and tokens not in self._queries
