"""A gate: goes through the versions of registered models, evaluates and decides what is left to do, and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from fmce_mlflow.errors import RunError
from fmce_mlflow.gate.ask import Question
from fmce_mlflow.gate.policy import Policy
from fmce_mlflow.gate.survey import Standing, look_again, survey
from fmce_mlflow.promotion.registry import every, list_versions
from fmce_mlflow.promotion.turns import one_at_a_time
from fmce_mlflow.promotion.version_tags import ASKED, FMCS, HIGH, LOW, VERDICT
from fmce_mlflow.runs.run import PARENT_TAG, ROLE_TAG, Run
from fmce_mlflow.wording import counted

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from fmce_mlflow.gate.evaluate import Evaluator

ROLE, MODEL_TAG = "gate", "fmce.gate.model"
_GRAVITY = {0: 0, 3: 1, 1: 2}


@dataclass(frozen=True, slots=True)
class Gate:
    """What one call of a gate works with.

    Attributes:
        question: What is asked of every version.
        policy: What decides; None: versions are evaluated and nothing else.
        begin: Makes the run of one model's gate, by the model's name, with role :data:`ROLE` and :data:`MODEL_TAG`.
        evaluator: Makes what evaluates; it loads torch, so it is called only where there is something to do.
        say: Prints a line.
        retry: Whether what failed before is tried again.
    """

    question: Question
    policy: Policy | None
    begin: Callable[[str], Run]
    evaluator: Callable[[], Evaluator]
    say: Callable[[str], None]
    retry: bool = False

    @property
    def client(self) -> MlflowClient:
        """MLflow client."""
        return self.question.client

    def look(self, name: str) -> list[Standing]:
        """How the versions of a model stand."""
        return survey(self.question, self.policy, name, retry=self.retry)

    def look_again(self, standing: Standing) -> Standing:
        """How a version stands by now."""
        return look_again(self.question, self.policy, standing.version, retry=self.retry)


def pass_through(gate: Gate, names: Iterable[str]) -> int:
    """Evaluate and decide what is left to do, of each of some registered models.

    Gates of one model take turns. Where nothing is left to do, nothing is written.

    Returns:
        The exit code: 1 if a version could not be evaluated or decided on; else 3 if the latest version of a model is
        refused; else 0.

    Raises:
        ConfigError: For a policy that asks for figures that nobody logs.
        RunError: If there is no such model.
    """
    standing = {name: gate.look(name) for name in names}
    if gate.policy and any(one.to_decide for found in standing.values() for one in found):
        _check_logged(gate.client, gate.policy, [one for found in standing.values() for one in found])
    codes = [0]
    for name, found in standing.items():
        if any(one.to_do for one in found):
            _work(gate, name)
            found = replace(gate, retry=False).look(name)
        codes.append(_report(gate, name, found))
    return max(codes, key=_GRAVITY.__getitem__)


def models_to_look_at(client: MlflowClient, is_other: Callable[[str], bool]) -> list[str]:
    """The registered models without those of other kinds, of none of whose versions a gate has asked anything yet.

    ``is_other`` says of a URI, that of the latest version, whether it is no PyTorch model.
    """
    names = []
    for model in every(partial(client.search_registered_models, max_results=500)):
        versions = {int(one.version): one for one in list_versions(client, model.name)}
        asked = any(ASKED in one.tags for one in versions.values())
        if versions and (asked or not is_other(f"models:/{model.name}/{max(versions)}")):
            names.append(str(model.name))
    return sorted(names)


def _check_logged(client: MlflowClient, policy: Policy, versions: Sequence[Standing]) -> None:
    """Refuse a policy that asks for what neither an evaluation nor any of the runs that trained versions logs."""
    logged: set[str] = set()
    for run_id in dict.fromkeys(one.version.run_id for one in reversed(versions) if one.version.run_id):
        if logged.issuperset(policy.elsewhere):
            break
        try:
            logged |= set(client.get_run(run_id).data.metrics)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
    policy.check_logged(logged)


def _work(gate: Gate, name: str) -> None:
    """Evaluate and decide what is left to do, as the only gate of a model."""
    with one_at_a_time(gate.client, name, kind="gate", say=gate.say) as still_mine:
        left = [one for one in gate.look(name) if one.to_evaluate or one.to_decide]
        if not any(one.to_do for one in left):
            return  # another gate did it meanwhile
        count = sum(one.to_evaluate for one in left)
        gate.say(f"{name}: {counted(count, 'version')} to evaluate." if count else f"{name}: versions to decide on.")
        run = gate.begin(name)
        with run.closing():
            _close_those_that_died(run, name)
            evaluator = gate.evaluator()
            for one in left:
                if not still_mine():
                    raise RunError(
                        f"The turn of this gate of {name} has passed to another, because it stalled. What is done is "
                        "kept: call it again."
                    )
                _unless_gone(gate, run, evaluator, one)


def _unless_gone(gate: Gate, run: Run, evaluator: Evaluator, standing: Standing) -> None:
    try:
        _pass_one(gate, run, evaluator, standing)
    except MlflowException as error:
        try:
            gate.client.get_model_version(standing.version.name, standing.version.version)
        except MlflowException as other:
            if other.error_code == "RESOURCE_DOES_NOT_EXIST":
                gate.say(f"Version {standing.number} of {standing.version.name} is gone: it was deleted meanwhile.")
                return
        raise error


def _pass_one(gate: Gate, run: Run, evaluator: Evaluator, standing: Standing) -> None:
    from fmce_mlflow.gate.decide import decide  # loads torch

    now = gate.look_again(standing)
    if now.to_evaluate:
        gate.say(f"Evaluating version {now.number} of {now.version.name} …")
        evaluator.evaluate(run, now)
        now = gate.look_again(standing)
        gate.say(f"  {_told(now)}")
    if gate.policy and now.to_decide and (now.evaluated or now.was_moved):
        decide(run, now, gate.policy, evaluator)


def _told(standing: Standing) -> str:
    """The verdict on a version, as its tags have it, in a sentence."""
    if not standing.evaluated:
        return f"Not evaluated: {standing.problem}"
    tags = standing.tags
    figures, verdict = "", tags[VERDICT]
    if FMCS in tags:
        figures = f", FMCS {float(tags[FMCS]):.2f}, 90% interval {float(tags[LOW]):.2f} to {float(tags[HIGH]):.2f}"
    return f"{verdict[0].upper()}{verdict[1:]}{figures}."


def _close_those_that_died(run: Run, name: str) -> None:
    """Close runs of gates of the model that were killed: whoever has the turn is the only one at work."""
    experiment = run.fetch().info.experiment_id
    text = f"tags.`{ROLE_TAG}` = '{ROLE}' and attributes.status = 'RUNNING'"
    for found in list(every(partial(run.client.search_runs, [experiment], text))):
        if found.data.tags.get(MODEL_TAG) != name or found.info.run_id == run.id:
            continue
        below = f"tags.`{PARENT_TAG}` = '{found.info.run_id}' and attributes.status = 'RUNNING'"
        for one in [*every(partial(run.client.search_runs, [experiment], below)), found]:
            run.client.set_terminated(one.info.run_id, "KILLED")


def _report(gate: Gate, name: str, found: Sequence[Standing]) -> int:
    """Say how the versions stand; 1 if one is not evaluated or not decided on, 3 if the latest is refused, else 0."""
    evaluated = sum(one.evaluated for one in found)
    holder = f"; {gate.policy.target} is {_version(found)}" if gate.policy else ""
    gate.say(f"{name}: {evaluated} of {counted(len(found), 'version')} evaluated{holder}.")
    undone = [one for one in found if one.undone]
    for one in undone:
        gate.say(f"  Version {one.number} {one.undone}")
    if undone:
        return 1
    if found and gate.policy and found[-1].number > found[-1].holder and found[-1].decision == "refused":
        gate.say(f"  Version {found[-1].number}, the latest, is refused for {gate.policy.target}.")
        return 3
    return 0


def _version(found: Sequence[Standing]) -> str:
    return f"version {found[0].holder}" if found and found[0].holder else "held by none"
