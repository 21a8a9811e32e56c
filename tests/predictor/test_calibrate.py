"""A predictor calibrated by recorded runs of one architecture, and the evaluations that use it by themselves."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

import mlflow
import pytest
import torch
from mlflow import MlflowClient

from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.errors import BackboneError, ConfigError, DataError, ModelError, PredictorError, RunError
from fmce_mlflow.evaluation.evaluate import evaluate_model, nested_evaluations
from fmce_mlflow.evaluation.options import EvaluationConfig
from fmce_mlflow.image_dataset.plugin import from_images
from fmce_mlflow.method.fitting.config import CalibrationConfig
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.method.images.split import load_images
from fmce_mlflow.method.networks.architecture import architecture
from fmce_mlflow.predictor.calibrate import ONE_RUN, calibrate, prepare
from fmce_mlflow.predictor.find import find_predictor
from fmce_mlflow.predictor.flavor import Predictor, log_predictor
from fmce_mlflow.predictor.options import BUNDLED, TAG, CalibrationOptions
from fmce_mlflow.predictor.tied import CALIBRATION
from fmce_mlflow.runs.evidence_file import EvidenceReader
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.torch_models import load_torch_model
from tests.conftest import fast_options, new_client, new_run
from tests.helpers.evaluations import PREPROCESSING, log_model, pixels, tracked
from tests.helpers.nets import normed, tiny

LABELLED = {
    "smoothing": "0", "window": "1", "threshold": "0.25", "aggregation": "mean", "rule": "settled", "spacing": "loss",
    "signal": "train", "bag_size": "16",
}  # fmt: skip
"""How the snapshots of `fast_options` are labelled, as a predictor's info says it."""
FEW = CalibrationConfig(passes=3, most=3)


@dataclass(frozen=True)
class Place:
    """Runs of two architectures, models, and a predictor that looks at evidence."""

    client: MlflowClient
    runs: list[str]  # of `tiny`, the last one without evidence
    other: str  # of `normed`
    model: str  # the registered model of the first run
    predictor: str

    def options(self, **more) -> CalibrationOptions:
        given = {"model": self.model, "source_runs": tuple(self.runs[:1]), "predictor": self.predictor, "fit": FEW}
        return CalibrationOptions(**{**given, **more})

    def calibrated(self, training=None, factory="", **more):
        said: list[str] = []
        run = Run(self.client, new_run(self.client), said.append)
        found = calibrate(run, prepare(self.client, self.options(**more), training, factory=factory))
        return found, said

    def evaluated(self, uri=None, **config):
        run = Run(self.client, new_run(self.client), lambda line: None)
        options = EvaluationConfig(modules=("stage",), saliency=False, **config)
        return evaluate_model(run, uri or self.model, from_images(pixels(20)), options)


def trained(client, data=None, **more) -> str:
    run = Run(client, new_run(client), lambda line: None)
    options = fast_options(**more)
    return train_backbone(run, options, data=data or load_images(options)).run_id


@pytest.fixture(scope="module")
def place(tmp_path_factory, _empty_store, data) -> Place:
    client = new_client(tmp_path_factory.mktemp("calibrations"), _empty_store)
    runs = [trained(client, data, evidence=True, register_as="digits")]
    runs += [trained(client, data, evidence=True, training={"seed": 1}), trained(client, data, training={"seed": 2})]
    other = trained(client, data, evidence=True, backbone="tests.helpers.nets:normed")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = SetConfig(members=1, width=16, levels=3, reference=True, evidence=("weights", "fresh", "place"))
        net = SetNet(shape).eval()
    run = Run(client, new_run(client), lambda line: None)
    predictor = f"models:/{log_predictor(run, Predictor(net, {'params': LABELLED}))}"
    return Place(client, runs, other, "models:/digits/1", predictor)


@pytest.fixture(autouse=True)
def _tracking(place):
    with tracked(place.client.tracking_uri):
        yield
    for tag in (TAG,):
        if tag in place.client.get_registered_model("digits").tags:
            place.client.delete_registered_model_tag("digits", tag)


def test_one_recorded_run_calibrates_and_evaluations_use_it_by_themselves(place):
    found, said = place.calibrated()
    client = place.client
    assert found.predictor_uri.startswith("models:/digits-predictor/") and ONE_RUN in found.said
    assert client.get_registered_model("digits").tags[TAG] == found.predictor_uri
    info = find_predictor(found.predictor_uri, client).predictor.info
    assert info[CALIBRATION]["runs"] == place.runs[:1] and info[CALIBRATION]["model"] == place.model
    assert info[CALIBRATION]["architecture"] == architecture(tiny()) and info[CALIBRATION]["modules"] == ["stage"]
    assert info["figures"] == {} and info["corpus"][-1]["backbone"] == "tests.helpers.nets:tiny"
    logged = client.get_run(found.run_id).data
    assert logged.tags["fmce.role"] == "calibration" and logged.metrics["passes"] == FEW.passes
    assert not [name for name in logged.metrics if name.startswith("held_out")]
    assert any("its evaluations use it by themselves" in line for line in said)

    evaluated = place.evaluated()
    assert evaluated.predictor.name == found.predictor_uri
    assert any(f"The predictor is {found.predictor_uri}" in text for text in evaluated.choices)
    assert place.evaluated(predictor=BUNDLED).predictor.name == BUNDLED
    named = place.evaluated(predictor=place.predictor)
    assert named.predictor.name == place.predictor and not [text for text in named.choices if TAG in text]
    by_mlflow = mlflow.models.evaluate(
        place.model,
        from_images(pixels(20)),
        model_type="fmce",
        evaluator_config={"modules": "stage", "saliency": False},
    )
    tags = client.get_run(by_mlflow.run_id).data.tags
    assert tags["fmce.predictor"] == find_predictor(found.predictor_uri, client).identity


def test_of_two_runs_each_is_left_out_and_what_is_gained_is_logged(place):
    found, _ = place.calibrated(source_runs=tuple(place.runs[:2]), tie="none", register_as="pair")
    logged = place.client.get_run(found.run_id).data.metrics
    assert {"held_out/mae", "held_out/before/mae", "held_out/coverage"} <= logged.keys()
    assert f"{logged['held_out/before/mae']:.3f} before, {logged['held_out/mae']:.3f} after" in found.said
    predictor = find_predictor(found.predictor_uri, place.client).predictor
    assert predictor.info["figures"]["run"]["set"]["mae"] == pytest.approx(logged["held_out/mae"])
    assert f"{logged['held_out/before/mae']:.3f} before" in predictor.card
    assert found.tied_to == "" and TAG not in place.client.get_registered_model("digits").tags


def test_a_run_without_evidence_calibrates_by_its_maps_and_says_what_is_lost(place):
    found, said = place.calibrated(source_runs=(place.runs[2],), tie="none")
    assert found.runs == (place.runs[2],)
    assert any("was recorded without evidence" in line and "record(…, evidence=True)" in line for line in said)
    both, _ = place.calibrated(source_runs=(place.runs[0], place.runs[2]), tie="none")
    assert both.runs == (place.runs[0], place.runs[2])


def test_a_predictor_of_maps_alone_is_calibrated_by_maps_alone(place):
    """As those of earlier releases are."""
    net = SetNet(SetConfig(members=1, width=16, levels=3, reference=True)).eval()
    run = Run(place.client, new_run(place.client), lambda line: None)
    before = f"models:/{log_predictor(run, Predictor(net, {'params': LABELLED}))}"
    found, said = place.calibrated(predictor=before, tie="none")
    assert not [line for line in said if "without evidence" in line]
    after = find_predictor(found.predictor_uri, place.client).predictor.net
    assert after.config == net.config and not torch.equal(after.members[0][1].weight, net.members[0][1].weight)


def test_a_version_or_a_model_that_is_not_registered_can_have_its_own(place):
    client = place.client
    found, _ = place.calibrated(tie="version")
    assert client.get_model_version("digits", "1").tags[TAG] == found.predictor_uri
    assert place.evaluated().predictor.name == found.predictor_uri
    client.delete_model_version_tag("digits", "1", TAG)
    model = load_torch_model(place.model, client)
    metadata = {"fmce": {"preprocessing": dict(model.facts.preprocessing)}}
    alone = log_model(model.network, name="alone", metadata=metadata).model_uri
    found, _ = place.calibrated(model=alone)
    assert found.predictor_uri.startswith("models:/m-") and "logged model" in found.tied_to
    assert place.evaluated(alone).predictor.name == found.predictor_uri


@pytest.mark.parametrize(
    "tag", ["models:/digits-predictor/999", "models:/digits/1", "https://example.org/net", "/etc", "models:/a@b"]
)
def test_a_tied_predictor_that_is_none_is_not_used_and_that_is_said(place, tag):
    place.client.set_registered_model_tag("digits", TAG, tag)
    found = place.evaluated()
    assert found.predictor.name == BUNDLED
    assert [text for text in found.warnings if tag in text and "The bundled one is used instead" in text]


def test_one_that_is_calibrated_to_another_architecture_is_not_used(place):
    found, _ = place.calibrated()
    metadata = {"fmce": {"preprocessing": PREPROCESSING}}
    normed_one = log_model(normed().eval(), name="normed", registered_model_name="digits", metadata=metadata).model_uri
    version = max(int(one.version) for one in place.client.search_model_versions("name='digits'"))
    other = place.evaluated(f"models:/digits/{version}")
    assert normed_one and other.predictor.name == BUNDLED
    assert any("calibrated to another architecture" in text for text in other.warnings)
    named = place.evaluated(f"models:/digits/{version}", predictor=found.predictor_uri)
    assert named.predictor.name == found.predictor_uri
    assert any("calibrated to another architecture" in text for text in named.warnings)
    place.client.delete_model_version("digits", str(version))


def test_a_promotion_compares_versions_by_one_predictor(place):
    client = place.client
    found, _ = place.calibrated()
    again = client.create_model_version("digits", client.get_model_version("digits", "1").source, place.runs[0]).version
    client.set_model_version_tag("digits", again, TAG, place.predictor)
    run = Run(client, new_run(client), lambda line: None)
    evaluate = nested_evaluations(run, from_images(pixels(20)), EvaluationConfig(modules=("stage",), saliency=False))
    used = [client.get_run(evaluate(f"models:/digits/{v}")).data.tags["fmce.predictor"] for v in ("1", again)]
    assert used[0] == used[1] == find_predictor(found.predictor_uri, client).identity
    client.delete_model_version("digits", again)


# What cannot work says so before a run is made.


def refused(place, error, match, training=None, factory="", **more):
    with pytest.raises(error, match=match):
        prepare(place.client, place.options(**more), training, factory=factory)


def test_runs_that_are_of_something_else_are_refused(place, data):
    refused(place, RunError, "recorded another architecture than that of models:/digits/1", source_runs=(place.other,))
    refused(place, RunError, "There is no run 'nothing'", source_runs=("nothing",))
    refused(place, RunError, "stage.*Did you mean stage", fast_options(modules=("stag",)))
    with pytest.raises(ConfigError, match="name recorded runs in source-runs"):
        prepare(place.client, place.options(source_runs=()))


def test_a_run_with_another_preprocessing_is_refused(place):
    larger = trained(place.client, image_size=12, evidence=True)
    refused(place, RunError, "prepared its images in another way than models:/digits/1", source_runs=(larger,))


def test_a_run_that_has_not_converged_is_refused(place, data):
    short = trained(place.client, data, evidence=True, training={"epochs": 1, "lr": 1e-5, "warmup_epochs": 0.0})
    refused(place, RunError, "cannot calibrate a predictor: it has no label.*Train it longer", source_runs=(short,))


def test_runs_of_different_modules_are_refused_until_the_common_ones_are_named(place, data):
    wider = trained(place.client, data, evidence=True, modules=("stem", "stage"), training={"seed": 4})
    runs = (place.runs[0], wider)
    refused(place, RunError, "Name the modules that all have, in --modules", source_runs=runs)
    found = prepare(place.client, place.options(source_runs=runs), fast_options(modules=("stage",)))
    assert found.source is not None and set(found.source.bags.table["run_id"]) == set(runs)


def test_a_model_without_the_recorded_module_is_refused(place, data):
    """The same parameters by name, and a pool of another name."""
    pooled = trained(place.client, data, evidence=True, modules=("pool",), training={"seed": 5})
    renamed = OrderedDict(("shrink" if name == "pool" else name, part) for name, part in tiny().named_children())
    other = log_model(torch.nn.Sequential(renamed).eval(), name="renamed").model_uri
    refused(place, RunError, "recorded pool, and .* has no such module", source_runs=(pooled,), model=other)


def test_an_outline_net_is_refused(place):
    from fmce_mlflow.method.fmce_net.config import OutlineConfig
    from fmce_mlflow.method.fmce_net.outline_net import OutlineNet

    run = Run(place.client, new_run(place.client), lambda line: None)
    net = OutlineNet(OutlineConfig(channels=16, height=4, width=4, levels=3, features=8)).eval()
    uri = f"models:/{log_predictor(run, Predictor(net))}"
    refused(place, PredictorError, "cannot be calibrated to other runs. Name one of kind set", predictor=uri)


# The same architecture trained anew.


def test_the_architecture_is_trained_anew_from_fresh_weights(place):
    training = fast_options(backbone="unused", training={"epochs": 6})
    found, said = place.calibrated(training, source_runs=(), seeds=(7,))
    (run_id,) = found.runs
    made = place.client.get_run(run_id)
    assert made.data.tags["mlflow.parentRunId"] == found.run_id and made.data.params["seed"] == "7"
    assert made.data.params["evidence"] == "True" and made.data.params["backbone"] == "tests.helpers.nets:tiny"
    assert sorted(EvidenceReader(place.client, run_id).files) == list(range(13))
    first = place.client.get_run(place.runs[0]).data.params
    assert made.data.params["probe_sha256"] == first["probe_sha256"]  # the preprocessing is the model's
    assert place.client.get_registered_model("digits").tags[TAG] == found.predictor_uri
    assert any("from fresh weights" in line for line in said)


def test_what_cannot_be_trained_says_what_to_do(place):
    network = load_torch_model(place.model, place.client).network
    exported = log_model(network, name="exported", serialization_format="pt2").model_uri
    options = fast_options()
    anew = {"source_runs": (), "model": exported}
    refused(place, ModelError, "is exported .pt2.: its graph has no code.*--backbone", options, **anew)
    refused(place, BackboneError, "builds another network than", options, factory="resnet18", **anew)
    found = prepare(place.client, place.options(**anew), options, factory="tests.helpers.nets:tiny")
    assert found.training is not None and architecture(found.training.network(3)) == architecture(network)
    still = log_model(Still(), name="still").model_uri
    refused(place, ModelError, "cannot be trained", options, source_runs=(), model=still)


class Still(torch.nn.Module):
    """A network that learns nothing."""

    def __init__(self):
        super().__init__()
        self.inner = tiny().eval()

    def forward(self, x):
        with torch.no_grad():
            return self.inner(x)


def test_labels_that_do_not_fit_the_output_are_refused(place):
    three = log_model(tiny(3).eval(), name="three").model_uri
    refused(
        place, DataError, "do not fit the output.*10 classes, and it gives 3 scores", fast_options(), source_runs=(),
        model=three,
    )  # fmt: skip
    named = {"fmce": {"classes": [f"kind {i}" for i in range(10)]}}
    ten = log_model(tiny().eval(), name="ten", metadata=named).model_uri
    refused(place, DataError, "its classes are 10 .kind 0", fast_options(), source_runs=(), model=ten)


def test_another_size_than_the_models_is_refused(place):
    refused(place, ConfigError, "image-size is 16", replace(fast_options(), image_size=16), source_runs=())
