"""The model registry: find a version, see who holds a stage or an alias, and move it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from mlflow.exceptions import MlflowException

from fmce_mlflow.errors import RunError
from fmce_mlflow.promotion.options import LATEST, Target, parse_model
from fmce_mlflow.safety.credentials import without_credentials
from fmce_mlflow.safety.retry import a_few_tries
from fmce_mlflow.wording import did_you_mean

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mlflow.store.entities import PagedList

T = TypeVar("T")
_LOGGED = re.compile(r"models:/(m-\w+)/?|.*/models/(m-\w+)/artifacts/?")


def _another_commit(error: BaseException) -> bool:
    return isinstance(error, MlflowException) and error.error_code in ("BAD_REQUEST", "TEMPORARILY_UNAVAILABLE")


until_committed = a_few_tries(_another_commit)
"""Calls a function, and again where another writer's commit at the same moment made it fail."""


def find_version(client: MlflowClient, model: str) -> ModelVersion:
    """The registered version that a URI names, by its number, an alias, ``latest``, or a stage as its latest there.

    Raises:
        ConfigError: If it names no version.
        RunError: If model, version or alias is not there, with the near names; or the version is not ready.
    """
    name, number, alias = parse_model(model)
    registered = find_model(client, name)
    if alias:
        number = str(registered.aliases.get(alias, ""))
        if not number:
            raise RunError(
                f"Model {name!r} has no alias {alias!r}.{did_you_mean(alias, registered.aliases)} "
                f"It has {', '.join(sorted(registered.aliases)) or 'none'}."
            )
    versions = {str(v.version): v for v in list_versions(client, name)}
    if not number.isdecimal():
        meant = [k for k, v in versions.items() if number.lower() in (LATEST, str(v.current_stage).lower())]
        number = max(meant, key=int, default=number)
    if number not in versions:
        there = ", ".join(sorted(versions, key=int, reverse=True)[:10])
        raise RunError(f"Model {name!r} has no version {number!r}. Its latest: {there or 'none'}.")
    version = versions[number]
    if version.status != "READY":
        raise RunError(
            f"Version {number} of model {name!r} is {version.status}; only one that is READY can be promoted."
        )
    return version


def model_id_of(version: ModelVersion) -> str:
    """The id of a version's logged model, which the registry only names in its source; empty where there is none."""
    found = _LOGGED.fullmatch(version.source or "")
    return version.model_id or (found and (found[1] or found[2])) or ""


def find_model(client: MlflowClient, name: str) -> RegisteredModel:
    """A registered model; RunError with the near names if it is not there."""
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    names = [model.name for model in client.search_registered_models(max_results=1000)]
    raise RunError(
        f"There is no registered model {name!r} on {without_credentials(client.tracking_uri)}."
        f"{did_you_mean(name, names)} Register one with `fmce train-backbone --register-as NAME`, or in the MLflow UI."
    )


def list_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """All versions of a registered model."""
    quote = '"' if "'" in name else "'"
    return list(every(partial(client.search_model_versions, f"name={quote}{name}{quote}", max_results=1000)))


def every(search: Callable[..., PagedList[T]]) -> Iterator[T]:
    """All that a search of MLflow's client finds, from page to page."""
    token: str | None = None
    while True:
        page = search(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def holders(client: MlflowClient, name: str, target: Target) -> list[str]:
    """The versions that hold a stage or alias, lowest first: none or one, and more where a stage was shared out."""
    if target.kind == "alias":
        number = find_model(client, name).aliases.get(target.name)
        return [] if number is None else [str(number)]
    found = [str(v.version) for v in list_versions(client, name) if v.current_stage == target.name]
    return sorted(found, key=int)


def highest_holder(client: MlflowClient, name: str, target: Target) -> str | None:
    """The version that holds a stage or alias, the highest where a stage was shared out."""
    return next(iter(reversed(holders(client, name, target))), None)


def move(client: MlflowClient, name: str, version: str, target: Target) -> None:
    """Give a stage or alias to a version; whoever held it before holds it no more.

    MLflow archives those that it saw in a stage when it began, so a second transition at the same moment leaves two
    there. They are archived here.
    """
    if target.kind == "alias":
        until_committed(client.set_registered_model_alias, name, target.name, version)
        return
    until_committed(_transition, client, name, version, target.name, archive=True)
    for other in holders(client, name, target):
        if other != version:
            until_committed(_transition, client, name, other, "Archived", archive=False)


def _transition(client: MlflowClient, name: str, version: str, stage: str, *, archive: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # stages are deprecated; who asks for one knows
        client.transition_model_version_stage(name, version, stage, archive_existing_versions=archive)
