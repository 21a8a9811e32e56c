"""The backbone runs of the paper's table: ResNet-50 and ShuffleNet v2 × MNIST and CIFAR-10 × three seeds.

    python research/paper_runs.py --data-root data --cifar10 folder:cifar10

As published but for the images' number. Every run is found again by its tag ``fmce.experiment``: the command can be
stopped and called again, and goes on where it was. ``research/paper_table.py`` reads them.
"""

from __future__ import annotations

import itertools
import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import click
import torch
from mlflow import MlflowClient

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.runs.run import Run

TAG = "fmce.experiment"
EXPERIMENT = "paper"
STORE = "sqlite:///paper.db"

BACKBONES = ("shufflenet_v2_x1_0", "resnet50")
EPOCHS = {"mnist": 10, "cifar10": 20}
SEEDS = (0, 1, 2)


def key_of(backbone: str, dataset: str, seed: int | str) -> str:
    """By which a run is found."""
    return f"paper|{backbone}|{dataset}|{seed}"


def options(backbone: str, dataset: str, seed: int, data_root: str, cifar10: str) -> BackboneOptions:
    """How a run is trained."""
    return BackboneOptions(
        backbone=backbone,
        dataset=cifar10 if dataset == "cifar10" else dataset,
        data_root=data_root,
        stem="stock",
        image_size=32,
        train_size=2000,
        validation_size=512,
        probe_size=256,
        model_format="pickle",
        training=TrainingConfig(cpu=True, epochs=EPOCHS[dataset], snapshots_per_epoch=2, seed=seed),
    )


@click.command(help=__doc__)
@click.option("--tracking-uri", default=STORE, show_default=True)
@click.option("--data-root", default="data", show_default=True, help="Where MNIST is.")
@click.option("--cifar10", default="cifar10", show_default=True, help="cifar10, or folder:PATH of its images.")
@click.option("--shard", default="0/1", show_default=True, help="Which part of the work this process does.")
def main(tracking_uri: str, data_root: str, cifar10: str, shard: str) -> None:
    torch.set_num_threads(1)
    client, (part, of) = MlflowClient(tracking_uri), map(int, shard.split("/"))
    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
    for number, (seed, backbone, dataset) in enumerate(itertools.product(SEEDS, BACKBONES, EPOCHS)):
        key = key_of(backbone, dataset, seed)
        runs = client.search_runs([experiment], f"tags.`{TAG}` = '{key}'")
        if number % of != part or any(run.info.status in ("FINISHED", "FAILED") for run in runs):
            continue
        run_id = runs[0].info.run_id if runs else client.create_run(experiment, tags={TAG: key}).info.run_id
        began = time.monotonic()
        made = train_backbone(
            Run(client, run_id, lambda _: None), options(backbone, dataset, seed, data_root, cifar10), name=key
        )
        click.echo(
            f"{key}: T = {made.convergence.point}, accuracy {made.val_accuracy:.3f}, {time.monotonic() - began:.0f} s"
        )


if __name__ == "__main__":
    main()
