"""What is read of a registry: the newest evaluation of each version, and why others have none."""

from __future__ import annotations

from collections import Counter

import pytest
from mlflow.entities import LoggedModelStatus

from fmce_mlflow.errors import RunError
from fmce_mlflow.method.fmce_net.interval import interval
from fmce_mlflow.runs.metric_names import metric_name
from fmce_mlflow.showing.overview import read_overview
from tests.conftest import new_run
from tests.helpers.evaluations import tracked
from tests.helpers.overviews import NOT_YET, evaluate


@pytest.fixture(autouse=True)
def where_the_registry_looks(client):
    with tracked(client.tracking_uri):
        yield


class Counting:
    """A client that counts the calls of its methods."""

    def __init__(self, client):
        self._client, self.calls = client, Counter()

    def __getattr__(self, name):
        self.calls[name] += 1
        return getattr(self._client, name)


def logged(client, name="model"):
    """The id of a logged model without files."""
    experiment = client.get_experiment_by_name("tests").experiment_id
    made = client.create_logged_model(experiment, name=name)
    client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
    return made.model_id


def registered(client, name, versions, *, run_id=None):
    """A registered model whose versions' sources are folders."""
    client.create_registered_model(name)
    for number in range(1, versions + 1):
        client.create_model_version(name, f"/models/{name}/{number}", run_id=run_id)


def only(client, name="photos", number=1):
    return read_overview(client, name).models[name][number - 1]


def test_the_newest_finished_evaluation_counts(client):
    registered(client, "photos", 2)
    evaluate(client, "models:/photos/1", {"layer4": 0.9})
    newest = evaluate(client, "models:/photos/1", {"layer3": 0.95, "layer4": 0.6}, **{
        "fmce.predictor": "bundled", "fmce.images": "sha256:3f", "fmce.image_set": "64 images of photos",
    })  # fmt: skip
    evaluate(client, "models:/photos/1", {"layer4": 0.1}, status="FAILED")
    client.set_registered_model_alias("photos", "champion", "1")
    found = read_overview(client)
    one, other = found.models["photos"]
    assert one.evaluation.run_id == newest and one.aliases == ("champion",) and one.why == ""
    assert (one.evaluation.predictor, one.evaluation.images) == ("bundled", "sha256:3f")
    assert [(score.module, score.fmcs, score.state) for score in one.evaluation.scores] == [
        ("layer3", 0.95, "likely"), ("layer4", 0.6, "immature"),
    ]  # fmt: skip
    assert one.verdict.module == "layer4" and (one.verdict.low, one.verdict.high) == interval(0.6, 0.05)
    assert other.evaluation is None and other.why == NOT_YET
    assert found.ui == "http://127.0.0.1:5000" and "mlflow ui --backend-store-uri sqlite:///" in found.notes[0]


def test_an_evaluation_by_its_models_id_counts_and_one_of_a_namesake_that_is_gone_does_not(client):
    old, new = logged(client), logged(client)
    for model_id in (old, new):
        client.create_registered_model("photos")
        client.create_model_version("photos", f"models:/{model_id}", model_id=model_id)
        if model_id == old:
            evaluate(client, "models:/photos/1", {"layer4": 0.2}, **{"fmce.model_id": old})
            client.delete_registered_model("photos")
    assert only(client).why == NOT_YET
    mine = evaluate(client, f"models:/{new}", {"layer4": 0.7}, **{"fmce.model_id": new})
    assert only(client).evaluation.run_id == mine


def test_what_was_not_evaluated_says_why(client):
    gone, predictor = logged(client), new_run(client, **{"fmce.role": "fmce_net"})
    registered(client, "photos", 5)
    client.create_model_version("photos", f"models:/{gone}", model_id=gone)
    client.delete_logged_model(gone)
    registered(client, "fmcs", 1, run_id=predictor)
    failed = evaluate(client, "models:/photos/2", {}, status="FAILED")
    evaluate(client, "models:/photos/3", {}, status="KILLED")
    evaluate(client, "models:/photos/4", {})
    client.set_model_version_tag("photos", "5", "fmce.problem", "Its file is damaged.")
    found = read_overview(client)
    assert [one.why for one in found.models["photos"]] == [
        NOT_YET,
        "Its evaluation failed.",
        "Its evaluation was stopped.",
        "Its weights alone were evaluated, without images.",
        "Its file is damaged.",
        f"Its logged model {gone} is deleted.",
    ]
    assert found.models["photos"][1].attempt[1] == failed
    assert found.models["fmcs"][0].why == "It is a predictor, which scores other models."


def test_a_verdict_is_of_what_the_predictor_knows(client):
    registered(client, "photos", 3)
    run_id = evaluate(
        client, "models:/photos/1", {"stem": 0.3, "layer4": 0.95}, std=0.01,
        **{"fmce.unknown_modules": "stem", "fmce.least_mature": "layer4"},
    )  # fmt: skip
    client.log_metric(run_id, "fmcs_predicted", 0.95)
    assert [one.state for one in only(client).evaluation.scores] == ["unknown", "mature"]
    assert only(client).verdict.module == "layer4"
    run_id = evaluate(client, "models:/photos/2", {"layer4": 0.0}, std=0.0)
    client.log_metric(run_id, "fmce_untouched/layer4", 1.0)
    assert only(client, number=2).evaluation.state == "untrained"
    none = new_run(client, **{"fmce.model_uri": "models:/photos/3", "fmce.unknown_modules": "a@1"})
    client.log_metric(none, f"fmcs_predicted/{metric_name('a@1')}", 0.5)
    client.set_terminated(none)
    known = only(client, number=3).evaluation
    assert known.verdict is None and known.state == "unknown" and known.scores[0].state == "unknown"


def test_stages_refusals_and_order(client):
    registered(client, "photos", 11)
    with pytest.warns(FutureWarning, match="stages"):
        client.transition_model_version_stage("photos", "10", "Staging")
    for key, value in {"decision": "refused", "target": "alias champion"}.items():
        client.set_model_version_tag("photos", "11", f"fmce.promotion.{key}", value)
    versions = read_overview(client).models["photos"]
    assert [one.number for one in versions] == list(range(1, 12))
    assert versions[9].stage == "Staging" and versions[10].decision == "refused for alias champion"


def test_the_number_of_calls_does_not_depend_on_the_number_of_versions(client):
    taken = []
    for model, versions in (("few", 2), ("many", 12)):
        registered(client, model, versions)
        for number in range(1, versions, 2):
            evaluate(client, f"models:/{model}/{number}", {"layer4": 0.5})
        counting = Counting(client)
        assert len(read_overview(counting, model).models[model]) == versions
        taken.append(counting.calls)
    assert taken[0] == taken[1] and sum(taken[0].values()) < 10


def test_a_model_that_is_not_there_names_the_near_one(client):
    registered(client, "photos", 1)
    with pytest.raises(RunError, match="Did you mean photos"):
        read_overview(client, "photo")
    assert read_overview(client, "photos", "https://mlflow.example/").ui == "https://mlflow.example"


def test_an_empty_registry_is_empty(client):
    assert read_overview(client).models == {}
