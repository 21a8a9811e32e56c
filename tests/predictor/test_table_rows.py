"""Tables with a bag in each row, by pandas and by a real local Spark."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save

from fmce_mlflow.errors import ConfigError, PredictorError
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.predictor.find import export_for_tables
from fmce_mlflow.predictor.flavor import Predictor, log_predictor, save_model
from fmce_mlflow.predictor.table_rows import bags_of
from fmce_mlflow.runs.run import Run
from tests.conftest import new_run
from tests.helpers.maps import pack

COLUMNS = ["fmcs", "std", "low", "high", *(f"level_{k}" for k in range(5))]


@pytest.fixture(scope="module")
def net() -> SetNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SetNet(SetConfig(members=2)).eval()


@pytest.fixture(scope="module")
def bags() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(6, 8, 3, 3), (12, 20, 2, 1), (2, 4, 1, 1)] * 4
    return [rng.random(shape).astype(np.float16) for shape in shapes]


def as_rows(net: SetNet, bags: list[np.ndarray]) -> np.ndarray:
    found = [net.predict(bag.astype(np.float32)) for bag in bags]
    return np.array([[f.fmcs, f.std, f.low, f.high, *f.levels] for f in found])


def table(bags: list[np.ndarray], form: str) -> pd.DataFrame:
    if form == "files":
        return pd.DataFrame({"content": [pack(bag, np.zeros(len(bag), np.int64)) for bag in bags]})
    flat = [bag.astype(np.float32).ravel() for bag in bags]
    return pd.DataFrame({"maps": flat, "shape": [list(bag.shape) for bag in bags]})


@pytest.mark.parametrize("form", ["files", "arrays"])
def test_a_table_is_scored_row_by_row_as_its_bags_are(tmp_path, net, bags, form):
    save_model(tmp_path / "rows", Predictor(net), form=form)
    found = mlflow.pyfunc.load_model(str(tmp_path / "rows")).predict(table(bags, form))
    assert list(found.columns) == COLUMNS
    np.testing.assert_array_equal(found.to_numpy(), as_rows(net, bags))


def test_a_registered_net_is_exported_and_an_array_is_refused(client, tmp_path, net, bags):
    model_id = log_predictor(Run(client, new_run(client)), Predictor(net))
    export_for_tables(tmp_path / "rows", f"models:/{model_id}", client=client)
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "rows"))
    np.testing.assert_array_equal(loaded.predict(table(bags, "files")).to_numpy(), as_rows(net, bags))
    with pytest.raises(mlflow.MlflowException, match="content"):
        loaded.predict(bags[0].astype(np.float32))
    with pytest.raises(PredictorError, match="not an empty folder"):
        export_for_tables(tmp_path / "rows", f"models:/{model_id}", client=client)
    with pytest.raises(ConfigError, match="form must be one of files, arrays; got 'rows'"):
        export_for_tables(tmp_path / "other", f"models:/{model_id}", client=client, form="rows")


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ({"content": [b"\x00" * 40]}, "Row 0: content is no safetensors file with maps"),
        ({"content": [save({"other": np.ones(3)})]}, "Row 0: content is no safetensors file with maps"),
        ({"content": [(2**40).to_bytes(8, "little") + b"{}"]}, "Row 0: content is no safetensors file"),
        ({"content": [(2**21).to_bytes(8, "little") + b" " * 2**21]}, "header of 2,097,152 bytes"),
        ({"content": [None]}, "Row 0: content is NoneType; expected the bytes of a file"),
        ({"maps": [[1.0] * 24, [1.0] * 23], "shape": [[2, 3, 2, 2]] * 2}, r"Row 1: 23 values in maps .*\[2, 3, 2, 2\]"),
        ({"maps": [[1.0] * 4], "shape": [[-2, -2, 1, 1]]}, r"Row 0: 4 values .*\[-2, -2, 1, 1\]"),
        ({"maps": [None], "shape": [[1, 1, 1, 1]]}, "Row 0: maps or shape is empty"),
        ({"maps": [[1.0]], "content_": [1]}, "this one has maps, content_"),
    ],
)
def test_rows_that_make_no_bag_are_named(rows, text):
    with pytest.raises(PredictorError, match=text):
        list(bags_of(pd.DataFrame(rows)))


def test_a_bag_that_cannot_be_scored_names_its_row(tmp_path, net, bags):
    save_model(tmp_path / "rows", Predictor(net), form="files")
    one = np.ones((1, 8, 2, 2), np.float16)
    with pytest.raises(PredictorError, match="Row 1: A bag needs the feature maps of at least 2 images, got 1"):
        mlflow.pyfunc.load_model(str(tmp_path / "rows")).predict(table([bags[0], one], "files"))


# --- Spark


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """Two local Spark workers; tests skip where Spark or a Java runtime is missing."""
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed: pip install '.[spark]'")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs a Java runtime, and there is none: apt-get install default-jre-headless")
    before = dict(os.environ)
    root = str(Path(__file__).parents[2])
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": root, "SPARK_LOCAL_IP": "127.0.0.1"}
    builder = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    yield session
    session.stop()
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_spark_scores_the_files_of_a_run_as_they_are_scored_here(spark, tmp_path, net, bags):
    export_folder, maps = tmp_path / "rows", tmp_path / "feature_maps" / "stage"
    save_model(export_folder, Predictor(net), form="files")
    maps.mkdir(parents=True)
    for i, bag in enumerate(bags):
        (maps / f"snapshot_{i:05d}.safetensors").write_bytes(pack(bag, np.zeros(len(bag), np.int64)))
    score = mlflow.pyfunc.spark_udf(spark, str(export_folder), env_manager="local")
    files = spark.read.format("binaryFile").option("pathGlobFilter", "*.safetensors").load(str(maps))
    rows = files.repartition(4).select("path", score("content").alias("found")).orderBy("path").collect()
    assert len(rows) == len(bags) and len({row.path for row in rows}) == len(bags)
    np.testing.assert_allclose([list(row.found) for row in rows], as_rows(net, bags), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_spark_scores_columns_of_arrays_as_they_are_scored_here(spark, tmp_path, net, bags):
    save_model(tmp_path / "rows", Predictor(net), form="arrays")
    score = mlflow.pyfunc.spark_udf(spark, str(tmp_path / "rows"), env_manager="local", result_type="double")
    rows = [(i, bag.ravel().tolist(), list(bag.shape)) for i, bag in enumerate(bags)]
    frame = spark.createDataFrame(rows, "i int, maps array<float>, shape array<bigint>").repartition(3)
    found = frame.select("i", score("maps", "shape").alias("fmcs")).orderBy("i").collect()
    np.testing.assert_allclose([row.fmcs for row in found], as_rows(net, bags)[:, 0], rtol=0, atol=1e-6)
