"""What a promotion requires of the figures of an evaluation."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fmce_mlflow.errors import ConfigError, RunError
from fmce_mlflow.runs.metric_names import logged_name
from fmce_mlflow.wording import did_you_mean

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
VERDICT = "fmcs_predicted"  # of an evaluation without it, the predictor knew no module
LOW, HIGH = "fmcs_low", "fmcs_high"
"""The ends of its 90 % interval, which may be asked for like a logged metric."""
DEFAULT = f"{VERDICT}>=0.9"
Unsure = Literal["figures", "keep", "replace"]
_REQUIREMENT = re.compile(r"\s*(?P<metric>[^<>=]+?)\s*(?P<operator>>=|<=|==|>|<)\s*(?P<threshold>[^<>=\s]+)\s*")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one logged metric."""

    metric: str
    operator: str
    threshold: float

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read ``name>=value``, with any of :data:`OPERATORS`.

        Raises:
            ConfigError: If it cannot be read.

        Example:
            >>> Requirement.parse("focus/layer4 > 0.5")
            Requirement(metric='focus/layer4', operator='>', threshold=0.5)
        """
        found = _REQUIREMENT.fullmatch(text)
        try:
            threshold = float(found["threshold"]) if found else math.nan
        except ValueError:
            threshold = math.nan
        if not found or not math.isfinite(threshold):
            raise ConfigError(f"require must be like '{DEFAULT}', with one of {' '.join(OPERATORS)}; got {text!r}")
        return cls(found["metric"], found["operator"], threshold)

    def __str__(self) -> str:
        return f"{self.metric}{self.operator}{self.threshold:g}"

    def check(self, figures: Mapping[str, float]) -> Check:
        """Hold a figure against the threshold; NaN meets none.

        Raises:
            RunError: If there is no such figure, with the near names.
        """
        metric, figure = _figure(self.metric, figures)
        return Check(str(self), metric, figure, OPERATORS[self.operator](figure, self.threshold))


@dataclass(frozen=True, slots=True)
class Check:
    """A requirement in words, the version's figure, and whether it is met."""

    requirement: str
    metric: str
    figure: float
    holds: bool
    note: str = ""  # what else is to be known of it

    def __str__(self) -> str:
        """One line.

        Example:
            >>> print(Requirement.parse("fmcs_predicted>=0.9").check({"fmcs_predicted": 0.31}))
            fmcs_predicted>=0.9: not met, it is 0.31
        """
        text = f"{self.requirement}: {'met' if self.holds else 'not met'}, it is {self.figure:.4g}"
        unknown = self.metric == VERDICT and math.isnan(self.figure)
        text = f"{text}: the predictor knows none of the modules that were scored" if unknown else text
        return f"{text}; {self.note}" if self.note else text

    def to_dict(self) -> dict[str, Any]:
        """JSON values; a figure that is NaN or infinite is its name."""
        figure = self.figure if math.isfinite(self.figure) else str(self.figure)
        return {key: value for key, value in {**asdict(self), "figure": figure}.items() if key != "note" or value}


def parse_requirements(texts: Iterable[str]) -> tuple[Requirement, ...]:
    """Requirements from texts, each once; several in one text have commas between them.

    Raises:
        ConfigError: Names every text that cannot be read.

    Example:
        >>> [str(r) for r in parse_requirements(["fmcs_predicted>=0.9, val_accuracy > .95"])]
        ['fmcs_predicted>=0.9', 'val_accuracy>0.95']
    """
    found: dict[Requirement, None] = {}
    problems: list[str] = []
    for text in (part for whole in texts for part in whole.split(",") if part.strip()):
        try:
            found[Requirement.parse(text)] = None
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return tuple(found)


def check_no_worse(
    requirements: Iterable[Requirement],
    figures: Mapping[str, float],
    holder: str,
    holder_figures: Mapping[str, float],
    tolerance: float = 0.0,
    unsure: Unsure = "figures",
) -> tuple[Check, ...]:
    """Hold a version's figures against those of the version that is to be replaced: a check per metric.

    A metric of which more is required must not be lower, one of which less is required not higher, by more than
    ``tolerance``. Requirements with ``==`` have no better or worse; where there are no others, ``fmcs_predicted`` is
    compared. Where both have an interval of it and these leave open whether it is worse, ``unsure`` says what decides.

    Raises:
        RunError: If a figure is missing.
    """
    rising: dict[str, bool] = {}
    for one in requirements:
        if one.operator != "==":
            rising.setdefault(one.metric, one.operator.startswith(">"))
    checks = []
    for metric, up in (rising or {VERDICT: True}).items():
        (name, figure), (_, other) = _figure(metric, figures), _figure(metric, holder_figures)
        # A holder whose own figure is NaN cannot be worse than anything.
        holds = (figure >= other - tolerance if up else figure <= other + tolerance) or (
            math.isnan(other) and not math.isnan(figure)
        )
        note = ""
        if name == VERDICT and (difference := _difference(figures, holder_figures)):
            holds, note = _with_intervals(holds, difference, tolerance, unsure)
        slack = f", by more than {tolerance:g}" if tolerance else ""
        checks.append(Check(f"{metric} no worse than {other:.4g} of {holder}{slack}", name, figure, holds, note))
    return tuple(checks)


def _difference(figures: Mapping[str, float], others: Mapping[str, float]) -> tuple[float, float] | None:
    """The 90 % interval of the difference between two scores, from theirs; None where one has none.

    The ends are those of the method MOVER (Zou and Donner 2008), for intervals that need not be symmetric. It takes
    the errors of the two scores as independent.
    """
    known = [tuple(one.get(name, math.nan) for name in (LOW, VERDICT, HIGH)) for one in (figures, others)]
    if not all(low <= score <= high and low < high for low, score, high in known):
        return None
    (low, score, high), (other_low, other, other_high) = known
    difference = score - other
    return (
        difference - math.hypot(score - low, other_high - other),
        difference + math.hypot(high - score, other - other_low),
    )


def _with_intervals(holds: bool, difference: tuple[float, float], tolerance: float, unsure: Unsure) -> tuple[bool, str]:
    """Whether a version is no worse, with the interval of the difference, and a sentence on that."""
    low, high = difference
    told = f"90% interval of the difference {low:+.2f} to {high:+.2f}"
    if low >= -tolerance:
        return True, f"{told}, so it is not worse"
    if high < -tolerance:
        return False, f"{told}, so it is worse"
    by = {"figures": "the figures decide", "keep": "the holder is kept", "replace": "the holder is replaced"}[unsure]
    return {"figures": holds, "keep": False, "replace": True}[unsure], f"{told}, which leaves it open: {by}"


def _figure(metric: str, figures: Mapping[str, float]) -> tuple[str, float]:
    """A metric's name as it was logged, which may have been asked for by that of its module, and its value."""
    metric = metric if metric in figures else logged_name(metric)
    if metric not in figures:
        if metric == VERDICT and any(name.startswith(f"{VERDICT}/") for name in figures):
            return metric, math.nan
        names = ", ".join(sorted(figures)[:12]) or "none"
        raise RunError(
            f"The evaluation and the run that trained the version have no metric {metric!r}."
            f"{did_you_mean(metric, figures)} They have: {names}."
        )
    return metric, float(figures[metric])
