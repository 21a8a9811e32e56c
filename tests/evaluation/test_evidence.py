"""What a user is told beside the score: by real evaluations of a small network that was trained."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch

from fmce_mlflow.evaluation.evaluate import evaluate_model
from fmce_mlflow.evaluation.findings import Findings
from fmce_mlflow.evaluation.page import evaluation_page
from fmce_mlflow.method.evidence.groups import GROUPS, NAMES
from fmce_mlflow.predictor.flavor import save_model
from fmce_mlflow.runs.run import Run
from tests.conftest import new_client, new_run
from tests.helpers.evaluations import PREPROCESSING, log_model, tracked
from tests.helpers.evidence import STAGES, classed, looking_predictor, reset, trained
from tests.helpers.reports import text

PIXELS, LABELS = classed()
CORPUS = [{"module": "three", "runs": 2, "backbone": "b"}]


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return trained()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, _empty_store: Path) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("evidence")
    save_model(folder / "net", looking_predictor(corpus=CORPUS))
    client = new_client(folder, _empty_store)
    with tracked(client.tracking_uri):
        mlflow.set_experiment("tests")
        yield client, str(folder / "net")


def evaluated(store: Any, network: torch.nn.Module, data: Any, **more: Any) -> tuple[Findings, Any]:
    """What is found of a network, and the run."""
    client, predictor = store
    with mlflow.start_run():
        uri = log_model(network).model_uri
    run_id = new_run(client)
    config = {"predictor": predictor, "modules": STAGES, "saliency": False, "preprocessing": PREPROCESSING, **more}
    found = evaluate_model(Run(client, run_id, lambda _: None), uri, data, config)
    return found, client.get_run(run_id)


def images(targets: np.ndarray | None = LABELS, pixels: np.ndarray = PIXELS) -> Any:
    return mlflow.data.from_images(pixels, targets=targets)


def test_a_stage_that_was_reset_is_where_immaturity_begins(store, network):
    found, run = evaluated(store, reset(copy.deepcopy(network), "two"), images())
    one, two, three = found.modules
    assert two.never_trained and not one.untouched and not three.untouched
    assert found.untrained is two is found.least and two.fmcs == 0 and found.fallen[0] is two
    assert run.data.tags["fmce.first_immature"] == run.data.tags["fmce.least_mature"] == "two"
    assert run.data.metrics["fmce_untouched/two"] == run.data.metrics["fmce_untouched"] == 1
    assert run.data.metrics["fmce_untouched/three"] < 1 and run.data.metrics["fmcs_predicted"] == 0
    assert "it was never trained" in found.summary and "Immaturity begins there" in found.summary
    assert "could be a random draw" in found.summary and "missing: none" in found.looked_at
    page = text(evaluation_page(found))
    assert "two has an FMCS of 0.00: its weights are as an initialisation left them: it was never trained." in page
    assert "Evidence, module by module" in page and "never trained" in page and "Train two" in page


def test_evidence_is_in_the_tables_and_a_predictor_of_all_depths_calls_nothing_early(store, network):
    found, run = evaluated(store, network, images())
    assert found.untrained is None and not any(module.early for module in found.modules)
    modules = mlflow.load_table("fmce_modules.json", run_ids=[run.info.run_id])
    assert modules["untouched"].tolist() == [m.evidence["untouched"] for m in found.modules]
    assert modules["images"].tolist() == [64] * 3 and modules["classes"].tolist() == [4] * 3
    assert modules["gap_drift"].between(0, 1).all() and (modules["alpha"].dropna() > 1).all()
    table = mlflow.load_table("fmce_evidence.json", run_ids=[run.info.run_id])
    assert set(table["module"]) == set(STAGES) and set(table["figure"]) <= set(NAMES)
    assert {"weights", "gap", "place", "outputs", "views", "dropped", "labels"} <= set(table["group"]) <= set(GROUPS)


def test_what_is_missing_is_said_and_a_pool_has_the_weights_before_it(store, network):
    given = reset(copy.deepcopy(network), "three")
    found, _ = evaluated(store, given, images(None), modules=["one.2", "three.2"])
    first, last = found.modules
    assert found.looked_at.endswith("missing: labels.")
    assert first.weightless and not first.untouched and last.untouched and not last.never_trained and last.fmcs == 0
    assert last.said[0] == "It has no weights; the last before it are those of three.1."
    assert "fmce_untouched" not in found.metrics and found.untrained is None


def test_lagging_statistics_are_warned_of_with_what_to_do(store, network):
    given = copy.deepcopy(network)
    for norm in (given.one[1], given.two[1]):
        norm.running_var.mul_(torch.logspace(-3, 3, 16))
    found, _ = evaluated(store, given, images())
    (warning,) = [one for one in found.warnings if one.startswith("BatchNorm's running statistics")]
    assert "the maps of three change by" in warning and "update_bn" in warning
    accuracy = found.modules[0].evidence["label accuracy"]
    assert accuracy > found.images.accuracy + 0.2
    assert f"Accuracy is {found.images.accuracy:.2f} with the model's own statistics, and {accuracy:.2f}" in warning
    right, _ = evaluated(store, network, images())
    assert not [one for one in right.warnings if "running statistics" in one]


def test_few_images_of_few_classes_are_told_beside_the_score(store, network):
    some = np.flatnonzero(LABELS == 1)
    found, _ = evaluated(store, network, images(LABELS[some], PIXELS[some]), modules="three")
    assert found.images.depends == (
        "The scores are from 16 images of 1 of the model's 4 classes by their labels: on more images of all classes "
        "they may be others."
    )
    assert found.images.depends in found.summary and found.images.depends in text(evaluation_page(found))
    assert any(one.startswith("The images are of 1 of the model's 4 classes") for one in found.warnings)
    by_outputs, _ = evaluated(store, network, images(None, PIXELS[some]), modules="three")
    assert "about 1 of the model's 4 classes by its outputs" in by_outputs.images.depends
