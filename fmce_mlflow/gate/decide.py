"""Decide on an evaluated version by a policy: a promotion, or the reason why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmce_mlflow.errors import PromotionRefused
from fmce_mlflow.gate.evaluate import Evaluator, in_a_line
from fmce_mlflow.gate.policy import POLICY, Policy
from fmce_mlflow.gate.survey import DECIDED_BY, DECIDED_FOR, DECIDED_IN, DECISION, DECISION_PROBLEM, UNDECIDED, Standing
from fmce_mlflow.promotion.promote import conclude, promote
from fmce_mlflow.promotion.registry import until_committed
from fmce_mlflow.promotion.version_tags import EVALUATION_RUN
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.retry import passes

if TYPE_CHECKING:
    from mlflow import MlflowClient


def decide(run: Run, standing: Standing, policy: Policy, evaluator: Evaluator) -> None:
    """Promote a version or refuse it, in a run below that of the gate that keeps the policy.

    What keeps it from being decided becomes a tag, so that the others go on.
    """
    if standing.was_moved:
        run.say(
            f"Version {standing.number} of {standing.version.name} holds {policy.target} already: that is recorded."
        )
        conclude(Run(run.client, standing.tags[DECIDED_IN], run.say), standing.version)
        return
    below = run.nested(f"{standing.version.name} {standing.number} to {policy.target}", role="promotion")
    options = policy.promotion(standing.uri, standing.tags[EVALUATION_RUN])
    try:
        with below.closing(finishes=(PromotionRefused,)):
            below.log_bytes(policy.text.encode(), POLICY)
            promote(
                below,
                options,
                evaluate=lambda uri: evaluator.evaluate_anew(run, uri, standing),
                policy=standing.digest,
            )
            run.say(f"  Promoted to {policy.target}.")
    except PromotionRefused:
        run.say(f"  Refused for {policy.target}.")
    except Exception as error:  # of whatever holds the target, for one: the other versions go on
        _write_problem(run.client, standing, error)


def _write_problem(client: MlflowClient, standing: Standing, error: Exception) -> None:
    """Note why a version is not decided on; what may pass is tried again by the next call."""
    name, number = standing.version.name, standing.version.version
    if client.get_model_version(name, number).tags.get(DECISION) == "promoted":
        return  # moved, and something went wrong after that, which the promotion's record says
    tags = {
        DECISION_PROBLEM: in_a_line(error),
        DECIDED_FOR: standing.target,
        DECIDED_BY: "" if passes(error) else standing.digest,
        DECISION: UNDECIDED,
    }
    for tag, value in tags.items():
        until_committed(client.set_model_version_tag, name, number, tag, value)
