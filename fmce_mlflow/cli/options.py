"""Options of commands, made from the classes that state them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import click

from fmce_mlflow.cli.param_types import Optional, Real, Whole
from fmce_mlflow.safety.options import Options, Row, rows


class StatedOption(click.Option):
    """An option that a class states; the docs are made from its row."""

    def __init__(self, *args: Any, row: Row, **kwargs: Any) -> None:
        self.row = row
        super().__init__(*args, **kwargs)


def options_of(
    *classes: type[Options],
    only: Collection[str] = (),
    without: Collection[str] = (),
    changed: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[Any], Any]:
    """A decorator that gives a command the options of classes, in the order of their fields.

    Args:
        *classes: Of two options with one key the first counts.
        only: Keys of options to take; empty: all.
        without: Keys of options to leave out.
        changed: Arguments of ``click.option`` by key, if a command differs from the class.
    """
    found = {row.key: row for cls in reversed(classes) for row in rows(cls)}
    order = dict.fromkeys(row.key for cls in classes for row in rows(cls))
    keys = [key for key in order if key not in without and (not only or key in only)]

    def decorate(function: Any) -> Any:
        for key in reversed(keys):
            function = _option(found[key], **(changed or {}).get(key, {}))(function)
        return function

    return decorate


def option(name: str, default: Any, text: str, kind: Any = None, **more: Any) -> Callable[[Any], Any]:
    """An option that no class has; its help shows its default."""
    return click.option(f"--{name}", type=kind, default=default, show_default=True, help=text, **more)


def _option(row: Row, **changed: Any) -> Callable[[Any], Any]:
    arguments: dict[str, Any] = {"default": row.written, "help": row.option.help, "type": _type(row)}
    arguments["show_default"] = True
    if row.kind is bool:  # a bare flag, and with true or false after it for MLproject
        arguments |= {"is_flag": False, "flag_value": "true"}
    return click.option(f"--{row.name}", cls=StatedOption, row=row, **{**arguments, **changed})


def _type(row: Row) -> Any:
    if row.choices and row.kind is not tuple:
        kind: Any = click.Choice(row.choices)
    elif row.kind in (int, float) and row.range:
        at = row.option
        low, high = (at.gt if at.ge is None else at.ge), (at.lt if at.le is None else at.le)
        range_of: Any = Whole if row.kind is int else Real
        kind = range_of(low, high, min_open=at.gt is not None, max_open=at.lt is not None)
    else:
        kind = row.kind if row.kind in (bool, int, float) else str
    return Optional(kind) if row.optional else kind
