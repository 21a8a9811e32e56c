"""Train LR-ASPP on CamVid from scratch, and record how its backbone, its neck and its head mature.

    pip install ".[examples]"
    python examples/segmentation.py --data camvid-320x240.tar --seeds 0,1,2

The loop is that of torchvision's ``references/segmentation``; the five lines of the recorder are marked. Each seed is a
run of the experiment ``camvid`` and a few versions of the registered model ``camvid``. What was stopped goes on when
the command is called again. ``docs/detectors.md`` says more.
"""

from __future__ import annotations

import time
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
from torchmetrics.classification import MulticlassJaccardIndex
from torchvision import tv_tensors
from torchvision.models.segmentation import LRASPP, lraspp_mobilenet_v3_large
from torchvision.transforms import v2 as transforms
from vision_data import CamVid, opened, whole_numbers

import fmce_mlflow

NAME = "lraspp_mobilenet_v3_large"
MODULES = ["backbone.high", "classifier.cbr", "classifier"]
"""The backbone's last stage; the neck, which projects it; the head, which gives the scores of pixels."""
VERSIONS = (0, 1 / 8, 1 / 4, 1 / 2, 1)
"""After which shares of the epochs the network is registered."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def segmenter(classes: int) -> LRASPP:
    """LR-ASPP with random weights; torchvision's momentum of 0.01 is too slow for the few steps of a small data set."""
    model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    return model


def presets(train: bool) -> transforms.Transform:
    """From uint8 images and masks to what the network and its loss take."""
    types = {tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}
    steps = [transforms.RandomHorizontalFlip()] if train else []
    return transforms.Compose([*steps, transforms.ToDtype(types, scale=True), transforms.Normalize(MEAN, STD)])


def criterion(outputs: dict[str, Tensor], masks: Tensor) -> Tensor:
    """The loss of torchvision's reference."""
    return nn.functional.cross_entropy(outputs["out"], masks, ignore_index=CamVid.void)


def train_one_epoch(
    model: nn.Module, batches: DataLoader[Any], optimizer: Any, schedule: Any, recorder: fmce_mlflow.Recorder
) -> None:
    model.train()
    for images, masks in batches:
        loss = criterion(model(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        recorder.loss(loss)  # recorder


@torch.inference_mode()
def evaluate(model: nn.Module, batches: DataLoader[Any]) -> dict[str, float]:
    """Validation loss, and mean intersection over union over the classes."""
    model.eval()
    iou = MulticlassJaccardIndex(len(CamVid.classes), ignore_index=CamVid.void)
    losses = []
    for images, masks in batches:
        outputs = model(images)
        losses += [float(criterion(outputs, masks))] * len(images)
        iou.update(outputs["out"].argmax(1), masks)
    return {"val_loss": sum(losses) / len(losses), "miou": float(iou.compute())}


def log_version(model: nn.Module, epoch: int, size: tuple[int, int], run_id: str, register: str) -> None:
    """Register the network as it is, with what its evaluation needs to know."""
    about = {"preprocessing": {"height": size[0], "width": size[1], "mean": MEAN, "std": STD, "crop": False}}
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
    root: Path, seed: int, kept: Path, *, epochs: int, batch_size: int, lr: float, size: tuple[int, int], register: str,
    freeze_converged: bool,
) -> None:  # fmt: skip
    """Train with a seed; what was stopped goes on from the checkpoint ``kept``."""
    state: dict[str, Any] = torch.load(kept) if kept.exists() else {"epoch": -1, "run_id": None}
    if state["run_id"] and mlflow.get_run(state["run_id"]).info.status == "FINISHED":
        click.echo(f"seed {seed} is trained: run {state['run_id']}")
        return
    torch.manual_seed(seed)
    train_set, val_set = (CamVid(root, split, size, presets(split == "train")) for split in ("train", "val"))
    batches = DataLoader(train_set, batch_size, shuffle=True, drop_last=True)
    val_batches = DataLoader(val_set, batch_size)
    model = segmenter(len(CamVid.classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, epochs * len(batches), power=0.9)
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    for name in parts.keys() & state.keys():
        parts[name].load_state_dict(state[name])
    versions = {round(epochs * share) for share in VERSIONS}
    probe = torch.stack([image for image, _ in val_set])
    with mlflow.start_run(run_id=state["run_id"], run_name=f"seed {seed}") as run:
        mlflow.log_params({"seed": seed, "epochs": epochs, "batch_size": batch_size, "lr": lr, "size": size})
        about: Any = {"name": NAME, "dataset": "camvid", "map_size": 16}
        with fmce_mlflow.record(model, MODULES, probe=probe, **about) as recorder:  # recorder
            for epoch in range(state["epoch"] + 1, epochs + 1):  # epoch 0 is the network before its first step
                torch.manual_seed(1000 * seed + epoch)  # what goes on after a stop is what would have been
                began = time.process_time()
                if epoch:
                    train_one_epoch(model, batches, optimizer, schedule, recorder)
                seconds = time.process_time() - began
                metrics = evaluate(model, val_batches)
                recorder.snapshot(epoch=epoch, cpu_seconds=seconds, **metrics)  # recorder
                if freeze_converged:
                    recorder.freeze_converged()
                click.echo(f"seed {seed}, epoch {epoch}: mIoU {metrics['miou']:.3f}")
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
@click.option("--lr", default=2e-3, help="Of AdamW; it falls to 0.", show_default=True)
@click.option("--size", nargs=2, type=int, default=(96, 128), help="Height and width.", show_default=True)
@click.option("--freeze-converged", is_flag=True, help="Freeze modules whose drift has converged, from the input on.")
@click.option("--checkpoints", type=click.Path(path_type=Path), default=Path("checkpoints"), show_default=True)
@click.option("--register", default="camvid", help="Name of the experiment and registered model.", show_default=True)
def main(data: Path, seeds: list[int], checkpoints: Path, **options: Any) -> None:
    """Train with each seed; what is finished already is left as it is."""
    mlflow.set_experiment(options["register"])
    checkpoints.mkdir(parents=True, exist_ok=True)
    with opened(data, "camvid") as root:
        for seed in seeds:
            train(root, seed, checkpoints / f"camvid-{seed}.pt", **options)


if __name__ == "__main__":
    main()
