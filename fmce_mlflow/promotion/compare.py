"""Hold a version against whoever has a stage or an alias now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fmce_mlflow.errors import ConfigError, RunError
from fmce_mlflow.promotion.decision import Comparison
from fmce_mlflow.promotion.evidence import Evidence, find_evidence, read_evidence
from fmce_mlflow.promotion.options import STAGES, PromotionOptions, Target
from fmce_mlflow.promotion.registry import find_model, highest_holder
from fmce_mlflow.promotion.rules import check_no_worse
from fmce_mlflow.wording import did_you_mean

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from fmce_mlflow.runs.run import Run

Evaluate = Callable[[str], str]
"""Evaluates the model of a URI and gives the id of the run that has the figures."""


def comparison_target(client: MlflowClient, options: PromotionOptions, name: str) -> Target | None:
    """The alias or stage that ``compare_to`` names; an alias of that name goes before a stage."""
    if not options.compare_to:
        return None
    kind, _, wanted = options.compare_to.rpartition(":")
    aliases = find_model(client, name).aliases
    stages = [*STAGES, *map(str.lower, STAGES)]
    if kind == "stage" or (not kind and wanted in stages and wanted not in aliases and wanted != options.alias):
        return Target("stage", wanted)
    target = Target("alias", wanted)
    near = did_you_mean(wanted, aliases)
    if near and wanted not in aliases and target != options.target:
        raise RunError(f"Model {name!r} has no alias {wanted!r} to compare with.{near}")
    return target


def evaluate_now(evaluate: Evaluate | None, version: ModelVersion) -> str:
    """The id of a new run with a version's figures."""
    if evaluate is None:
        raise ConfigError(
            "evaluation-run is empty and there are no images to evaluate on now: name a run of `fmce evaluate`, "
            "or images with --dataset"
        )
    return evaluate(f"models:/{version.name}/{version.version}")


def compare(
    run: Run,
    options: PromotionOptions,
    version: ModelVersion,
    own: Evidence,
    target: Target,
    evidence_of: Callable[[str], Evidence],
) -> Comparison:
    """Hold a version with its own evidence against the version that has a target now.

    There are no checks where nobody holds the target, or the version itself does.
    """
    number = str(version.version)
    holder = highest_holder(run.client, version.name, target)
    if holder is None:
        return Comparison(target, None, None, (), f"Nobody holds {target} yet, so there is nothing to compare with.")
    if holder == number:
        return Comparison(target, holder, None, (), f"Version {holder} holds {target} itself.")
    other = evidence_of(holder)
    checks = check_no_worse(
        options.require, own.figures, f"version {holder}, {target}", other.figures, options.tolerance, options.unsure
    )
    notes = [str(check) for check in checks]
    if own.modules != other.modules:
        notes.append(
            f"Note: different modules were scored: {own.modules or 'unknown'} here, {other.modules or 'unknown'} in "
            f"version {holder}."
        )
    return Comparison(target, holder, other, checks, "\n  ".join(notes))


def holder_evidence(
    run: Run, options: PromotionOptions, version: ModelVersion, own: Evidence, evaluate: Evaluate | None, holder: str
) -> Evidence:
    """The holder's figures on the same images: from the run that is named, or one that is found, or made now."""
    holding = run.client.get_model_version(version.name, holder)
    if options.compare_run:
        other = read_evidence(run.client, options.compare_run, holding)
    elif options.evaluation_run and (found := find_evidence(run.client, holding, own)):
        other = found
        run.say(f"  Version {holder} was evaluated on the same images in run {other.run_id}.")
    elif evaluate is not None:
        other = read_evidence(run.client, evaluate_now(evaluate, holding), holding)
    else:
        raise RunError(
            f"Version {holder} of {version.name} has no finished evaluation on the images of run {own.run_id} in its "
            f"experiment. Evaluate models:/{version.name}/{holder} on them, or name the run in compare-run."
        )
    if problem := own.incomparable(other):
        raise RunError(f"Versions {version.version} and {holder} of {version.name} cannot be compared: {problem}.")
    return other
