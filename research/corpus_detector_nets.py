"""The corpus's small segmenters and detectors, with the images that each is trained on and looked at with."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import torch
from corpus_plan import Plan
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_large
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteFeatureExtractorMobileNet, SSDLiteHead
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3
from torchvision.models.segmentation.fcn import FCN, FCNHead

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import detection
import segmentation
from vision_data import Bccd, CamVid

Role = Literal["stage", "neck", "head"]
SEGMENTERS: dict[str, dict[str, Role]] = {
    "lraspp_mobilenet_v3_large": {
        "backbone.0": "stage", "backbone.4": "stage", "backbone.10": "stage", "backbone.16": "stage",
        "classifier.cbr": "neck", "classifier": "head",
    },
    "deeplabv3_test_resnet": {
        "backbone.conv1": "stage", "backbone.layer1": "stage", "backbone.layer2": "stage", "backbone.layer4": "stage",
        "classifier.0": "neck", "classifier": "head",
    },
    "fcn_test_resnet": {
        "backbone.conv1": "stage", "backbone.layer1": "stage", "backbone.layer3": "stage", "backbone.layer4": "stage",
        "classifier": "head",
    },
}  # fmt: skip
DETECTORS: dict[str, dict[str, Role]] = {
    "ssdlite_mobilenet_v3_large": {
        "backbone.features.0.0": "stage", "backbone.features.0.6": "stage", "backbone.features.0": "stage",
        "backbone.features.1": "stage", "backbone.extra.0": "neck",
        "head.classification_head.module_list.0": "head",
    },
    "fasterrcnn_mobilenet_v3_small_fpn": {
        "backbone.body.0": "stage", "backbone.body.3": "stage", "backbone.body.8": "stage",
        "backbone.body.12": "stage", "backbone.fpn.c4": "neck", "rpn.head.cls_logits.1": "head",
    },
}  # fmt: skip
"""Of each network its maps, from the images on, and what each is of: a stage of the backbone, neck or head."""
ROLES = {**SEGMENTERS, **DETECTORS}
SIZES = {**dict.fromkeys(SEGMENTERS, (96, 128)), "ssdlite_mobilenet_v3_large": (160, 160)} | {
    "fasterrcnn_mobilenet_v3_small_fpn": (144, 192)
}
CLASSES = {"camvid": len(CamVid.classes), "bccd": len(Bccd.classes) - 1}
TRAINED, PROBE, NOTHING = 128, 64, 255
Items = list[tuple[Tensor, Any]]
Batch = tuple[Tensor, Any]
norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.1)  # torchvision's 0.01 and 0.03 are too slow for so few steps


def build(name: str) -> nn.Module:
    """A network with weights drawn from the global random state."""
    if name == "lraspp_mobilenet_v3_large":
        return segmentation.segmenter(CLASSES["camvid"])
    if name == "deeplabv3_test_resnet":
        return DeepLabV3(_resnet(16), DeepLabHead(96, CLASSES["camvid"], (2, 4, 6)))
    if name == "fcn_test_resnet":
        return FCN(_resnet(8), FCNHead(96, CLASSES["camvid"]))
    if name == "ssdlite_mobilenet_v3_large":
        return _ssdlite(SIZES[name], CLASSES["bccd"] + 1)
    return detection.detector(SIZES[name], CLASSES["bccd"] + 1)


def _resnet(stride: int) -> nn.Module:
    """The stages of timm's smallest ResNet, whose maps are that many times smaller than the image."""
    import timm

    return IntermediateLayerGetter(timm.create_model("test_resnet", output_stride=stride), {"layer4": "out"})


def _ssdlite(size: tuple[int, int], classes: int) -> SSD:
    """SSDlite as torchvision builds it, for smaller images."""
    body = mobilenet_v3_large(weights=None, norm_layer=norm, reduced_tail=True).features
    places = [i for i, block in enumerate(body) if getattr(block, "_is_cn", False)]
    backbone = SSDLiteFeatureExtractorMobileNet(body, places[-2], norm)
    anchors = DefaultBoxGenerator([[2, 3] for _ in range(6)], min_ratio=0.1, max_ratio=0.95)
    with torch.no_grad():
        channels = [value.shape[1] for value in backbone.eval()(torch.zeros(1, 3, *size)).values()]
    head = SSDLiteHead(channels, anchors.num_anchors_per_location(), classes, norm)
    return SSD(
        backbone.train(), anchors, size, classes, head=head, image_mean=[0.5] * 3, image_std=[0.5] * 3,
        score_thresh=0.001, nms_thresh=0.55, detections_per_img=100, topk_candidates=200,
    )  # fmt: skip


@dataclass(frozen=True)
class Scenes:
    """Images (3, H, W) as the network takes them, each with its mask (H, W) or its boxes."""

    train: Items
    validation: Items
    probe: Items

    @property
    def pixels(self) -> Tensor:
        """Those of the probe, (n, 3, H, W)."""
        return torch.stack([image for image, _ in self.probe])

    @property
    def masks(self) -> Tensor | None:
        """Those of the probe, int64 (n, H, W), with 255 where nothing is known."""
        if isinstance(self.probe[0][1], dict):
            return None
        return torch.stack([mask.masked_fill(mask == CamVid.void, NOTHING) for _, mask in self.probe])


@cache
def scenes(name: str, root: Path, seed: int) -> Scenes:
    """What a training is shown, which its seed chooses, and what is held out for all."""
    data, presets = (CamVid, segmentation.presets) if name in SEGMENTERS else (Bccd, detection.presets)
    train, rest = (data(root, split, SIZES[name], presets(False)) for split in ("train", "val"))
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:TRAINED].tolist()
    held = torch.randperm(len(rest), generator=torch.Generator().manual_seed(0)).tolist()
    probe, validation = held[:PROBE], held[PROBE:]
    return Scenes(
        [plain(train[i]) for i in order], [plain(rest[i]) for i in validation], [plain(rest[i]) for i in probe]
    )


def plain(item: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
    """Without torchvision's types of tensors, which every operator would have to look at."""
    image, target = item
    known = {key: value.as_subclass(Tensor) for key, value in target.items()} if isinstance(target, dict) else None
    return image.as_subclass(Tensor), target.as_subclass(Tensor) if known is None else known


def loss_of(model: nn.Module, items: Sequence[tuple[Tensor, Any]]) -> Tensor:
    """The network's loss by torchvision's references; a detector gives its own in training mode."""
    images, targets = [image for image, _ in items], [target for _, target in items]
    if isinstance(targets[0], dict):
        total: Tensor = sum(model(images, targets).values())
        return total
    return segmentation.criterion(model(torch.stack(images)), torch.stack(targets))


def flipped(items: Items, draw: torch.Generator) -> Items:
    """A batch of which half the images are mirrored."""
    made: Items = []
    for image, target in items:
        if float(torch.rand((), generator=draw)) < 0.5:
            image = image.flip(-1)
            if isinstance(target, dict):
                left, top, right, bottom = target["boxes"].unbind(1)
                width = image.shape[-1]
                target = {**target, "boxes": torch.stack([width - right, top, width - left, bottom], 1)}
            else:
                target = target.flip(-1)
        made.append((image, target))
    return made


def plan() -> list[Plan]:
    """All trainings, broad first."""
    return [
        Plan(name, "camvid" if name in SEGMENTERS else "bccd", seed)
        for seed in (0, 1)
        for pair in zip((*SEGMENTERS,), (*DETECTORS, ""), strict=True)
        for name in pair
        if name
    ]
