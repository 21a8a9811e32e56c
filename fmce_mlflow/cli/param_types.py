"""How texts on a command line become values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fmce_mlflow.safety.reading import parse_json

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # generic from click 8.5 on only


MAX_JSON = 2**16
MOST_DIGITS = 18


class Optional(ParamType):
    """A number or word that may be absent: empty, or ``auto``; MLproject parameters cannot be left out."""

    def __init__(self, kind: Any) -> None:
        self.kind = click.types.convert_type(kind)
        self.name = self.kind.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """None for an absent value."""
        if value in ("", "auto", None):
            return None
        try:
            return self.kind.convert(value, param, ctx)
        except click.BadParameter as error:
            self.fail(f"{error.message.rstrip('.')}, nor auto.", param, ctx)


class Whole(click.IntRange):
    """A whole number whose bounds are in the help; its class checks them."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        return click.INT.convert(value, param, ctx)


class Real(click.FloatRange):
    """A number whose bounds are in the help; its class checks them."""

    name = "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        return click.FLOAT.convert(value, param, ctx)


class Word(ParamType):
    """A word; ``true``, ``false`` and numbers as what they are."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value that the word stands for; None for an empty one or ``auto``."""
        words = {"true": True, "false": False, "auto": None, "": None}
        if not isinstance(value, str) or value in words:
            return words.get(value, value)
        return int(value) if value.isdecimal() and len(value) <= MOST_DIGITS else value


class Json(ParamType):
    """A word, or a JSON object."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word or the object; None for an empty one or ``auto``."""
        if value in ("", "auto"):
            return None
        if not isinstance(value, str) or not value.startswith("{"):
            return value
        if len(value) > MAX_JSON:
            self.fail(f"It has {len(value):,} characters; at most {MAX_JSON:,} are read.", param, ctx)
        try:
            return parse_json(value)
        except ValueError as error:
            self.fail(f"It cannot be read as JSON: {error}", param, ctx)
