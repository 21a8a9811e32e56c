"""Small architectures of torchvision and timm, of every family that has one, for `untrained.py`."""

from __future__ import annotations

import re

import torch

TORCHVISION = (
    "densenet121", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf",
    "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "squeezenet1_0", "squeezenet1_1", "vgg11",
    "vgg11_bn",
)  # fmt: skip
TIMM = (
    "bat_resnext26ts", "coat_tiny", "convit_tiny", "convnext_atto", "convnext_atto_rms", "convnextv2_atto",
    "cpubone_nano", "cs3darknet_focus_s", "csatv2", "cspnext_tiny", "deit_tiny_patch16_224", "dla46_c", "dla46x_c",
    "dpn48b", "eca_resnext26ts", "edgenext_xx_small", "efficientformer_l1", "efficientformerv2_s0", "efficientnet_es",
    "efficientvim_m1", "efficientvit_b0", "efficientvit_m0", "ese_vovnet19b_slim_dw", "eva02_tiny_patch14_224",
    "fasternet_t0", "fastvit_t8", "fbnetc_100", "fbnetv3_b", "gcresnext26ts", "gernet_s", "ghostnet_050",
    "ghostnetv2_100", "ghostnetv3_050", "gmlp_ti16_224", "hardcorenas_a", "hgnetv2_b0", "iformer_t",
    "inception_next_atto", "lambda_resnet26t", "lcnet_035", "lcnet_050", "lcnetv2_small", "legacy_seresnet18",
    "levit_128s", "mambaout_femto", "mixnet_s", "mnasnet_small", "mobilenet_edgetpu_v2_xs", "mobilenetv1_100",
    "mobilenetv2_035", "mobilenetv3_small_050", "mobilenetv4_conv_small_050", "mobileone_s0", "mobileone_s1",
    "mobilevit_xxs", "mobilevitv2_050", "nf_regnet_b0", "pit_ti_224", "poolformer_s12", "poolformerv2_s12", "pvt_v2_b0",
    "regnetx_002", "regnety_002", "regnetz_005", "regnetz_b16", "repghostnet_050", "repvgg_a0", "repvit_m1",
    "resnest14d", "resnet10t", "resnet14t", "resnetblur18", "resnetv2_18", "resnext26ts", "rexnet_100", "rexnetr_100",
    "selecsls42b", "semnasnet_050", "seresnet18", "seresnext26ts", "shvit_s1", "skresnet18", "spnasnet_100",
    "starnet_s050", "starnet_s1", "swiftformer_xs", "test_byobnet", "test_coatnet", "test_convnext", "test_convnext2",
    "test_convnext3", "test_efficientnet", "test_efficientnet_evos", "test_efficientnet_gn", "test_efficientnet_ln",
    "test_mambaout", "test_maxvit", "test_nfnet", "test_resnet", "test_vit", "test_vit2", "test_vit3",
    "test_vit_relpos", "tf_efficientnet_lite0", "tiny_vit_5m_224", "tinynet_d", "tinynet_e", "visformer_tiny",
    "vit_tiny_patch16_224", "vit_tiny_r_s16_p8_224", "xcit_nano_12_p16_224",
)  # fmt: skip
ARCHITECTURES = (*TORCHVISION, *(f"timm:{name}" for name in TIMM))
"""What :func:`smallest` prints, a few more of large families, and VGG, whose weights lie in its head. Those that cannot
be built for 32 or for 64 pixels are passed over there."""

MOST = 12_000_000
TRIED = 4
SIZES = (
    "atto", "femto", "pico", "nano", "tiny", "xxt", "xxs", "xx", "xt", "xs", "x", "micro", "mini", "ti", "t", "s",
    "small", "lite",
)  # fmt: skip


def smallest() -> list[str]:
    """Of each family of timm, a file of its and how a name begins, the smallest network below 12 million parameters.

    Of the four whose names say that they are small. Nothing is drawn: the networks are built without memory.
    """
    import timm
    from timm.models import _registry

    families: dict[tuple[str, str], list[str]] = {}
    for name in timm.list_models():
        begins = re.match(r"(?:tf_)?((?:test_)?[a-z]+(?:(?<=v)\d)?)", name)
        if begins:
            families.setdefault((_registry._model_to_module[name], begins[1]), []).append(name)
    found = []
    for names in families.values():
        sizes = []
        for name in sorted(names, key=_said_size)[:TRIED]:
            with torch.device("meta"):
                network = timm.create_model(name, pretrained=False, num_classes=10)
            sizes.append((sum(parameter.numel() for parameter in network.parameters()), name))
        found += [name for size, name in [min(sizes)] if size < MOST]
    return sorted(found)


def _said_size(name: str) -> tuple[int, list[int], int]:
    words = [SIZES.index(word) for word in name.split("_") if word in SIZES]
    return min(words, default=len(SIZES)), [int(number) for number in re.findall(r"\d+", name)], len(name)
