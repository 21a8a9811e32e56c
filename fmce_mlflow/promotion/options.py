"""Promote a registered version to a stage or an alias where its evaluation meets what is required, or refuse it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.promotion.registry import Target, parse_model
from fmce_mlflow.promotion.rules import DEFAULT, Requirement, parse_requirements


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionOptions:
    """Everything that decides a promotion.

    Attributes:
        model: The version, ``models:/name/version`` or ``models:/name@alias``.
        alias: Give it this alias.
        stage: Or move it to this stage, Staging or Production.
        require: What its figures must meet.
        evaluation_run: The run that has them; empty to evaluate now.
        compare_to: Alias or stage whose present holder it must not be worse than; empty for none.
        compare_run: The holder's evaluation run; empty to find one on the same images, or to evaluate now.
        tolerance: How much worse than the holder a figure may be.
        dry_run: Decide, record it in the run, and leave the registry as it is.

    Raises:
        ConfigError: Names every value that cannot be used.
    """

    model: str
    alias: str = ""
    stage: str = ""
    require: tuple[Requirement, ...] = field(default_factory=lambda: parse_requirements([DEFAULT]))
    evaluation_run: str = ""
    compare_to: str = ""
    compare_run: str = ""
    tolerance: float = 0.0
    dry_run: bool = False

    def __post_init__(self) -> None:
        problems: list[str] = []
        for check in (lambda: parse_model(self.model), lambda: self.target):
            try:
                check()
            except ConfigError as error:
                problems += error.problems
        if not self.require:
            problems.append(f"require is empty; name a requirement, such as '{DEFAULT}'")
        if self.compare_run and not self.compare_to:
            problems.append("compare-run is the evaluation of the holder: name whom to compare with in compare-to")
        if self.compare_run and not self.evaluation_run:
            problems.append("compare-run needs evaluation-run: both must be on the same images")
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            problems.append(f"tolerance must not be negative, got {self.tolerance}")
        if problems:
            raise ConfigError(problems)

    @property
    def target(self) -> Target:
        """What the version is promoted to."""
        if bool(self.alias) == bool(self.stage):
            raise ConfigError("name one of alias and stage: what the version is to become")
        return Target("alias", self.alias) if self.alias else Target("stage", self.stage)
