"""Promote a registered version, or refuse it: decide, record, move."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING

from mlflow.entities import LoggedModelInput

from fmce_mlflow.errors import PromotionRefused, RunError
from fmce_mlflow.promotion.compare import Evaluate, compare, comparison_target, evaluate_now, holder_evidence
from fmce_mlflow.promotion.decision import Decision, Outcome
from fmce_mlflow.promotion.evidence import read_evidence
from fmce_mlflow.promotion.options import PromotionOptions, Target
from fmce_mlflow.promotion.registry import find_version, highest_holder, holders, model_id_of, move
from fmce_mlflow.promotion.turns import one_at_a_time
from fmce_mlflow.runs.artifacts import fetched
from fmce_mlflow.safety.credentials import hide_credentials
from fmce_mlflow.safety.reading import parse_json, read_file

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from fmce_mlflow.runs.run import Run

RECORD = "promotion.json"
TAG = "fmce.promotion."
MAX_RECORD = 2**20


def promote(run: Run, options: PromotionOptions, *, evaluate: Evaluate | None = None, policy: str = "") -> Decision:
    """Promote a registered version if its figures meet the requirements.

    The record is written before the version is moved, so whatever the tracking server refuses, no version is moved
    without a record; until the version has moved, the record says ``promoting``, and ``failed`` if the registry refuses
    it. Promotions of one model take turns. One whose turn has passed to another meanwhile, or that was compared with a
    holder which another promotion has replaced, looks again.

    Args:
        run: Gets the record, with role ``promotion`` from here on; the caller closes it.
        options: What to promote, to what, and on which conditions.
        evaluate: Evaluates a model now; needed where the options name no evaluation run.
        policy: Digest of what a gate decides by; becomes a tag of the version with the decision.

    Raises:
        PromotionRefused: If a requirement is not met; the record says so too.
        FmceError: For every mistake that a user can make.
    """
    version = find_version(run.client, options.model)
    name, number = str(version.name), str(version.version)
    compared_to = comparison_target(run.client, options, name)
    _begin(run, options, version, compared_to)
    own = read_evidence(run.client, options.evaluation_run or evaluate_now(evaluate, version), version)
    run.say(f"  Evaluated on {own.image_set or 'images that it does not name'}, in run {own.run_id}.")
    checks = tuple(one.check(own.figures) for one in options.require)
    for check in checks:
        run.say(f"  {check}{own.doubt(check.metric)}")
    evidence_of = cache(partial(holder_evidence, run, options, version, own, evaluate))
    while True:
        comparison = compare(run, options, version, own, compared_to, evidence_of) if compared_to else None
        if comparison:
            run.say(f"  {comparison.note}")
        before = tuple(holders(run.client, name, options.target))
        decision = Decision(name, number, options.target, own, checks, comparison, before, options.dry_run, policy)
        if decision.unmet or options.dry_run:
            _record(run, decision, decision.verdict)
            break
        with one_at_a_time(run.client, name, say=run.say) as still_mine:
            _record(run, decision, "promoting")
            unchanged = comparison is None or highest_holder(run.client, name, comparison.target) == comparison.holder
            if unchanged and still_mine():
                _move(run, decision, still_mine)
                break
        run.say(f"Another promotion of {name} came first in the meantime, so this one looks again.")
    if decision.unmet:
        what = f"Version {number} of {name} as {options.target}"
        raise PromotionRefused(what, [str(check) for check in decision.unmet], own.run_id, own.image_set)
    return decision


def _begin(run: Run, options: PromotionOptions, version: ModelVersion, compared_to: Target | None) -> None:
    """Log what is known of the promotion before it is decided."""
    name, number = str(version.name), str(version.version)
    run.set_role("promotion")
    run.log_params(
        {
            "model": name,
            "version": number,
            "target": options.target,
            "require": ", ".join(map(str, options.require)),
            "compare_to": compared_to or "",
            "tolerance": f"{options.tolerance:g}",
            "unsure": options.unsure,
            "dry_run": str(options.dry_run).lower(),
        }
    )
    if "mlflow.project.entryPoint" not in run.fetch().data.tags:
        run.set_tags({"mlflow.runName": f"{name} {number} to {options.target}"})
    if model_id := model_id_of(version):
        run.client.log_inputs(run.id, models=[LoggedModelInput(model_id)])
    run.say(f"Version {number} of {name} for {options.target}{', dry run' if options.dry_run else ''}:")


def _record(run: Run, decision: Decision, outcome: Outcome) -> None:
    """The decision in the run and, except on a dry run, as tags of the version, before anything is moved."""
    figures = {check.metric: check.figure for check in decision.all_checks}
    run.log_metrics(figures)
    _say_outcome(run, decision, outcome)
    if decision.dry_run:
        return
    tags = {
        "target": str(decision.target),
        "requirements": ", ".join(check.requirement for check in decision.all_checks),
        "figures": json.dumps({k: round(v, 6) for k, v in figures.items()}),
        "evaluation_run": decision.evidence.run_id,
        "run": run.id,
        **({"policy": decision.policy} if decision.policy else {}),
    }
    for key, value in tags.items():
        run.client.set_model_version_tag(decision.name, decision.version, TAG + key, hide_credentials(value)[:5000])


def conclude(run: Run, version: ModelVersion) -> None:
    """Record that a version was promoted, where the promotion in this run moved it and did not live to say so."""
    with fetched(run.client, run.id, RECORD) as path:
        record = parse_json(read_file(path, MAX_RECORD, f"{RECORD} of run {run.id}")) if path else {}
    run.log_json({**record, "decision": "promoted"}, RECORD)
    run.set_tags({f"{TAG}decision": "promoted"})
    run.client.set_model_version_tag(version.name, version.version, f"{TAG}decision", "promoted")
    run.client.set_terminated(run.id, "FINISHED")


def _say_outcome(run: Run, decision: Decision, outcome: Outcome, problem: str = "") -> None:
    """What became of the decision: in the record, in the run's tags and, except on a dry run, in the version's."""
    run.log_json(decision.to_dict(outcome, problem), RECORD)
    run.set_tags({f"{TAG}decision": outcome})
    if not decision.dry_run:
        run.client.set_model_version_tag(decision.name, decision.version, f"{TAG}decision", outcome)


def _move(run: Run, decision: Decision, still_mine: Callable[[], bool]) -> None:
    """Give the version its stage or alias, see that it alone has it, and record what happened."""
    name, number, target = decision.name, decision.version, decision.target
    try:
        move(run.client, name, number, target)
        after = holders(run.client, name, target)
        if after != [number]:
            raise RunError(
                f"Version {number} of {name} was promoted, but {target} is now held by version "
                f"{', '.join(after) or 'none'}: another program changed it at the same moment. Promote it again."
            )
        if not still_mine():
            raise RunError(
                f"Version {number} of {name} holds {target}, but the registry took so long to move it that its turn "
                "had passed to another promotion, whose version it may have replaced. See which of them is to hold it."
            )
    except BaseException as error:
        with suppress(Exception):  # what went wrong is what the user needs to read
            there = holders(run.client, name, target) == [number]
            _say_outcome(run, decision, "promoted" if there else "failed", hide_credentials(str(error)))
        raise
    _say_outcome(run, decision, "promoted")
