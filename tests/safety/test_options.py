from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest

from fmce_mlflow.demo.options import ShortStory
from fmce_mlflow.errors import ConfigError
from fmce_mlflow.safety.options import Names, Numbers, Option, Options, bounds, build, reads, rows


def _even(value: object) -> object:
    if value == 3:
        raise ConfigError(["three is odd", "three is small"])
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner(Options):
    rate: Annotated[float, Option("A rate.", gt=0)] = 0.1
    share: Annotated[float, Option("A share.", ge=0, lt=1)] = 0.5
    kind: Annotated[Literal["set", "outline"], Option("A kind.", name="net")] = "set"
    hidden: Annotated[int, Option("For Python.", command=False)] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer(Options):
    batch_size: Annotated[int, Option("Images.", ge=1)] = 64
    parts: Annotated[int, reads(_even), Option("Parts.", ge=1, le=64)] = 1
    size: Annotated[int | None, Option("Size; auto: the data's own.", ge=8)] = None
    flag: Annotated[bool, Option("A flag.")] = False
    folder: Annotated[str, Option("A folder.")] = ""
    modules: Annotated[Names, Option("Modules.")] = ()
    seeds: Annotated[Numbers, Option("Seeds.", must="whole numbers")] = (0,)
    inner: Inner = field(default_factory=Inner)

    def problems(self, fine) -> Iterator[str]:
        if fine("batch_size", "parts") and self.batch_size % self.parts:
            yield "batch-size must be a multiple of parts"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"batch_size": 0}, "batch-size must be at least 1, got 0"),
        ({"batch_size": True}, "batch-size must be a whole number of at least 1, got True"),
        ({"batch_size": 2.5}, "batch-size must be a whole number of at least 1, got 2.5"),
        ({"batch_size": "8"}, "batch-size must be a whole number of at least 1, got '8'"),
        ({"parts": 65}, "parts must be 1 to 64, got 65"),
        ({"size": 7}, "size must be at least 8, got 7"),
        ({"size": "x"}, "size must be a whole number of at least 8 or None, got 'x'"),
        ({"flag": 1}, "flag must be true or false, got 1"),
        ({"modules": 3}, "modules must be names in a list, or with commas between them, got 3"),
        ({"seeds": "1,x"}, "seeds must be whole numbers, got 'x'"),
        ({"inner": {}}, "inner must be of type Inner, got {}"),
        ({"batch_size": 9, "parts": 2}, "batch-size must be a multiple of parts"),
    ],
)
def test_one_wrong_value_is_one_sentence(values, expected):
    with pytest.raises(ConfigError) as raised:
        Outer(**values)
    assert raised.value.problems == (expected,)


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, "x", None, True])
def test_numbers_are_finite_and_in_range(value):
    with pytest.raises(ConfigError, match="rate must be"):
        Inner(rate=value)


def test_all_problems_are_told_at_once_and_near_choices_named():
    with pytest.raises(ConfigError) as raised:
        Outer(batch_size=9, parts=2, size=1, folder=3)  # type: ignore[arg-type]
    assert [problem.split()[0] for problem in raised.value.problems] == ["size", "folder", "batch-size"]
    with pytest.raises(ConfigError) as raised:
        Outer(batch_size=0, parts=2)
    assert raised.value.problems == ("batch-size must be at least 1, got 0",), "what depends on it is not told too"
    with pytest.raises(ConfigError, match=r"net must be one of set, outline; got 'outlin'\. Did you mean outline"):
        Inner(kind="outlin")  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as raised:
        Outer(parts=3)
    assert raised.value.problems == ("three is odd", "three is small")


def test_values_have_one_form():
    made = Outer(batch_size=np.int64(8), folder=Path("a"), modules=["b", " c ", "b"], seeds="1, 2,1")  # type: ignore[arg-type]
    assert made == Outer(batch_size=8, folder="a", modules=("b", "c"), seeds=(1, 2))
    assert type(made.batch_size) is int
    rate = Inner(rate=np.float32(0.5), share=0)  # type: ignore[arg-type]
    assert (rate.rate, type(rate.rate), type(rate.share)) == (0.5, float, float)
    assert Outer(modules="b,c").modules == ("b", "c")  # type: ignore[arg-type]


def test_they_are_dataclasses():
    made = Outer(inner=Inner(rate=2))
    assert replace(made, size=9).inner is made.inner and asdict(made)["inner"]["rate"] == 2
    assert pickle.loads(pickle.dumps(made)) == made and hash(made) == hash(replace(made))
    assert [one.name for one in fields(Inner)] == ["rate", "share", "kind", "hidden"]
    with pytest.raises(ConfigError, match="size must be"):
        replace(made, size=1)


def test_commands_have_the_options_in_options_too():
    assert {row.key: row.written for row in rows(Outer)} == {
        "batch_size": 64, "parts": 1, "size": "auto", "flag": "false", "folder": "", "modules": "", "seeds": "0",
        "rate": 0.1, "share": 0.5, "net": "set",
    }  # fmt: skip
    assert bounds(Inner, "share") == {"ge": 0, "gt": None, "le": None, "lt": 1}


def test_options_are_built_from_flat_values():
    made = build(Outer, {"batch_size": 8, "net": "outline", "hidden": 4, "another": 1})
    assert made == Outer(batch_size=8, inner=Inner(kind="outline", hidden=4))
    with pytest.raises(ConfigError) as raised:
        build(Outer, {"rate": -1, "net": "x", "batch_size": 0})
    assert [problem.split()[0] for problem in raised.value.problems] == ["rate", "net", "batch-size"]


def test_checks_of_several_fields_see_values_that_are_read_also_where_another_field_is_wrong():
    """`fmce main --require 0` ended with a traceback: the seeds were still a text when they were looked at."""
    with pytest.raises(ConfigError) as told:
        ShortStory(seeds="3,4", seed=3, require="0")
    assert any("seed" in problem for problem in told.value.problems)
    assert any("0" in problem and "seed" not in problem for problem in told.value.problems)
