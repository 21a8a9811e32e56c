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
    "test_byobnet": (32, {}),
    "test_convnext": (32, {}),
    "test_convnext2": (32, {}),
    "test_convnext3": (32, {}),
    "test_efficientnet": (32, {}),
    "test_efficientnet_evos": (32, {}),
    "test_efficientnet_gn": (32, {}),
    "test_efficientnet_ln": (32, {}),
    "test_mambaout": (32, {}),
    "test_nfnet": (32, {}),
    "test_resnet": (32, {}),
    "efficientvit_b0": (32, {}),
    "starnet_s050": (32, {}),
    "mobilenetv4_conv_small_050": (32, {}),
    "lcnet_050": (32, {}),
    "tinynet_e": (32, {}),
    "mixnet_s": (32, {}),
    "semnasnet_050": (32, {}),
    "hardcorenas_a": (32, {}),
    "fbnetc_100": (32, {}),
    "ghostnet_050": (32, {}),
    "regnetx_002": (32, {}),
    "resnet10t": (32, {}),
    "resnetv2_18": (32, {}),
    "seresnet18": (32, {}),
    "pvt_v2_b0": (64, STAGES),
    "mobilevit_xxs": (64, {}),
    "mobilevitv2_050": (64, {}),
    "fastvit_t8": (64, {}),
    "edgenext_xx_small": (64, {}),
    "nf_regnet_b0": (64, {}),
    "dla46_c": (64, {}),
    "ese_vovnet19b_slim_dw": (64, {}),
    "hgnetv2_b0": (64, {}),
    "inception_next_atto": (64, {}),
    "gcresnext26ts": (64, {}),
    "test_vit": (32, {"img_size": 32}),
    "test_vit2": (32, {"img_size": 32}),
    "test_vit3": (32, {"img_size": 32}),
    "test_vit4": (32, {"img_size": 32}),
    "test_vit_relpos": (32, {"img_size": 32}),
    "test_coatnet": (64, {"img_size": 64}),
    "test_maxvit": (64, {"img_size": 64}),
    "deit3_small_patch16_224": (32, VIT),
    "vit_small_patch16_224": (32, VIT),
    "deit_tiny_distilled_patch16_224": (32, VIT),
    "cait_xxs24_224": (32, VIT),
    "beit_base_patch16_224": (32, VIT),
    "vit_relpos_base_patch16_clsgap_224": (32, VIT),
    "xcit_nano_12_p16_224": (32, VIT),
    "vit_small_patch14_dinov2": (28, {**VIT, "img_size": 28}),
    "vit_small_patch14_reg4_dinov2": (28, {**VIT, "img_size": 28}),
    "eva02_tiny_patch14_224": (28, {**VIT, "img_size": 28}),
    "convit_tiny": (32, {"img_size": 32, "depth": 2, "local_up_to_layer": 1}),
    "tnt_s_legacy_patch16_224": (32, {"img_size": 32, "depth": 2}),
    "sequencer2d_s": (32, {"img_size": 32, "layers": (1, 1, 1, 1)}),
    "swin_tiny_patch4_window7_224": (56, {"img_size": 56, "embed_dim": 24, **STAGES, "num_heads": (1, 2, 3, 4)}),
    "swinv2_tiny_window8_256": (64, {"img_size": 64, "embed_dim": 24, **STAGES, "num_heads": (1, 2, 3, 4)}),
    "davit_tiny": (64, {**STAGES, "embed_dims": (24, 32, 48, 64), "num_heads": (1, 2, 4, 4)}),
    "twins_svt_small": (64, {"img_size": 64, **STAGES}),
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
