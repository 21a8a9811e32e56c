from __future__ import annotations

import json
import zipfile

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.errors import ArtifactError
from fmce_mlflow.fmcs_dataset.label import build_fmcs_dataset
from fmce_mlflow.fmcs_dataset.log import log_fmcs_dataset
from fmce_mlflow.method.evidence.spectral_alpha import mean_alpha
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.networks.archive_weights import read_weights
from fmce_mlflow.method.networks.model_forms import load_exported
from fmce_mlflow.predictor.logged_weights import snapshot_alphas
from fmce_mlflow.predictor.options import NetOptions
from fmce_mlflow.predictor.train import train_fmce_net
from fmce_mlflow.runs.run import Run
from tests.conftest import fast_options, new_client, new_run
from tests.helpers.nets import spectral_alpha


class Odd(nn.Module):
    """A depthwise convolution, a transposed weight, a weight that is half of another's memory, an unused one."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 5, groups=16), nn.Conv2d(16, 20, 1))
        whole = torch.randn(40, 20)
        self.head = nn.Linear(20, 20, bias=False)
        self.head.weight = nn.Parameter(whole[20:].T)
        self.small = nn.Parameter(torch.randn(4, 4).half())
        self.register_buffer("steps", torch.tensor(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stage(x).mean((2, 3))) * self.small.sum() + self.steps


@pytest.fixture
def archive(tmp_path):
    torch.manual_seed(0)
    model = Odd().eval()
    torch.export.save(torch.export.export(model, (torch.zeros(2, 3, 8, 8),)), tmp_path / "model.pt2")
    return model, tmp_path / "model.pt2"


def test_weights_are_those_that_torch_reads(archive):
    model, path = archive
    found, loaded = read_weights(path), load_exported(path).state_dict()
    assert set(found) == {name for name, value in model.state_dict().items() if value.is_floating_point()}
    for name, weight in found.items():
        assert torch.equal(weight, loaded[name]) and weight.dtype == loaded[name].dtype


def rewritten(path, target, change):
    """The archive with some files changed; None leaves one out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


def test_an_archive_is_read_without_its_graph_and_without_pickles(archive, tmp_path):
    _, path = archive

    def change(name, data):
        if name.endswith("_weights_config.json"):
            config = json.loads(data)
            config["config"]["head.weight"]["use_pickle"] = True
            return json.dumps(config).encode()
        return data if "/weights/" in name else None

    found = read_weights(rewritten(path, tmp_path / "some.pt2", change))
    assert "stage.0.weight" in found and "head.weight" not in found


def test_archives_that_cannot_be_read_are_told(archive, tmp_path):
    _, path = archive
    short = rewritten(path, tmp_path / "short.pt2", lambda n, d: d[:8] if n.endswith("weight_0") else d)
    (tmp_path / "text.pt2").write_text("no archive")
    for broken in (short, tmp_path / "text.pt2", tmp_path / "missing.pt2"):
        with pytest.raises(ArtifactError, match=rf"{broken.name} cannot be read .* Log the model again"):
            read_weights(broken)
    bare = rewritten(path, tmp_path / "bare.pt2", lambda n, d: None if n.endswith("_config.json") else d)
    assert read_weights(bare) == {}


def test_alpha_is_that_of_the_singular_values():
    torch.manual_seed(1)
    matrix = torch.randn(64, 40) @ torch.diag(torch.logspace(0, -1.5, 40))
    tall, wide = mean_alpha([matrix]), mean_alpha([matrix.T])
    values = np.sort(np.linalg.svd(matrix.double().numpy(), compute_uv=False) ** 2)
    fits = []
    for start in range(len(values) - 4):
        tail = values[start:]
        alpha = 1 + len(tail) / np.log(tail / tail[0]).sum()
        steps = np.arange(len(tail)) / len(tail)
        fits.append((np.abs(steps - (1 - (tail / tail[0]) ** (1 - alpha))).max(), alpha))
    assert tall == pytest.approx(min(fits)[1], rel=1e-6) and wide == pytest.approx(tall, rel=1e-6)
    assert mean_alpha([matrix, torch.ones(12), torch.ones(3, 3), torch.eye(9)]) == pytest.approx(tall)


@pytest.fixture(scope="module")
def store(tmp_path_factory, _empty_store):
    """A client of a store that the tests below share, MLflow's global one meanwhile."""
    client = new_client(tmp_path_factory.mktemp("spectra"), _empty_store)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(client.tracking_uri)
    yield client
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def runs(store):
    """Three backbone runs: two with a model of each marker, in pt2, one with its last model only."""
    made = []
    for seed in range(3):
        options = fast_options(model_format="pt2", log_checkpoints=seed < 2, training={"seed": seed})
        run_id = new_run(store)
        train_backbone(Run(store, run_id, lambda text: None), options)
        made.append(run_id)
    return made


def test_alpha_is_had_where_a_model_of_the_snapshot_is_logged(store, runs):
    dataset = build_fmcs_dataset(store, runs, config=fast_options().convergence, unconverged="keep")
    table = dataset.table
    alphas = snapshot_alphas(store, table)
    for run_id, part in table.groupby("run_id", sort=False):
        logged = {o.step: o.model_id for o in store.get_run(run_id).outputs.model_outputs}
        known = set(part["snapshot"][~np.isnan(alphas[part.index])])
        if run_id == runs[2]:
            assert len(logged) == 1 and not known
            continue
        assert known == set(logged) and len(known) >= 2
        for index, row in part[part["snapshot"].isin(logged)].iterrows():
            location = store.get_logged_model(logged[row["snapshot"]]).artifact_location
            weights = load_exported(mlflow.artifacts.download_artifacts(location)).state_dict()
            stage = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU())
            stage[0].weight.data = weights["stage.0.weight"]
            assert alphas[index] == pytest.approx(spectral_alpha(stage))


def test_spectral_alpha_stands_beside_the_other_baselines_with_the_maps_it_was_scored_on(store, runs):
    config = fast_options().convergence
    dataset = build_fmcs_dataset(store, runs, config=config)
    source, run_id, said = new_run(store), new_run(store), []
    log_fmcs_dataset(Run(store, source), dataset, config=config, signal="train")
    options = NetOptions(
        fmcs_run=source, cross_validate=True, bags=BagConfig(bag_size=4, bags_per_map=1),
        net=SetConfig(members=1, width=8), fit=FitConfig(epochs=2, folds=2),
    )  # fmt: skip
    train_fmce_net(Run(store, run_id, said.append), options)
    metrics = store.get_run(run_id).data.metrics
    alphas = snapshot_alphas(store, dataset.table)
    assert metrics["run/maps"] == metrics["run/extra_trees/maps"] == dataset.table["fmcs"].notna().sum()
    scored = np.sum(~np.isnan(alphas) & dataset.table["fmcs"].notna())
    assert metrics["run/spectral_alpha/maps"] == scored < metrics["run/maps"]
    assert 0 <= metrics["run/spectral_alpha/mae"] <= 1
    (line,) = [line for line in said if "spectral_alpha" in line]
    assert line.endswith(f"on {metrics['run/spectral_alpha/maps']:.0f} maps")
    table = pd.DataFrame(**json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/results.json")))
    assert table.set_index("predictor")["maps"]["spectral_alpha"] == metrics["run/spectral_alpha/maps"]
