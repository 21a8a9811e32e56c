"""Where images, channels and positions lie in the output of a module, so that it can be read as a feature map."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

TokenGrid: TypeAlias = tuple[int, ...]
"""(h, w) of token outputs, or (h, w, before), where ``before`` tokens come first."""

PREFIX_TOKENS = (0, 1, 2, 5)  # none, class, class + distillation, class + four registers
MOST_BEFORE = 17  # a class token and sixteen registers
_QUERIES = ("quer", "latent", "det_token", "detection_token")  # in names of what is learned and lies nowhere
NOT_ONE_EACH = "which is not one for each of"
_LEARNS_NO_PLACE = "as many as the model has learned queries, which lie nowhere"


@dataclass(frozen=True, slots=True)
class Layout:
    """How an output becomes its map, and the map the output."""

    order: tuple[int, ...]  # of axes, to (n, C, H, W), or to tokens (n, L, D)
    grid: tuple[int, int] | None = None  # of tokens
    before: int = 0  # tokens that come first

    def map(self, output: Tensor) -> Tensor:
        """The feature map (n, C, H, W), a view where that can be."""
        found = output if self.order == tuple(range(output.dim())) else output.permute(self.order)
        if self.grid is None:
            return found
        height, width = self.grid
        tokens = found[:, self.before : self.before + height * width]  # (n, h·w, D)
        return tokens.transpose(1, 2).reshape(len(tokens), tokens.shape[2], height, width)

    def output(self, found: Tensor, output: Tensor) -> Tensor:
        """A tensor equal to ``output`` that depends on its map and may be changed in place."""
        back = [self.order.index(axis) for axis in range(len(self.order))]
        if self.grid is None:
            return found.permute(back).clone()
        others, tokens = output.permute(self.order), found.flatten(2).transpose(1, 2)  # (n, h·w, D)
        after = self.before + tokens.shape[1]
        return torch.cat([others[:, : self.before], tokens, others[:, after:]], dim=1).permute(back)


@dataclass(slots=True)
class Known:
    """What is known of a model's tokens before it runs, and what its passes showed.

    Attributes:
        grid: What the user says of them.
        before: How many come before the positions, by the model's own attribute.
        queries: How many tokens are learned, and have no position.
        sequence_first: By name of an output, whether it is (L, n, D).
    """

    grid: TokenGrid | None = None
    before: frozenset[int] = frozenset()
    queries: frozenset[int] = frozenset()
    sequence_first: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, network: nn.Module, grid: TokenGrid | None = None) -> Known:
        """What an unwrapped network says of itself."""
        counts = (getattr(module, "num_prefix_tokens", None) for module in network.modules())
        return cls(
            grid,
            frozenset(count for count in counts if isinstance(count, int)),
            frozenset(
                weight.shape[-2]
                for name, weight in network.named_parameters()
                if weight.dim() in (2, 3) and any(word in name.lower() for word in _QUERIES)
            ),
        )


class Pass:
    """One forward pass: reads outputs by the images, and by the maps of convolutions and pooling before them.

    Args:
        images: What the model was given: (n, c, h, w) or a list of (c, h, w); with anything else, the number of rows is
            not checked and images count as square.
        known: Of the model.
    """

    def __init__(self, images: Any = None, known: Known | None = None) -> None:
        self.known = known or Known()
        self.n, self.size = _batch(images)
        self.grids: list[tuple[int, int, int]] = []  # h, w, channels
        self.unclear: set[str] = set()  # outputs (n, n, D), of which nothing says which axis counts images

    def see(self, output: Any) -> None:
        """Note the size of a map that a convolution or pooling gave."""
        if isinstance(output, Tensor) and output.dim() == 4 and len(output) == self.n and self.size:
            channels, height, width = output.shape[1:]
            if height <= self.size[0] and width <= self.size[1]:
                self.grids.append((height, width, channels))

    def read(self, output: Tensor, name: str = "") -> Layout | str:
        """How one tensor is a feature map, by the rules of ``capture``; or a text that says why it is none."""
        kind = f"{str(output.dtype).removeprefix('torch.')} of shape {tuple(output.shape)}"
        of_parts = f"{kind}, {NOT_ONE_EACH} {self.n} images"
        if not output.is_floating_point() or output.dim() not in (3, 4) or not output.numel():
            return of_parts if self.n is not None and self.n not in output.shape[:2] else kind
        first = output.dim() == 3 and self._sequence_first(output, name)
        if self.n not in (None, output.shape[1 if first else 0]):
            return of_parts
        if output.dim() == 4:
            return Layout((0, 3, 1, 2) if self._channels_last(*output.shape[1:]) else (0, 1, 2, 3))
        found = self._lie(output.shape[0 if first else 1], output.shape[2])
        return f"{kind}, {found}" if isinstance(found, str) else Layout((1, 0, 2) if first else (0, 1, 2), *found)

    def _sequence_first(self, output: Tensor, name: str) -> bool:
        """Whether tokens are (L, n, D); where there are as many as images, another number of images tells."""
        here = output.shape[0] == self.n, output.shape[1] == self.n
        if all(here):
            if name not in self.known.sequence_first:
                self.unclear.add(name)
            return self.known.sequence_first.get(name, False)
        if any(here):
            self.known.sequence_first[name] = here[1]
        return here[1]

    def _channels_last(self, a: int, b: int, c: int) -> bool:
        if self.size is None:
            return False
        if self.size[0] == self.size[1]:
            return a == b != c
        sizes = {grid[:2] for grid in self.grids} | set(self._halved())
        return (a, b) in sizes and (b, c) not in sizes

    def _lie(self, length: int, width: int) -> tuple[tuple[int, int], int] | str:
        """Rows and columns of tokens and how many come before them; or why that cannot be told."""
        if self.known.grid is not None:
            return _as_told(self.known.grid, length)
        if length in self.known.queries:
            return f"{_LEARNS_NO_PLACE}: if these are others, say with token_grid=(h, w) how they lie"
        places = list(self._places(length, width))
        if places:
            *_, before, height, width = min(places)
            return (height, width), before
        if self.grids:
            height, width, _ = self.grids[-1]
            why = f"whose {length} tokens are not the {height}×{width} positions of the map before them"
        elif self.size and self.size[0] != self.size[1]:
            why = "the tokens of images that are not square"
        else:
            why = f"whose {length} tokens are no square"
        return f"{why}: say with token_grid=(h, w) how they lie"

    def _places(self, length: int, width: int) -> Iterator[tuple[bool, bool, bool, int, int, int]]:
        """Rows and columns that tokens may have, behind what may come before them; the likeliest is the least."""
        known = self.known.before
        usual = known.union(PREFIX_TOKENS)
        for height, columns, _ in dict.fromkeys(self.grids):
            for after in (0, *self.known.queries):  # YOLOS appends its queries
                before = length - height * columns - after
                if before in usual or 0 <= before <= min(MOST_BEFORE, height * columns):
                    yield before not in usual, after > 0, before not in known, before, height, columns
        sides: Iterable[tuple[int, int]] = ()
        if not self.grids and (self.size is None or self.size[0] == self.size[1]):
            roots = {math.isqrt(length - before) for before in usual if length > before}
            sides = [(root, root) for root in roots]
        elif self.grids and self.grids[-1][2] != width:  # patches were merged; as wide as before, some were left out
            sides = [side for side in self._halved() if math.prod(side) > 1]
        for height, columns in sides:
            before = length - height * columns
            if before in usual:
                yield False, False, before not in known, before, height, columns

    def _halved(self) -> Iterator[tuple[int, int]]:
        """The last map's size, halved again and again."""
        if self.grids:
            height, width, _ = self.grids[-1]
            for factor in (2, 4, 8, 16, 32):
                yield height // factor, width // factor
                yield -(-height // factor), -(-width // factor)


def _as_told(grid: TokenGrid, length: int) -> tuple[tuple[int, int], int] | str:
    height, width, *rest = grid
    count = height * width
    before = rest[0] if rest else max(0, length - count)
    if before + count > length:
        return f"which has fewer tokens than the {height}×{width}{f' + {before}' if rest else ''} of token_grid"
    return (height, width), before


def _batch(images: Any) -> tuple[int | None, tuple[int, int] | None]:
    """How many images there are, and their height and width, of several sizes the first that is no square."""
    if isinstance(images, Tensor) and images.dim() == 4:
        return len(images), (images.shape[2], images.shape[3])
    if isinstance(images, (list, tuple)) and images and all(isinstance(x, Tensor) and x.dim() == 3 for x in images):
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        return len(images), next((size for size in sizes if size[0] != size[1]), sizes[0])
    return None, None
