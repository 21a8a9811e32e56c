"""Promote a registered version to a stage or an alias where its evaluation meets what is required, or refuse it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from mlflow.entities import LoggedModelInput, Metric, Param, RunTag

import fmce_mlflow
from fmce_mlflow.errors import ConfigError, PromotionRefused, RunError
from fmce_mlflow.promotion.evidence import Evaluation, find_evaluation, read_evaluation
from fmce_mlflow.promotion.options import PromotionOptions
from fmce_mlflow.promotion.registry import STAGES, Target, find_model, find_version, holders, model_id_of, move
from fmce_mlflow.promotion.rules import Check, check_no_worse
from fmce_mlflow.promotion.turns import one_at_a_time
from fmce_mlflow.runs.run import log_json, set_role
from fmce_mlflow.wording import did_you_mean

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

RECORD = "promotion.json"
FORMAT_VERSION = 1
TAG = "fmce.promotion."
Evaluate = Callable[[str], str]
"""Evaluates the model of a URI and gives the id of the run that has the figures."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A version held against the holder of a stage or alias.

    Attributes:
        target: The stage or alias.
        holder: Its version; None where nobody holds it.
        evaluation: The holder's figures; None without a holder, or where it is the version itself.
        checks: One per metric.
        note: A sentence for the user.
    """

    target: Target
    holder: str | None
    evaluation: Evaluation | None
    checks: tuple[Check, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a promotion.

    Attributes:
        name: The registered model.
        version: Its version.
        target: What it was to become.
        evaluation: The run and the figures that decided.
        checks: The requirements.
        comparison: With the present holder, where asked for.
        before: Who held the target when it was decided.
        dry_run: Whether the registry was left alone.
    """

    name: str
    version: str
    target: Target
    evaluation: Evaluation
    checks: tuple[Check, ...]
    comparison: Comparison | None
    before: tuple[str, ...]
    dry_run: bool

    @property
    def all_checks(self) -> tuple[Check, ...]:
        """Requirements and comparison together."""
        return self.checks + (self.comparison.checks if self.comparison else ())

    @property
    def unmet(self) -> tuple[Check, ...]:
        """The requirements that are not met."""
        return tuple(check for check in self.all_checks if not check.holds)

    @property
    def verdict(self) -> str:
        """``promoted`` or ``refused``."""
        return "refused" if self.unmet else "promoted"

    def to_dict(self) -> dict[str, Any]:
        """JSON values; a figure that is no number is null."""
        other = self.comparison
        return {
            "format_version": FORMAT_VERSION,
            "fmce_mlflow": fmce_mlflow.__version__,
            "decision": self.verdict,
            "dry_run": self.dry_run,
            "model": self.name,
            "version": self.version,
            "target": asdict(self.target),
            "held_before_by": list(self.before),
            "evaluation_run": self.evaluation.run_id,
            "requirements": [_plain(check) for check in self.checks],
            "comparison": other
            and {
                "target": asdict(other.target),
                "version": other.holder,
                "evaluation_run": other.evaluation.run_id if other.evaluation else None,
                "requirements": [_plain(check) for check in other.checks],
                "note": other.note,
            },
            "figures": {k: v if math.isfinite(v) else None for k, v in sorted(self.evaluation.figures.items())},
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }


def promote(
    client: MlflowClient,
    run_id: str,
    options: PromotionOptions,
    *,
    evaluate: Evaluate | None = None,
    say: Callable[[str], None] = print,
) -> Decision:
    """Promote a registered version if its figures meet what is required.

    The record is written first and the version moved last, so whatever the tracking server refuses, no version is
    moved without a record. Promotions of one model take turns; one that was compared with a holder which another
    promotion has replaced meanwhile is compared again.

    Args:
        client: MLflow client.
        run_id: The run that gets the record, with role ``promotion`` from here on; the caller closes it.
        options: What to promote, to what, and on which conditions.
        evaluate: Evaluates a model now; needed where the options name no evaluation run.
        say: Prints a line for the user.

    Returns:
        The decision: the version was promoted, or on a dry run it would be.

    Raises:
        PromotionRefused: If a requirement is not met; the record says so too.
        FmceError: For every mistake that a user can make.
    """
    return _Promotion(client, run_id, options, evaluate, say).decide()


class _Promotion:
    def __init__(
        self,
        client: MlflowClient,
        run_id: str,
        options: PromotionOptions,
        evaluate: Evaluate | None,
        say: Callable[[str], None],
    ) -> None:
        self.client, self.run_id, self.options, self.evaluate, self.say = client, run_id, options, evaluate, say
        self.version = find_version(client, options.model)
        self.name, self.number = str(self.version.name), str(self.version.version)
        self.comparison_target = self._comparison_target()
        self.compared: dict[str, Evaluation] = {}

    def decide(self) -> Decision:
        options, client = self.options, self.client
        self._begin()
        own = read_evaluation(client, options.evaluation_run or self._evaluate(self.version), self.version)
        checks = tuple(one.check(own.figures) for one in options.require)
        for check in checks:
            self.say(f"  {check}")
        comparison = self._compare(own)
        while True:
            if comparison:
                self.say(f"  {comparison.note}")
            before = tuple(holders(client, self.name, options.target))
            decision = Decision(
                self.name, self.number, options.target, own, checks, comparison, before, options.dry_run
            )
            if decision.unmet or options.dry_run:
                self._record(decision)
                break
            with one_at_a_time(client, self.name, say=self.say):
                if comparison is None or self._holder(comparison.target) == comparison.holder:
                    self._record(decision)
                    self._move(decision)
                    break
            self.say(f"Another promotion has changed who holds {self.comparison_target} meanwhile.")
            comparison = self._compare(own)
        what = f"Version {self.number} of {self.name} as {options.target}"
        if decision.unmet:
            raise PromotionRefused(what, [str(check) for check in decision.unmet], own.run_id)
        return decision

    def _comparison_target(self) -> Target | None:
        """The alias or stage that ``compare_to`` names; an alias of that name goes before a stage."""
        text = self.options.compare_to
        if not text:
            return None
        kind, _, name = text.rpartition(":")
        aliases = find_model(self.client, self.name).aliases
        stages = [*STAGES, *map(str.lower, STAGES)]
        if kind == "stage" or (not kind and name in stages and name not in aliases and name != self.options.alias):
            return Target("stage", name)
        target = Target("alias", name)
        near = did_you_mean(name, aliases)
        if near and name not in aliases and target != self.options.target:
            raise RunError(f"Model {self.name!r} has no alias {name!r} to compare with.{near}")
        return target

    def _begin(self) -> None:
        """What is known of the promotion before it is decided."""
        options = self.options
        set_role(self.client, self.run_id, "promotion")
        before = self.client.get_run(self.run_id).data
        params = {
            "model": self.name,
            "version": self.number,
            "target": str(options.target),
            "require": ", ".join(map(str, options.require)),
            "compare_to": str(self.comparison_target or ""),
            "tolerance": f"{options.tolerance:g}",
            "dry_run": str(options.dry_run).lower(),
        }
        tags = {}
        if "mlflow.project.entryPoint" not in before.tags:
            tags["mlflow.runName"] = f"{self.name} {self.number} to {options.target}"
        self.client.log_batch(
            self.run_id,
            params=[Param(k, v[:6000]) for k, v in params.items() if k not in before.params],
            tags=[RunTag(k, v) for k, v in tags.items()],
        )
        if model_id := model_id_of(self.version):
            self.client.log_inputs(self.run_id, models=[LoggedModelInput(model_id)])
        self.say(f"Version {self.number} of {self.name} for {options.target}{', dry run' if options.dry_run else ''}:")

    def _evaluate(self, version: ModelVersion) -> str:
        if self.evaluate is None:
            raise ConfigError(
                "evaluation-run is empty and there are no images to evaluate on now: name a run of `fmce evaluate`, "
                "or images with --data"
            )
        return self.evaluate(f"models:/{version.name}/{version.version}")

    def _holder(self, target: Target) -> str | None:
        return next(iter(reversed(holders(self.client, self.name, target))), None)

    def _compare(self, own: Evaluation) -> Comparison | None:
        """Hold the version against whoever has the compared target now."""
        target = self.comparison_target
        if target is None:
            return None
        holder = self._holder(target)
        if holder is None:
            return Comparison(target, None, None, (), f"Nobody holds {target} yet: there is nothing to compare with.")
        if holder == self.number:
            return Comparison(target, holder, None, (), f"Version {holder} holds {target} itself.")
        if holder not in self.compared:
            self.compared[holder] = self._evaluation_of(holder, own)
        other = self.compared[holder]
        label = f"version {holder}, {target}"
        checks = check_no_worse(self.options.require, own.figures, label, other.figures, self.options.tolerance)
        notes = [str(check) for check in checks]
        if own.modules != other.modules:
            notes.append(
                f"Note: the modules that were scored differ, {own.modules or 'unknown'} here and "
                f"{other.modules or 'unknown'} in version {holder}."
            )
        note = "\n  ".join(notes)
        return Comparison(target, holder, other, checks, note)

    def _evaluation_of(self, number: str, own: Evaluation) -> Evaluation:
        """The holder's figures on the same images: of the run that is named, of one that is found, or made now."""
        options = self.options
        holder = self.client.get_model_version(self.name, number)
        if options.compare_run:
            other = read_evaluation(self.client, options.compare_run, holder)
        elif options.evaluation_run and (found := find_evaluation(self.client, holder, own)):
            other = found
            self.say(f"  Version {number} was evaluated on the same images in run {other.run_id}.")
        elif self.evaluate is not None:
            other = read_evaluation(self.client, self._evaluate(holder), holder)
        else:
            raise RunError(
                f"Version {number} of {self.name} has no finished evaluation on the images of run {own.run_id} in its "
                f"experiment. Evaluate models:/{self.name}/{number} on them, or name the run in compare-run."
            )
        if problem := own.comparable(other):
            raise RunError(f"Versions {self.number} and {number} of {self.name} cannot be compared: {problem}.")
        return other

    def _record(self, decision: Decision) -> None:
        """The decision in the run, and but on a dry run as tags of the version, before anything is moved."""
        figures = {check.metric: check.figure for check in decision.all_checks}
        self.client.log_batch(self.run_id, metrics=[Metric(k, v, 0, 0) for k, v in figures.items()])
        log_json(self.client, self.run_id, decision.to_dict(), RECORD)
        self.client.set_tag(self.run_id, f"{TAG}decision", decision.verdict)
        if decision.dry_run:
            return
        tags = {
            "decision": "refused" if decision.unmet else "promoting",
            "target": str(decision.target),
            "requirements": ", ".join(check.requirement for check in decision.all_checks),
            "figures": json.dumps({k: round(v, 6) for k, v in figures.items()}),
            "evaluation_run": decision.evaluation.run_id,
            "run": self.run_id,
        }
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, self.number, TAG + key, value[:5000])

    def _move(self, decision: Decision) -> None:
        move(self.client, self.name, self.number, decision.target)
        after = holders(self.client, self.name, decision.target)
        if after != [self.number]:
            raise RunError(
                f"Version {self.number} of {self.name} was promoted, but {decision.target} is held by version "
                f"{', '.join(after) or 'none'} now: another program changed it at the same moment. Promote it again."
            )
        self.client.set_model_version_tag(self.name, self.number, f"{TAG}decision", "promoted")


def _plain(check: Check) -> dict[str, Any]:
    return {**asdict(check), "figure": check.figure if math.isfinite(check.figure) else str(check.figure)}
