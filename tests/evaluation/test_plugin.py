from __future__ import annotations

import itertools
import json
import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import EvaluationResult, MetricThreshold
from torch import nn

from fmce_mlflow.errors import ArtifactError, ConfigError, DataError, FmceError, ModelError, PredictorError, RunError
from fmce_mlflow.evaluation.evaluate import evaluate_model
from fmce_mlflow.evaluation.options import EvaluationConfig
from fmce_mlflow.evaluation.plugin import FmceEvaluator
from fmce_mlflow.image_dataset.classifier import image_classifier
from fmce_mlflow.method.images.input_batches import Batch
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.saliency.grad_cam import focus, grad_cam
from fmce_mlflow.method.scoring.score_modules import bag_order, score_modules
from fmce_mlflow.predictor.find import KEPT, _kept, find_predictor
from fmce_mlflow.predictor.flavor import log_predictor, save_model
from fmce_mlflow.runs.metric_names import metric_name
from fmce_mlflow.runs.run import Run
from tests.conftest import new_run
from tests.helpers.evaluations import (
    IMAGES,
    as_input,
    log_model,
    make_predictor,
    make_store,
    pixels,
    seeded_tiny,
    tracked,
    write_files,
)
from tests.helpers.nets import TwoMaps, tiny
from tests.helpers.servers import tracking_server

FORMATS = ["pickle", "pt2", "pt2 of one image"]
TARGETS = np.arange(IMAGES) % 10
ARTIFACTS = {"fmce_modules", "fmce_samples", "fmce_report"}


pytestmark = pytest.mark.usefixtures("store")


def evaluate(model, data, store, call=mlflow.models.evaluate, **more):
    """As a user would; gives the result and its run."""
    arguments = {"model_type": "fmce", "evaluators": "fmce", "evaluator_config": store.config(), **more}
    with mlflow.start_run() as run:
        result = call(model, data, **arguments)
    return result, mlflow.get_run(run.info.run_id)


def images(**more):
    return mlflow.data.from_images(pixels(), **more)


def refusal(model, data, store, error=None, **config) -> str:
    """The message of an evaluation that cannot be, and that it is of the kind that the method's own users get."""
    with pytest.raises(MlflowException) as caught:
        evaluate(model, data, store, evaluator_config=store.config(**config))
    if error is not None:
        assert isinstance(caught.value.__cause__, error)
        assert str(caught.value.__cause__) in str(caught.value)
    return str(caught.value)


# The matrix: formats of models, forms of data, forms of the call


def frame(column, **more) -> pd.DataFrame:
    return pd.DataFrame({"image": column, **more})


def as_bytes(folder: Path) -> list[bytes]:
    return [Path(path).read_bytes() for path in write_files(folder, pixels())]


DATA = {
    "from_images uint8 NHWC": lambda folder: images(targets=TARGETS),
    "from_images float NCHW": lambda folder: mlflow.data.from_images(as_input(pixels())),
    "from_images paths": lambda folder: mlflow.data.from_images(write_files(folder, pixels()), targets=TARGETS),
    "from_images folder": lambda folder: (write_files(folder, pixels()), mlflow.data.from_images(folder))[1],
    "frame of arrays": lambda folder: frame(list(pixels())),
    "frame of paths": lambda folder: frame(write_files(folder, pixels())),
    "frame of bytes": lambda folder: frame(as_bytes(folder)),
    "2-D array": lambda folder: as_input(pixels()).reshape(IMAGES, -1),
}


def call_fmce(uri, data, store):
    return evaluate(uri, data, store)


def call_deprecated(uri, data, store):
    with pytest.warns(FutureWarning):
        return evaluate(uri, data, store, call=mlflow.evaluate)


def call_loaded(uri, data, store):
    return evaluate(mlflow.pyfunc.load_model(uri), data, store)


def call_version(uri, data, store):
    version = 1 + FORMATS.index(next(name for name, known in store.uris.items() if known == uri))
    return evaluate(f"models:/tiny/{version}", data, store)


def call_alias(uri, data, store):
    version = 1 + FORMATS.index(next(name for name, known in store.uris.items() if known == uri))
    store.client.set_registered_model_alias("tiny", "asked", str(version))
    return evaluate("models:/tiny@asked", data, store)


def call_run(uri, data, store):
    """A URI of runs:/ names the model that was logged last under the name."""
    run_id = store.client.get_logged_model(uri.removeprefix("models:/")).source_run_id
    return evaluate(f"runs:/{run_id}/model", data, store)


CALLS = {
    "models:/m-": call_fmce,
    "deprecated": call_deprecated,
    "loaded": call_loaded,
    "version": call_version,
    "alias": call_alias,
    "runs:/": call_run,
}


def check(store, form, data, call, folder) -> None:
    uri = store.uris[form]
    result, run = CALLS[call](uri, DATA[data](folder), store)
    model_id = run.inputs.model_inputs[0].model_id
    if call != "runs:/":
        assert f"models:/{model_id}" == uri
    want = expected_score()
    assert result.metrics["fmcs_predicted"] == pytest.approx(want, abs=2e-3)  # 8 bits in files, none in floats
    assert result.metrics == run.data.metrics
    labelled = "label" in result.artifacts["fmce_samples"].content
    names = {"fmcs_predicted", "fmcs_predicted/stage", "fmcs_std/stage", *(["fmce_accuracy"] if labelled else [])}
    assert names == set(result.metrics)
    tied = {(m.key, m.run_id) for m in store.client.get_logged_model(model_id).metrics}
    assert {(name, run.info.run_id) for name in result.metrics} <= tied
    assert set(result.artifacts) == ARTIFACTS
    assert run.data.tags["fmce.role"] == "evaluation" and run.data.tags["fmce.predictor"] == store.predictor
    samples = result.artifacts["fmce_samples"].content
    assert samples["image"].tolist() == list(range(IMAGES)) and samples["score"].notna().all()


def expected_score() -> float:
    """Computed by hand: the same bags, one after the other."""
    net = make_predictor().net
    order, sizes = bag_order(IMAGES, bag_size=16, seed=0)
    inputs = torch.from_numpy(as_input(pixels()))
    with capture(seeded_tiny(), ["stage"]) as forward:
        maps = forward(inputs)[1]["stage"]
    return float(np.mean([net.predict(maps[part]).fmcs for part in np.split(order, np.cumsum(sizes)[:-1])]))


# Every form of data with every format once, and every call with every format once.
PAIRS = [
    *((form, data, "models:/m-") for i, data in enumerate(DATA) for form in [FORMATS[i % 3]]),
    *((form, list(DATA)[i % 2], call) for i, call in enumerate(CALLS) for form in [FORMATS[(i + 1) % 3]]),
]


@pytest.mark.parametrize(("form", "data", "call"), PAIRS)
def test_evaluates(store, tmp_path, form, data, call):
    check(store, form, data, call, tmp_path / "files")


@pytest.mark.slow
@pytest.mark.parametrize(("form", "data", "call"), itertools.product(FORMATS, DATA, CALLS))
def test_evaluates_in_every_combination(store, tmp_path, form, data, call):
    check(store, form, data, call, tmp_path / "files")


@pytest.mark.parametrize("form", FORMATS)
def test_beside_the_default_evaluator(store, form):
    result, run = evaluate(
        image_classifier(store.uris[form]),
        images(targets=TARGETS),
        store,
        model_type="classifier",
        evaluators=["default", "fmce"],
        evaluator_config={"fmce": store.config(), "default": {"log_model_explainability": False}},
    )
    assert {"accuracy_score", "fmcs_predicted", "fmcs_std/stage"} <= set(result.metrics)
    assert result.metrics["fmcs_predicted"] == pytest.approx(expected_score(), abs=1e-3)
    assert set(result.artifacts) >= ARTIFACTS and "confusion_matrix" in result.artifacts
    assert run.data.metrics["fmcs_predicted"] == result.metrics["fmcs_predicted"]
    labels = result.artifacts["fmce_samples"].content["label"]
    assert labels.tolist() == TARGETS.tolist()


def test_a_threshold_gates_on_it(store):
    result, _ = evaluate(store.uris["pickle"], images(), store)
    score = result.metrics["fmcs_predicted"]
    mlflow.validate_evaluation_results(
        {"fmcs_predicted": MetricThreshold(threshold=score - 0.01, greater_is_better=True)}, result
    )
    with pytest.raises(MlflowException, match="fmcs_predicted"):
        mlflow.validate_evaluation_results(
            {"fmcs_predicted": MetricThreshold(threshold=score + 0.01, greater_is_better=True)}, result
        )


def test_the_result_can_be_saved_and_loaded(store, tmp_path):
    result, _ = evaluate(store.uris["pickle"], images(), store, evaluator_config=store.config(saliency=4))
    result.save(str(tmp_path / "kept"))
    again = EvaluationResult.load(str(tmp_path / "kept"))
    assert again.metrics == result.metrics and set(again.artifacts) == {*ARTIFACTS, "fmce_saliency"}
    for name in ("fmce_modules", "fmce_samples"):
        pd.testing.assert_frame_equal(
            again.artifacts[name].content, result.artifacts[name].content, check_dtype=False, atol=1e-9
        )
    assert again.artifacts["fmce_report"].content == result.artifacts["fmce_report"].content
    assert again.artifacts["fmce_saliency"].content.size[0] > 100


def test_artifacts_are_where_mlflow_looks_for_them(store):
    result, run = evaluate(store.uris["pickle"], images(), store, evaluator_config=store.config(saliency=4))
    run_id = run.info.run_id
    names = {file.path for file in store.client.list_artifacts(run_id)}
    assert names == {"fmce_modules.json", "fmce_samples.json", "fmce_report.html", "fmce_saliency.png"}
    for name in ("fmce_modules", "fmce_samples"):
        stored = mlflow.load_table(f"{name}.json", run_ids=[run_id])
        assert stored.shape == result.artifacts[name].content.shape
        assert store.client.get_run(run_id).info.artifact_uri in result.artifacts[name].uri
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("**FMCE**") and "stage: FMCS " in note and "fmce_report.html" in note
    tables = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert [one["path"] for one in tables] == ["fmce_modules.json", "fmce_samples.json"]


# What a call is that asks for fmce


def call_other(store, **more):
    """An evaluation of others: predictions in a table."""
    data = pd.DataFrame({"prediction": [0, 1, 1, 0] * 4, "y": [0, 1, 0, 0] * 4})
    return mlflow.models.evaluate(data=data, predictions="prediction", targets="y", model_type="classifier", **more)


@pytest.mark.parametrize("more", [{}, {"evaluators": "default"}, {"evaluator_config": {"log_explainer": False}}])
def test_calls_of_others_are_left_alone(store, more):
    with mlflow.start_run() as run:
        result = call_other(store, **more)
    assert "accuracy_score" in result.metrics and not [name for name in result.metrics if "fmcs" in name]
    assert "fmce.role" not in mlflow.get_run(run.info.run_id).data.tags


@pytest.mark.parametrize(
    "more",
    [
        {"evaluators": "fmce"},
        {"evaluators": ["default", "fmce"]},
        {"evaluator_config": {"fmce": {"modules": "stage"}}},
        {"evaluator_config": {"fmce": {"predictor": "models:/x/1"}}, "evaluators": ["fmce"]},
    ],
)
def test_calls_that_ask_for_it_in_any_way_are_answered(store, more):
    with mlflow.start_run(), pytest.raises(MlflowException) as caught:
        call_other(store, **more)
    assert isinstance(caught.value.__cause__, FmceError)


def test_the_model_type_alone_asks_for_it(store):
    with mlflow.start_run():
        result = mlflow.models.evaluate(
            store.uris["pickle"], images(), model_type="fmce", evaluator_config=store.config()
        )
    assert "fmcs_predicted" in result.metrics


def test_the_plugin_loads_no_torch_and_little_time():
    code = (
        "import sys, time, mlflow.models.evaluation.base\n"
        "for name in [n for n in sys.modules if n.startswith('fmce_mlflow')]: del sys.modules[name]\n"
        "from importlib.metadata import entry_points\n"
        "(entry,) = entry_points(group='mlflow.model_evaluator', name='fmce')\n"
        "start = time.process_time()\n"
        "entry.load()().can_evaluate(model_type='classifier', evaluator_config={})\n"
        "print((time.process_time() - start) * 1000)\n"
        "from mlflow.models import list_evaluators\n"
        "print('fmce' in list_evaluators(), 'torch' in sys.modules, 'matplotlib' in sys.modules)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert float(found[0]) < 50 and found[1:3] == ["True", "False"]


COST_TO_OTHERS = """
import importlib.metadata, sys, time
import importlib_metadata  # MLflow and what it imports use either

spent = {}

def timed(load):
    def call(entry):
        start = time.process_time()
        try:
            return load(entry)
        finally:
            if entry.value.startswith("fmce_mlflow"):
                spent[entry.group, entry.name] = time.process_time() - start
    return call

for module in (importlib.metadata, importlib_metadata):
    module.EntryPoint.load = timed(module.EntryPoint.load)
import mlflow, pandas as pd

mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("tests")
data = pd.DataFrame({"prediction": [0, 1, 1, 0] * 4, "y": [0, 1, 0, 0] * 4})
with mlflow.start_run():
    result = mlflow.models.evaluate(data=data, predictions="prediction", targets="y", model_type="classifier")
assert "accuracy_score" in result.metrics and not any("fmc" in name for name in result.metrics)
print(1000 * sum(spent.values()), ("mlflow.model_evaluator", "fmce") in spent, "torch" in sys.modules)
"""


def test_an_evaluation_of_others_pays_little_for_all_plugins(store):
    """Every plugin of this package that MLflow loads from its own import to the end of somebody's evaluation."""
    command = [sys.executable, "-c", COST_TO_OTHERS, store.client.tracking_uri]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-3:]
    assert float(found[0]) < 50 and found[1:] == ["True", "False"]


# Figures


def test_focus_and_figure_are_those_of_grad_cam(store):
    result, _ = evaluate(store.uris["pickle"], images(), store, evaluator_config=store.config(saliency=IMAGES))
    want = focus(grad_cam(seeded_tiny(), "stage", torch.from_numpy(as_input(pixels()))))
    samples = result.artifacts["fmce_samples"].content
    np.testing.assert_allclose(samples["focus"], want, atol=1e-4)
    assert result.metrics["focus/stage"] == pytest.approx(want.mean(), abs=1e-4)
    assert result.artifacts["fmce_saliency"].content.size[0] > 500


def test_focus_is_the_same_of_every_format(store):
    found = [
        evaluate(store.uris[form], images(), store, evaluator_config=store.config(saliency=6))[0].metrics["focus/stage"]
        for form in FORMATS
    ]
    assert found == pytest.approx([found[0]] * 3, abs=1e-3)


def test_the_asked_class_decides_what_grad_cam_shows(store):
    found = {}
    for target in (0, 1, "label", None):
        result, _ = evaluate(
            store.uris["pickle"],
            images(targets=np.zeros(IMAGES, int)),
            store,
            evaluator_config=store.config(saliency=8, saliency_target=target),
        )
        found[target] = result.artifacts["fmce_samples"].content["focus"].dropna().tolist()
    assert found[0] == pytest.approx(found["label"]) and found[0] != pytest.approx(found[1])


def test_several_modules_make_a_table_and_the_least_mature_gives_the_figure(store):
    result, run = evaluate(store.uris["pickle"], images(), store, evaluator_config=store.config(modules="st*,norm"))
    table = result.artifacts["fmce_modules"].content
    assert table["module"].tolist() == ["stem", "norm", "stage"]  # as the network calls them
    least = table.loc[table["fmcs"].idxmin()]
    assert result.metrics["fmcs_predicted"] == least["fmcs"] and run.data.tags["fmce.least_mature"] == least["module"]
    assert table["fmcs"].nunique() == 3
    for row in table.itertuples():
        assert result.metrics[f"fmcs_predicted/{row.module}"] == row.fmcs
        assert result.metrics[f"fmcs_std/{row.module}"] == row.std
        assert 0 <= row.low <= row.fmcs <= row.high <= 1
        assert sum(getattr(row, f"level_{k}") for k in range(5)) == pytest.approx(1)
    samples = result.artifacts["fmce_samples"].content
    assert samples["score"].tolist() == samples[f"score/{least['module']}"].tolist()


def test_a_module_with_several_outputs_has_a_row_for_each(store):
    with mlflow.start_run():
        uri = log_model(TwoMaps().eval()).model_uri
    result, _ = evaluate(
        uri, images(), store, evaluator_config=store.config(modules=["neck"], preprocessing="scale", saliency=4)
    )
    assert result.artifacts["fmce_modules"].content["module"].tolist() == ["neck.0", "neck.1"]
    assert {"focus/neck.0", "focus/neck.1"} <= set(result.metrics)


def test_a_split_folder_is_evaluated_on_its_held_out_images_and_says_so(store, tmp_path, caplog):
    for part, count in (("train", IMAGES), ("test", IMAGES - 4)):
        (tmp_path / part).mkdir()
        write_files(tmp_path / part / "cat", pixels()[:count])
    with caplog.at_level(logging.INFO, logger="mlflow.fmce"):
        _, run = evaluate(store.uris["pickle"], mlflow.data.from_images(tmp_path), store)
    assert f"The images are those in {tmp_path / 'test'}, which are held out" in caplog.text
    assert json.loads(run.inputs.dataset_inputs[0].dataset.profile)["num_images"] == IMAGES - 4


def test_the_choice_of_a_module_is_said(store, caplog):
    with caplog.at_level(logging.INFO, logger="mlflow.fmce"):
        result, _ = evaluate(store.uris["pickle"], images(), store, evaluator_config={"predictor": store.predictor})
    assert result.artifacts["fmce_modules"].content["module"].tolist() == ["stage"]
    assert "No module is named, so the last feature stage is evaluated: stage." in caplog.text
    assert "No module is named" in result.artifacts["fmce_report"].content


def test_a_module_from_the_middle_of_a_network_is_warned_of(store, caplog, tmp_path):
    """The bundled predictor's corpus has last stages alone."""
    save_model(tmp_path / "net", make_predictor(corpus=[{"module": "stage", "runs": 2, "backbone": "b"}]))
    config = store.config(predictor=str(tmp_path / "net"), modules="st*,norm")
    for form in ("pickle", "pt2"):
        result, _ = evaluate(store.uris[form], images(), store, evaluator_config=config)
        assert result.artifacts["fmce_modules"].content["early"].tolist() == [True, True, False]
        assert "Modules stem, norm lie earlier in the network than its last feature stage, stage" in caplog.text
        caplog.clear()
    page = result.artifacts["fmce_report"].content
    assert "stem (?)" in page and "stage (?)" not in page and "with a predictor that knows such modules" in page
    caplog.clear()
    corpus = [{"module": name, "runs": 2, "backbone": "b"} for name in ("stage", "middle")]
    save_model(tmp_path / "wide", make_predictor(corpus=corpus))
    result, _ = evaluate(
        store.uris["pickle"], images(), store, evaluator_config={**config, "predictor": str(tmp_path / "wide")}
    )
    assert "earlier" not in caplog.text and not result.artifacts["fmce_modules"].content["early"].any()


class OnePosition(nn.Module):
    def __init__(self):
        super().__init__()
        self.stage, self.head = nn.Conv2d(3, 4, 8), nn.Linear(4, 10)

    def forward(self, x):
        return self.head(self.stage(x).relu().flatten(1))


def test_grad_cam_that_shows_nothing_is_explained(store, caplog):
    with mlflow.start_run():
        uri = log_model(OnePosition().eval()).model_uri
    result, _ = evaluate(uri, images(), store, evaluator_config=store.config(preprocessing="scale", saliency=4))
    assert result.metrics["focus/stage"] == 0
    assert "Grad-CAM shows nothing in stage: the map has a single position" in caplog.text


def test_the_page_names_the_registered_version(store):
    """MLflow hands over a model's id alone."""
    result, _ = evaluate("models:/tiny/1", images(), store)
    page = result.artifacts["fmce_report"].content
    assert "<h1>models:/tiny/1</h1>" in page and store.uris["pickle"].removeprefix("models:/") in page
    with mlflow.start_run():
        uri = log_model(tiny().eval()).model_uri
    result, _ = evaluate(uri, images(), store, evaluator_config=store.config(preprocessing="scale"))
    assert f"<h1>{uri}</h1>" in result.artifacts["fmce_report"].content


def test_more_bags_spread_less_and_the_seed_decides(store):
    found = [
        evaluate(store.uris["pickle"], images(), store, evaluator_config=store.config(seed=seed))[0].metrics
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]


def test_a_smaller_probe_is_drawn_of_the_images(store, caplog):
    with caplog.at_level(logging.INFO, logger="mlflow.fmce"):
        result, _ = evaluate(
            store.uris["pickle"], images(), store, evaluator_config=store.config(probe_size=9, saliency=3)
        )
    samples = result.artifacts["fmce_samples"].content
    assert len(samples) == 9 and samples["image"].is_monotonic_increasing and samples["focus"].notna().sum() == 3
    assert "9 of 24 images are used" in caplog.text


# Who trained the model


@dataclass
class FakeLightningConfig:
    lr: float


class Lit(nn.Module):
    """What a LightningModule looks like to PyTorch: hyperparameters and methods beside the network."""

    def __init__(self) -> None:
        super().__init__()
        self.hparams, self.trainer, self.example_input_array = FakeLightningConfig(0.1), None, torch.zeros(1, 3, 8, 8)
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.backbone(x).mean((2, 3)))

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])


def test_a_lightning_like_module(store):
    with mlflow.start_run():
        uri = log_model(Lit()).model_uri
    result, _ = evaluate(
        uri, images(), store, evaluator_config={"predictor": store.predictor, "preprocessing": "scale"}
    )
    assert set(result.metrics) == {"fmcs_predicted", "fmcs_predicted/backbone", "fmcs_std/backbone", "focus/backbone"}


@pytest.mark.parametrize("name", ["test_resnet.r160_in1k", "test_vit.r160_in1k"])
def test_models_of_timm(store, name):
    timm = pytest.importorskip("timm")
    network = timm.create_model(name, pretrained=False, num_classes=5).eval()
    size = network.default_cfg["input_size"][1]
    with mlflow.start_run():
        uri = log_model(network, input_example=np.zeros((2, 3, size, size), np.float32)).model_uri
    result, _ = evaluate(
        uri, images(), store,
        evaluator_config={"predictor": store.predictor, "preprocessing": "imagenet", "probe_size": 16, "saliency": 2},
    )  # fmt: skip
    (module,) = result.artifacts["fmce_modules"].content["module"]
    assert 0 <= result.metrics[f"fmcs_predicted/{module}"] <= 1 and f"focus/{module}" in result.metrics


def test_half_precision(store):
    with mlflow.start_run():
        uri = log_model(seeded_tiny().half(), input_example=np.zeros((2, 3, 8, 8), np.float16)).model_uri
    result, _ = evaluate(uri, images(), store, evaluator_config=store.config(preprocessing="scale"))
    full, _ = evaluate(store.uris["pickle"], images(), store, evaluator_config=store.config(preprocessing="scale"))
    assert result.metrics["fmcs_predicted"] == pytest.approx(full.metrics["fmcs_predicted"], abs=0.02)


class Boxes(nn.Module):
    def __init__(self):
        super().__init__()
        self.stage = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        maps = self.stage(x).relu()
        return [{"scores": one.mean((1, 2))} for one in maps]


def test_a_model_with_a_detector_like_output_says_why_there_is_no_grad_cam(store, caplog):
    with mlflow.start_run():
        uri = log_model(Boxes().eval(), input_example=None).model_uri
    config = {"preprocessing": {"mean": 0.5, "std": 0.5, "height": 8, "width": 8}}
    result, _ = evaluate(uri, images(), store, evaluator_config=store.config(**config, saliency=None))
    assert "There is no Grad-CAM" in caplog.text and "Pass targets" in caplog.text
    assert "fmce_saliency" not in result.artifacts and "fmcs_predicted" in result.metrics
    assert "no class score" in refusal(uri, images(), store, **config, saliency=True)
    asked, _ = evaluate(
        uri, images(), store,
        evaluator_config=store.config(**config, saliency=4, saliency_target=lambda out: out["scores"].sum()),
    )  # fmt: skip
    assert "focus/stage" in asked.metrics


def test_a_model_of_this_project_has_its_measured_score(store, tmp_path):
    from fmce_mlflow.backbone.train import train_backbone
    from tests.conftest import fast_options

    run_id = new_run(store.client)
    trained = train_backbone(Run(store.client, run_id, lambda text: None), fast_options(log_checkpoints=True))
    logged = {m.step: m.model_id for m in store.client.get_run(run_id).outputs.model_outputs}
    labels = {m.step: m.value for m in store.client.get_metric_history(run_id, "fmcs")}
    data = mlflow.data.from_images(pixels(40))
    for step, model_id in logged.items():
        result, _ = evaluate(f"models:/{model_id}", data, store)
        assert result.metrics["fmcs_measured"] == labels[step]
        assert result.artifacts["fmce_modules"].content["measured"].tolist() == [labels[step]]
    assert len(set(labels.values())) > 1 and trained.model_uri == f"models:/{logged[max(logged)]}"
    store.client.delete_run(run_id)


def test_a_source_run_on_another_server_is_said(store, caplog):
    metadata = {"fmce": {"source_run": "0" * 32, "snapshot": 3}}
    with mlflow.start_run():
        uri = log_model(tiny().eval(), metadata=metadata).model_uri
    result, _ = evaluate(uri, images(), store, evaluator_config=store.config(preprocessing="scale"))
    assert "fmcs_measured" not in result.metrics and f"{'0' * 32}, is not on" in caplog.text


# Predictors


def test_a_predictor_is_read_once_and_a_moved_name_gives_the_new_one(store):
    _kept.clear()
    first = find_predictor(store.predictor)
    assert find_predictor(store.predictor).predictor is first.predictor and first.identity == store.predictor
    run = new_run(store.client)
    ids = [log_predictor(Run(store.client, run), make_predictor(seed)) for seed in (1, 2)]
    for i, model_id in enumerate(ids):
        mlflow.register_model(f"models:/{model_id}", "net")
        store.client.set_registered_model_alias("net", "best", str(i + 1))
        found = find_predictor("models:/net@best")
        assert found.identity == f"models:/{model_id}"
    assert torch.equal(found.predictor.net.members[0][1].weight, make_predictor(2).net.members[0][1].weight)
    for seed in range(3, 3 + KEPT):
        log = log_predictor(Run(store.client, run), make_predictor(seed))
        find_predictor(f"models:/{log}")
    assert len(_kept) == KEPT
    assert find_predictor(store.predictor).predictor is not first.predictor


def test_a_predictor_from_a_folder(store, tmp_path):
    save_model(tmp_path / "net", make_predictor())
    result, _ = evaluate(
        store.uris["pickle"], images(), store, evaluator_config=store.config(predictor=str(tmp_path / "net"))
    )
    assert result.metrics["fmcs_predicted"] == pytest.approx(expected_score(), abs=1e-4)


def test_what_is_no_predictor(store):
    text = refusal(store.uris["pickle"], images(), store, PredictorError, predictor=store.uris["pickle"])
    assert "is no FMCE-Net: its MLflow flavors are" in text
    text = refusal(store.uris["pickle"], images(), store, PredictorError, predictor="models:/nobody/3")
    assert "'models:/nobody/3' cannot be fetched" in text


def test_a_predictor_of_something_else_is_warned_of_with_the_distance(store, caplog, tmp_path):
    strange = make_predictor()
    strange.net.scale.fill_(0.01)
    save_model(tmp_path / "net", strange)
    config = store.config(predictor=str(tmp_path / "net"))
    result, _ = evaluate(store.uris["pickle"], images(), store, evaluator_config=config)
    table = result.artifacts["fmce_modules"].content
    assert table["far"].tolist() == [True] and table["distance"][0] > 2
    assert f"Module stage lies {table['distance'][0]:.1f} from the corpus" in caplog.text
    assert "corpus" in result.artifacts["fmce_report"].content
    near, _ = evaluate(store.uris["pickle"], images(), store)
    assert near.artifacts["fmce_modules"].content["far"].tolist() == [False]


def test_the_distance_is_one_within_the_corpus():
    net = make_predictor().net
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(5, 3, (2000, len(net.mean)))).float()
    net.mean.copy_(features.mean(0))
    net.scale.copy_(features.std(0))
    assert net.distance(features) == pytest.approx(1, abs=0.01)
    assert net.distance(features + 9) > 2.5


# Bad input


def test_unknown_modules_name_the_near_ones(store):
    assert "no module 'stagee'. Did you mean stage" in refusal(store.uris["pt2"], images(), store, modules="stagee")
    assert "fits no module" in refusal(store.uris["pickle"], images(), store, modules="layer*")


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.stage, self.spare = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.stage(x).mean((2, 3))


def test_a_module_that_is_never_called(store):
    with mlflow.start_run():
        uri = log_model(Unused().eval()).model_uri
    text = refusal(uri, images(), store, modules="spare", preprocessing="scale")
    assert "'spare' was not called" in text
    assert "is no feature map" in refusal(store.uris["pickle"], images(), store, modules="head")


def test_all_wrong_options_are_told_at_once(store):
    text = refusal(store.uris["pickle"], images(), store, ConfigError, batch_size=0, probe_sise=3, saliency="yes")
    assert "no option 'probe_sise'. Did you mean probe_size" in text
    assert "batch_size must be" in text and "saliency must be" in text


def test_keys_of_mlflows_own_evaluators_are_none_of_ours():
    assert EvaluationConfig.read({"log_model_explainability": False, "col_mapping": {}}) == EvaluationConfig()


def test_one_image_makes_no_bag(store):
    one = mlflow.data.from_images(pixels(1))
    text = refusal(store.uris["pickle"], one, store, PredictorError)
    assert "at least 2 images, got 1" in text


def test_two_images_do(store):
    result, _ = evaluate(store.uris["pickle"], mlflow.data.from_images(pixels(2)), store)
    assert 0 <= result.metrics["fmcs_predicted"] <= 1


def test_empty_data(store):
    with mlflow.start_run(), pytest.raises((MlflowException, FmceError), match=r"no images|empty"):
        mlflow.models.evaluate(
            store.uris["pickle"], frame([]), model_type="fmce", evaluators="fmce", evaluator_config=store.config()
        )


def test_nan_pixels_are_named(store):
    bad = as_input(pixels())
    bad[7, 0, 3, 3] = np.nan
    text = refusal(store.uris["pickle"], mlflow.data.from_images(bad), store, DataError)
    assert "7" in text and "NaN" in text


def test_wrong_channels_and_sizes(store):
    four = mlflow.data.from_images(np.zeros((6, 4, 8, 8), np.float32), layout="NCHW")
    text = refusal(store.uris["pickle"], four, store, DataError)
    assert "(4, 8, 8)" in text and "(3, 8, 8)" in text
    text = refusal(store.uris["pt2"], mlflow.data.from_images(np.zeros((6, 3, 12, 12), np.float32)), store)
    assert "12" in text and "8" in text


def test_a_model_without_signature_says_what_it_cannot_take(store):
    with mlflow.start_run():
        uri = log_model(tiny().eval(), signature=False, input_example=None).model_uri
    gray = mlflow.data.from_images(np.zeros((6, 1, 8, 8), np.float32))
    text = refusal(uri, gray, store, ModelError)
    assert "cannot take these images, float32 of shape (2, 1, 8, 8)" in text and "channels" in text


def test_images_without_preprocessing(store):
    with mlflow.start_run():
        uri = log_model(tiny().eval()).model_uri
    assert "preprocessing" in refusal(uri, images(), store, ConfigError)


def test_a_model_without_signature_takes_images_at_their_own_size(store):
    """Issue 4: a preprocessing of mean and std was refused for want of a size, for float images too."""
    with mlflow.start_run():
        uri = log_model(tiny().eval(), signature=False, input_example=None).model_uri
    scale = {"mean": 0.5, "std": 0.5}
    for data in (images(), mlflow.data.from_images(as_input(pixels()))):
        result, _ = evaluate(uri, data, store, evaluator_config=store.config(preprocessing=scale))
        assert 0 <= result.metrics["fmcs_predicted"] <= 1
    mixed = [pixels(1)[0], pixels(1)[0][:4]] * 4
    text = refusal(uri, mlflow.data.from_images(mixed), store, ConfigError, preprocessing=scale)
    assert "lacks height, and neither the model's signature nor one size of all images says it" in text
    floats = [image.transpose(2, 0, 1).astype(np.float32) for image in mixed]
    text = refusal(uri, mlflow.data.from_images(floats), store, DataError, preprocessing=scale)
    assert "Images are of several sizes: image 0 is (C, H, W) = (3, 8, 8), image 1 (3, 4, 8)" in text


def test_floats_that_look_like_bytes_are_warned_of(store, caplog):
    data = mlflow.data.from_images(pixels().transpose(0, 3, 1, 2).astype(np.float32))
    with caplog.at_level(logging.WARNING, logger="mlflow.fmce"):
        evaluate(store.uris["pickle"], data, store)
    assert "as unscaled 8-bit pixels do" in caplog.text


class Broken(torch.utils.data.Dataset):
    """Its third item cannot be read, and its labels are in its items."""

    def __len__(self):
        return IMAGES

    def __getitem__(self, index):
        if index == 3:
            raise ValueError("broken row")
        return pixels()[index], index % 10


def test_an_unreadable_item_of_a_torch_dataset(store, caplog):
    """Issue 4: it was raised where the dataset was made, whatever `unreadable` said."""
    text = refusal(store.uris["pickle"], mlflow.data.from_images(Broken()), store, DataError)
    assert "image 3 cannot be read as an image: Broken raised ValueError: broken row" in text
    data = mlflow.data.from_images(Broken(), unreadable="skip")
    result, _ = evaluate(store.uris["pickle"], data, store)
    samples = result.artifacts["fmce_samples"].content
    assert samples.loc[samples["score"].isna(), "image"].tolist() == [3]
    assert "1 image cannot be read and is left out: image 3" in caplog.text


def test_an_unreadable_file_among_many(store, tmp_path, caplog):
    paths = write_files(tmp_path / "files", pixels())
    Path(paths[5]).write_bytes(b"no image")
    text = refusal(store.uris["pickle"], mlflow.data.from_images(paths), store, DataError)
    assert "005.png" in text
    result, _ = evaluate(
        store.uris["pickle"], mlflow.data.from_images(paths), store, evaluator_config=store.config(unreadable="skip")
    )
    samples = result.artifacts["fmce_samples"].content
    assert samples.loc[samples["score"].isna(), "image"].tolist() == [5]
    assert "1 image cannot be read and is left out" in caplog.text and "005.png" in caplog.text


def test_a_model_that_is_no_network(store):
    class Sum(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return np.zeros(len(model_input))

    with mlflow.start_run():
        uri = mlflow.pyfunc.log_model(name="sum", python_model=Sum(), pip_requirements=[]).model_uri
    text = refusal(uri, images(), store, ModelError)
    assert "no PyTorch model" in text and "mlflow.pytorch.log_model" in text


def test_a_device_that_is_not_there(store):
    text = refusal(store.uris["pickle"], images(), store, ConfigError, device="cuda:77")
    assert "device 'cuda:77' cannot be used" in text


def test_a_model_is_left_as_it_was(store):
    loaded = mlflow.pyfunc.load_model(store.uris["pickle"])
    network = loaded._model_impl.pytorch_model.train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    evaluate(loaded, images(), store, evaluator_config=store.config(device="cpu", saliency=4))
    assert network.training and all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not any(p.grad is not None for p in network.parameters())
    assert not any(m._forward_hooks for m in network.modules())


# Runs


def test_a_run_with_a_role_keeps_it_and_a_second_evaluation_replaces_the_first(store):
    with mlflow.start_run(tags={"fmce.role": "backbone"}, description="Mine.") as run:
        for modules in ("stem", "stage,norm"):
            result = mlflow.models.evaluate(
                store.uris["pickle"], images(), model_type="fmce", evaluators="fmce",
                evaluator_config=store.config(modules=modules),
            )  # fmt: skip
    tags = mlflow.get_run(run.info.run_id).data.tags
    assert tags["fmce.role"] == "backbone" and tags["mlflow.note.content"] == "Mine."
    assert len(mlflow.load_table("fmce_modules.json", run_ids=[run.info.run_id])) == 2
    assert result.tables["fmce_modules"]["module"].tolist() == ["norm", "stage"]


def test_an_evaluation_by_client_and_run_needs_no_active_run(store):
    mlflow.set_tracking_uri("sqlite:///nowhere.db")
    run_id = new_run(store.client)
    found = evaluate_model(Run(store.client, run_id), "models:/tiny/1", images(targets=TARGETS), store.config())
    run = store.client.get_run(run_id)
    assert found.metrics == run.data.metrics and found.run_id == run_id and mlflow.active_run() is None
    assert [d.dataset.name for d in run.inputs.dataset_inputs] == ["images"]
    assert run.inputs.model_inputs[0].model_id == store.uris["pickle"].removeprefix("models:/")
    assert run.data.tags["fmce.model_uri"] == "models:/tiny/1"
    with pytest.raises(DataError, match="from_images"):
        evaluate_model(Run(store.client, run_id), "models:/tiny/1", pixels(), store.config())


def test_artifacts_that_cannot_be_written_are_kept(client, store, monkeypatch):
    own = MlflowClient(client.tracking_uri)
    folder = Path(client.get_experiment_by_name("tests").artifact_location.removeprefix("file://"))
    run_id = new_run(client)
    folder.write_text("a file where the artifacts should be")
    with pytest.raises(ArtifactError, match="are kept in") as caught:
        evaluate_and_log(own, store, run_id)
    kept = Path(str(caught.value).rpartition(" ")[2].rstrip("."))
    assert {path.name for path in kept.iterdir()} == {"fmce_modules.json", "fmce_samples.json", "fmce_report.html"}


def evaluate_and_log(client, store, run_id):
    from fmce_mlflow.evaluation.evaluate import examine
    from fmce_mlflow.evaluation.log import log_findings
    from fmce_mlflow.runs.torch_models import load_torch_model

    model = load_torch_model(store.uris["pickle"], store.client)
    dataset = images().to_evaluation_dataset()
    config = EvaluationConfig.read(store.config())
    predictor = find_predictor(store.predictor, store.client)
    findings = examine(Run(store.client, run_id), model, dataset, config, predictor)
    return log_findings(Run(client, run_id), findings)


def test_metrics_that_are_refused_are_in_the_artifacts(store):
    """A run that was deleted meanwhile takes no metrics."""
    from fmce_mlflow.evaluation.evaluate import examine
    from fmce_mlflow.evaluation.log import log_metrics
    from fmce_mlflow.runs.torch_models import load_torch_model

    run_id = new_run(store.client)
    dataset = images().to_evaluation_dataset()
    findings = examine(
        Run(store.client, run_id),
        load_torch_model(store.uris["pickle"]),
        dataset,
        EvaluationConfig.read(store.config()),
        find_predictor(store.predictor),
    )
    store.client.delete_run(run_id)
    with pytest.raises(RunError, match=r"refuses the metrics: .*artifacts fmce_modules.json and fmce_report.html"):
        log_metrics(Run(store.client, run_id), findings, dataset)


class Named(nn.Module):
    def __init__(self, names):
        super().__init__()
        self.parts = nn.ModuleDict({name: nn.Conv2d(3, 3, 3, padding=1) for name in names})
        self.head = nn.Linear(3, 10)

    def forward(self, x):
        for part in self.parts.values():
            x = part(x).relu()
        return self.head(x.mean((2, 3)))


def test_names_of_modules_are_no_paths_and_no_html(store):
    """PyTorch forbids dots in them and nothing else."""
    names = ["/etc", "//up//", "a\\b", "a_b", "a@b", "<script>alert(1)</script>", "é %00", "x" * 300]
    with mlflow.start_run():
        uri = log_model(Named(names).eval()).model_uri
    modules = [f"parts.{name}" for name in names]
    config = store.config(modules=modules, preprocessing="scale", saliency=2)
    result, run = evaluate(uri, images(), store, evaluator_config=config)
    assert result.artifacts["fmce_modules"].content["module"].tolist() == modules
    figures = dict(zip(modules, result.artifacts["fmce_modules"].content["fmcs"], strict=True))
    for name, figure in figures.items():
        assert run.data.metrics[f"fmcs_predicted/{metric_name(name)}"] == figure
        assert {f"fmcs_std/{metric_name(name)}", f"focus/{metric_name(name)}"} <= set(run.data.metrics)
    assert "<script>" not in result.artifacts["fmce_report"].content + run.data.tags["mlflow.note.content"]
    files = {file.path for file in store.client.list_artifacts(run.info.run_id)}
    assert files == {"fmce_modules.json", "fmce_samples.json", "fmce_report.html", "fmce_saliency.png"}


def test_names_from_outside_are_escaped(store):
    hostile = "<script>alert(1)</script>"
    data = mlflow.data.from_images(pixels(), name=hostile, targets=[hostile] * IMAGES)
    result, _ = evaluate(store.uris["pickle"], data, store, evaluator_config=store.config(saliency=4))
    assert hostile not in result.artifacts["fmce_report"].content


# Bags


@pytest.mark.parametrize("n", [2, 16, 17, 40, 127, 128, 129, 1000])
def test_every_image_is_in_a_bag_and_bags_are_of_one_size(n):
    order, sizes = bag_order(n, bag_size=16, seed=3)
    assert sizes.sum() == len(order) and set(order) == set(range(n))
    assert sizes.max() - sizes.min() <= 1 and sizes.max() <= 16
    assert len(sizes) >= 8 or n <= 16
    if n >= 8 * 16:
        assert len(order) == n
    for part in np.split(order, np.cumsum(sizes)[:-1]):
        assert len(set(part)) == len(part) or n < 32


def test_batches_of_any_size_make_the_same_bags():
    net, network = make_predictor().net, seeded_tiny()
    inputs = torch.from_numpy(as_input(pixels(50)))

    def score(size, fixed=None):
        batches = [Batch(np.arange(50)[i : i + size], inputs[i : i + size]) for i in range(0, 50, size)]
        return score_modules(
            network, ["stage"], batches, net, images=50, bag_sizes=[13, 13, 12, 12], fixed_batch=fixed
        )["stage"]

    whole = score(50)
    assert whole.bags == 4 and np.unique(whole.image_scores).size == 4
    for size, fixed in ((1, None), (7, None), (64, None), (7, 3), (50, 1)):
        other = score(size, fixed)
        assert other.fmcs == pytest.approx(whole.fmcs, abs=1e-5)
        np.testing.assert_allclose(other.image_scores, whole.image_scores, atol=1e-5)


def test_uncertainty_joins_that_within_and_that_between_bags():
    net, network = make_predictor().net, seeded_tiny()
    inputs = torch.from_numpy(as_input(pixels(40)))
    batches = [Batch(np.arange(40), inputs)]
    found = score_modules(network, ["stage"], batches, net, images=40, bag_sizes=[10] * 4)["stage"]
    with capture(network, ["stage"]) as forward:
        each = [net.predict(part) for part in forward(inputs)[1]["stage"].split(10)]
    fmcs, stds = np.array([p.fmcs for p in each]), np.array([p.std for p in each])
    assert found.fmcs == pytest.approx(fmcs.mean(), abs=1e-6)
    assert found.std == pytest.approx(np.sqrt((stds**2).mean() + fmcs.var()), abs=1e-6)


# Over a server, and from the command line


@pytest.mark.slow
def test_over_a_server(tmp_path, _empty_store):
    with tracking_server(tmp_path, _empty_store) as uri, tracked(uri):
        client = MlflowClient(uri)
        client.create_experiment("tests")
        mlflow.set_experiment("tests")
        remote = make_store(client)
        for i, (form, data) in enumerate(itertools.product(FORMATS, ["from_images uint8 NHWC", "2-D array"])):
            check(remote, form, data, list(CALLS)[i % len(CALLS)], tmp_path / f"files{i}")


def test_the_evaluator_is_registered_under_its_name():
    from mlflow.models.evaluation.evaluator_registry import _model_evaluation_registry

    assert isinstance(_model_evaluation_registry.get_evaluator("fmce"), FmceEvaluator)
