"""MLmodel, which may be anybody's: of a model that is evaluated, and of a predictor, by folder and by URI."""

from __future__ import annotations

import shutil

import mlflow
import pytest
import yaml

from fmce_mlflow.errors import ModelError, PredictorError
from fmce_mlflow.predictor.find import find_predictor
from fmce_mlflow.predictor.flavor import load_predictor, save_model
from fmce_mlflow.runs import descriptions
from fmce_mlflow.runs.descriptions import fetch_description, read_description
from fmce_mlflow.runs.torch_models import load_torch_model
from tests.helpers.evaluations import make_predictor, tracked

ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 8)
)
DAMAGED = {
    "half a file": "flavors:\n  pytorch:\n    model_data: data\n  python_function: {",
    "a list": "- 1\n",
    "a text": "flavors",
    "empty": "",
    "flavors that are a number": "flavors: 3\n",
    "tabs": "\tflavors: 1\n",
    "not text": b"\xff\xfe\x00flavors",
    "lists in lists": "flavors: " + "[" * 2000,
    "aliases of a hundred megabytes": f"{ALIASES}flavors: {{pytorch: *a7}}\n",
    "an alias of itself": "flavors: &f {pytorch: *f}\n",
    "a signature that is none": "flavors: {pytorch: {}}\nsignature: {inputs: '{'}\n",
    "a tag of Python": "flavors: !!python/object/apply:os.getcwd []\n",
    "too large": "flavors: {pytorch: {}}\n" + "#" * descriptions.MAX_BYTES,
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_description_is_one_message_wherever_it_is_read(tmp_path, kind):
    text = DAMAGED[kind]
    (tmp_path / "MLmodel").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ModelError, match="MLmodel") as raised:
        load_torch_model(str(tmp_path))
    assert len(str(raised.value)) < 1000 and "\n" not in str(raised.value)
    for read in (load_predictor, find_predictor):
        with pytest.raises(PredictorError, match="MLmodel"):
            read(str(tmp_path))


def test_a_predictors_description_with_aliases_is_refused_before_it_is_written_out(tmp_path):
    save_model(tmp_path / "net", make_predictor())
    description = (tmp_path / "net" / "MLmodel").read_text()
    (tmp_path / "net" / "MLmodel").write_text(f"{ALIASES}{description}metadata: *a7\n")
    with pytest.raises(PredictorError, match="once its aliases are written out"):
        find_predictor(str(tmp_path / "net"))


def test_few_aliases_as_yaml_writes_them_are_read(tmp_path):
    save_model(tmp_path / "net", make_predictor())
    values = yaml.safe_load((tmp_path / "net" / "MLmodel").read_text())
    shared = {"classes": ["a", "b"]}
    (tmp_path / "net" / "MLmodel").write_text(yaml.safe_dump({**values, "metadata": {"one": shared, "two": shared}}))
    assert read_description(tmp_path / "net").metadata == {"one": shared, "two": shared}
    load_predictor(tmp_path / "net")


@pytest.mark.parametrize(
    "uri",
    ["", "models:/", "models:/a/b/c", "models:/m-0", "models:/none/1", "runs:/", "runs:/0/model", "/dev/null",
     "/nowhere", "abc:def", "file://host/x", "mlflow-artifacts:/x", "models:/x/latest/", "ftp://", "\0"],
)  # fmt: skip
def test_a_uri_that_names_no_model_is_one_message(client, uri):
    with tracked(client.tracking_uri):
        with pytest.raises(ModelError, match="cannot be fetched"):
            load_torch_model(uri)
        if uri:  # the empty one names the predictor that is bundled
            with pytest.raises(PredictorError, match="cannot be fetched"):
                find_predictor(uri)


def test_the_description_alone_is_fetched_by_every_form_of_uri(evaluation_store, tmp_path):
    """As long as its other files are away, nothing else can be."""
    store = evaluation_store
    with tracked(store.client.tracking_uri):
        (run_id,) = {fetch_description(store.uris["pickle"]).run_id}
        for uri in ("models:/tiny/1", "models:/tiny@champion", "models:/tiny/latest", f"runs:/{run_id}/model"):
            assert "pytorch" in fetch_description(uri).flavors
        folder = mlflow.artifacts.download_artifacts(store.uris["pickle"], dst_path=str(tmp_path / "copy"))
        shutil.rmtree(f"{folder}/data")
        assert fetch_description(folder).model_id == store.uris["pickle"].removeprefix("models:/")
