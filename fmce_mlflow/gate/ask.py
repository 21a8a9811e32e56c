"""What an evaluation is asked: its images, predictor and options in one digest, found without loading torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from fmce_mlflow.errors import ConfigError, DataError, FmceError
from fmce_mlflow.evaluation.options import EvaluationConfig, EvaluationImages
from fmce_mlflow.method.images.config import ImageOptions
from fmce_mlflow.method.images.fingerprint import fingerprint
from fmce_mlflow.predictor.options import BUNDLED, TAG
from fmce_mlflow.promotion.options import parse_model
from fmce_mlflow.promotion.registry import find_version
from fmce_mlflow.promotion.version_tags import DATASET
from fmce_mlflow.safety.reading import parse_json

if TYPE_CHECKING:
    from mlflow import MlflowClient

FORMAT_VERSION = 1
_HOW_ALONE = ("batch_size", "device", "saliency", "saliency_target")
"""Options that decide how an evaluation goes, and no score."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a gate asks of every version; one value for a whole call.

    Attributes:
        client: MLflow client.
        config: How modules are scored.
        images: Which images, as the user named them.
    """

    client: MlflowClient
    config: EvaluationConfig
    images: EvaluationImages
    _contents: dict[str, str] = field(default_factory=dict)

    @property
    def named_images(self) -> ImageOptions | None:
        """The images, where the user named some."""
        return None if self.images.dataset is None else self.images.named(self.images.dataset)

    def known_images(self, tags: Mapping[str, str]) -> ImageOptions | None:
        """The images of a version: those that are named, else those that its tag says it was evaluated on."""
        if (named := self.named_images) is not None:
            return named
        try:
            found = parse_json(tags[DATASET])
            return self.images.named(str(found["dataset"]), str(found["data_root"]), int(found["split_seed"]))
        except (KeyError, ValueError, TypeError, ConfigError):
            return None

    def asked(self, images: ImageOptions | None, tags: Mapping[str, str], model_tags: Mapping[str, str]) -> str:
        """The digest for a version and the registered model, by the tags of both; None are images that nothing tells.

        Raises:
            DataError: If the images are not there.
        """
        options = {key: value for key, value in asdict(self.config).items() if key not in _HOW_ALONE}
        what = {
            "format_version": FORMAT_VERSION,
            "images": images and self._content(images.dataset),
            "split_seed": images and images.split_seed,
            "predictor": self._predictor(self.config.predictor or tags.get(TAG) or model_tags.get(TAG) or BUNDLED),
            "options": {**options, "predictor": None},
        }
        return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def _content(self, dataset: str) -> str:
        """Those of a data set that nobody named may be on another machine: then what is asked is another question."""
        if dataset not in self._contents:
            with suppress(*() if self.images.dataset is not None else (DataError,)):
                self._contents[dataset] = fingerprint(dataset)
        return self._contents.setdefault(dataset, "")

    def _predictor(self, uri: str) -> str:
        """A predictor by what does not move to another one: the bundled one's digest, or a registered version."""
        if uri not in self._contents:
            self._contents[uri] = _bundled() if uri == BUNDLED else _version(self.client, uri)
        return self._contents[uri]


def dataset_tag(images: ImageOptions) -> str:
    """The value of a version's tag that says on which images it was evaluated."""
    return json.dumps({"dataset": images.dataset, "data_root": images.data_root, "split_seed": images.split_seed})


@cache
def _bundled() -> str:
    """The digest of the bundled predictor's description, which has those of its files."""
    description = files("fmce_mlflow.predictor") / "resources" / "fmce_net" / "MLmodel"
    return hashlib.sha256(description.read_bytes()).hexdigest() if description.is_file() else BUNDLED


def _version(client: MlflowClient, uri: str) -> str:
    """The version that a URI of the registry means now; any other URI, or one that means nothing, as it is."""
    if not uri.startswith("models:/") or uri.startswith("models:/m-"):
        return uri
    try:
        parse_model(uri)
        found = find_version(client, uri)
    except FmceError:
        return uri
    return f"models:/{found.name}/{found.version}"
