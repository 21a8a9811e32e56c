from __future__ import annotations

import json

import mlflow
import numpy as np
import pandas as pd
import pytest

from fmce_mlflow.errors import ConfigError, IntegrityError, PredictorError, RunError
from fmce_mlflow.fmcs_dataset.label import FmcsDataset
from fmce_mlflow.fmcs_dataset.log import log_fmcs_dataset
from fmce_mlflow.fmcs_dataset.table import COLUMNS
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fmce_net.config import OutlineOptions, SetConfig
from fmce_mlflow.predictor.flavor import load_predictor
from fmce_mlflow.predictor.fmcs_source import artifact_reader, latest_fmcs_run
from fmce_mlflow.predictor.options import NetOptions
from fmce_mlflow.predictor.train import train_fmce_net
from fmce_mlflow.runs.feature_index import Probe
from fmce_mlflow.runs.feature_maps import FeatureMapWriter
from fmce_mlflow.runs.run import Run
from tests.conftest import new_run
from tests.helpers import bags_of_noise

FAST = {
    "bags": BagConfig(bag_size=8, bags_per_map=2),
    "net": SetConfig(members=2, width=16),
    "fit": FitConfig(epochs=12, folds=2),
}


def logged_dataset(client, runs: int = 3, snapshots: int = 5, **more) -> tuple[str, pd.DataFrame]:
    """An FMCS-dataset run with real map artifacts, of maps that tell their FMCS."""
    table = bags_of_noise.table(runs=runs, snapshots=snapshots, **more)
    ids = {name: new_run(client, **{"fmce.role": "backbone"}) for name in table["run_id"].unique()}
    for name, part in table.groupby("run_id", sort=False):
        writer = FeatureMapWriter(client, ids[name], Probe("noise", 24, "0" * 64), np.arange(24) % 4)
        for row in part.itertuples(index=False):
            writer.write(row.snapshot, {row.module: bags_of_noise.read(row)}, {})
        for index, row in part.iterrows():
            entry = writer.index.entries[row["module"], row["snapshot"]]
            table.loc[index, ["run_id", "artifact_path", "sha256"]] = [ids[name], entry.path, entry.sha256]
    table = table.reindex(columns=list(COLUMNS)).astype(COLUMNS)
    run_id = new_run(client, **{"fmce.role": "fmcs_dataset"})
    log_fmcs_dataset(Run(client, run_id), FmcsDataset(table, {}, {}), config=ConvergenceConfig(), signal="train")
    client.set_terminated(run_id)
    return run_id, table


def quiet_run(client, run_id: str = "") -> Run:
    return Run(client, run_id or new_run(client), lambda line: None)


def test_everything_a_user_looks_for_is_in_the_run(client, tmp_path):
    source, _ = logged_dataset(client)
    run_id, said = new_run(client), []
    options = NetOptions(protocols=("images", "run"), cross_validate=True, register_as="fmcs", **FAST)
    result = train_fmce_net(Run(client, run_id, said.append), options)
    run = client.get_run(run_id)
    assert run.data.tags["fmce.role"] == "fmce_net"
    for protocol in ("images", "run"):
        for name in ("accuracy", "precision", "recall", "f1", "within_one", "mae", "spearman", "coverage"):
            assert 0 <= run.data.metrics[f"{protocol}/{name}"] <= 1
            assert run.data.metrics[f"{protocol}/{name}"] == pytest.approx(result.scores[protocol]["set"].metrics[name])
        assert f"{protocol}/level_4/recall" in run.data.metrics
        for baseline in ("majority_level", "activation_deviation", "effective_rank", "extra_trees"):
            assert f"{protocol}/{baseline}/mae" in run.data.metrics
    assert run.data.metrics["run/mae"] < run.data.metrics["run/majority_level/mae"]
    assert run.data.params["fmcs_run_used"] == source and run.data.params["net.members"] == "2"
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["fmcs_dataset"]
    paths = {file.path for folder in (None, "plots") for file in client.list_artifacts(run_id, folder)}
    assert {"model_card.md", "results.json", "results_by_run.json", "plots/confusion_run.png"} <= paths
    assert {"plots/predictions_run.png", "plots/confusion_images.png", "plots/predictions_images.png"} <= paths
    table = pd.DataFrame(**json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/results.json")))
    assert len(table) == 10 and set(table["protocol"]) == {"images", "run"}
    steps = [m.step for m in client.get_metric_history(run_id, "validation_mae")]
    assert sorted(steps) == list(range(1, len(steps) + 1))
    version = client.get_model_version("fmcs", "1")
    assert version.source == result.model_uri
    location = client.get_logged_model(result.model_uri.removeprefix("models:/")).artifact_location
    predictor = load_predictor(mlflow.artifacts.download_artifacts(location, dst_path=str(tmp_path)))
    assert predictor.info["figures"]["run"]["set"]["mae"] == pytest.approx(run.data.metrics["run/mae"])
    assert "Protocol `run`" in predictor.card and "backbones that it was not fitted to" in predictor.card
    assert any("extra_trees" in line for line in said)


def test_one_group_is_held_out_without_cross_validation_and_the_seed_decides_which(client):
    source, table = logged_dataset(client)
    said: list[str] = []
    options = NetOptions(fmcs_run=source, baselines=False, **FAST)
    result = train_fmce_net(Run(client, new_run(client), said.append), options)
    held = set(result.scores["run"]["set"].by_run["run_id"])
    assert len(held) == 1 and held < set(table["run_id"]) and any(f"{next(iter(held))} held out" in s for s in said)
    again = train_fmce_net(Run(client, new_run(client), said.append), options)
    assert again.scores["run"]["set"].metrics == result.scores["run"]["set"].metrics


def test_an_outline_net_by_its_own_protocol(client):
    logged_dataset(client)
    run_id = new_run(client)
    options = NetOptions(
        kind="outline", protocols=("images",), outline=OutlineOptions(features=8, blocks=1, heads=2), **FAST
    )
    train_fmce_net(quiet_run(client, run_id), options)
    metrics = client.get_run(run_id).data.metrics
    assert {"images/accuracy", "images/image_accuracy", "images/extra_trees/accuracy"} <= set(metrics)


def test_the_latest_finished_dataset_is_taken(client):
    with pytest.raises(RunError, match=r"no finished FMCS-dataset.*fmce build-fmcs"):
        latest_fmcs_run(client)
    logged_dataset(client, runs=1)
    second, _ = logged_dataset(client, runs=1)
    new_run(client, **{"fmce.role": "fmcs_dataset"})  # still running
    assert latest_fmcs_run(client) == second


def test_bad_input_is_told_before_anything_is_fitted(client):
    source, _ = logged_dataset(client, runs=1)
    for options, error, message in (
        (NetOptions(fmcs_run=source, **FAST), RunError, "at least 2 runs: train another seed"),
        (NetOptions(fmcs_run="nothing", **FAST), RunError, "There is no run 'nothing'"),
        (NetOptions(fmcs_run=new_run(client), **FAST), RunError, "no fmcs_dataset.parquet"),
    ):
        with pytest.raises(error, match=message):
            train_fmce_net(quiet_run(client), options)
    with pytest.raises(ConfigError) as raised:
        NetOptions(protocols=("seed",), kind="tree")  # type: ignore[arg-type]
    assert len(raised.value.problems) == 2
    with pytest.raises(ConfigError, match="features must be 1 to 65,536, got 0"):
        OutlineOptions(features=0)


def test_modules_of_different_shapes_need_the_set_net(client):
    wide, narrow = logged_dataset(client, runs=1, channels=24), logged_dataset(client, runs=1, channels=12)
    run_id = new_run(client, **{"fmce.role": "fmcs_dataset"})
    both = pd.concat([wide[1], narrow[1]], ignore_index=True)
    log_fmcs_dataset(Run(client, run_id), FmcsDataset(both, {}, {}), config=ConvergenceConfig(), signal="train")
    options = NetOptions(fmcs_run=run_id, kind="outline", protocols=("images",), **FAST)
    with pytest.raises(PredictorError, match=r"24×2×2, 12×2×2. Use the kind `set`"):
        train_fmce_net(quiet_run(client), options)
    train_fmce_net(quiet_run(client), NetOptions(fmcs_run=run_id, **FAST))


def test_maps_that_are_not_those_the_dataset_was_built_from(client):
    _, table = logged_dataset(client, runs=1)
    row = next(table.itertuples(index=False))
    read = artifact_reader(client)
    assert read(row).shape == (24, 24, 2, 2)
    with pytest.raises(IntegrityError, match="snapshot_00000"):
        read(row._replace(sha256="1" * 64))
