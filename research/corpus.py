"""The corpus on which the bundled predictor is trained: backbone runs over architectures, data sets and recipes.

    python research/corpus.py train --tracking-uri sqlite:///corpus.db --data-root data --cifar10 folder:cifar10
    python research/corpus.py list

Every run of the plan is a backbone run in MLflow, found again by its tag ``fmce.corpus``: the command can be stopped
and called again, and goes on where it was. ``--shard 0/2`` and ``--shard 1/2`` share the work between two processes.
Runs come in rounds, each over all data sets, so that a corpus that is stopped early is broad all the same.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fmce_mlflow.runs.run import Run

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))  # so that research.corpus_nets can be named as a factory

import torch
from corpus_bags import FILE, known
from mlflow import MlflowClient

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.errors import FmceError
from fmce_mlflow.method.images.split import load_images
from fmce_mlflow.method.training.config import TrainingConfig

TAG = "fmce.corpus"
EXPERIMENT = "corpus"

MODULES = {
    "shufflenet_v2_x0_5": ("conv5", "stage3"),
    "mobilenet_v3_small": ("features", "features.8"),
    "timm:regnetx_002": ("s4", "s3"),
    "timm:test_resnet": ("layer4", "layer3"),
    "timm:convnext_atto": ("stages", "stages.2"),
    "timm:test_vit": ("norm", "blocks.3"),
    "timm:mobilenetv2_035": ("bn2", "blocks.4"),
    "research.corpus_nets:plain_cnn": ("features", "features.9"),
    "research.corpus_nets:group_norm_resnet": ("stages", "stages.1"),
    "timm:lcnet_050": ("blocks", "blocks.4"),
    "timm:test_convnext": ("stages", "stages.2"),
    "mnasnet0_5": ("layers", "layers.11"),
    "timm:test_nfnet": ("final_act", "stages.2"),
    "timm:ghostnet_050": ("blocks", "blocks.6"),
    "timm:test_vit2": ("blocks", "blocks.4"),
    "timm:test_efficientnet": ("bn2", "blocks.3"),
    "timm:regnety_002": ("s4", "s3"),
    "timm:test_byobnet": ("stages", "stages.2"),
    "timm:edgenext_xx_small": ("stages", "stages.2"),
    "timm:tinynet_e": ("bn2", "blocks.4"),
    "squeezenet1_1": ("features", "features.9"),
    "timm:resnet10t": ("layer4", "layer3"),
    "research.corpus_nets:all_cnn": ("features", "features.5"),
    "research.corpus_nets:residual_without_norm": ("stages", "stages.2"),
    "research.corpus_nets:small_transformer": ("norm", "blocks.1"),
    "research.corpus_nets:mixer": ("norm", "blocks.1"),
    "research.corpus_nets:dense_cnn": ("features", "features.8"),
}
"""Architectures, the last feature stage and one in the middle of each."""

RANDOM = tuple(f"research.random_nets:net_{number}" for number in (
    1, 3, 4, 5, 7, 10, 11, 13, 16, 17, 19, 20, 23, 24, 27, 28, 30, 32, 33, 34, 39, 40, 44, 45, 49, 51, 52, 54, 57, 59,
    63, 64, 78, 79, 85, 86, 88, 89, 95, 96, 104, 106, 107, 109, 112, 113, 114, 116, 117, 120, 121, 122, 124, 129, 131,
    137, 139, 140, 141, 145, 147, 149, 157, 158, 160, 162, 164, 166, 167, 172, 173, 175, 176, 179, 180, 181, 182, 183,
    185, 188, 189, 190, 191, 192, 193, 194, 195, 197, 198, 199,
    200, 202, 206, 207, 208, 210, 211, 214, 216, 218, 220, 221, 226, 227, 233, 234, 235, 236, 237, 239, 240, 241, 243,
    244, 250, 256, 260, 262, 263, 265, 268, 272, 274, 276, 278, 279, 280, 282, 285, 286, 287, 288, 291, 292, 294, 295,
    296, 297, 298, 299, 300, 301, 302, 306, 308, 309, 310, 314, 315, 316, 318, 320, 322, 324, 325, 327, 328, 329, 330,
    331, 332, 334, 335, 336, 337, 338,
))  # fmt: skip
"""Networks drawn at random: of the first 200, those that train at 700 images a second on a core; of the next 140, at
500. FMCE-Net is fitted to them, and never scored on them."""
MODULES |= {name: ("features", "stages.0") for name in RANDOM}

DEFAULT = TrainingConfig(cpu=True)
RECIPES = {
    "default": DEFAULT,
    "sgd-constant": replace(
        DEFAULT, optimizer="sgd", lr=0.02, weight_decay=5e-4, schedule="constant", warmup_epochs=0.5
    ),
    "adamw-constant": replace(DEFAULT, lr=7e-4, schedule="constant", warmup_epochs=0.5),
    "adamw-small-rate": replace(DEFAULT, lr=3e-4),
    "adamw-large-rate": replace(DEFAULT, lr=6e-3),
    "large-batch": replace(DEFAULT, batch_size=192, lr=4e-3),
    "augmented": replace(DEFAULT, augmentation="crop-flip", epochs=10),
    "smoothed-labels": replace(DEFAULT, label_smoothing=0.1),
    "long": DEFAULT,
    "diverging": replace(DEFAULT, optimizer="sgd", lr=1.5, schedule="constant", warmup_epochs=0.0),
    "too-short": replace(DEFAULT, lr=1e-4, schedule="constant", epochs=4, snapshots_per_epoch=4),
    "overfitting": replace(DEFAULT, epochs=40, snapshots_per_epoch=1),
}
"""How runs are trained; ``long`` is the default with three times the passes, the last three end without convergence,
or in overfitting."""
VARIED = (
    "sgd-constant", "adamw-constant", "large-batch", "augmented", "adamw-large-rate", "smoothed-labels",
    "adamw-small-rate",
)  # fmt: skip

SIZES = {"digits": None, "mnist": 2000, "cifar10": 1600}
EPOCHS = {"digits": 8, "mnist": 6, "cifar10": 15}
SNAPSHOTS = {"digits": 3, "mnist": 4, "cifar10": 2}
PAIRED = ("shufflenet_v2_x0_5", "timm:regnetx_002", "timm:test_resnet")
"""Backbones with two seeds of the default recipe on MNIST and CIFAR-10: the corpus of twelve runs."""
ONCE = (
    "timm:ghostnet_050", "timm:regnety_002", "timm:edgenext_xx_small", "timm:tinynet_e", "mobilenet_v3_small",
    "mnasnet0_5", "timm:resnet10t", "squeezenet1_1",
)  # fmt: skip
"""Backbones with one seed: they are slow, or their labels are wrong, or they do not learn. All others have two on each
data set."""


LONG = (
    "timm:mobilenetv2_035", "timm:lcnet_050", "timm:test_vit", "timm:test_vit2", "mobilenet_v3_small", "mnasnet0_5",
)  # fmt: skip
"""Backbones whose default schedule on digits and MNIST ends with a training loss above 0.3, or whose BatchNorm
statistics are far behind then: they are trained for longer too."""


@dataclass(frozen=True)
class Plan:
    """One run of the corpus."""

    backbone: str
    dataset: str
    seed: int
    recipe: str

    @property
    def key(self) -> str:
        return f"{self.backbone}|{self.dataset}|{self.seed}|{self.recipe}"

    def options(self, data_root: str, cifar10: str) -> BackboneOptions:
        training = replace(RECIPES[self.recipe], seed=self.seed)
        size = SIZES[self.dataset]
        if self.recipe == "overfitting":
            size = 300
        elif self.recipe != "too-short":
            training = replace(
                training,
                epochs=EPOCHS[self.dataset] + training.epochs - DEFAULT.epochs,
                snapshots_per_epoch=SNAPSHOTS[self.dataset],
            )
        if self.recipe == "long":
            training = replace(
                training, epochs=3 * training.epochs, snapshots_per_epoch=training.snapshots_per_epoch // 2
            )
        return BackboneOptions(
            backbone=self.backbone, dataset=cifar10 if self.dataset == "cifar10" else self.dataset, data_root=data_root,
            modules=MODULES[self.backbone], image_size=32, train_size=size, validation_size=512, probe_size=256,
            model_format="pickle", training=training,
        )  # fmt: skip


def plan() -> list[Plan]:
    """All runs, the most telling first."""
    return list(dict.fromkeys(_rounds()))


def _rounds() -> Iterator[Plan]:
    backbones = [name for name in MODULES if name not in RANDOM]
    twice = [backbone for backbone in backbones if backbone not in ONCE]
    yield from _twins(PAIRED, ("mnist", "cifar10"))
    for seed, dataset, backbone in itertools.product((0, 1), ("digits", "mnist"), LONG):
        yield Plan(backbone, dataset, seed, "long")
    for i, backbone in enumerate(RANDOM):
        yield Plan(backbone, list(SIZES)[i % 3], 0, "default" if i % 2 else VARIED[i // 2 % len(VARIED)])
    yield from _most(twice)
    for backbone in ONCE:
        for dataset in SIZES:
            yield Plan(backbone, dataset, 0, "default")
    for i, recipe in enumerate((*VARIED, *VARIED[:3])):  # 10 pairs, each backbone at most once
        for seed in (2, 3):
            yield Plan(twice[(2 * i) % 14 + i // 7], list(SIZES)[(i + i // 3) % 3], seed, recipe)
    failing = ("diverging", "too-short", "overfitting")
    for i, backbone in enumerate(backbones[:9]):
        yield Plan(backbone, list(SIZES)[(i + i // 3) % 3], 2, failing[i % 3])
    yield from _twins(twice, SIZES)
    for i, backbone in enumerate(backbones):
        for j, dataset in enumerate(SIZES):
            yield Plan(backbone, dataset, 3, VARIED[(i + 2 * j) % len(VARIED)])


def _most(backbones: Iterable[str]) -> Iterator[Plan]:
    """Twins on the data sets, on the slow CIFAR-10 for every second backbone only."""
    for i, backbone in enumerate(backbones):
        yield from _twins([backbone], list(SIZES)[: 3 - i % 2])


def _twins(backbones: Iterable[str], datasets: Iterable[str]) -> Iterator[Plan]:
    for backbone, dataset, seed in itertools.product(backbones, datasets, (0, 1)):
        yield Plan(backbone, dataset, seed, "default")


def train(args: argparse.Namespace) -> None:
    have = {run["key"] for run in known(args.bags)}
    items = {
        item.key: partial(item.options, args.data_root, args.cifar10)
        for item in plan()[: args.runs]
        if item.key not in have
    }
    train_missing(items, args, TAG, EXPERIMENT)


def train_missing(
    items: Mapping[str, Callable[[], BackboneOptions]], args: argparse.Namespace, tag: str, name: str
) -> None:
    """Train the runs that are not there yet, each found by its key in a tag; unfinished ones are gone on with."""
    torch.set_num_threads(args.threads)
    client = MlflowClient(args.tracking_uri)
    found = client.get_experiment_by_name(name)
    location = Path(args.artifacts).resolve().as_uri() if args.artifacts else None
    experiment = found.experiment_id if found else client.create_experiment(name, location)
    part, of = map(int, args.shard.split("/"))
    images = {}
    for number, (key, make) in enumerate(items.items()):
        if number % of != part:
            continue
        runs = client.search_runs([experiment], f"tags.`{tag}` = '{key}'")
        former = key.replace("research.", "benchmarks.")  # the folder that the networks were once in
        before_the_move = client.search_runs([experiment], f"tags.`{tag}` = '{former}'")
        if any(run.info.status in ("FINISHED", "FAILED") for run in (*runs, *before_the_move)):
            continue
        options = make()
        data_key = (options.dataset, options.train_size, options.image_size)
        if data_key not in images:
            images[data_key] = load_images(options)
        run_id = runs[0].info.run_id if runs else client.create_run(experiment, tags={tag: key}).info.run_id
        started = time.monotonic()
        try:
            result = train_backbone(Run(client, run_id, lambda _: None), options, data=images[data_key], name=key)
        except FmceError as error:  # a run that diverges to NaN has losses and maps up to there
            print(f"{number:3d} {key}: {type(error).__name__}: {error}", flush=True)
            continue
        took = time.monotonic() - started
        print(
            f"{number:3d} {key}: T = {result.convergence.point}, accuracy {result.val_accuracy:.3f}, {took:.0f} s",
            flush=True,
        )


def training_arguments(parser: argparse.ArgumentParser, uri: str) -> None:
    """What decides where runs go and images come from."""
    parser.add_argument("--tracking-uri", default=uri)
    parser.add_argument("--artifacts", default="", help="folder for artifacts of a new store; MLflow's own otherwise")
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--cifar10", default="cifar10", help="cifar10, or folder:PATH of its images")
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--threads", type=int, default=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train", help="train what is missing")
    training_arguments(training, "sqlite:///corpus.db")
    training.add_argument("--bags", type=Path, default=FILE, help="runs whose statistics are in this file are there")
    training.add_argument("--runs", type=int, default=10**6, help="only so many runs of the plan")
    training.set_defaults(call=train)
    listing = commands.add_parser("list", help="print the plan")
    listing.set_defaults(call=lambda _: print("\n".join(f"{i:3d} {item.key}" for i, item in enumerate(plan()))))
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
