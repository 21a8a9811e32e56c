"""Words about networks that options use."""

from typing import Literal

Stem = Literal["auto", "small", "stock"]
