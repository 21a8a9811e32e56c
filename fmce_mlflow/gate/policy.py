"""The policy of a gate: a small YAML file that says what a version must meet, and what it gets then."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import yaml

from fmce_mlflow.errors import ArtifactError, ConfigError
from fmce_mlflow.promotion.options import PromotionOptions, Requirements, Target
from fmce_mlflow.promotion.rules import HIGH, LOW, VERDICT, Unsure, parse_requirements
from fmce_mlflow.runs.metric_names import OF_MODULES, logged_name
from fmce_mlflow.safety.options import Option, Options, by_key
from fmce_mlflow.safety.reading import read_file
from fmce_mlflow.wording import did_you_mean, some

POLICY = "policy.yaml"
MAX_BYTES = 2**16
EVALUATED = (VERDICT, LOW, HIGH, "fmcs_measured", "fmce_accuracy", "fmce_untouched")
"""Figures that an evaluation has of the whole model; those of a module begin as in :data:`OF_MODULES`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy(Options):
    """What a version must meet, and what it gets then.

    Raises:
        ConfigError: Names every mistake.

    Example:
        >>> Policy(alias="champion", require="fmcs_predicted>=0.7", not_worse_by=0.02).target
        Target(kind='alias', name='champion')
    """

    alias: Annotated[str, Option("The alias that a version gets which meets it; its holder is the champion.")] = ""
    stage: Annotated[str, Option("Or the stage, Staging or Production.")] = ""
    require: Annotated[
        Requirements,
        Option(
            "What must hold of figures of the evaluation or of the run that trained the version.",
            must="a list of texts like 'fmcs_predicted>=0.9'",
        ),
    ] = ()
    not_worse_by: Annotated[
        float | None,
        Option("By how much a version may be worse than the champion, in each required figure and the FMCS.", ge=0),
    ] = None
    unsure: Annotated[
        Unsure,
        Option(
            "If the intervals of both scores leave open whether it is worse: the figures decide, keep the champion, or "
            "replace it."
        ),
    ] = "figures"

    def problems(self, fine: Callable[..., bool]) -> Iterator[str]:
        """What does not go together."""
        try:
            if fine("alias", "stage"):
                self.target  # noqa: B018
        except ConfigError as error:
            yield from error.problems
        if fine("require", "not_worse_by") and not self.require and self.not_worse_by is None:
            yield "the policy asks for nothing: name requirements in require, or how much worse in not_worse_by"

    @classmethod
    def read(cls, path: str) -> Policy:
        """The policy in a file.

        Raises:
            ConfigError: Names every mistake in it, unknown keys with the nearest known one.
        """
        try:
            text = read_file(Path(path).expanduser(), MAX_BYTES, f"policy {path}").decode()
        except FileNotFoundError:
            raise ConfigError(f"policy {path} is not there: give the path of a YAML file") from None
        except (ArtifactError, OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"policy {path} cannot be read: {error}") from None
        try:
            return cls.parse(text)
        except ConfigError as error:
            raise ConfigError([f"policy {path}: {problem}" for problem in error.problems]) from None

    @classmethod
    def parse(cls, text: str) -> Policy:
        """The policy of a text.

        Raises:
            ConfigError: As :meth:`read`.

        Example:
            >>> Policy.parse("alias: champion\\nrequire: [fmcs_predicted]\\nnot_worse: 0.1")
            Traceback (most recent call last):
            ...
            fmce_mlflow.errors.ConfigError: 2 options cannot be used:
              - there is no key 'not_worse'. Did you mean not_worse_by? ...
              - require must be like 'fmcs_predicted>=0.9', with one of >= <= == > <; got 'fmcs_predicted'
        """
        values = _mapping(text)
        names = [field.name for field in fields(cls)]
        there = f"There are {', '.join(names)}"
        problems = [
            f"there is no key {key!r}.{did_you_mean(str(key), names, how_to_list=there)}"
            for key in values
            if key not in names
        ]
        try:
            made = cls(**{key: value for key, value in values.items() if key in names})
        except ConfigError as error:
            raise ConfigError([*problems, *map(by_key, error.problems)]) from None
        if problems:
            raise ConfigError(problems)
        return made

    @property
    def target(self) -> Target:
        """What a version gets that meets it."""
        if bool(self.alias) == bool(self.stage):
            raise ConfigError("name one of alias and stage: what a version gets that meets the policy")
        return Target("alias", self.alias) if self.alias else Target("stage", self.stage)

    @property
    def text(self) -> str:
        """It in YAML, every key with its value: what is kept with each decision."""
        values = {**self.to_dict(), "require": [str(one) for one in self.require]}
        return str(
            yaml.safe_dump({key: value for key, value in values.items() if value not in ("", None)}, sort_keys=False)
        )

    def digest(self, asked: str) -> str:
        """What distinguishes decisions by this policy, on one evaluation, from any others."""
        return hashlib.sha256(json.dumps([self.text, asked]).encode()).hexdigest()[:16]

    @property
    def elsewhere(self) -> list[str]:
        """Metrics that it asks for and that no evaluation logs: the run that trained a version has to."""
        return [
            one.metric
            for one in self.require
            if one.metric not in EVALUATED
            and not logged_name(one.metric).startswith(tuple(f"{k}/" for k in OF_MODULES))
        ]

    def check_logged(self, logged: Collection[str]) -> None:
        """Refuse requirements of metrics that neither evaluations nor some trainings log.

        Raises:
            ConfigError: Names all of them, with the near ones.
        """
        known = [*EVALUATED, *logged]
        problems = [
            f"require asks for {name!r}, which neither an evaluation nor a run that trained one of the versions logs."
            f"{did_you_mean(name, known)} These are there: {some(sorted(known), 12)}."
            for name in self.elsewhere
            if name not in logged
        ]
        if problems:
            raise ConfigError(problems)

    def promotion(self, version: str, evaluation_run: str) -> PromotionOptions:
        """The promotion of a version, by its URI, that this policy asks for."""
        require = self.require
        if self.not_worse_by is not None and all(one.metric != VERDICT for one in require):
            require = (*require, *parse_requirements([f"{VERDICT}>=0"]))  # compared are the required metrics
        target = {self.target.kind: self.target.name}
        against = {} if self.not_worse_by is None else {"compare_to": f"{self.target.kind}:{self.target.name}"}
        return PromotionOptions(
            model=version,
            evaluation_run=evaluation_run,
            require=require,
            tolerance=self.not_worse_by or 0.0,
            unsure=self.unsure,
            **target,  # type: ignore[arg-type]
            **against,  # type: ignore[arg-type]
        )


def _mapping(text: str) -> dict[Any, Any]:
    """The keys and values of a YAML text, each key once."""
    try:
        node, values = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"it is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"it must be keys with values, such as 'alias: champion'; got {values!r:.80}")
    keys = [str(key.value) for key, _ in node.value]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ConfigError(f"{some(twice)} stands there more than once; name each key once")
    return values
