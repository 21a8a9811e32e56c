"""Words about networks that options use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.safety.options import Option, reads

Stem = Literal["auto", "small", "stock"]

_GRID = re.compile(r"\s*(\d{1,6})\s*[x×,]\s*(\d{1,6})\s*(?:\+\s*(\d{1,6})\s*)?")


def read_token_grid(value: Any) -> tuple[int, ...] | None:
    """Height and width of tokens, and how many come before them.

    Raises:
        ConfigError: It is no such thing.

    Example:
        >>> read_token_grid("16x8"), read_token_grid("16x8+1"), read_token_grid([16, 8])
        ((16, 8), (16, 8, 1), (16, 8))
    """
    if value is None:
        return None
    found = _GRID.fullmatch(value) if isinstance(value, str) else None
    numbers = tuple(map(int, filter(None, found.groups()))) if found else value
    if (
        isinstance(numbers, Sequence)
        and len(numbers) in (2, 3)
        and all(isinstance(number, int) and number >= 0 for number in numbers)
        and min(numbers[:2]) >= 1
    ):
        return tuple(numbers)
    raise ConfigError(
        "token-grid must be height and width of the tokens, as 16x8, or 16x8+1 where 1 token comes before them; in "
        f"Python (16, 8) or (16, 8, 1); got {value!r}"
    )


TokenGridOption = Annotated[
    tuple[int, ...] | None,
    reads(read_token_grid),
    Option("How the tokens of transformers lie, as 16x8, or 16x8+1 if 1 comes before them; auto: as the model shows."),
]
"""For the options of evaluations and of trainings."""
