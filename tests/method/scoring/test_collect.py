"""Evidence of networks whose output is no row of class scores."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.segmentation.fcn import FCN, FCNHead
from torchvision.ops import MultiScaleRoIAlign

from fmce_mlflow.method.evidence.groups import GROUPS
from fmce_mlflow.method.evidence.place import PLACE_FIGURES
from fmce_mlflow.method.fmce_net.statistics import bag_features
from fmce_mlflow.method.scoring.collect import Collected, collect

IMAGES = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def body() -> nn.Sequential:
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1),
    )
    layers.out_channels = 16
    return layers


def detector() -> FasterRCNN:
    torch.manual_seed(0)
    anchors = AnchorGenerator(((8, 16),), ((1.0,),))
    pool = MultiScaleRoIAlign(["0"], output_size=2, sampling_ratio=1)
    limits = {"box_score_thresh": 0.0, "box_detections_per_img": 5, "rpn_post_nms_top_n_test": 8}
    return FasterRCNN(body(), 3, 32, 32, rpn_anchor_generator=anchors, box_roi_pool=pool, **limits)


def known(found: Collected, name: str, group: str) -> list[str]:
    figures = found.modules[name].figures
    return [figure for figure in GROUPS[group] if math.isfinite(figures.get(figure, math.nan))]


@pytest.mark.parametrize("training", [True, False])
def test_a_detector_gives_all_that_does_not_need_class_scores(training):
    network = detector().train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = collect(network, ["backbone", "rpn.head.cls_logits"], [IMAGES[:4], IMAGES[4:]])
    assert found.notes == () and found.is_settled
    for name, module in found.modules.items():
        assert known(found, name, "outputs") == known(found, name, "labels") == []
        assert known(found, name, "dropped") == ["drop 0.1 boxes", "drop 0.3 boxes"]
        assert known(found, name, "gap") and known(found, name, "views")
        assert known(found, name, "place") == [*PLACE_FIGURES[:2]] and module.fresh.shape[0] >= 3
    depths = [found.modules[name].figures["place depth"] for name in ("backbone", "rpn.head.cls_logits")]
    assert 0 < depths[0] < depths[1] < 1
    assert network.training is training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_one_output_of_a_pyramid_has_evidence_of_its_own():
    network = nn.Sequential(Pyramid(), Coarse())
    found = collect(network.eval(), ["0.fine", "0.coarse"], [IMAGES])
    fine, coarse = (found.modules[name] for name in ("0.fine", "0.coarse"))
    assert fine.figures["drop 0.3 moved"] != coarse.figures["drop 0.3 moved"]
    assert found.notes == () and fine.fresh.shape == coarse.fresh.shape
    assert not torch.equal(fine.fresh, coarse.fresh)


class Pyramid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = body()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        fine = self.body(x)
        return {"fine": fine, "coarse": nn.functional.max_pool2d(fine, 4)}


class Coarse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(32, 3)

    def forward(self, maps: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.layer(torch.cat([value.amax((2, 3)) for value in maps.values()], 1))


def test_a_segmenter_is_told_of_its_masks():
    torch.manual_seed(0)
    network = FCN(Named(), FCNHead(16, 3)).eval()
    masks = torch.zeros(6, 32, 32, dtype=torch.int64)
    masks[:, :16], masks[:, 16:24], masks[:, -2:] = 1, 2, 255
    found = collect(network, ["backbone", "classifier"], [IMAGES], targets=lambda _: masks)
    assert found.notes == ()
    for name in found.modules:
        assert [*known(found, name, "labels")] == [*GROUPS["labels"]]
        assert len(known(found, name, "outputs")) == len(GROUPS["outputs"])
    maps = torch.rand(6, 16, 16, 16)
    row = found.modules["backbone.out"].row(bag_features(maps), maps.shape, 6)
    assert int(torch.isfinite(row).sum()) > len(row) // 2


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = body()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": self.body(x)}
