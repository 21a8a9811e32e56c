"""Segmenters on CamVid and detectors on BCCD for the corpus: trained, recorded, and reduced to evidence.

    python research/corpus_detectors.py train --data FOLDER --out corpus-detectors
    python research/corpus_detectors.py reduce --data FOLDER --weights corpus-detectors --out research/corpus

Files are those of `corpus_train.py` and `corpus_reduce.py`, with the role of each module besides: a stage of the
backbone, neck or head. The networks are small, trained from scratch on 128 images: good ones they are not. A training
that has its file is passed over. ``--data`` has both data sets, as the examples take them.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))

import click
import mlflow
import numpy as np
import torch
from corpus_detector_nets import CLASSES, ROLES, SEGMENTERS, Scenes, build, flipped, loss_of, plan, scenes
from corpus_plan import Plan
from corpus_reduce import evidence_rows, write
from corpus_train import RECORDED, kept, moved, weights
from torch import Tensor, nn
from vision_data import opened

from fmce_mlflow import record

BATCH, SNAPSHOTS = 8, 16
EPOCHS = {"camvid": 12, "bccd": 12}
RATES = {"camvid": 2e-3, "bccd": 1e-3}
FEW = 21  # images that are most alike in brightness, of the probe's


def validation_loss(model: nn.Module, data: Scenes) -> float:
    """The loss on held-out images, by BatchNorm's running statistics; modes and random state are put back."""
    modes = [module.training for module in model.modules()]
    model.train(isinstance(data.probe[0][1], dict))  # a detector gives its loss in training mode alone
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.Dropout)):
            module.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        found = [float(loss_of(model, data.validation[i : i + BATCH])) for i in range(0, len(data.validation), BATCH)]
    for module, mode in zip(model.modules(), modes, strict=True):
        module.training = mode
    return float(np.mean(found))


def trained(item: Plan, data: Scenes) -> tuple[dict[str, Any], list[dict[str, Tensor]]]:
    """Train, and give the record and the weights that are kept."""
    torch.manual_seed(item.seed)
    model, draw, modules = build(item.backbone), torch.Generator().manual_seed(item.seed), [*ROLES[item.backbone]]
    optimizer = torch.optim.AdamW(model.parameters(), RATES[item.dataset], weight_decay=1e-2)
    steps = EPOCHS[item.dataset] * (len(data.train) // BATCH)
    warm, looks = len(data.train) // BATCH, np.linspace(0, steps, SNAPSHOTS + 1).round().astype(int)[1:].tolist()
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    )
    states: list[dict[str, Tensor]] = [weights(model)]
    rows: list[dict[str, Any]] = []
    about: Any = {"name": item.key, "map_size": 8, "say": lambda _: None}
    probe, order = data.pixels[:RECORDED], torch.zeros(0, dtype=torch.int64)
    with mlflow.start_run(run_name=item.key), record(model, modules, probe=probe, **about) as recorder:
        passed: list[float] = []
        for step in range(1, steps + 1):
            if len(order) < BATCH:
                order = torch.randperm(len(data.train), generator=draw)
            batch, order = order[:BATCH].tolist(), order[BATCH:]
            model.train()
            loss = loss_of(model, flipped([data.train[i] for i in batch], draw))
            if not rows:  # snapshot 0's loss is that of the first step; its network is the one before it
                rows.append({"train_loss": loss.item(), "val_loss": validation_loss(model, data)})
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            schedule.step()
            recorder.loss(loss)
            passed.append(loss.item())
            if step in looks:
                states.append(weights(model))
                row = {"train_loss": float(np.mean(passed)), "val_loss": validation_loss(model, data)}
                rows.append(row | {"weight_change": moved(model, modules, states[-1], states[-2])})
                recorder.snapshot(val_loss=row["val_loss"])
                passed = []
    for row, metrics in zip(rows, recorder.record.metrics, strict=False):
        row["drift"] = {n.removeprefix("drift/"): v for n, v in metrics.items() if n.startswith("drift/")}
    chosen = kept([row["train_loss"] for row in rows], len(rows))
    facts = {"plan": asdict(item), "modules": modules, "roles": [*ROLES[item.backbone].values()]}
    facts |= {"classes": CLASSES[item.dataset], "snapshots": rows, "kept": chosen}
    return facts, [states[i] for i in chosen]


def reduced(facts: dict[str, Any], states: list[Any], data: Scenes) -> dict[str, np.ndarray]:
    """All rows of a training, on all of the probe's images, on a few that are alike, and on 8 to 32."""
    item = Plan(**facts["plan"])
    draw = np.random.default_rng(crc32(item.key.encode()))
    pixels, masks = data.pixels, data.masks
    bright, start = pixels.mean((1, 2, 3)).argsort().numpy(), int(draw.integers(len(pixels) - FEW))
    places = np.arange(len(pixels)), bright[start : start + FEW], draw.permutation(len(pixels))[: draw.integers(8, 33)]
    sets = [(pixels[index], None if masks is None else masks[index]) for index in places]
    factory = partial(build, item.backbone) if draw.random() < 0.5 else None
    return evidence_rows(build(item.backbone).eval(), facts, states, sets, draw, factory)


@click.group(help=__doc__)
def main() -> None:
    torch.set_num_threads(1)


@main.command("train", help="Train, record, and keep weights at up to ten snapshots.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), envvar="FMCE_TEST_DATA", required=True)
@click.option("--out", default="corpus-detectors", show_default=True, help="Folder of the files and the MLflow store.")
@click.option("--only", default="", help="Part of the names of trainings.")
def train_(data: Path, out: str, only: str) -> None:
    folder = Path(out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/corpus.db")
    if mlflow.get_experiment_by_name("corpus") is None:
        mlflow.create_experiment("corpus", (folder / "artifacts").as_uri())
    mlflow.set_experiment("corpus")
    with opened(data, "camvid") as camvid, opened(data, "bccd") as bccd:
        for item in plan():
            path, began = folder / f"{item.key}.json", time.monotonic()
            if path.exists() or only not in item.key:
                continue
            root = camvid if item.backbone in SEGMENTERS else bccd
            facts, states = trained(item, scenes(item.backbone, root, item.seed))
            torch.save(states, path.with_suffix(".pt"))
            path.with_suffix(".part").write_text(json.dumps(facts))
            path.with_suffix(".part").replace(path)
            losses = [round(row["train_loss"], 3) for row in facts["snapshots"]]
            click.echo(f"{item.key}: losses {losses}, kept {facts['kept']}, {time.monotonic() - began:.0f} s")


@main.command("reduce", help="Make evidence of the weights that were kept.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), envvar="FMCE_TEST_DATA", required=True)
@click.option("--weights", "kept_in", default="corpus-detectors", show_default=True, help="Folder of the trainings.")
@click.option("--out", default="research/corpus", show_default=True, help="Folder of the files.")
@click.option("--only", default="", help="Part of the names of trainings.")
def reduce_(data: Path, kept_in: str, out: str, only: str) -> None:
    with opened(data, "camvid") as camvid, opened(data, "bccd") as bccd:
        for path in sorted(Path(kept_in).glob("*.json"), key=lambda path: path.stat().st_mtime):
            target, began = Path(out) / f"{path.stem}.npz", time.monotonic()
            if target.exists() or only not in path.stem:
                continue
            facts = json.loads(path.read_text())
            item = Plan(**facts["plan"])
            shown = scenes(item.backbone, camvid if item.backbone in SEGMENTERS else bccd, item.seed)
            made = reduced(facts, torch.load(path.with_suffix(".pt")), shown)
            write(target, facts, made)
            click.echo(f"{path.stem}: {len(made['kind'])} rows, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
