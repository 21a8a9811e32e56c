"""What decides a promotion: the version, what it is to become, and what is required of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.promotion.rules import DEFAULT, Requirement, Unsure, parse_requirements
from fmce_mlflow.safety.options import Option, Options, reads
from fmce_mlflow.wording import did_you_mean

STAGES = ("Staging", "Production")
LATEST = "latest"
NONE = "none"
_MODEL = re.compile(r"(?:models:/)?(?P<name>[^/@:]+)(?:/(?P<version>[^/@]+)|@(?P<alias>[^/@]+))")
_ALIAS = re.compile(r"[\w-]{1,255}")
_RESERVED = re.compile(r"latest|v\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """The alias or stage that a version is promoted to.

    Raises:
        ConfigError: If there is no such stage, or MLflow takes no such alias.

    Example:
        >>> str(Target("stage", "production"))
        'stage Production'
    """

    kind: Literal["alias", "stage"]
    name: str

    def __post_init__(self) -> None:
        if self.kind == "stage":
            if self.name.capitalize() not in STAGES:
                near = did_you_mean(self.name.capitalize(), STAGES)
                raise ConfigError(f"stage must be one of {', '.join(STAGES)}; got {self.name!r}.{near}")
            object.__setattr__(self, "name", self.name.capitalize())
        elif not _ALIAS.fullmatch(self.name) or _RESERVED.fullmatch(self.name):
            raise ConfigError(
                f"alias must be of letters, digits, _ and -, and neither latest nor like v1; got {self.name!r}"
            )

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def parse_model(text: str) -> tuple[str, str, str]:
    """Name, version and alias that a model URI of the registry names; one of the last two is empty.

    As in MLflow, a version may also be ``latest`` or a stage, in any case, and ``@latest`` is no alias.

    Raises:
        ConfigError: If it names no version.

    Example:
        >>> parse_model("models:/digits/3"), parse_model("digits@champion"), parse_model("digits@latest")
        (('digits', '3', ''), ('digits', '', 'champion'), ('digits', 'latest', ''))
    """
    found = _MODEL.fullmatch(text.strip())
    if not found:
        raise ConfigError(
            "model must name a registered version, models:/NAME/VERSION, models:/NAME@ALIAS or models:/NAME/latest; "
            f"got {text!r}"
        )
    version, alias = found["version"] or "", found["alias"] or ""
    return (
        (found["name"], LATEST, "") if LATEST in (version.lower(), alias.lower()) else (found["name"], version, alias)
    )


def _requirements(value: Any) -> Any:
    """Requirements, from texts too; ``none`` for no requirement."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        return value
    return () if list(texts) == [NONE] else parse_requirements(texts)


Requirements = Annotated[tuple[Requirement, ...], reads(_requirements)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionOptions(Options):
    """Everything that decides a promotion."""

    model: Annotated[
        str, Option("Registered version: models:/NAME/VERSION, models:/NAME@ALIAS or models:/NAME/latest.")
    ]
    alias: Annotated[str, Option("Give it this alias.")] = ""
    stage: Annotated[
        str, Option("Or move it to this stage, Staging or Production, and archive the version that is there.")
    ] = ""
    require: Annotated[
        Requirements,
        Option(
            "What must hold of a logged metric, with >=, >, <=, < or ==; several with commas between them; none: only "
            "what compare-to asks for."
        ),
    ] = field(default_factory=lambda: parse_requirements([DEFAULT]))
    evaluation_run: Annotated[str, Option("Run that has the figures, of this version; empty: evaluate now.")] = ""
    compare_to: Annotated[str, Option("Alias or stage whose holder it must not be worse than on the same images.")] = ""
    compare_run: Annotated[
        str, Option("The holder's evaluation run; empty: one on the same images is looked for, or made.")
    ] = ""
    tolerance: Annotated[float, Option("How much worse than the holder a figure may be.", ge=0)] = 0.0
    unsure: Annotated[
        Unsure,
        Option(
            "If the intervals of both scores leave open whether it is worse: the figures decide, keep the holder, or "
            "replace it."
        ),
    ] = "figures"
    dry_run: Annotated[bool, Option("Decide and record it, but leave the registry as it is.")] = False

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What does not go together."""
        for names, check in (
            (("model",), lambda: parse_model(self.model)),
            (("alias", "stage"), lambda: self.target),
        ):
            try:
                if fine(*names):
                    check()
            except ConfigError as error:
                yield from error.problems
        if fine("require") and not self.require and not self.compare_to:
            yield f"require is empty; name a requirement, such as '{DEFAULT}', or whom to compare with in compare-to"
        if self.compare_run and not self.compare_to:
            yield "compare-run is the evaluation of the holder: name whom to compare with in compare-to"
        if self.compare_run and not self.evaluation_run:
            yield "compare-run needs evaluation-run: both must be on the same images"

    @property
    def target(self) -> Target:
        """What the version is promoted to."""
        if bool(self.alias) == bool(self.stage):
            raise ConfigError("name one of alias and stage: what the version is to become")
        return Target("alias", self.alias) if self.alias else Target("stage", self.stage)
