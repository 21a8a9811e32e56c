"""The trainings of the corpus: which networks, images, recipes, and which parts of a network are trained.

    python research/corpus_plan.py

prints them in the order in which `corpus_train.py` takes them: broad first, so that a corpus that is stopped early has
something of everything.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Part = Literal[
    "all", "head", "head-eval", "second-half", "backbone", "thawed-late", "frozen-midway", "fine-tuned",
]  # fmt: skip
"""What is trained: everything; the head on a backbone frozen at random, whose BatchNorm statistics settle or not; the
second half; all but the head; first the head and from half of the training on everything; the first half until
the middle of the training; everything, from weights trained on other images."""

MODULES: dict[str, tuple[str, ...]] = {
    "shufflenet_v2_x0_5": ("conv1", "stage2", "stage3", "stage4", "conv5"),
    "timm:test_resnet": ("conv1", "layer1", "layer2", "layer3", "layer4"),
    "timm:test_convnext": ("stem", "stages.1", "stages.2", "stages.3"),
    "timm:regnetx_002": ("stem", "s1", "s2", "s3", "s4"),
    "research.corpus_nets:plain_cnn": ("features.0", "features.3", "features.6", "features.11", "features"),
    "timm:test_vit": ("patch_embed", "blocks.1", "blocks.3", "blocks.5", "norm"),
    "timm:mobilenetv2_035": ("conv_stem", "blocks.2", "blocks.4", "blocks.6", "bn2"),
    "timm:test_nfnet": ("stem", "stages.1", "stages.2", "stages.3", "final_conv"),
    "timm:test_efficientnet": ("conv_stem", "blocks.1", "blocks.3", "blocks.4", "bn2"),
    "research.corpus_nets:small_transformer": ("stem", "blocks.0", "blocks.2", "blocks.3", "norm"),
    "research.corpus_nets:group_norm_resnet": ("stem", "stages.0", "stages.1", "stages.2"),
    "timm:test_byobnet": ("stem", "stages.1", "stages.2", "stages.3", "final_conv"),
    "timm:lcnet_050": ("conv_stem", "blocks.2", "blocks.4", "blocks.5"),
    "timm:test_mambaout": ("stem", "stages.1", "stages.2", "stages.3"),
    "research.corpus_nets:dense_cnn": ("features.0", "features.3", "features.8", "features.13", "features"),
    "mobilenet_v3_small": ("features.0", "features.3", "features.8", "features.11", "features.12"),
    "timm:test_convnext2": ("stem", "stages.1", "stages.2", "stages.3"),
    "research.corpus_nets:mixer": ("stem", "blocks.0", "blocks.2", "blocks.3", "norm"),
    "timm:edgenext_xx_small": ("stem", "stages.1", "stages.2", "stages.3"),
    "research.corpus_nets:all_cnn": ("features.0", "features.2", "features.4", "features.6", "features.8"),
    "timm:test_efficientnet_gn": ("conv_stem", "blocks.1", "blocks.3", "blocks.4", "bn2"),
    "research.corpus_nets:residual_without_norm": ("stem", "stages.0", "stages.2", "stages.4", "stages.5"),
    "timm:starnet_s050": ("stem", "stages.1", "stages.2", "stages.3"),
    "timm:test_vit2": ("patch_embed", "blocks.1", "blocks.4", "blocks.7", "norm"),
    "timm:regnety_002": ("stem", "s1", "s2", "s3", "s4"),
    "timm:mobilenetv4_conv_small_050": ("conv_stem", "blocks.1", "blocks.2", "blocks.3", "blocks.4"),
    "squeezenet1_1": ("features.0", "features.4", "features.7", "features.10", "features.12"),
    "timm:test_efficientnet_ln": ("conv_stem", "blocks.1", "blocks.3", "blocks.4", "bn2"),
    "timm:mobilenetv3_small_050": ("conv_stem", "blocks.1", "blocks.3", "blocks.4", "blocks.5"),
    "timm:fasternet_t0": ("patch_embed", "stages.1", "stages.2", "stages.3"),
    "timm:lcnet_035": ("conv_stem", "blocks.2", "blocks.4", "blocks.5"),
    "timm:efficientvit_b0": ("stem", "stages.1", "stages.2", "stages.3"),
    "timm:tinynet_e": ("conv_stem", "blocks.2", "blocks.4", "blocks.6", "bn2"),
    "timm:cs3darknet_focus_s": ("stem", "stages.1", "stages.2", "stages.3"),
    "timm:ghostnet_050": ("conv_stem", "blocks.3", "blocks.6", "blocks.8", "blocks.9"),
    "timm:mobilevit_xxs": ("stem", "stages.1", "stages.2", "stages.4", "final_conv"),
    "mnasnet0_5": ("layers.0", "layers.9", "layers.11", "layers.13", "layers.15"),
    "timm:repghostnet_050": ("conv_stem", "blocks.3", "blocks.6", "blocks.8", "blocks.9"),
    "timm:test_convnext3": ("stem", "stages.1", "stages.2", "stages.3"),
}
"""Networks, and of each its stem, stages in the middle, and the last feature stages."""
SLOW = (
    "mnasnet0_5",
    "timm:ghostnet_050",
    "timm:mobilevit_xxs",
    "timm:repghostnet_050",
    "timm:test_nfnet",
    "timm:cs3darknet_focus_s",
)
HELD_OUT = (
    "timm:test_convnext", "timm:mobilenetv2_035", "timm:regnety_002", "timm:test_byobnet", "timm:lcnet_035",
    "research.corpus_nets:dense_cnn", "timm:test_vit2", "timm:starnet_s050", "research.corpus_nets:all_cnn",
    "timm:efficientvit_b0", "mobilenet_v3_small", "timm:test_efficientnet_gn", "research.corpus_nets:mixer",
)  # fmt: skip
"""A third of the networks, on which nothing is chosen: they are looked at once."""

RANDOM = tuple(f"research.random_nets:net_{number}" for number in (
    1, 200, 3, 202, 4, 206, 5, 207, 7, 208, 10, 210, 11, 211, 13, 214, 16, 216, 17, 218, 19, 220, 20, 221, 23, 226, 24,
    227, 27, 233, 28, 234, 30, 235, 32, 236, 33, 237, 34, 239, 39, 240, 40, 241, 44, 243, 45, 244, 49, 250, 51, 256, 52,
    260, 54, 262, 57, 263, 59, 265, 63, 268, 64, 272, 78, 274, 79, 276, 85, 278, 86, 279, 88, 280, 89, 282, 95, 285, 96,
    286, 104, 287, 106, 288, 107, 291, 109, 292, 112, 294, 113, 295, 114, 296, 116, 297, 117, 298, 120, 299, 121, 300,
))  # fmt: skip
"""Networks drawn at random. FMCE-Net is fitted to them, and never scored on them."""


@dataclass(frozen=True)
class Recipe:
    """How the weights are moved."""

    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 2e-3
    decay: float = 0.01
    schedule: Literal["cosine", "constant"] = "cosine"
    batch: int = 64
    smoothing: float = 0.0
    shifts: bool = False  # images moved by up to an eighth
    longer: float = 1.0  # passes, over those of the data set


RECIPES = {
    "default": Recipe(),
    "sgd-constant": Recipe("sgd", 0.02, 5e-4, "constant"),
    "adamw-constant": Recipe(lr=7e-4, schedule="constant"),
    "adamw-small-rate": Recipe(lr=3e-4),
    "adamw-large-rate": Recipe(lr=6e-3),
    "large-batch": Recipe(lr=4e-3, batch=192),
    "augmented": Recipe(shifts=True, longer=1.3),
    "smoothed-labels": Recipe(smoothing=0.1),
    "sgd-cosine": Recipe("sgd", 0.05, 5e-4),
    "long": Recipe(longer=3.0),
    "too-short": Recipe(lr=1e-4, schedule="constant", longer=0.5),
}
VARIED = tuple(name for name in RECIPES if name not in ("default", "long", "too-short"))
DATA = ("digits", "mnist", "cifar10", "mini")
SIZES = {"digits": 800, "mnist": 1300, "cifar10": 900, "mini": 1000, "pairs": 2000}
EPOCHS = {"digits": 8, "mnist": 6, "cifar10": 10, "mini": 10, "pairs": 10}
SNAPSHOTS = {"digits": 3, "mnist": 4, "cifar10": 2, "mini": 2, "pairs": 2}  # in an epoch


@dataclass(frozen=True)
class Plan:
    """One training."""

    backbone: str
    dataset: str
    seed: int = 0
    recipe: str = "default"
    part: Part = "all"
    classes: int = 0  # 0: all of the data set

    @property
    def key(self) -> str:
        name = self.backbone.rpartition(":")[2]
        return "_".join(
            [name, self.dataset, self.part, self.recipe, f"{self.classes or 'all'}-classes", str(self.seed)]
        )

    @property
    def modules(self) -> tuple[str, ...]:
        return MODULES.get(self.backbone, ("stem", "stages.0", "stages"))

    @property
    def random(self) -> bool:
        return self.backbone in RANDOM


def plan() -> list[Plan]:
    """All trainings, broad first."""
    return list(dict.fromkeys(_rounds()))


def _rounds() -> Iterator[Plan]:
    names = list(MODULES)
    fast = [name for name in names if name not in SLOW]
    yield from (Plan(name, "digits") for name in fast)
    yield from (Plan(name, "mnist") for name in fast[:16])
    yield from _parts(fast, "digits", 0, (1,))
    yield from _classes(fast, 0)
    yield from _random(0, 16)
    yield from (Plan(name, "cifar10") for name in fast[2:10])
    yield from (Plan(name, "mini") for name in fast[10:18])
    yield from _random(16, 32)
    yield from (Plan(name, "digits", 1) for name in fast)
    yield from (Plan(name, "cifar10") for name in fast[18:26])
    yield from (Plan(name, "mini") for name in fast[26:])
    yield from _parts(fast, "digits", 3, (2,))
    for i, name in enumerate(fast):
        yield Plan(name, DATA[(i + 1) % 4], 2, VARIED[i % len(VARIED)])
    yield from _random(32, 60)
    yield from (Plan(name, "mnist") for name in fast[16:])
    yield from (Plan(name, "digits") for name in SLOW)
    yield from (Plan(name, "mini") for name in fast[:8])
    yield from (Plan(name, "cifar10") for name in fast[8:16])
    yield from _parts(fast, "mnist", 3, (3, 4))
    yield from _classes(fast, 2)
    yield from _random(60, len(RANDOM))
    yield from (Plan(name, "mnist", 1) for name in fast)
    yield from (Plan(name, "mnist") for name in SLOW)
    for i, name in enumerate(fast):
        yield Plan(name, DATA[(i + 3) % 4], 3, VARIED[(i + 4) % len(VARIED)])
    yield from (Plan(name, "cifar10") for name in fast[24:])
    yield from (Plan(name, "mini") for name in fast[16:24])
    yield from (Plan(name, "cifar10", 1) for name in fast)


def _parts(names: Sequence[str], dataset: str, offset: int, seeds: Iterable[int]) -> Iterator[Plan]:
    """Trainings of which a part of the network is not part, each network in two of them."""
    kinds: tuple[Part, ...] = (
        "head",
        "second-half",
        "thawed-late",
        "head-eval",
        "fine-tuned",
        "backbone",
        "frozen-midway",
    )
    for shift, seed in enumerate(seeds):
        for i, name in enumerate(names):
            part = kinds[(i + offset + 3 * shift) % len(kinds)]
            yield Plan(name, "mnist" if part == "fine-tuned" else dataset, seed, part=part)


def _classes(names: Sequence[str], offset: int) -> Iterator[Plan]:
    counts = itertools.cycle([2, 3, 5])
    for i, name in enumerate(names):
        yield Plan(name, ("digits", "mnist")[i // 3 % 2], offset, classes=next(counts))
        if i % 5 == offset:
            yield Plan(name, "pairs", offset)


def _random(start: int, stop: int) -> Iterator[Plan]:
    for i, name in enumerate(RANDOM[start:stop], start):
        part: Part = "all" if i % 5 else ("head", "second-half", "thawed-late", "head-eval")[i // 5 % 4]
        recipe = "default" if i % 2 else VARIED[i // 2 % len(VARIED)]
        classes = (2, 3, 5)[i // 7 % 3] if i % 7 == 3 else 0
        yield Plan(name, DATA[i % 4] if part == "all" and not classes else "digits", 0, recipe, part, classes)


if __name__ == "__main__":
    for number, item in enumerate(plan()):
        print(f"{number:3d} {item.key}")
