"""Options stated once: type, default, bounds, choices and help stand at a field of a class.

The options of a room are a frozen dataclass that inherits :class:`Options`, each field annotated with an
:class:`Option`. Commands, MLproject and the tables in the docs are made from its :func:`rows`.
"""

from __future__ import annotations

import dataclasses
import numbers
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Interval
from pydantic import BeforeValidator, ConfigDict, InstanceOf, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from fmce_mlflow.errors import ConfigError, noted, refuse
from fmce_mlflow.wording import did_you_mean

T = TypeVar("T", bound="Options")

_WHOLE = re.compile(r"[+-]?\d{1,19}")
_NO_NAME = re.compile(r"[/:]|^\.\.|^\.$|^\s+$")
_NOUNS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "names in a list, or with commas between them",
}


@dataclass(frozen=True, slots=True)
class Option(Interval):
    """What a field means to people, and its bounds ``ge``, ``gt``, ``le`` and ``lt``.

    Attributes:
        help: What it decides.
        name: What messages and commands call it, if not by the field's name.
        none: How None is written on a command line.
        must: What a value must be, if the type does not say it.
        command: Whether commands have it; the others are for Python alone.
    """

    help: str = dataclasses.field(kw_only=False)
    name: str = ""
    none: str = "auto"
    must: str = ""
    command: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """A field of an options class, as messages, commands and docs need it."""

    field: str
    kind: type  # of a value other than None: bool, int, float, str, tuple or Options; object for anything else
    choices: tuple[str, ...]  # of the value, or of each name in a tuple; empty if any will do
    optional: bool  # whether it may be None
    default: Any  # MISSING if there is none
    option: Option

    @property
    def key(self) -> str:
        """Its name as a parameter of MLproject and of a command's function."""
        return (self.option.name or self.field).replace("-", "_")

    @property
    def name(self) -> str:
        """Its name in messages and, after two dashes, on a command line."""
        return self.key.replace("_", "-")

    @property
    def written(self) -> Any:
        """The default as it is written on a command line, in MLproject and in the docs."""
        value = self.default
        if value is MISSING:
            return ""
        if value is None:
            return self.option.none
        if isinstance(value, bool):
            return str(value).lower()
        return ",".join(map(str, value)) if isinstance(value, tuple) else value

    @property
    def range(self) -> str:
        """The bounds in words; empty if there are none.

        Example:
            >>> [Row("x", kind, (), False, 0, Option("", **bounds)).range for kind, bounds in (
            ...     (int, {"ge": 1}), (int, {"ge": 1, "le": 64}), (float, {"ge": 0, "lt": 1}), (float, {"gt": 0}))]
            ['at least 1', '1 to 64', 'in [0, 1)', 'above 0']
        """
        ge, gt, le, lt = (getattr(self.option, name) for name in ("ge", "gt", "le", "lt"))
        if ge is not None and le is not None:
            return f"{ge:,} to {le:,}"
        if self.kind is float and lt is not None:
            return f"in {'[' if ge is not None else '('}{gt if ge is None else ge}, {lt})"
        return f"at least {ge}" if ge is not None else f"above {gt}" if gt is not None else ""

    def must(self, failed: str) -> str:
        """What a value must be, for the type of pydantic's error."""
        if failed == "less_than" and self.kind is int:
            return f"must be below {self.option.lt}"
        if failed.startswith(("greater", "less")):
            return "must not be negative" if self.range == "at least 0" else f"must be {self.range}"
        if self.option.must:
            return f"must be {self.option.must}"
        if self.choices:
            return f"must be one of {', '.join(self.choices)}"
        before = "of " if self.range.startswith("at") else "from " if self.range[:1].isdigit() else ""
        bounds = f" {before}{self.range}" if self.range else ""
        return f"must be {_NOUNS.get(self.kind, f'of type {self.kind.__name__}')}{bounds}{' or None' * self.optional}"


class Options:
    """Base of options: types and bounds are checked when they are made.

    Raises:
        ConfigError: Names every value that cannot be used, all at once.

    Example:
        >>> @dataclass(frozen=True, slots=True, kw_only=True)
        ... class Fit(Options):
        ...     epochs: Annotated[int, Option("Passes over the bags.", ge=1)] = 8
        ...     averaging: Annotated[float, Option("Decay of the average.", ge=0, lt=1)] = 0.98
        >>> Fit(epochs=0, averaging=1)
        Traceback (most recent call last):
        ...
        fmce_mlflow.errors.ConfigError: 2 options cannot be used:
          - epochs must be at least 1, got 0
          - averaging must be in [0, 1), got 1
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __post_init__(self) -> None:
        kind: Any = type(self)
        by_field = {row.field: row for row in all_rows(kind)}
        values = {name: _plain(getattr(self, name)) for name in by_field}
        problems: list[str] = []
        wrong: set[str] = set()
        try:
            values = _validator(kind).validate_python(values)
        except ValidationError as error:
            for one in error.errors(include_url=False):
                row = by_field[str(one["loc"][0])]
                wrong.add(row.field)
                problems += _sentences(row, one, values[row.field])
            # The others are read all the same, for what is checked besides: with defaults in place of what is wrong.
            with suppress(ValidationError):
                read = _validator(kind).validate_python(values | _defaults(kind, wrong))
                values |= {name: value for name, value in read.items() if name not in wrong}
        for name, value in values.items():
            object.__setattr__(self, name, value)
        problems += self.problems(lambda *names: wrong.isdisjoint(names))
        refuse(problems)

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What is wrong besides types and bounds, one sentence each.

        Args:
            fine: Whether the named fields have passed so far; a check asks about those that it looks at.
        """
        return iter(())

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, options in it as dictionaries."""
        return dataclasses.asdict(self)


def _defaults(cls: Any, names: set[str]) -> dict[str, Any]:
    """Defaults of fields, of those that have one."""
    found = {}
    for field in (one for one in dataclasses.fields(cls) if one.name in names):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return found


def split(value: Any) -> Any:
    """Words with commas between them, or in a list, each once; anything else is left alone.

    Example:
        >>> split("a, b,,a,c")
        ('a', 'b', 'c')
    """
    words = value.split(",") if isinstance(value, str) else () if value is None else value
    if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        return value
    return tuple(dict.fromkeys(word.strip() for word in words if word.strip()))


def whole_numbers(value: Any) -> Any:
    """Whole numbers with commas between them, each once; other words stay, for the check of types to name.

    Example:
        >>> whole_numbers("0, 1,1, x")
        (0, 1, 'x')
    """
    if not isinstance(value, str):
        return value
    return tuple(dict.fromkeys(int(word) if _WHOLE.fullmatch(word) else word for word in split(value)))


def reads(read: Callable[[Any], Any]) -> BeforeValidator:
    """A field's reader: takes what was given, returns the value, and may raise ConfigError."""

    def validate(value: Any) -> Any:
        try:
            return read(value)
        except ConfigError as error:
            raise ValueError(*error.problems) from None

    return BeforeValidator(validate)


Names = Annotated[tuple[str, ...], BeforeValidator(split)]
"""Names in a sequence, or in a text with commas between them."""
Numbers = Annotated[tuple[int, ...], BeforeValidator(whole_numbers)]
"""Whole numbers likewise."""


def registered_name(value: Any) -> Any:
    """A name that MLflow's registry takes, or None.

    Raises:
        ConfigError: If it is another.

    Example:
        >>> registered_name("org/model")
        Traceback (most recent call last):
        ...
        fmce_mlflow.errors.ConfigError: register-as must be a name without / and :, as MLflow takes; got 'org/model'
    """
    if isinstance(value, str) and (len(value) > 256 or _NO_NAME.search(value)):
        raise ConfigError(f"register-as must be a name without / and :, as MLflow takes; got {value!r:.300}")
    return value


Registered = Annotated[str | None, reads(registered_name)]
"""The name of a registered model."""


def bounds(cls: type[Options], field: str) -> dict[str, Any]:
    """The bounds of another class's field, for an :class:`Option` whose value that field gets."""
    kind: Any = cls
    option = next(row.option for row in all_rows(kind) if row.field == field)
    return {name: getattr(option, name) for name in ("ge", "gt", "le", "lt")}


def rows(cls: Any) -> list[Row]:
    """The rows of a class that commands have, those of inner options in their place; of two with one key the first."""
    found: dict[str, Row] = {}
    for row in all_rows(cls):
        inner = rows(row.kind) if issubclass(row.kind, Options) else [row] if row.option.command else []
        for one in inner:
            found.setdefault(one.key, one)
    return list(found.values())


def build(cls: type[T], values: Mapping[str, Any]) -> T:
    """Options, and the options in them, from values by :attr:`Row.key`; other values are left alone.

    Raises:
        ConfigError: Names every value that cannot be used, in all of the options.
    """
    problems: list[str] = []
    given: dict[str, Any] = {}
    kind: Any = cls
    for row in all_rows(kind):
        if issubclass(row.kind, Options):
            with noted(problems):
                given[row.field] = build(row.kind, values)
        elif row.key in values:
            given[row.field] = values[row.key]
    with noted(problems):
        made = cls(**given)
    refuse(problems)
    return made


def by_key(problem: str) -> str:
    """A problem that names a key of a dictionary or a file, not the option of a command.

    Example:
        >>> by_key("batch-size must be at least 1, got 0")
        'batch_size must be at least 1, got 0'
    """
    name, _, rest = problem.partition(" ")
    return f"{name.replace('-', '_')} {rest}"


@cache
def all_rows(cls: Any) -> tuple[Row, ...]:
    """A row for each field, in their order."""
    hints = get_type_hints(cls, include_extras=True)
    return tuple(_row(one, hints[one.name]) for one in dataclasses.fields(cls))


def _row(one: dataclasses.Field[Any], hint: Any) -> Row:
    base, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    option = next((extra for extra in extras if isinstance(extra, Option)), Option(""))
    kinds = get_args(base) if get_origin(base) in (Union, UnionType) else (base,)
    inner = [kind for kind in kinds if kind is not type(None)]
    kind = inner[0] if len(inner) == 1 else object
    each = get_args(kind)[0] if get_origin(kind) is tuple else kind
    choices = get_args(each) if get_origin(each) is Literal else ()
    if get_origin(kind) in (tuple, Literal):
        kind = tuple if get_origin(kind) is tuple else str
    made = one.default_factory is not MISSING and option.command  # of others the default is not shown
    default = one.default_factory() if made else one.default  # type: ignore[operator]
    return Row(
        field=one.name,
        kind=kind if isinstance(kind, type) else object,
        choices=choices,
        optional=len(inner) < len(kinds),
        default=default,
        option=option,
    )


@cache
def _validator(cls: Any) -> TypeAdapter[dict[str, Any]]:
    """Checks all fields of a class; inner options checked themselves when they were made."""
    hints = get_type_hints(cls, include_extras=True)
    instance_of: Any = InstanceOf
    types = {
        row.field: instance_of[row.kind] if issubclass(row.kind, Options) else hints[row.field] for row in all_rows(cls)
    }
    config = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    return TypeAdapter(with_config(config)(TypedDict(cls.__name__, types)))  # type: ignore[operator]


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, paths as texts."""
    if isinstance(value, numbers.Integral) and not isinstance(value, int):
        return int(value)
    if isinstance(value, numbers.Real) and not isinstance(value, int | float):
        return float(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _sentences(row: Row, error: Any, whole: Any) -> list[str]:
    """One of pydantic's errors in our words; an error of a reader of ours has its own."""
    if error["type"] == "value_error":
        return [str(text) for text in error["ctx"]["error"].args]
    value = error["input"] if row.choices or row.kind is tuple else whole
    near = did_you_mean(value, row.choices) if isinstance(value, str) else ""
    return [f"{row.name} {row.must(error['type'])}{';' if row.choices else ','} got {value!r}{'.' * bool(near)}{near}"]
