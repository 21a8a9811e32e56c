"""What asks a predictor of untrained networks and of reset stages: how stages are found, reset, and judged."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from torch import nn

import research.stages as found_stages
from fmce_mlflow.method.networks.backbones import build_backbone
from research.stages import after, members, stages, watch

RESEARCH = Path(found_stages.__file__).parent
PIXELS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def untrained(monkeypatch):
    monkeypatch.syspath_prepend(str(RESEARCH))
    import untrained

    return untrained


@pytest.mark.parametrize(
    "name, expected",
    [
        ("timm:test_resnet", ("layer1", "layer2", "layer3", "layer4")),
        ("timm:test_mambaout", ("stages.0", "stages.1", "stages.2", "stages")),
        ("timm:test_vit", ("blocks.0", "blocks.2", "blocks.3", "norm")),
        ("mobilenet_v3_small", ("features.3", "features.6", "features.9", "features")),
        ("research.corpus_nets:dense_cnn", ("features.2", "features.6", "features.8", "features")),
    ],
)
def test_stages_lie_on_the_main_path_and_share_all_weights_up_to_the_last(name, expected):
    torch.manual_seed(0)
    network = build_backbone(name, num_classes=5, image_size=32).train()
    names = stages(network, PIXELS)
    assert names == expected and network.training
    calls = watch(network, PIXELS)
    parts, head = members(network, names, calls), after(network, names[-1], calls)
    shared = [one for part in parts for one in part]
    assert all(parts) and len(shared) == len(set(shared)) and not set(shared) & set(head)
    owners = {parameter.rpartition(".")[0] for parameter, _ in network.named_parameters()}
    assert owners - {""} == owners & {*shared, *head}
    assert head and all(calls.place(one) > calls.ended[names[-1]] for one in head)


def test_a_network_of_one_stage_has_one():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    assert stages(network, PIXELS) == ("1",)
    calls = watch(network, PIXELS)
    assert members(network, ("1",), calls) == [["0"]] and after(network, "1", calls) == ["4"]


@pytest.mark.parametrize("init", ["reinitialised", "library"])
def test_a_reset_changes_the_weights_and_statistics_of_that_stage_alone(untrained, init):
    name = "timm:test_resnet"
    network = untrained.fresh(name, 32, 0)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.add_(3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    calls = watch(network, PIXELS)
    stage = members(network, ("layer1", "layer2"), calls)[1]
    untrained.reset(network, stage, init, name, seed=0)
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if key.startswith("layer2.")}
    assert network.layer2[0].bn1.running_var.eq(1).all() and network.layer2[0].bn1.num_batches_tracked == 0


def test_settling_moves_statistics_and_no_weight(untrained):
    network = untrained.fresh("timm:test_resnet", 32, 0)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    untrained.settle(network, torch.randn(32, 3, 32, 32))
    changed = {key.rpartition(".")[2] for key, value in network.state_dict().items() if not value.equal(before[key])}
    assert changed == {"running_mean", "running_var", "num_batches_tracked"} and not network.training
    assert network.bn1.num_batches_tracked == untrained.PASSES


def result(part, scores, **more):
    modules = [
        {"name": f"s{i}", "fmcs": score, "std": 0.1, "low": 0, "high": 1, "early": False, "far": False}
        for i, score in enumerate(scores)
    ]
    return {
        "part": part, "key": "net|x|stage 2", "predictor": "p", "modules": modules, "mature": 0.9, "fallen": [],
        "warnings": [], "seconds": 1.0, "all_seconds": 2.0, **more,
    }  # fmt: skip


def test_untrained_stages_are_to_score_low_trained_ones_high_and_a_reset_one_is_to_be_named(
    untrained, tmp_path, capsys
):
    judged = untrained.judged
    assert judged(result("untrained", [0.1, 0.3]))["right"] and not judged(result("settled", [0.1, 0.31]))["right"]
    assert judged(result("frozen", [0.4, 0.1]))["last"] and not judged(result("frozen", [0.4, 0.1]))["right"]
    assert judged(result("trained", [0.8, 0.9]))["right"] and not judged(result("trained", [0.8, 0.7]))["last"]
    found = result("reset", [0.95, 0.4, 0.3], stage="s1", fallen=["s1", "s2"])
    assert judged(found)["right"] and judged(found)["by_score"] and judged(found)["how"] == "x"
    after_it = result("reset", [0.95, 0.4, 0.3], stage="s1", fallen=["s2"])
    assert not judged(after_it)["right"] and judged(after_it)["by_score"]
    nothing = result("reset", [0.95, 0.95, 0.95], stage="s1")
    assert not judged(nothing)["right"] and not judged(nothing)["by_score"]
    for number, one in enumerate((found, after_it, result("untrained", [0.1, 0.2]), {**nothing, "part": "trained"})):
        (tmp_path / one["part"]).mkdir(exist_ok=True)
        (tmp_path / one["part"] / f"{number}.json").write_text(json.dumps(one))
    untrained.table(Namespace(out=str(tmp_path)))
    told = capsys.readouterr().out
    assert "reset, x: 50.0% named by the report, 100.0% by scores alone" in told
    assert told.count("reset s1, named s2") == 1 and "0 could not be scored" in told


def test_a_run_is_scored_once_for_each_predictor(untrained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(untrained, "ARCHITECTURES", ("timm:test_resnet", "timm:test_vit", "squeezenet1_1"))
    monkeypatch.setattr(untrained, "CONDITIONS", {"digits": 32})
    monkeypatch.setattr(untrained, "IMAGES", 32)
    args = Namespace(
        parts="untrained,settled", alternate=False, only="test_", out=str(tmp_path), predictor=None, shard="0/1",
        cifar10="", data_root="", targets=False, seed=0,
    )  # fmt: skip
    untrained.run(args)
    files = {file.relative_to(tmp_path): json.loads(file.read_text()) for file in tmp_path.rglob("*.json")}
    assert len(files) == 4 and sum("none" in one for one in files.values()) == 1  # test_vit has no statistics
    assert all(0 <= m["fmcs"] <= 1 for one in files.values() for m in one.get("modules", ()))
    first = capsys.readouterr().out
    assert "untrained timm:test_resnet|digits" in first and "settled" in first
    times = {file: (tmp_path / file).stat().st_mtime_ns for file in files}
    untrained.run(args)
    assert times == {file: (tmp_path / file).stat().st_mtime_ns for file in files}
