"""`mlflow.data.from_images` and the images that evaluators are given, with MLflow's own evaluators."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import mlflow.data
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.data.dataset_registry import DatasetRegistry
from mlflow.data.evaluation_dataset import EvaluationDataset
from mlflow.data.schema import TensorDatasetSchema
from mlflow.exceptions import MlflowException
from PIL import Image
from torch import nn

from fmce_mlflow.errors import ConfigError, DataError, ModelError
from fmce_mlflow.image_dataset.classifier import image_classifier
from fmce_mlflow.image_dataset.dataset import ImageEvaluationDataset, inputs_of
from fmce_mlflow.image_dataset.plugin import from_images
from fmce_mlflow.method.images.input_batches import InputBatches
from fmce_mlflow.method.images.inputs import image_inputs
from tests.helpers.evaluations import (
    IMAGES,
    PREPROCESSING,
    Store,
    as_input,
    log_model,
    pixels,
    seeded_tiny,
    write_files,
)

PIXELS = pixels()
FLOATS = as_input(PIXELS)
LABELS = np.arange(IMAGES) % 10
SHAPE = (3, 8, 8)


@pytest.fixture
def tracking(store: Store) -> MlflowClient:
    """MLflow's global state points at the store while a test runs."""
    return store.client


def test_mlflow_offers_it():
    assert mlflow.data.from_images is from_images
    DatasetRegistry._validate_constructor(from_images, "from_images")


@pytest.mark.parametrize("first", ["fmce_mlflow.image_dataset.dataset", "mlflow.data"])
def test_mlflow_has_it_whatever_is_imported_first(first):
    code = f"import {first}, mlflow.data\nfrom fmce_mlflow.image_dataset.plugin import from_images\n"
    code += "assert mlflow.data.from_images is from_images and 'from_images' in mlflow.data.__all__"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "from_images" not in result.stderr


def test_loading_the_plugin_costs_little_and_no_torch():
    code = """
import importlib, sys, time
import mlflow.data
assert "fmce_mlflow.image_dataset.plugin" in sys.modules and "torch" not in sys.modules
spent = []
for _ in range(5):
    for name in [name for name in sys.modules if name.startswith("fmce_mlflow")]:
        del sys.modules[name]
    started = time.process_time()
    importlib.import_module("fmce_mlflow.image_dataset.plugin")
    spent.append(time.process_time() - started)
print(min(spent))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(result.stdout) < 0.05


def test_what_mlflow_logs_of_it(tracking):
    dataset = from_images(PIXELS, LABELS, name="digits of a test")
    with mlflow.start_run() as run:
        mlflow.log_input(dataset, context="evaluation")
    logged = tracking.get_run(run.info.run_id).inputs.dataset_inputs[0].dataset
    assert (logged.name, logged.digest) == ("digits of a test", image_inputs(PIXELS, LABELS).digest())
    schema = json.loads(logged.schema)
    assert schema["mlflow_colspec"] == [  # the UI shows this as a table
        {"name": "image", "type": "uint8 (height 8, width 8, channels 3)"},
        {"name": "target", "type": "int64"},
    ]
    assert TensorDatasetSchema.from_dict(schema) == dataset.schema
    assert dataset.schema.features.inputs[0].shape == (-1, 8, 8, 3)
    profile = json.loads(logged.profile)
    assert profile["num_images"] == IMAGES and profile["size"] == "8 × 8" and profile["num_classes"] == 10
    assert profile["images_per_class"]["3"] == 3
    assert logged.source_type == "code" and mlflow.data.get_source(logged).to_dict()["tags"]


@pytest.mark.parametrize("as_list", [False, True])
def test_files_have_their_folder_as_source(tracking, tmp_path, as_list, recwarn):
    for name in ("cat", "dog"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        write_files(tmp_path / "photos" / name, PIXELS[:3])
    Image.new("L", (20, 30)).save(tmp_path / "photos" / "dog" / "large.png")
    paths = [str(path) for path in (tmp_path / "photos").rglob("*.png")]
    dataset = from_images(paths if as_list else str(tmp_path / "photos"))
    assert not [warning for warning in recwarn if "multiple ways" in str(warning.message)]
    assert dataset.name == "photos"
    with mlflow.start_run() as run:
        mlflow.log_input(dataset)
    logged = tracking.get_run(run.info.run_id).inputs.dataset_inputs[0].dataset
    assert logged.source_type == "local"
    assert mlflow.data.get_source(logged).load() == str(tmp_path / "photos")
    assert dataset.schema.features.inputs[0].shape == (-1, -1, -1, -1)
    profile = json.loads(logged.profile)
    assert profile["size"] == "8 × 8 to 30 × 20" and profile["channels"] == "1 or 3"
    assert profile.get("images_per_class") == (None if as_list else {"cat": 3, "dog": 4})


def test_name_digest_and_source_can_be_given(tmp_path):
    np.save(tmp_path / "images.npy", PIXELS)
    mapped = from_images(np.load(tmp_path / "images.npy", mmap_mode="r"))
    assert mapped.source.uri == str(tmp_path / "images.npy") and mapped.name == "images.npy"
    given = from_images(PIXELS, name="n", digest="d", source="s3://bucket/images")
    assert (given.name, given.digest, given.source.uri) == ("n", "d", "s3://bucket/images")
    assert from_images(PIXELS, source=given.source).source is given.source
    assert from_images(PIXELS).name == "images"


def test_a_torch_datasets_labels_are_not_read_to_log_it():
    class Slow(torch.utils.data.Dataset):
        read = 0

        def __len__(self):
            return 1000

        def __getitem__(self, i):
            self.read += 1
            return FLOATS[i % IMAGES], i % 7

    data = Slow()
    dataset = from_images(data)
    described = dataset.to_dict()
    assert data.read < 400 and json.loads(described["schema"])["mlflow_tensorspec"]["targets"] is None
    given = dataset.to_evaluation_dataset()
    assert given.has_targets and data.read < 400
    assert given.labels_data.tolist() == [i % 7 for i in range(1000)]
    assert dataset.profile["num_images"] == 1000


def test_nothing_is_read_until_an_evaluator_reads(tmp_path):
    missing = [str(tmp_path / f"{i}.png") for i in range(20_000)]
    dataset = from_images(missing, np.zeros(20_000, dtype=int))
    given = dataset.to_evaluation_dataset(path="somewhere")
    assert isinstance(given, ImageEvaluationDataset) and isinstance(given, EvaluationDataset)
    assert given.features_data.shape == (20_000, 1) and given.feature_names == ["image"]
    assert (given.name, given.digest, given.hash, given.path) == (
        dataset.name,
        dataset.digest,
        dataset.digest,
        "somewhere",
    )
    assert given.features_data.memory_usage(index=False).sum() < 2**20
    assert len(given.features_data.copy(deep=True)[:500]) == 500
    assert dataset.schema is None and dataset.profile["num_images"] == 20_000
    with pytest.raises(ConfigError, match="8-bit pixels"):
        given.features_data["image"][5]


def test_evaluation_datasets_compare_by_content():
    first, same, other = (from_images(images, LABELS).to_evaluation_dataset() for images in (PIXELS, PIXELS, FLOATS))
    assert first == same and hash(first) == hash(same) and first != other and first != "images"
    assert from_images(PIXELS).to_evaluation_dataset().labels_data is None


def test_feature_names_rename_the_column():
    assert from_images(PIXELS).to_evaluation_dataset(feature_names=["x"]).feature_names == ["x"]
    with pytest.raises(DataError, match="feature_names must be one name"):
        from_images(PIXELS).to_evaluation_dataset(feature_names=["x", "y"])


def test_to_pyfunc_gives_what_models_take():
    pair = from_images(PIXELS, LABELS, preprocessing=PREPROCESSING).to_pyfunc()
    assert np.array_equal(np.stack(pair.inputs[0]["image"]), FLOATS)
    assert pair.outputs[0].tolist() == LABELS.tolist()


def test_the_column_behaves_as_pandas_columns_do():
    frame = from_images(FLOATS).to_evaluation_dataset().features_data
    assert np.array_equal(np.stack(frame["image"].iloc[::-1]), FLOATS[::-1])
    assert np.array_equal(np.stack(frame[frame.index % 2 == 1]["image"]), FLOATS[1::2])
    assert np.array_equal(np.stack(pd.concat([frame, frame[:2]])["image"]), np.concatenate([FLOATS, FLOATS[:2]]))
    assert np.array_equal(np.array(frame["image"])[3], FLOATS[3]) and np.array_equal(
        frame["image"].to_numpy()[3], FLOATS[3]
    )
    assert not frame["image"].isna().any() and frame["image"].array[-1].shape == SHAPE
    assert frame["image"].equals(frame.copy()["image"]) and "3×8×8" in repr(frame["image"])
    assert frame[:2].assign(a=1).columns.tolist() == ["image", "a"] and frame.assign()["image"][1] == "image 1"
    with pytest.raises(DataError, match="model without signature"):
        frame.to_numpy(dtype=np.float32)


# What evaluators are given, in all of MLflow's forms.


def given(data: object, targets: object = None) -> EvaluationDataset:
    """As `mlflow.models.evaluate` makes it of its arguments."""
    from mlflow.data.evaluation_dataset import convert_data_to_mlflow_dataset

    dataset = data if hasattr(data, "to_evaluation_dataset") else convert_data_to_mlflow_dataset(data, targets=targets)
    return dataset.to_evaluation_dataset()


def frame_of(column: object, **more: object) -> pd.DataFrame:
    return pd.DataFrame({"id": np.arange(IMAGES), "photo": list(column), "label": LABELS, **more})


DATA = {
    "dataset": lambda files: given(from_images(PIXELS, LABELS)),
    "column of arrays": lambda files: given(frame_of(PIXELS), "label"),
    "column of CHW": lambda files: given(frame_of(PIXELS.transpose(0, 3, 1, 2)), "label"),
    "column of paths": lambda files: given(frame_of(files), "label"),
    "column of bytes": lambda files: given(frame_of([Path(file).read_bytes() for file in files]), "label"),
    "column of flat": lambda files: given(frame_of(PIXELS.transpose(0, 3, 1, 2).reshape(IMAGES, -1)), "label"),
    "2-D": lambda files: given(PIXELS.transpose(0, 3, 1, 2).reshape(IMAGES, -1), LABELS),
    "2-D of int64": lambda files: given(PIXELS.transpose(0, 3, 1, 2).reshape(IMAGES, -1).astype(np.int64), LABELS),
    "DataFrame of pixels": lambda files: given(
        pd.DataFrame(PIXELS.transpose(0, 3, 1, 2).reshape(IMAGES, -1)).assign(label=LABELS), "label"
    ),
    "list of paths": lambda files: given(list(files), list(LABELS)),
}


@pytest.mark.parametrize("form", DATA)
def test_evaluators_get_the_images_of_every_form(form, tmp_path):
    inputs = inputs_of(DATA[form](write_files(tmp_path / "files", PIXELS)), input_shape=SHAPE)
    assert len(inputs) == IMAGES and inputs.targets.tolist() == LABELS.tolist()
    assert all(np.array_equal(inputs.read(i), PIXELS[i]) for i in range(IMAGES))


@pytest.mark.parametrize("form", [lambda rows: rows, pd.DataFrame])
@pytest.mark.parametrize("shape", [SHAPE, (3, None, 8), (None, 8, 8)])
def test_rows_of_floats_take_their_shape_from_the_model(form, shape):
    inputs = inputs_of(given(form(FLOATS.reshape(IMAGES, -1))), input_shape=shape)
    assert inputs.is_float() and inputs.targets is None and np.array_equal(inputs.read(5), FLOATS[5])


def test_floats_in_a_column_pass_as_they_are():
    inputs = inputs_of(given(frame_of(FLOATS), "label"), input_shape=SHAPE)
    assert inputs.is_float() and np.array_equal(inputs.read(5), FLOATS[5])
    nested = inputs_of(given(frame_of([image.tolist() for image in FLOATS]), "label"), input_shape=SHAPE)
    assert nested.is_float() and np.allclose(nested.read(5), FLOATS[5])


def test_columns_are_named_where_it_is_unclear(tmp_path):
    files = write_files(tmp_path / "files", PIXELS)
    two = frame_of(files, thumbnail=list(PIXELS))
    with pytest.raises(DataError, match="columns photo, thumbnail all look like images"):
        inputs_of(given(two, "label"), input_shape=SHAPE)
    assert inputs_of(given(two, "label"), input_shape=SHAPE, image_column="photo").name(3) == files[3]
    with pytest.raises(DataError, match="no column 'foto' for image_column"):
        inputs_of(given(two, "label"), input_shape=SHAPE, image_column="foto")
    with pytest.raises(DataError, match="No column of the DataFrame looks like images: id, photo"):
        inputs_of(given(frame_of(["text"] * IMAGES), "label"), input_shape=SHAPE)
    unusual = frame_of([file.replace(".png", "") for file in files])
    assert inputs_of(given(unusual, "label"), input_shape=SHAPE, image_column="photo").name(0) == files[0][:-4]


def test_missing_entries_of_a_column_are_named(tmp_path):
    files: list[str | None] = list(write_files(tmp_path / "files", PIXELS))
    files[0] = files[7] = None
    inputs = inputs_of(given(frame_of(files), "label"), input_shape=SHAPE)
    batches = InputBatches(
        inputs, batch_size=5, preprocessing=image_classifier_preprocessing(), input_shape=SHAPE, unreadable="skip"
    )
    assert sum(len(batch.indices) for batch in batches) == IMAGES - 2
    assert [image.name for image in batches.skipped] == ["row 0 of column 'photo'", "row 7 of column 'photo'"]


def image_classifier_preprocessing():
    from fmce_mlflow.method.images.preprocessing import Preprocessing

    return Preprocessing.from_dict(PREPROCESSING)


@pytest.mark.parametrize(
    ("rows", "shape", "told"),
    [
        (FLOATS.reshape(IMAGES, -1), None, "24 rows of 192 numbers, and the model has no signature"),
        (FLOATS.reshape(IMAGES, -1), (3, 32, 32), r"3 × 32 × 32 = 3,072"),
        (FLOATS.reshape(IMAGES, -1), (3, None, None), "3 × any × any"),
        (FLOATS.reshape(IMAGES, -1)[:, :190], (3, None, 8), "24 rows of 190 numbers"),
        (np.full((4, 192), 300), SHAPE, "Expected pixels from 0 to 255"),
        (np.full((4, 192), True), SHAPE, "got bool"),
        (np.full((4, 192), "a"), SHAPE, "Expected rows of pixels"),
    ],
)
def test_rows_that_are_no_images(rows, shape, told):
    with pytest.raises(DataError) as error:
        inputs_of(EvaluationDataset(rows), input_shape=shape)
    assert told in str(error.value)


# Together with MLflow's default evaluator.


class Classes(nn.Module):
    """Gives classes instead of scores."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x).argmax(1)


def evaluate(model: object, data: object, **more: object):
    arguments = {"model_type": "classifier", "evaluators": ["default"], **more}
    return mlflow.models.evaluate(model, data, **arguments)


def accuracy() -> float:
    with torch.no_grad():
        scores = seeded_tiny()(torch.from_numpy(FLOATS))
    return float((scores.argmax(1).numpy() == LABELS).mean())


@pytest.mark.parametrize("form", ["pickle", "pt2", "pt2 of one image"])
def test_image_classifier_takes_a_model_through_both_evaluators(store, tracking, form):
    result = evaluate(
        image_classifier(store.uris[form]),
        mlflow.data.from_images(PIXELS, LABELS),
        evaluators=["default", "fmce"],
        evaluator_config={"default": {"log_model_explainability": False}, "fmce": store.config()},
    )
    assert result.metrics["accuracy_score"] == pytest.approx(accuracy())
    assert 0 <= result.metrics["fmcs_predicted"] <= 1
    assert {"confusion_matrix", "fmce_modules"} <= set(result.artifacts)


DATA_OF_CLASSIFIERS = {
    "uint8": lambda files: (from_images(PIXELS, LABELS), None),
    "floats": lambda files: (from_images(FLOATS, LABELS), None),
    "files": lambda files: (from_images(files, LABELS), None),
    "column": lambda files: (frame_of(files).drop(columns="id"), "label"),
    "2-D": lambda files: (FLOATS.reshape(IMAGES, -1), LABELS),
}


@pytest.mark.parametrize("form", DATA_OF_CLASSIFIERS)
def test_image_classifier_takes_every_form_of_data(store, tracking, form, tmp_path):
    data, targets = DATA_OF_CLASSIFIERS[form](write_files(tmp_path / "files", PIXELS))
    config = {"log_model_explainability": False}  # MLflow's fails at pandas 3's type of strings
    model = image_classifier(store.uris["pickle"], batch_size=5)
    found = evaluate(model, data, targets=targets, evaluator_config={"default": config})
    assert found.metrics["accuracy_score"] == pytest.approx(accuracy())
    assert found.metrics["example_count"] == IMAGES


def test_image_classifier_predicts(store, tracking):
    with torch.no_grad():
        expected = seeded_tiny()(torch.from_numpy(FLOATS)).argmax(1).tolist()
    model = mlflow.pyfunc.load_model(store.uris["pickle"])
    classifier = image_classifier(model, batch_size=7)
    assert classifier.metadata is model.metadata and classifier.model_id == model.model_id
    for data in (PIXELS, FLOATS, list(PIXELS), FLOATS.reshape(IMAGES, -1), pd.DataFrame({"image": list(PIXELS)})):
        assert classifier.predict(data).tolist() == expected
    half = from_images(PIXELS).to_evaluation_dataset().features_data[::2]
    assert classifier.predict(half).tolist() == expected[::2]


def test_unreadable_images_cannot_be_skipped_by_a_classifier(store, tracking, tmp_path):
    files = write_files(tmp_path / "files", PIXELS)
    Path(files[4]).write_text("no image")
    with pytest.raises(DataError, match=r"004\.png cannot be read"):
        evaluate(image_classifier(store.uris["pickle"]), from_images(files, LABELS, unreadable="skip"))


def test_a_model_that_gives_classes_needs_no_wrapper(tracking):
    with mlflow.start_run():
        uri = log_model(Classes(seeded_tiny())).model_uri
    found = evaluate(uri, from_images(PIXELS, LABELS, preprocessing=PREPROCESSING))
    assert found.metrics["accuracy_score"] == pytest.approx(accuracy())
    assert evaluate(uri, from_images(FLOATS, LABELS)).metrics == found.metrics
    with pytest.raises(ConfigError, match="8-bit pixels"):
        evaluate(uri, from_images(PIXELS, LABELS))
    assert evaluate(image_classifier(uri), from_images(FLOATS, LABELS)).metrics == found.metrics


@pytest.mark.parametrize("form", ["pickle", "pt2"])
def test_scores_are_told_instead_of_a_crash_in_numpy(store, tracking, form):
    with pytest.raises(DataError, match=r"scores of shape \(24, 10\).*image_classifier"):
        evaluate(store.uris[form], from_images(FLOATS, LABELS))


def test_a_model_without_a_signature_is_told_what_to_do(tracking):
    with mlflow.start_run():
        uri = log_model(Classes(seeded_tiny()), input_example=None).model_uri
    with pytest.raises(DataError, match="model without signature"):
        evaluate(uri, from_images(FLOATS, LABELS))
    assert evaluate(image_classifier(uri), from_images(FLOATS, LABELS)).metrics["example_count"] == IMAGES


def test_classifiers_without_targets_are_refused_by_mlflow(store, tracking):
    with pytest.raises(MlflowException, match="targets column name must be specified"):
        evaluate(image_classifier(store.uris["pickle"]), from_images(PIXELS))


def test_default_and_fmce_without_targets(store, tracking):
    result = mlflow.models.evaluate(
        store.uris["pickle"],
        from_images(PIXELS),
        model_type="fmce",
        evaluators=["default", "fmce"],
        evaluator_config={"fmce": store.config()},
    )
    assert set(result.artifacts) >= {"fmce_modules", "fmce_samples"} and "accuracy_score" not in result.metrics


def test_a_table_of_results_has_names_instead_of_pixels(tracking):
    """An extra metric with a score for each image makes MLflow log a table of the features."""
    from mlflow.metrics import MetricValue, make_metric

    def hit(predictions, targets, metrics):
        return MetricValue(scores=[float(p == t) for p, t in zip(predictions, targets, strict=True)])

    with mlflow.start_run():
        uri = log_model(Classes(seeded_tiny())).model_uri
        result = evaluate(
            uri, from_images(FLOATS, LABELS), extra_metrics=[make_metric(eval_fn=hit, greater_is_better=True)]
        )
    table = result.tables["eval_results_table"]
    assert table["image"].tolist()[:2] == ["image 0", "image 1"]
    assert table["hit/score"].mean() == pytest.approx(accuracy())


def test_what_is_no_image_model_is_no_classifier(tracking):
    class Maps(nn.Module):
        def forward(self, x):
            return x[..., ::2]

    class Frame(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return [0] * len(model_input)

    with mlflow.start_run():
        maps = log_model(Maps()).model_uri
        other = mlflow.pyfunc.log_model(python_model=Frame(), name="frame", pip_requirements=[]).model_uri
    with pytest.raises(ModelError, match=r"output of shape \(24, 3, 8, 4\)"):
        image_classifier(maps).predict(FLOATS)
    with pytest.raises(ModelError, match="no PyTorch model"):
        image_classifier(other)


def test_a_split_folder_stands_for_its_held_out_images(tmp_path):
    for name in ("train/cat", "train/dog", "test/dog"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_files(tmp_path / name, PIXELS[:3])
    dataset = from_images(tmp_path)
    assert dataset.name == "test" and dataset.source.load() == str(tmp_path / "test")
    assert dataset.targets.tolist() == [1, 1, 1] and dataset.profile["images_per_class"] == {"dog": 3}


class ChannelsLast(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x.permute(0, 3, 1, 2))


def test_image_classifier_gives_images_as_the_signature_has_them(tracking):
    network = seeded_tiny()
    with torch.no_grad():
        expected = network(torch.from_numpy(FLOATS)).argmax(1).tolist()
    example = np.zeros((2, 8, 8, 3), np.float32)
    with mlflow.start_run():
        uri = log_model(ChannelsLast(network).eval(), input_example=example).model_uri
    assert image_classifier(uri, preprocessing=PREPROCESSING).predict(PIXELS).tolist() == expected
