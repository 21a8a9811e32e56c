"""The corpus of the bundled predictor: its plan, its random networks, and the files that it is kept in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from fmce_mlflow.method.networks.backbones import build_backbone
from fmce_mlflow.method.networks.capture import locate
from research import random_nets

RESEARCH = Path(random_nets.__file__).parent


@pytest.fixture
def corpus_plan(monkeypatch):
    monkeypatch.syspath_prepend(str(RESEARCH))
    import corpus_plan

    return corpus_plan


@pytest.fixture
def corpus_read(monkeypatch):
    monkeypatch.syspath_prepend(str(RESEARCH))
    import corpus_read

    return corpus_read


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


def test_random_networks_differ():
    def shape(number):
        return [(name, tuple(p.shape)) for name, p in random_nets.build(number, 10).named_parameters()]

    found = [shape(number) for number in (*range(30), *range(200, 230))]
    assert sum(found.count(one) == 1 for one in found) >= 58


def test_there_are_no_other_names():
    with pytest.raises(AttributeError):
        random_nets.net_one  # noqa: B018


def test_no_training_of_the_plan_is_there_twice_and_networks_of_this_repository_have_the_modules_it_names(corpus_plan):
    plan = corpus_plan.plan()
    assert len({item.key for item in plan}) == len(plan) >= 150
    assert {item.recipe for item in plan} <= set(corpus_plan.RECIPES) and set(corpus_plan.HELD_OUT) < set(
        corpus_plan.MODULES
    )
    assert {item.random for item in plan} == {True, False}
    for name, modules in corpus_plan.MODULES.items():
        if name.startswith("research."):
            network = build_backbone(name, num_classes=3, image_size=32)
            for module in modules:
                assert locate(dict(network.named_modules()), module)


def test_the_files_in_the_repository_are_of_this_release_and_named_by_their_trainings(corpus_plan, corpus_read):
    found = []
    for path in corpus_read.FOLDER.glob("*.npz"):
        with np.load(path, allow_pickle=False) as file:
            facts = corpus_read.facts_of(file)
        assert path.stem == corpus_plan.Plan(**facts["plan"]).key
        labels = corpus_read.labels(facts, facts["modules"][-1])
        assert labels is None or len(labels.fmcs) == len(facts["snapshots"])
        found.append(corpus_plan.Plan(**facts["plan"]).random)
    assert len(found) >= 140 and 0 < sum(found) < 30


def test_a_file_is_read_as_bags_with_labels(corpus_read, tmp_path):
    name = "test_resnet_digits_all_default_all-classes_0"
    shutil.copy(corpus_read.FOLDER / f"{name}.npz", tmp_path)
    bags = corpus_read.read(tmp_path)
    table = bags.table
    assert set(table["run_id"]) == {name} and set(table["kind"]) == {"trained", "fresh", "reset", "after-reset"}
    assert len(bags.row) == len(bags.features) == len(bags.evidence) == len(table)
    assert np.isfinite(bags.features).all() and table["fmcs"].between(0, 1).all()
    assert (table["fmcs"][table["kind"].isin(["fresh", "reset"])] == 0).all()
    last = table[(table["kind"] == "trained") & (table["place"] == 0) & (table["chosen"] == "all")]
    assert last["snapshot"].is_monotonic_increasing and last["fmcs"].is_monotonic_increasing
    assert (last["fmcs"].iloc[0], last["fmcs"].iloc[-1]) == (0, 1) and set(last["module"]) == {"layer4"}
    assert set(last["level"].dropna()) == set(range(5))


def test_a_file_of_another_release_is_refused(corpus_read, tmp_path):
    with np.load(next(corpus_read.FOLDER.glob("*.npz"))) as file:
        parts = dict(file)
    facts = json.loads(parts["facts"].tobytes()) | {"format": 0}
    parts["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    np.savez(tmp_path / "other.npz", **parts)
    with pytest.raises(SystemExit, match="made by another release"):
        corpus_read.read(tmp_path)
