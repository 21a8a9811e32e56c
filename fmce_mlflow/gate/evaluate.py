"""Evaluate a version for a gate, and write the verdict as tags of the version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from mlflow.models.model import MLMODEL_FILE_NAME

from fmce_mlflow.errors import FmceError, ModelError, RunError
from fmce_mlflow.evaluation.evaluate import nested_evaluation
from fmce_mlflow.evaluation.trained_on import chosen_images
from fmce_mlflow.gate.ask import Question, dataset_tag
from fmce_mlflow.gate.survey import Standing
from fmce_mlflow.method.images.config import ImageOptions
from fmce_mlflow.promotion.registry import every, until_committed
from fmce_mlflow.promotion.version_tags import (
    ASKED,
    AT,
    BY,
    DATASET,
    EVALUATION_RUN,
    FMCS,
    HIGH,
    LOW,
    NOT_EVALUATED,
    ON,
    PROBLEM,
    VERDICT,
)
from fmce_mlflow.runs.descriptions import fetch_description
from fmce_mlflow.runs.model_files import lacks
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.torch_models import check_flavor
from fmce_mlflow.safety.credentials import hide_credentials
from fmce_mlflow.safety.retry import passes, short

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_ALL = (FMCS, LOW, HIGH, EVALUATION_RUN, BY, ON, AT, DATASET, PROBLEM, VERDICT, ASKED)


@dataclass(slots=True)
class Evaluator:
    """Evaluates versions as one question asks, with images that are loaded once.

    Attributes:
        question: What is asked.
        load: Loads images.
    """

    question: Question
    load: Callable[[ImageOptions], Any]
    _data: dict[ImageOptions, Any] = field(default_factory=dict)
    _done: dict[str, dict[str, str]] = field(default_factory=dict)
    _warned: set[str] = field(default_factory=set)

    def data(self, images: ImageOptions) -> Any:
        """The images; those used last stay loaded."""
        if images not in self._data:
            self._data = {images: self.load(images)}
        return self._data[images]

    def evaluate(self, run: Run, standing: Standing) -> None:
        """Evaluate a version in a run below that of the gate, or take the run of one that was cut off after that.

        What keeps it from being evaluated becomes a tag too, so that the others go on.
        """
        images = self.question.named_images
        try:
            check_flavor(_description(run.client, standing.uri), standing.uri)
            images, _ = chosen_images(run.client, standing.uri, self.question.images)
            asked = self.question.asked(images, standing.tags, standing.model_tags)
            found = self._finished(run, asked).get(standing.uri) or self._run(run, standing.uri, images, asked)
            tags = {**_verdict(run.client, found), ASKED: asked}
        except Exception as error:  # of any model: it must not keep the others from being evaluated
            tags = {PROBLEM: in_a_line(error), VERDICT: NOT_EVALUATED}
            if not passes(error):  # else it is tried again
                tags[ASKED] = self.question.asked(images, standing.tags, standing.model_tags)
        _write(run.client, standing.version, {**self._dataset(images), **tags})

    def evaluate_anew(self, run: Run, uri: str, like: Standing) -> str:
        """Evaluate the champion on the images and by the predictor of another version; the id of the run."""
        run.say(
            f"  {uri} was evaluated on other images or by another predictor, or not at all: it is evaluated anew, like "
            f"version {like.number}."
        )
        images = self.question.known_images(like.tags)
        config = replace(self.question.config, predictor=self.question.config.predictor or like.tags.get(BY))
        try:
            if images is None:
                raise RunError(f"tag {DATASET} of version {like.number}, which says on which images, is gone")
            return nested_evaluation(run, uri, self.data(images), config)[0]
        except FmceError as error:
            raise RunError(f"{uri}, with which it is to be compared, cannot be evaluated: {error}") from error

    def _dataset(self, images: ImageOptions | None) -> dict[str, str]:
        """The tag that says which images they were, where nobody named them."""
        return {DATASET: dataset_tag(images)} if images and self.question.named_images is None else {}

    def _run(self, run: Run, uri: str, images: ImageOptions, asked: str) -> str:
        below, found = nested_evaluation(run, uri, self.data(images), self.question.config, tags={ASKED: asked})
        for text in dict.fromkeys(found.warnings):
            if text not in self._warned:  # else a gate of many versions says little else
                run.say(f"  Warning: {text}")
        self._warned.update(found.warnings)
        return below

    def _finished(self, run: Run, asked: str) -> dict[str, str]:
        """Evaluations that have finished and were asked the same, by the model's URI."""
        if asked not in self._done:
            experiment = run.fetch().info.experiment_id
            text = f"tags.`{ASKED}` = '{asked}' and attributes.status = 'FINISHED'"
            runs = every(lambda page_token: run.client.search_runs([experiment], text, page_token=page_token))
            self._done[asked] = {one.data.tags.get("fmce.model_uri", ""): one.info.run_id for one in runs}
        return self._done[asked]


def _description(client: MlflowClient, uri: str) -> Any:
    try:
        return fetch_description(uri, client)
    except Exception as error:  # each kind of store has errors of its own
        if lacks(uri, MLMODEL_FILE_NAME, client):
            raise ModelError(f"the files of {uri} are not in its store: was the model deleted?") from None
        raise ModelError(f"the model cannot be fetched: {hide_credentials(error)}") from error


def _verdict(client: MlflowClient, run_id: str) -> dict[str, str]:
    """What a finished evaluation says, as tags of a version."""
    run = client.get_run(run_id)
    ended = datetime.fromtimestamp(run.info.end_time / 1000, timezone.utc).isoformat(timespec="seconds")
    of_run = {LOW: LOW, HIGH: HIGH, FMCS: FMCS, BY: "fmce.predictor", ON: ON}
    found = {tag: run.data.tags[name] for tag, name in of_run.items() if name in run.data.tags}
    return {**found, EVALUATION_RUN: run_id, AT: ended, VERDICT: run.data.tags[VERDICT]}


def _write(client: MlflowClient, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Set a version's tags, the one that says it is done last; those of an earlier evaluation go."""
    for tag in _ALL:
        if tag in version.tags and tag not in tags:
            until_committed(client.delete_model_version_tag, version.name, version.version, tag)
    for tag, value in tags.items():
        until_committed(client.set_model_version_tag, version.name, version.version, tag, value)


def in_a_line(error: Exception) -> str:
    """What an error says, as a tag can hold it."""
    text = hide_credentials(error) if isinstance(error, FmceError) else short(error)
    return " ".join(text.split())[:2000]
