"""Which predictor is calibrated to a model: a tag of the registered model, of a version of it, or of a logged model.

The tag names it by its URI in the registry, ``models:/NAME/VERSION`` or ``models:/m-…``, and nothing else is loaded:
whoever may write tags cannot make an evaluation read files or ask other servers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from fmce_mlflow.errors import ConfigError, FmceError, PredictorError, RunError
from fmce_mlflow.method.networks.architecture import architecture
from fmce_mlflow.predictor.find import NamedPredictor, find_predictor
from fmce_mlflow.predictor.options import BUNDLED, TAG, Tie
from fmce_mlflow.promotion.options import parse_model
from fmce_mlflow.promotion.registry import find_model, find_version, model_id_of, until_committed
from fmce_mlflow.safety.credentials import hide_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from fmce_mlflow.runs.torch_models import TorchModel

CALIBRATION = "calibration"
"""Of a predictor's info, where it was calibrated."""
_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_LOGGED = re.compile(r"models:/(m-\w+)/?")
_PREDICTOR = re.compile(r"models:/(m-\w+|[^/:@]+/\d+)")


@dataclass(frozen=True, slots=True)
class Place:
    """What a tag can stand at.

    Attributes:
        name: Of a registered model; empty: a logged model that is not registered.
        version: Of the registered model.
        model_id: Of the logged model; empty where the registry does not say it.
    """

    name: str
    version: str
    model_id: str

    def __str__(self) -> str:
        return f"models:/{self.name}/{self.version}" if self.name else f"models:/{self.model_id}"


def place_of(client: MlflowClient, uri: str, model_id: str | None = None) -> Place | None:
    """Where a model's tag can stand; None where nothing of it is on the server.

    Raises:
        RunError: If it names a registered version that is not there.
    """
    model_id = model_id or next((found[1] for found in [_LOGGED.fullmatch(uri)] if found), None)
    if uri.startswith("models:/") and not _LOGGED.fullmatch(uri):
        try:
            parse_model(uri)
        except ConfigError:
            return None
        version = find_version(client, uri)
        return Place(str(version.name), str(version.version), model_id_of(version) or model_id or "")
    if not model_id:
        return None
    versions = _known_versions(client.get_logged_model(model_id).tags)
    return Place(*(versions[-1] if versions else ("", "")), model_id)


def tie(client: MlflowClient, place: Place, uri: str, to: Tie) -> str:
    """Tie a predictor to a model; a registered model's stands for all of its versions of that architecture.

    Returns:
        What it is tied to, in words; empty for ``none``.
    """
    if to == "none":
        return ""
    if not place.name:
        client.set_logged_model_tags(place.model_id, {TAG: uri})
        return f"the logged model {place.model_id}"
    if to == "version":
        until_committed(client.set_model_version_tag, place.name, place.version, TAG, uri)
        return f"version {place.version} of {place.name}"
    until_committed(client.set_registered_model_tag, place.name, TAG, uri)
    return f"the registered model {place.name}"


def predictor_for(client: MlflowClient, model: TorchModel, named: str | None) -> NamedPredictor:
    """The predictor that an evaluation of a model uses: that which is named, else that which is tied to it.

    Where there is none, or it is gone, damaged, or calibrated to another architecture, it is the bundled one; its
    ``warning`` says so.

    Raises:
        PredictorError: As :func:`~fmce_mlflow.predictor.find.find_predictor`.
    """
    if named:
        found = find_predictor(named, client)
        return replace(found, warning=_unlike(found, model))
    try:
        tag = next(_tags(client, model), None)
    except (FmceError, MlflowException) as error:
        if getattr(error, "error_code", "") in _NOT_THERE:  # the model is another server's
            return find_predictor(None, client)
        why = f"Whether a predictor is calibrated to the model cannot be found out: {hide_credentials(error)!s:.200}"
        return replace(find_predictor(None, client), warning=f"{why} The bundled one is used.")
    if tag is None:
        return find_predictor(None, client)
    uri, where = tag
    try:
        if not _PREDICTOR.fullmatch(uri):
            raise PredictorError("it is no model of the registry, models:/NAME/VERSION or models:/m-…")
        found = find_predictor(uri, client)
        if unlike := _unlike(found, model):
            raise PredictorError(unlike)
    except FmceError as error:
        return replace(
            find_predictor(None, client),
            warning=f"The predictor {uri:.200} that tag {TAG} of {where} names is not used: {error!s:.300} The bundled "
            "one is used instead. Calibrate again with `fmce calibrate`, or take the tag away.",
        )
    return replace(
        found,
        choice=f"The predictor is {uri}, which is calibrated to this architecture, as tag {TAG} of {where} says. Name "
        f"another in `predictor`, or {BUNDLED!r}.",
    )


def _unlike(found: NamedPredictor, model: TorchModel) -> str:
    """What is to be said of a predictor that is calibrated to another architecture than a model's."""
    known: Any = found.predictor.info.get(CALIBRATION)
    wanted = known.get("architecture") if isinstance(known, dict) else None
    if not wanted or wanted == architecture(model.network):
        return ""
    of = f"{known.get('model', '')!s:.200}"
    return (
        f"The predictor is calibrated to another architecture, that of {of}: names or shapes of the "
        "parameters differ, so its scores may mean little."
    )


def _tags(client: MlflowClient, model: TorchModel) -> Iterator[tuple[str, str]]:
    """Predictors that tags name, the nearest first, and where the tag stands."""
    try:
        place = place_of(client, model.uri, model.model_id)
    except RunError:  # such as a version that was deleted meanwhile
        return
    if place is None:
        return
    if place.name:
        tags = client.get_model_version(place.name, place.version).tags
        if TAG in tags:
            yield tags[TAG], f"version {place.version} of {place.name}"
        tags = find_model(client, place.name).tags
        if TAG in tags:
            yield tags[TAG], f"the registered model {place.name}"
    if place.model_id:
        tags = client.get_logged_model(place.model_id).tags
        if TAG in tags:
            yield tags[TAG], f"the logged model {place.model_id}"


def _known_versions(tags: Any) -> list[tuple[str, str]]:
    """Registered versions of a logged model, the latest last."""
    try:
        return [(str(one["name"]), str(one["version"])) for one in json.loads(tags.get(MLFLOW_MODEL_VERSIONS, "[]"))]
    except (ValueError, LookupError, TypeError):
        return []
