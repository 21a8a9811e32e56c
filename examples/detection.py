"""Train Faster R-CNN on BCCD from scratch, and record how its backbone, its neck and its head mature.

    pip install ".[examples]"
    python examples/detection.py --data bccd.tar --seeds 0,1,2

The network is a MobileNet v3 with a feature pyramid, built as torchvision's documentation shows; the loop is that of
torchvision's ``references/detection``, and the five lines of the recorder are marked. Each seed is a run of the
experiment ``bccd`` and a few versions of the registered model ``bccd``. What was stopped goes on when the command is
called again. ``docs/detectors.md`` says more.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
import mlflow
import numpy as np
import torch
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics.detection import MeanAveragePrecision
from torchvision import tv_tensors
from torchvision.models import mobilenet_v3_small
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision.transforms import v2 as transforms
from vision_data import Bccd, opened, whole_numbers

import fmce_mlflow

NAME = "fasterrcnn_mobilenet_v3_small_fpn"
VERSIONS = (0, 1 / 8, 1 / 4, 1 / 2, 1)
"""After which shares of the epochs the network is registered."""
LEVELS = {"3": "c3", "8": "c4", "12": "c5"}
"""Stages of MobileNet v3 small, a map of 1/8, 1/16 and 1/32 of the image, and what the pyramid calls them."""
MODULES = ["backbone.body.c5", "backbone.fpn", "rpn.head.cls_logits"]
"""The backbone's last stage; the neck, a map for each level; the head that proposes regions, called once a level."""


def detector(size: tuple[int, int], classes: int) -> FasterRCNN:
    """A small Faster R-CNN with random weights, for cells of 20 to 120 pixels."""
    width = 64
    norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.1)  # torchvision's 0.01 is too slow for so few steps
    body = mobilenet_v3_small(weights=None, norm_layer=norm).features
    backbone = BackboneWithFPN(body, LEVELS, [24, 48, 576], width)
    anchors = AnchorGenerator(((16, 24), (40, 56), (80, 112), (160, 224)), ((0.75, 1.0, 1.33),) * 4)
    return FasterRCNN(
        backbone,
        min_size=min(size),
        max_size=max(size),
        rpn_anchor_generator=anchors,
        rpn_pre_nms_top_n_train=500,
        rpn_post_nms_top_n_train=200,
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=100,
        box_roi_pool=MultiScaleRoIAlign(list(LEVELS.values()), output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(width * 7 * 7, 256),
        box_predictor=FastRCNNPredictor(256, classes),
        box_batch_size_per_image=64,
    )


def presets(train: bool) -> transforms.Transform:
    """From uint8 images and boxes to what the network takes; it normalises the images itself."""
    flips = [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()] if train else []
    types = {tv_tensors.Image: torch.float32, "others": None}
    return transforms.Compose([*flips, transforms.ToDtype(types, scale=True), transforms.ToPureTensor()])


def collate(items: list[tuple[Tensor, dict[str, Tensor]]]) -> Any:
    """Lists of images and targets, as torchvision's detectors take them."""
    return tuple(map(list, zip(*items, strict=True)))


def train_one_epoch(
    model: nn.Module, batches: DataLoader[Any], optimizer: Any, schedule: Any, recorder: fmce_mlflow.Recorder
) -> None:
    model.train()
    for images, targets in batches:
        losses = model(images, targets)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        schedule.step()
        recorder.loss(**losses)  # recorder


@torch.inference_mode()
def evaluate(model: nn.Module, batches: DataLoader[Any]) -> dict[str, float]:
    """Mean average precision, over thresholds of 0.5 to 0.95 and at 0.5."""
    model.eval()
    precision = MeanAveragePrecision()
    for images, targets in batches:
        precision.update(model(images), targets)
    found = precision.compute()
    return {"map": float(found["map"]), "map_50": float(found["map_50"])}


def log_version(model: nn.Module, epoch: int, size: tuple[int, int], run_id: str, register: str) -> None:
    """Register the network as it is, with what its evaluation needs to know."""
    about = {"preprocessing": {"height": size[0], "width": size[1], "mean": 0.0, "std": 1.0}}
    about |= {"modules": MODULES, "backbone": NAME, "source_run": run_id, "snapshot": epoch}
    mlflow.pytorch.log_model(
        model.eval(),
        name=f"epoch-{epoch}",
        step=epoch,
        registered_model_name=register,
        metadata={"fmce": about},
        signature=ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 3, *size))])),
        serialization_format="pickle",
        pip_requirements=["torch", "torchvision"],
    )


def train(
    root: Path, seed: int, kept: Path, *, epochs: int, batch_size: int, lr: float, size: tuple[int, int], register: str
) -> None:
    """Train with a seed; what was stopped goes on from the checkpoint ``kept``."""
    state: dict[str, Any] = torch.load(kept) if kept.exists() else {"epoch": -1, "run_id": None}
    if state["run_id"] and mlflow.get_run(state["run_id"]).info.status == "FINISHED":
        click.echo(f"seed {seed} is trained: run {state['run_id']}")
        return
    torch.manual_seed(seed)
    train_set, val_set = (Bccd(root, split, size, presets(split == "train")) for split in ("train", "val"))
    batches = DataLoader(train_set, batch_size, shuffle=True, drop_last=True, collate_fn=collate)
    val_batches = DataLoader(val_set, batch_size, collate_fn=collate)
    model = detector(size, len(Bccd.classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, epochs * len(batches), power=0.9)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    for name in parts.keys() & state.keys():
        parts[name].load_state_dict(state[name])
    versions = {round(epochs * share) for share in VERSIONS}
    probe = torch.stack([image for image, _ in val_set])
    with mlflow.start_run(run_id=state["run_id"], run_name=f"seed {seed}") as run:
        mlflow.log_params({"seed": seed, "epochs": epochs, "batch_size": batch_size, "lr": lr, "size": size})
        about: Any = {"name": NAME, "dataset": "bccd", "map_size": 16}
        with fmce_mlflow.record(model, MODULES, probe=probe, **about) as recorder:  # recorder
            for epoch in range(state["epoch"] + 1, epochs + 1):  # epoch 0 is the network before its first step
                torch.manual_seed(1000 * seed + epoch)  # what goes on after a stop is what would have been
                if epoch:
                    train_one_epoch(model, batches, optimizer, schedule, recorder)
                metrics = evaluate(model, val_batches)
                recorder.snapshot(epoch=epoch, **metrics)  # recorder
                click.echo(f"seed {seed}, epoch {epoch}: mAP {metrics['map']:.3f}")
                if epoch in versions:
                    log_version(model, epoch, size, run.info.run_id, register)
                states = {name: part.state_dict() for name, part in parts.items()}
                torch.save({"epoch": epoch, "run_id": run.info.run_id, **states}, kept)


@click.command(help=(__doc__ or "").split("\n")[0])
@click.option(
    "--data", type=click.Path(exists=True, path_type=Path), envvar="FMCE_TEST_DATA", required=True,
    help="The data set's folder or archive, or the folder that has it."
)  # fmt: skip
@click.option("--seeds", default="0,1,2", callback=whole_numbers, help="One training for each.", show_default=True)
@click.option("--epochs", default=16, show_default=True)
@click.option("--batch-size", default=8, show_default=True)
@click.option("--lr", default=1e-3, help="Of AdamW; it falls to 0.", show_default=True)
@click.option("--size", nargs=2, type=int, default=(192, 256), help="Height and width.", show_default=True)
@click.option("--checkpoints", type=click.Path(path_type=Path), default=Path("checkpoints"), show_default=True)
@click.option("--register", default="bccd", help="Name of the registered model.", show_default=True)
def main(data: Path, seeds: list[int], checkpoints: Path, **options: Any) -> None:
    """Train with each seed; what is finished already is left as it is."""
    mlflow.set_experiment("bccd")
    checkpoints.mkdir(parents=True, exist_ok=True)
    with opened(data, "bccd") as root:
        for seed in seeds:
            train(root, seed, checkpoints / f"bccd-{seed}.pt", **options)


if __name__ == "__main__":
    main()
