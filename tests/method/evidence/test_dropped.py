from __future__ import annotations

import copy
import dataclasses
import math
from collections import OrderedDict, namedtuple

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from fmce_mlflow.errors import BackboneError, CaptureError, ModelError
from fmce_mlflow.method.evidence.dropped import DROP_FIGURES, RATES, dropped_change
from fmce_mlflow.method.networks.model_forms import load_exported
from tests.helpers.nets import Gives, tiny

PIXELS = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def seeded(make, *args, **kwargs):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make(*args, **kwargs)


def like(found, **how):
    return pytest.approx(found, nan_ok=True, **how)


def unknown(found):
    return all(math.isnan(value) for value in found.values())


def test_every_channel_counts_by_its_weight():
    """The output is the mean of each of 64 channels: what is dropped is 0, the rest is larger."""
    net = nn.Sequential(OrderedDict(stage=nn.Identity(), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten()))
    pixels = torch.randn(400, 64, 1, 1, generator=torch.Generator().manual_seed(1))
    found = dropped_change(net, ["stage"], pixels)["stage"]
    assert tuple(found) == DROP_FIGURES
    for rate in RATES:
        # of a dropped value 1, of a kept one (rate / (1 − rate))²; between two images 2
        square = (rate + rate**2 / (1 - rate)) / 2
        assert found[f"drop {rate} moved"] == pytest.approx(math.log(square) / 2, abs=0.02)
    distances = [found[f"drop {rate} distance"] for rate in RATES]
    assert distances == sorted(distances)
    assert 0 < distances[0] < distances[-1] < 1


def test_what_the_output_does_not_depend_on_moves_nothing():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused, self.used = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

        def forward(self, x):
            self.unused(x)
            return self.used(x).mean((2, 3))

    found = dropped_change(seeded(Net), ["unused", "used"], PIXELS)
    for rate in RATES:
        assert found["unused"][f"drop {rate} moved"] < -9
        assert found["unused"][f"drop {rate} distance"] < 1e-4
        assert not found["unused"][f"drop {rate} changed"] > 0
        assert found["used"][f"drop {rate} moved"] > -3


def test_an_output_that_is_the_same_for_all_images():
    net = seeded(tiny)
    nn.init.zeros_(net.head.weight)
    found = dropped_change(net, ["stage"], PIXELS)["stage"]
    assert unknown(found)


def test_each_module_alone_and_the_order_of_names_does_not_matter():
    net = seeded(tiny)
    both = dropped_change(net, ["stem", "stage"], PIXELS)
    assert list(both) == ["stem", "stage"]
    for names in (["stage", "stem"], ["stem"], ["stage"]):
        assert all(found == like(both[name]) for name, found in dropped_change(net, names, PIXELS).items())
    assert both["stem"] != like(both["stage"])
    assert dropped_change(net, ["stage"], PIXELS, seed=1)["stage"] != like(both["stage"])


def test_the_network_notices_nothing():
    net = seeded(tiny).train()
    net.drop.eval()
    before = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()], torch.get_rng_state()
    dropped_change(net, ["stage"], PIXELS)
    assert all(torch.equal(value, before[0][name]) for name, value in net.state_dict().items())
    assert [m.training for m in net.modules()] == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert not any(m._forward_hooks for m in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


def test_hooks_are_gone_after_an_error():
    net = seeded(tiny)
    with pytest.raises(ModelError, match="cannot take these images"):
        dropped_change(net, ["stage"], torch.zeros(2, 5, 8, 8))
    assert not any(m._forward_hooks for m in net.modules())
    assert net.training


def test_a_network_that_draws_random_numbers_draws_the_same():
    net = nn.Sequential(
        OrderedDict(
            noise=Gives(lambda x: x + 100 * torch.randn_like(x)),
            stage=Gives(lambda x: (x, x[:, 0])),
            out=Gives(lambda both: both[0].mean((2, 3))),
        )
    )
    found = dropped_change(net, ["stage.1"], PIXELS)["stage.1"]
    assert found["drop 0.3 moved"] < -9


CONTAINERS = {
    "tuple": lambda a, b: (a, b),
    "list": lambda a, b: [a, b],
    "dict": lambda a, b: {"0": a, "1": b},
    "namedtuple": namedtuple("Pair", ["a", "b"]),
    "dataclass": dataclasses.make_dataclass("Both", [("a", object), ("b", object)], frozen=True),
    "nested": lambda a, b: {"0": [a], "1": (b, None)},
}


@pytest.mark.parametrize("make", CONTAINERS.values(), ids=CONTAINERS)
def test_parts_of_what_a_module_gives(make):
    kind = make(0, 0)
    first = {"a": "a", "0": "0", "0.0": "0.0"}[
        "a" if hasattr(kind, "__dataclass_fields__") else "0.0" if isinstance(kind, dict) and kind["0"] == [0] else "0"
    ]

    def parts(both):
        if isinstance(both, dict):
            a, b = both["0"], both["1"]
            return (a[0], b[0]) if isinstance(a, list) else (a, b)
        return (both.a, both.b) if hasattr(both, "a") else tuple(both)

    net = nn.Sequential(
        OrderedDict(
            stage=Gives(lambda x: make(x, 2 * x)),
            out=Gives(lambda both: torch.cat([part.mean((2, 3)) for part in parts(both)], 1)),
        )
    )
    found = dropped_change(net, ["stage", f"stage.{first}"], PIXELS)
    assert not unknown(found["stage"])
    assert -3 < found[f"stage.{first}"]["drop 0.3 moved"] < found["stage"]["drop 0.3 moved"]


def test_calls_of_a_module_one_by_one():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.shared(self.shared(x)).mean((2, 3))

    found = dropped_change(seeded(Twice), ["shared", "shared.0", "shared.1"], PIXELS)
    values = [found[name]["drop 0.3 moved"] for name in found]
    assert len(set(values)) == 3
    assert all(math.isfinite(value) for value in values)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.movedim(1, 3),
        lambda x: x.flatten(2).mT,
        lambda x: x.flatten(2).permute(2, 0, 1),
        lambda x: x.mean((2, 3)),
    ],
    ids=["channels last", "tokens", "tokens first", "vectors"],
)
def test_channels_are_dropped_wherever_they_are(function):
    """Of each image the output has as many zeros as there are positions for a channel that was dropped."""
    seen = []

    def call(network, images):
        seen.append(network(images))
        return seen[-1].new_zeros(len(images), 2)

    pixels = 1 + torch.rand(6, 12, 4, 4, generator=torch.Generator().manual_seed(0))
    dropped_change(nn.Sequential(OrderedDict(stage=Gives(function))), ["stage"], pixels, call=call)
    plain, *others = seen
    assert (plain != 0).all()
    for rate, other in zip(RATES, others, strict=True):
        back = other.permute(1, 0, 2) if other.dim() == 3 and len(other) == 16 else other
        gone = back.reshape(6, -1, 12) == 0  # (n, P, C)
        assert torch.equal(gone, gone[:, :1].expand_as(gone))
        assert abs(gone.double().mean() - rate) < 0.15
        assert torch.allclose(other[other != 0], plain[other != 0] / (1 - rate))


def test_outputs_of_all_kinds():
    def net(function):
        return nn.Sequential(OrderedDict(stage=seeded(nn.Conv2d, 3, 4, 1), out=Gives(function)))

    dense = dropped_change(net(lambda x: x), ["stage"], PIXELS)["stage"]
    assert {name for name, value in dense.items() if math.isnan(value)} == {f"drop {rate} boxes" for rate in RATES}
    named = dropped_change(net(lambda x: {"out": x, "aux": 0 * x}), ["stage"], PIXELS)["stage"]
    assert named == like(dense)
    for function in (lambda x: (x, x.mean((2, 3))), lambda x: {"a": x.flatten(1), "b": [x.flatten(2)]}):
        other = dropped_change(net(function), ["stage"], PIXELS)["stage"]
        known = {name for name, value in other.items() if math.isfinite(value)}
        assert known == {f"drop {rate} moved" for rate in RATES}
    assert unknown(dropped_change(net(lambda x: x.argmax(1)), ["stage"], PIXELS)["stage"])
    assert unknown(dropped_change(net(lambda x: None), ["stage"], PIXELS)["stage"])
    assert unknown(dropped_change(net(lambda x: x.mean((2, 3))), ["stage"], PIXELS[:1])["stage"])


def test_batches_of_a_fixed_size_see_the_same_images():
    net = seeded(tiny)
    sizes = []

    def call(network, images):
        sizes.append(len(images))
        return network(images)

    fixed = dropped_change(net, ["stage"], PIXELS, fixed_batch=4, call=call)["stage"]
    assert set(sizes) == {4}
    whole = dropped_change(net, ["stage"], PIXELS)["stage"]
    assert fixed["drop 0.3 moved"] == pytest.approx(whole["drop 0.3 moved"], abs=0.5)
    one = dropped_change(net, ["stage"], PIXELS, fixed_batch=1)["stage"]
    assert one["drop 0.3 moved"] == pytest.approx(whole["drop 0.3 moved"], abs=0.5)


def test_names_with_and_without_their_prefix():
    net = seeded(tiny)
    wrapped = nn.DataParallel(net)
    plain = dropped_change(net, ["stage"], PIXELS)["stage"]
    assert dropped_change(wrapped, ["module.stage"], PIXELS)["module.stage"] == like(plain)
    assert dropped_change(torch.compile(net), ["stage"], PIXELS)["stage"] == like(plain)


def test_modules_that_are_not_there_or_not_called():
    net = seeded(tiny)
    with pytest.raises(BackboneError, match=r"no module 'stagee'\. Did you mean stage"):
        dropped_change(net, ["stagee"], PIXELS)
    net.add_module("list", nn.ModuleList([nn.Identity()]))
    with pytest.raises(ModelError):
        dropped_change(net, ["list"], PIXELS)


def test_torchscript_is_refused():
    with pytest.raises(CaptureError, match="TorchScript"):
        dropped_change(nn.Sequential(torch.jit.trace(nn.Conv2d(3, 4, 1), PIXELS)), ["0"], PIXELS)


def test_an_exported_network_gives_what_the_eager_one_does(tmp_path):
    net = seeded(tiny).eval()
    program = torch.export.export(net, (PIXELS,), dynamic_shapes=({0: torch.export.Dim("n", min=2)},))
    torch.export.save(program, tmp_path / "model.pt2")
    names = ["stem", "norm", "stage", "stage.0"]
    found = dropped_change(load_exported(tmp_path / "model.pt2"), names, PIXELS)
    plain = dropped_change(net, names, PIXELS)
    for name in names:
        assert found[name] == like(plain[name], abs=1e-4)


def test_transformers_whose_class_token_alone_is_read():
    net = seeded(timm.create_model, "test_vit", num_classes=10, img_size=32).eval()
    pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = dropped_change(net, ["blocks"], pixels)["blocks"]
    assert found["drop 0.3 moved"] > -5


def test_segmenters():
    net = seeded(models.segmentation.lraspp_mobilenet_v3_large, weights=None, weights_backbone=None, num_classes=4)
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = dropped_change(net, ["backbone", "backbone.high"], pixels)
    assert math.isfinite(found["backbone"]["drop 0.3 moved"])
    assert found["backbone.high"] != like(found["backbone"])


class Finds(nn.Module):
    """A detector: as many boxes in each image as it has channels, whose sides are their means."""

    def __init__(self, per_image=3):
        super().__init__()
        self.stage, self.per_image = nn.Identity(), per_image

    def forward(self, images):
        found = []
        for values in self.stage(images).mean((2, 3)):
            sides = values[: self.per_image, None].expand(-1, 2).abs()
            found.append({"boxes": torch.cat([torch.zeros_like(sides), sides], 1), "scores": sides[:, 0]})
        return found


def test_boxes_of_a_detector():
    """A square of side 1 that becomes one of side 1 / (1 − p) overlaps by (1 − p)²; one that is dropped not at all."""
    pixels = torch.ones(300, 1, 2, 2) + torch.arange(300)[:, None, None, None] / 1000
    for fixed_batch in (None, 7):
        found = dropped_change(Finds(), ["stage"], pixels, fixed_batch=fixed_batch)["stage"]
        for rate in RATES:
            assert found[f"drop {rate} boxes"] == pytest.approx(1 - (1 - rate) ** 3, abs=0.06)
            assert math.isnan(found[f"drop {rate} moved"])


def test_boxes_are_matched_and_those_without_a_match_count():
    pixels = torch.rand(8, 3, 2, 2, generator=torch.Generator().manual_seed(0))

    def call(turn):
        def run(network, images):
            found = network(images)
            call.passes += 1
            return found if call.passes == 1 else [{"boxes": turn(one["boxes"])} for one in found]

        return run

    def change(turn):
        call.passes = 0
        net = Finds()
        net.stage = nn.Sequential(OrderedDict(unused=Gives(lambda x: (x, x + 1)), first=Gives(lambda both: both[0])))
        return dropped_change(net, ["stage.unused.1"], pixels, call=call(turn))["stage.unused.1"]["drop 0.1 boxes"]

    assert change(lambda boxes: boxes.flip(0)) == pytest.approx(0, abs=1e-6)
    assert change(lambda boxes: torch.cat([boxes, boxes + 50])) == pytest.approx(0, abs=1e-6)
    assert change(lambda boxes: boxes[:2]) == pytest.approx(1 / 3, abs=1e-6)
    assert change(lambda boxes: boxes[:0]) == 1
    assert unknown(dropped_change(Finds(0), ["stage"], pixels)["stage"])
