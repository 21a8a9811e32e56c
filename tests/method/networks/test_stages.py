from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2, resnet18, vgg11, vit_b_16

from fmce_mlflow.errors import BackboneError
from fmce_mlflow.method.networks.model_forms import unflattened
from fmce_mlflow.method.networks.stages import modules_named, stages


@pytest.mark.parametrize(
    ("build", "first", "last", "number"),
    [
        (resnet18, "conv1", "fc", 7),
        (vgg11, "features.0", "classifier", 9),
        (mobilenet_v2, "features.0", "classifier", 20),
        (vit_b_16, "conv_proj", "heads", 15),
    ],
)
def test_stages_of_architectures(build, first, last, number):
    with torch.device("meta"):
        network = build()
    found = stages(network)
    assert (found[0], found[-1], len(found)) == (first, last, number)


def test_stages_of_a_wrapped_and_of_an_exported_network():
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1)), nn.Conv2d(8, 2, 1))
    exported = unflattened(torch.export.export(network.eval(), (torch.zeros(2, 3, 4, 4),)))
    assert stages(nn.DataParallel(network)) == stages(exported) == ("0.0", "0.2", "1")
    assert stages(nn.Conv2d(3, 8, 1)) == ()


def test_names_are_checked_and_globs_take_what_has_weights():
    network = resnet18()
    assert modules_named(network, ["relu"]) == ("relu",)
    assert modules_named(network, ["layer1.0.*", "fc"]) == (
        "layer1.0.conv1", "layer1.0.bn1", "layer1.0.conv2", "layer1.0.bn2", "fc"
    )  # fmt: skip
    with pytest.raises(BackboneError, match="no module 'layer9'"):
        modules_named(network, ["layer9"])
    with pytest.raises(BackboneError, match="fits no module with weights"):
        modules_named(network, ["rel*"])
