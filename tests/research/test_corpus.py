"""The corpus of the bundled predictor: its plan, its random networks, and the file that its statistics are kept in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.method.networks.backbones import build_backbone
from fmce_mlflow.runs.run import Run
from research import random_nets
from tests.conftest import fast_options

RESEARCH = Path(random_nets.__file__).parent
TAG, EXPERIMENT = "fmce.corpus", "tests"


@pytest.fixture
def corpus(monkeypatch):
    monkeypatch.syspath_prepend(str(RESEARCH))
    import corpus

    return corpus


@pytest.fixture
def corpus_bags(monkeypatch):
    monkeypatch.syspath_prepend(str(RESEARCH))
    import corpus_bags

    return corpus_bags


@pytest.mark.parametrize("number", [0, 3, 14, 42, 113, 199, 200, 201, 202, 203, 204, 205])
def test_a_random_network_is_the_same_each_time_and_learns(number):
    torch.manual_seed(0)
    first = build_backbone(f"research.random_nets:net_{number}", num_classes=7, image_size=32)
    torch.manual_seed(0)
    again = random_nets.build(number, 7)
    assert [name for name, _ in first.named_modules()] == [name for name, _ in again.named_modules()]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    pixels, labels = torch.randn(14, 3, 32, 32), torch.arange(14) % 7
    optimizer = torch.optim.AdamW(first.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        scores = first(pixels)
        assert scores.shape == (14, 7)
        loss = torch.nn.functional.cross_entropy(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert dict(first.named_modules())["features"] is not None and dict(first.named_modules())["stages.0"] is not None


def test_the_runs_in_the_file_are_those_of_the_plan_whatever_folder_their_networks_were_in(corpus, corpus_bags):
    name = "corpus_nets:mixer|mnist|0|default"
    assert corpus_bags.today(f"benchmarks.{name}") == f"research.{name}" == corpus_bags.today(f"research.{name}")
    planned, known = {item.key for item in corpus.plan()}, {run["key"] for run in corpus_bags.known(corpus_bags.FILE)}
    ours = {key for key in known if key.startswith("research.")}
    assert ours <= planned and any(map(corpus_bags.is_random, ours)) and not all(map(corpus_bags.is_random, ours))
    for name in corpus.MODULES:
        if name.startswith("research."):
            build_backbone(name, num_classes=3, image_size=32)


def test_random_networks_differ():
    def shape(number):
        return [(name, tuple(p.shape)) for name, p in random_nets.build(number, 10).named_parameters()]

    found = [shape(number) for number in (*range(30), *range(200, 230))]
    assert sum(found.count(one) == 1 for one in found) >= 58


def test_there_are_no_other_names():
    with pytest.raises(AttributeError):
        random_nets.net_one  # noqa: B018


def test_no_run_of_the_plan_is_there_twice_and_each_can_be_trained(corpus):
    keys = [run.key for run in corpus.plan()]
    assert len(keys) == len(set(keys)) >= 200
    for run in corpus.plan():
        options = run.options("data", "folder:cifar10")
        assert options.modules == corpus.MODULES[run.backbone] and options.training.seed == run.seed


def test_what_a_run_is_reduced_to_is_read_back_and_is_not_added_twice(client, data, corpus_bags, tmp_path):
    file = tmp_path / "bags.npz"
    run_id = client.create_run(client.get_experiment_by_name(EXPERIMENT).experiment_id, tags={TAG: "tiny|d|0|x"})
    run_id = run_id.info.run_id
    options = fast_options()
    train_backbone(Run(client, run_id, lambda _: None), options, data=data)
    modules = {options.backbone: options.modules}
    corpus_bags.add(client, file, EXPERIMENT, TAG, modules)
    bags, losses = corpus_bags.read(file)
    snapshots = options.training.snapshots + 1
    assert len(bags.table) == snapshots and set(bags.table["run_id"]) == {"tiny|d|0|x"} == set(losses)
    assert len(bags.row) == len(bags.features) == 4 * snapshots and bags.test_images.sum() == 2 * snapshots
    assert np.isfinite(bags.features).all()
    history = client.get_metric_history(run_id, "train_loss")
    assert losses["tiny|d|0|x"]["train_loss"] == [m.value for m in sorted(history, key=lambda m: m.step)]
    corpus_bags.add(client, file, EXPERIMENT, TAG, modules)
    assert [run["key"] for run in corpus_bags.known(file)] == ["tiny|d|0|x"]
    assert (corpus_bags.read(file)[0].features == bags.features).all()


def test_the_file_in_the_repository_is_of_this_release(corpus, corpus_bags):
    bags, losses = corpus_bags.read(corpus_bags.FILE)
    assert len(losses) >= 240 and {key.split("|")[0] for key in losses} <= set(corpus.MODULES)
    assert set(bags.table["dataset"]) == set(corpus.SIZES)
    random = bags.table["run_id"].map(corpus_bags.is_random).to_numpy()[bags.row]
    assert not bags.test_images[random].any() and bags.test_images[~random].mean() == 0.5
    assert np.isfinite(bags.features).all()


def test_a_file_of_another_release_is_refused(corpus_bags, tmp_path):
    with np.load(corpus_bags.FILE) as file:
        parts = dict(file)
    parts["high"] = parts["high"][1:]
    np.savez(tmp_path / "other.npz", **parts)
    with pytest.raises(SystemExit, match="made by another release"):
        corpus_bags.read(tmp_path / "other.npz")
