"""A command that reports every wrong option at once, and makes its options once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from fmce_mlflow.errors import ConfigError, noted, refuse
from fmce_mlflow.wording import did_you_mean

T = TypeVar("T")
U = TypeVar("U")


class Command(click.Command):
    """A command that collects all usage errors before it fails, unknown options with their near names.

    Args:
        build: Makes the options' classes from the values, and raises ConfigError for what is out of range, which is
            reported together with what cannot be read. The command's function gets what it returns.
    """

    def __init__(self, *args: Any, build: Callable[[dict[str, Any]], object] | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {})["ignore_unknown_options"] = True
        self.build = build
        super().__init__(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, but go through every option before failing."""
        if "--help" in args or "-h" in args:
            return super().parse_args(ctx, ["--help"])
        try:
            values, rest, order = self.make_parser(ctx).parse_args(args=list(args))
        except click.UsageError as error:  # an option without its value; nothing after it can be read
            raise ConfigError(error.format_message()) from None
        problems = []
        for param in click.core.iter_params_for_processing(order, self.get_params(ctx)):
            try:
                _, rest = param.handle_parse_result(ctx, values, rest)
            except click.UsageError as error:
                problems.append(error.format_message())
                if param.name is not None:
                    ctx.params[param.name] = param.type_cast_value(ctx, param.get_default(ctx))
        problems += self._unexpected(ctx, rest)
        if self.build is not None:
            with noted(problems):
                ctx.meta[__name__] = self.build(ctx.params)
        refuse(problems)
        ctx.args = []
        return []

    def invoke(self, ctx: click.Context) -> Any:
        """Call the function with what was built; the values are in the context."""
        if self.build is None or self.callback is None:
            return super().invoke(ctx)
        return ctx.invoke(self.callback, ctx.meta[__name__])

    def _unexpected(self, ctx: click.Context, rest: list[str]) -> list[str]:
        names = [name for param in self.get_params(ctx) for name in param.opts]
        problems = []
        for before, word in zip(["", *rest], rest, strict=False):
            if word.startswith("-"):
                name = word.split("=")[0]
                problems.append(f"There is no option {name}." + did_you_mean(name, names))
            elif not before.startswith("-") or "=" in before:  # else the value of an unknown option
                problems.append(f"Unexpected argument {word!r}.")
        return problems


def both(first: Callable[[], T], second: Callable[[], U]) -> tuple[T, U]:
    """What two calls return, or one ConfigError with what is wrong in either."""
    problems: list[str] = []
    with noted(problems):
        one = first()
    with noted(problems):
        other = second()
    refuse(problems)
    return one, other
