from __future__ import annotations

import pytest
import torch

from fmce_mlflow.errors import BackboneError
from fmce_mlflow.evaluation.rebuild import rebuilder
from fmce_mlflow.method.networks.backbones import build_backbone
from fmce_mlflow.runs.torch_models import TorchModel, TrainingFacts


def model(backbone: str | None, network: torch.nn.Module) -> TorchModel:
    return TorchModel(network, "models:/m-1", facts=TrainingFacts(backbone=backbone))


@pytest.mark.parametrize("stem", ["small", "stock"])
def test_a_backbone_that_is_named_is_built_anew_with_the_stem_that_fits(stem):
    network = build_backbone("shufflenet_v2_x0_5", num_classes=3, image_size=32, stem=stem)
    build = rebuilder(model("shufflenet_v2_x0_5", network), 32)
    for _ in range(2):
        made = build(3)
        assert made.conv1[0].weight.shape == network.conv1[0].weight.shape
        assert not torch.equal(made.conv1[0].weight, network.conv1[0].weight)
    with pytest.raises(BackboneError, match="other weights than the model"):
        rebuilder(model("shufflenet_v2_x0_5", network), 32)(4)


@pytest.mark.parametrize("name", [None, "os:getcwd", "tests.helpers.nets:tiny"])
def test_code_that_metadata_name_is_not_followed(name):
    assert rebuilder(model(name, torch.nn.Conv2d(3, 4, 1)), 32) is None
