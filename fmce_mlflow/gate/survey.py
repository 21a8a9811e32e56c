"""How the versions of a registered model stand: which are to be evaluated and decided on, told by their tags alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmce_mlflow.gate.ask import Question
from fmce_mlflow.gate.policy import Policy
from fmce_mlflow.promotion.promote import TAG
from fmce_mlflow.promotion.registry import find_model, highest_holder, list_versions
from fmce_mlflow.promotion.version_tags import ASKED, EVALUATION_RUN, PROBLEM, VERDICT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

DECISION, DECIDED_BY, DECIDED_FOR, DECIDED_IN = (f"{TAG}{name}" for name in ("decision", "policy", "target", "run"))
UNDECIDED, DECISION_PROBLEM = "not decided", f"{TAG}problem"
_FINAL = ("promoted", "refused", UNDECIDED)


@dataclass(frozen=True, slots=True)
class Standing:
    """A version, and what its tags say of it.

    Attributes:
        version: As the registry has it.
        model_tags: Of the registered model.
        asked: What is asked of it; empty where that cannot be known yet.
        digest: Of the policy and what is asked; empty without a policy.
        target: What the policy gives; empty without one.
        holder: The number of the version that holds it; 0 for none.
        retry: Whether a problem of an earlier call is to be tried again.
    """

    version: ModelVersion
    model_tags: Mapping[str, str]
    asked: str
    digest: str
    target: str
    holder: int
    retry: bool

    @property
    def number(self) -> int:
        """Its number."""
        return int(self.version.version)

    @property
    def uri(self) -> str:
        """Its URI."""
        return f"models:/{self.version.name}/{self.version.version}"

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags."""
        tags: Mapping[str, str] = self.version.tags
        return tags

    @property
    def problem(self) -> str:
        """Why it is not evaluated; empty where it is, or nobody has tried yet."""
        if self.version.status != "READY":
            return f"it is {self.version.status}"
        return self.tags.get(PROBLEM, "")

    @property
    def evaluated(self) -> bool:
        """Whether it was evaluated, as is asked now."""
        return self._answered and EVALUATION_RUN in self.tags and not self.problem

    @property
    def undone(self) -> str:
        """What is left undone of it, and why; empty where nothing is."""
        if not self.evaluated:
            return f"is not evaluated: {self.problem or 'it came meanwhile'}"
        if self.to_decide or self.decision == UNDECIDED:
            return f"is not decided on: {self.tags.get(DECISION_PROBLEM) or 'it came meanwhile'}"
        return ""

    @property
    def decision(self) -> str:
        """What was decided by this policy; empty where nothing was yet."""
        if not self.digest or self.tags.get(DECIDED_BY) != self.digest:
            return ""
        found = self.tags.get(DECISION, "")
        return found if found in _FINAL else ""

    @property
    def to_evaluate(self) -> bool:
        """Whether it is to be evaluated now."""
        remembered = self._answered and bool(self.problem)
        return self.version.status == "READY" and not self.evaluated and (self.retry or not remembered)

    @property
    def was_moved(self) -> bool:
        """Whether it holds the target, and the promotion that gave it did not live to say so."""
        mine = self.tags.get(DECISION) == "promoting" and self.tags.get(DECIDED_FOR) == self.target
        return bool(self.target) and self.number == self.holder and mine

    @property
    def to_decide(self) -> bool:
        """Whether it is to be decided on, once it is evaluated: a later version than the holder, and only once."""
        if not self.digest or self.number <= self.holder:
            return self.was_moved
        if self.tags.get(DECISION) == "promoted" and self.tags.get(DECIDED_FOR) == self.target:
            return False  # somebody took it away again
        return not self.decision or (self.decision == UNDECIDED and self.retry)

    @property
    def to_do(self) -> bool:
        """Whether there is anything to do."""
        return self.to_evaluate or self.was_moved or (self.to_decide and self.evaluated)

    @property
    def _answered(self) -> bool:
        return bool(self.asked) and self.tags.get(ASKED) == self.asked and VERDICT in self.tags


def survey(question: Question, policy: Policy | None, name: str, *, retry: bool) -> list[Standing]:
    """How all versions of a registered model stand, the first first.

    Raises:
        RunError: If there is no such model.
        DataError: If the images are not there.
    """
    model = find_model(question.client, name)
    versions = sorted(list_versions(question.client, name), key=lambda one: int(one.version))
    holder = _holder(question.client, policy, model)
    return [_standing(question, policy, version, model.tags, holder, retry=retry) for version in versions]


def look_again(question: Question, policy: Policy | None, version: ModelVersion, *, retry: bool) -> Standing:
    """How a version stands by now.

    Raises:
        MlflowException: If it is gone.
    """
    fresh = question.client.get_model_version(version.name, version.version)
    model = find_model(question.client, version.name)
    return _standing(question, policy, fresh, model.tags, _holder(question.client, policy, model), retry=retry)


def _holder(client: MlflowClient, policy: Policy | None, model: RegisteredModel) -> int:
    """The number of the version that holds what a policy gives; 0 for none."""
    if policy is None:
        return 0
    if policy.target.kind == "alias":
        return int(model.aliases.get(policy.target.name, 0))
    return int(highest_holder(client, model.name, policy.target) or 0)


def _standing(
    question: Question,
    policy: Policy | None,
    version: ModelVersion,
    model_tags: Mapping[str, str],
    holder: int,
    *,
    retry: bool,
) -> Standing:
    asked = question.asked(question.known_images(version.tags), version.tags, model_tags)
    digest, target = (policy.digest(asked), str(policy.target)) if policy else ("", "")
    return Standing(version, model_tags, asked, digest, target, holder, retry)
