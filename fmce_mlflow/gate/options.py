"""What a gate looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.safety.options import Option, Options, reads

_PREFIX = "models:/"


def _model_name(value: Any) -> Any:
    """The name of a registered model, which may begin like a model's URI."""
    if not isinstance(value, str):
        return value
    name = value.strip().removeprefix(_PREFIX)
    if any(mark in name for mark in "/:@"):
        bare = name.partition("/")[0].partition("@")[0]
        raise ConfigError(
            f"model must be the name of a registered model, all of whose versions are looked at, as in --model {bare}; "
            f"got {value!r}"
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions(Options):
    """Whose versions a gate looks at, and by which policy it decides.

    Example:
        >>> GateOptions(model="models:/digits").model
        'digits'
    """

    model: Annotated[
        str, reads(_model_name), Option("Registered model, by its name, all of whose versions are looked at.")
    ] = ""
    every: Annotated[bool, Option("Or all registered models whose latest version is a PyTorch model.", name="all")] = (
        False
    )
    policy: Annotated[
        str, Option("YAML file that says what a version must meet, and what it gets then; empty: evaluate only.")
    ] = ""
    retry: Annotated[bool, Option("Try versions again that could not be evaluated or decided on before.")] = False

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What does not go together."""
        if fine("model", "every") and bool(self.model) == self.every:
            yield "name one of model and all: whose versions are to be evaluated"
