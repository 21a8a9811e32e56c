"""The paper's table, and the experiments that it leaves open: the backbone runs for them.

    python research/experiments.py --tracking-uri sqlite:///experiments.db --data-root data --cifar10 folder:cifar10

Every run is found again by its tag ``fmce.experiment``: the command can be stopped and called again, and goes on where
it was. ``--parts`` chooses among

- ``paper``: ResNet-50 and ShuffleNet v2 × MNIST and CIFAR-10 × three seeds, as published but for the images' number;
- ``recipes``: ShuffleNet v2 ×0.5 under five learning rates, four batch sizes and four augmentations, two seeds each;
- ``others``: MobileNet v3, ConvNeXt, a vision transformer and a small ResNet × two data sets.

``research/paper_table.py`` and ``research/open_questions.py`` read them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from corpus import train_missing, training_arguments

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.method.training.config import TrainingConfig

TAG = "fmce.experiment"
EXPERIMENT = "experiments"

PAPER_BACKBONES = ("resnet50", "shufflenet_v2_x1_0")
PAPER_DATA = ("mnist", "cifar10")
PAPER_SEEDS = (0, 1, 2)
PAPER_EPOCHS = {"mnist": 10, "cifar10": 20}
TRAIN_SIZE = 2000

CONSTANT = TrainingConfig(cpu=True, schedule="constant", warmup_epochs=0.5, lr=1e-3, snapshots_per_epoch=2)
"""The recipe that others differ from in one thing: its rate does not fall, so nothing but learning decides T."""
RATES = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)
BATCHES = (16, 32, 64, 128, 256)
AUGMENTATIONS = ("none", "flip", "crop-flip", "trivial")
RECIPE_EPOCHS = {"mnist": 10, "cifar10": 24}
RECIPE_SEEDS = (0, 1)

OTHERS = {
    "mobilenet_v3_small": "features",
    "timm:convnext_atto": "stages",
    "timm:test_vit": "norm",
    "timm:test_resnet": "layer4",
}
"""Backbones beyond the paper's, and their modules."""


def plan(parts: str = "paper,recipes,others") -> dict[str, dict[str, Any]]:
    """The runs by key, each with its part and what it is about."""
    found: dict[str, dict[str, Any]] = {}
    for part, make in (("paper", _paper), ("recipes", _recipes), ("others", _others)):
        if part in parts.split(","):
            found |= {key: {"part": part, **about} for key, about in make()}
    return found


def _paper() -> Iterator[tuple[str, dict[str, Any]]]:
    for seed in PAPER_SEEDS:
        for backbone in reversed(PAPER_BACKBONES):
            for dataset in PAPER_DATA:
                training = TrainingConfig(cpu=True, epochs=PAPER_EPOCHS[dataset], snapshots_per_epoch=2, seed=seed)
                yield (
                    f"paper|{backbone}|{dataset}|{seed}",
                    {"backbone": backbone, "dataset": dataset, "seed": seed, "stem": "stock", "training": training},
                )


def _recipes() -> Iterator[tuple[str, dict[str, Any]]]:
    varied = [
        *(("lr", value, replace(CONSTANT, lr=value)) for value in RATES),
        *(("batch_size", value, replace(CONSTANT, batch_size=value)) for value in BATCHES),
        *(("augmentation", value, replace(CONSTANT, augmentation=value)) for value in AUGMENTATIONS),
    ]
    for seed in RECIPE_SEEDS:
        for dataset in PAPER_DATA:
            for name, value, training in varied:
                if training == CONSTANT and name != "lr":
                    continue  # one run for what does not differ
                training = replace(training, epochs=RECIPE_EPOCHS[dataset], seed=seed)
                about = {"backbone": "shufflenet_v2_x0_5", "dataset": dataset, "seed": seed, "training": training}
                yield f"recipes|{dataset}|{name}={value}|{seed}", {**about, "varied": name, "value": value}


def _others() -> Iterator[tuple[str, dict[str, Any]]]:
    for dataset in PAPER_DATA:
        for backbone, module in OTHERS.items():
            training = TrainingConfig(cpu=True, epochs=PAPER_EPOCHS[dataset], snapshots_per_epoch=2)
            about = {"backbone": backbone, "dataset": dataset, "seed": 0, "training": training}
            yield f"others|{backbone}|{dataset}", {**about, "modules": (module,)}


def options(about: dict[str, Any], data_root: str, cifar10: str) -> BackboneOptions:
    """How a run is trained; images are 32 × 32."""
    return BackboneOptions(
        backbone=about["backbone"],
        dataset=cifar10 if about["dataset"] == "cifar10" else about["dataset"],
        data_root=data_root,
        modules=about.get("modules", ()),
        stem=about.get("stem", "auto"),
        image_size=32,
        train_size=TRAIN_SIZE,
        validation_size=512,
        probe_size=256,
        model_format="pickle",
        training=about["training"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    training_arguments(parser, "sqlite:///experiments.db")
    parser.add_argument("--parts", default="paper,recipes,others")
    args = parser.parse_args()
    items: dict[str, Callable[[], BackboneOptions]] = {
        key: partial(options, about, args.data_root, args.cifar10) for key, about in plan(args.parts).items()
    }
    train_missing(items, args, TAG, EXPERIMENT)


if __name__ == "__main__":
    main()
