"""`docs/evaluator.md`: a network has one score in every form. Families of torchvision and timm, as small as they go."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torchvision import models

from fmce_mlflow.method.images.input_batches import Batch
from fmce_mlflow.method.networks.find_modules import default_module
from fmce_mlflow.method.networks.fresh_weights import reinitialised
from fmce_mlflow.method.networks.model_forms import load_exported, unflattened
from fmce_mlflow.method.scoring.score_modules import score_modules
from fmce_mlflow.predictor.find import bundled_predictor

IMAGES = 8
SAME = 1e-3
VIT = {"img_size": 32, "embed_dim": 48, "num_heads": 3, "depth": 2}
STAGES = {"depths": (1, 1, 1, 1)}
ARCHITECTURES: dict[str, tuple[int, dict[str, Any]]] = {  # height and width of the images, and what makes it small
    "torchvision:resnet18": (32, {}),
    "torchvision:shufflenet_v2_x0_5": (32, {}),
    "torchvision:mobilenet_v2": (32, {}),
    "torchvision:mobilenet_v3_small": (32, {}),
    "torchvision:squeezenet1_1": (64, {}),
    "torchvision:mnasnet0_5": (64, {}),
    "torchvision:regnet_y_400mf": (32, {}),
    "torchvision:efficientnet_b0": (32, {}),
    "torchvision:convnext_tiny": (32, {}),
    "torchvision:swin_t": (64, {}),
}
IN_AN_ARCHIVE = (
    "torchvision:resnet18",
    "torchvision:squeezenet1_1",
    "test_vit2",
    "test_nfnet",
    "swinv2_tiny_window8_256",
)
"""Written and read again; of the others the program is taken as it is, which is twice as fast."""


class Parent(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_network_has_one_score_in_every_form(name: str, tmp_path: Path):
    size, small = ARCHITECTURES[name]
    network = trained(name, small)
    images = torch.randn(IMAGES, 3, size, size, generator=torch.Generator().manual_seed(1))
    module = default_module(network, images)
    expected = score(network, module, images)
    found = {
        "pickle": score(pickle.loads(pickle.dumps(network)), module, images),
        "pt2": score(
            exported(network, images, tmp_path / "model.pt2" if name in IN_AN_ARCHIVE else None), module, images
        ),
        "net": score(Parent(network), f"net.{module}", images),
        "average": score(AveragedModel(network), f"module.{module}", images),
    }
    assert found == pytest.approx(dict.fromkeys(found, expected), abs=SAME)


def trained(name: str, small: dict[str, Any]) -> nn.Module:
    """Weights and statistics that no initialisation gives."""
    torch.manual_seed(0)
    library, _, model = name.rpartition(":")
    made: nn.Module = (
        models.get_model(model, num_classes=5, **small) if library else timm.create_model(model, num_classes=5, **small)
    )
    with torch.no_grad():
        for value in made.parameters():
            value.add_(torch.randn_like(value) * 0.05 * (value.std(correction=0) + 0.2))
        for key, buffer in made.named_buffers():
            if key.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
            elif key.endswith("running_mean"):
                buffer.normal_(0, 0.1)
    return made.eval()


def exported(network: nn.Module, images: Tensor, archive: Path | None) -> nn.Module:
    with torch.no_grad():
        program = torch.export.export(network, (images,))
    if archive is None:
        return unflattened(program)
    torch.export.save(program, archive)
    return load_exported(archive)


def score(network: nn.Module, module: str, images: Tensor) -> float:
    predictor = bundled_predictor()
    assert predictor is not None
    batches = [Batch(np.arange(IMAGES), images)]
    found = score_modules(
        network, [module], batches, predictor.net, images=IMAGES, bag_sizes=[IMAGES], untrained=reinitialised(network)
    )
    return next(iter(found.values())).fmcs
