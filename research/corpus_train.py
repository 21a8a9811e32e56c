"""Train the corpus: each training is recorded in MLflow, and its weights at up to ten snapshots are kept.

    python research/corpus_train.py --out corpus --cifar10 folder:cifar10 --mini-imagenet folder:mini-imagenet-20

``KEY.json`` has losses, accuracies, drifts and changes of weights at each snapshot, ``KEY.pt`` the weights at those
that `corpus_reduce.py` makes evidence of. A training that has its files is passed over, so the command can be stopped
and called again; ``--shard 0/2`` and ``--shard 1/2`` share the work between two processes.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))  # so that research.corpus_nets can be named as a factory

import click
import mlflow
import numpy as np
import torch
from corpus_plan import EPOCHS, RECIPES, SIZES, SNAPSHOTS, Plan, Recipe, plan
from torch import Tensor, nn
from torch.nn import functional as F

from fmce_mlflow import record
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.method.images.config import SplitOptions
from fmce_mlflow.method.images.image_set import ImageSet
from fmce_mlflow.method.images.split import load_images
from fmce_mlflow.method.images.training_batches import loader
from fmce_mlflow.method.networks.backbones import build_backbone
from fmce_mlflow.method.networks.capture import locate
from fmce_mlflow.method.networks.upstream import upstream

VALIDATION, PROBE, RECORDED = 256, 256, 32
KEPT = 10
SPACING = ConvergenceConfig(spacing="loss")


@dataclass(frozen=True)
class Images:
    """Pixels as networks take them, float32 (n, 3, 32, 32), and classes."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    probe: tuple[Tensor, Tensor]
    classes: int


@cache
def whole(dataset: str, root: str, cifar10: str, mini: str) -> Images:
    """A data set at 32 pixels, held-out images for validation apart from the probe's."""
    if dataset == "pairs":
        return _pairs(whole("mnist", root, cifar10, mini))
    place = {"cifar10": cifar10, "mini": mini}.get(dataset, dataset)
    size = None if dataset == "digits" else 2 * SIZES[dataset]
    data = load_images(
        SplitOptions(
            dataset=place,
            data_root=root,
            image_size=32,
            train_size=size,
            probe_size=PROBE,
            validation_size=PROBE + (100 if dataset == "digits" else VALIDATION),
        )
    )

    def pixels(images: ImageSet) -> tuple[Tensor, Tensor]:
        chunks = [list(range(start, min(start + 256, len(images)))) for start in range(0, len(images), 256)]
        batches = list(loader(images, preprocessing=data.preprocessing, batches=chunks))
        return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])

    held = pixels(data.validation)
    rest = held[0][PROBE:], held[1][PROBE:]
    return Images(pixels(data.train), rest, (held[0][:PROBE], held[1][:PROBE]), len(data.classes))


def _pairs(mnist: Images) -> Images:
    """Two digits side by side, of a hundred classes."""

    def made(part: tuple[Tensor, Tensor], count: int, seed: int) -> tuple[Tensor, Tensor]:
        draw = np.random.default_rng(seed)
        left, right = (torch.from_numpy(draw.integers(len(part[0]), size=count)) for _ in range(2))
        x = torch.cat([F.interpolate(part[0][i], (32, 16), mode="area") for i in (left, right)], 3)
        return x, 10 * part[1][left] + part[1][right]

    return Images(
        made(mnist.train, SIZES["pairs"], 0), made(mnist.validation, 512, 1), made(mnist.probe, PROBE, 2), 100
    )


def images(item: Plan, places: Sequence[str]) -> Images:
    """What a training is shown: so many images of each of its classes, which its seed chooses."""
    data, draw = whole(item.dataset, *places), np.random.default_rng(item.seed)
    chosen = np.sort(draw.permutation(data.classes)[: item.classes or data.classes])

    def part(xy: tuple[Tensor, Tensor], most: int | None) -> tuple[Tensor, Tensor]:
        place = np.full(data.classes, -1)
        place[chosen] = np.arange(len(chosen))
        label = torch.from_numpy(place)[xy[1]]
        index = draw.permutation(np.flatnonzero(label.numpy() >= 0))[:most]
        return xy[0][index], label[index]

    most = SIZES[item.dataset] if not item.classes else SIZES[item.dataset] * 6 // 10
    return Images(part(data.train, most), part(data.validation, None), part(data.probe, None), len(chosen))


def network(item: Plan, classes: int) -> nn.Module:
    """The network, as it is before its training."""
    torch.manual_seed(1000 * item.seed + item.classes)
    return build_backbone(item.backbone, num_classes=classes, image_size=32)


def batches(data: Images, recipe: Recipe, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass over the training images, shuffled."""
    x, y = data.train
    for index in torch.randperm(len(x), generator=generator).split(recipe.batch):
        if len(index) < 2:
            continue
        pixels = x[index]
        if recipe.shifts:
            dx, dy = torch.randint(-4, 5, (2,), generator=generator).tolist()
            pixels = F.pad(pixels, (4, 4, 4, 4), mode="replicate")[:, :, 4 + dy : 36 + dy, 4 + dx : 36 + dx]
        yield pixels, y[index]


def head_names(model: nn.Module, item: Plan, example: Tensor) -> tuple[set[str], set[str]]:
    """Parameters before the middle of the recorded modules, and before the last of them."""
    found = upstream(model, item.modules, example)
    middle, last = item.modules[(len(item.modules) - 1) // 2], item.modules[-1]
    return set(found[middle].parameters), set(found[last].parameters)


def choose_part(model: nn.Module, item: Plan, share: float, half: set[str], backbone: set[str]) -> set[str]:
    """Names of what is trained after a share of the training."""
    names = {name for name, _ in model.named_parameters()}
    if item.part in ("head", "head-eval") or (item.part == "thawed-late" and share < 0.5):
        return names - backbone
    if item.part == "second-half" or (item.part == "frozen-midway" and share >= 0.4):
        return names - half
    return backbone if item.part == "backbone" else names


@torch.no_grad()
def judged(model: nn.Module, xy: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Loss and accuracy in eval mode; modes are put back."""
    modes = [module.training for module in model.modules()]
    model.eval()
    logits = torch.cat([model(x) for x in xy[0].split(256)])
    for module, mode in zip(model.modules(), modes, strict=True):
        module.training = mode
    return float(F.cross_entropy(logits, xy[1])), float((logits.argmax(1) == xy[1]).float().mean())


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def moved(
    model: nn.Module, modules: Sequence[str], now: Mapping[str, Tensor], before: Mapping[str, Tensor]
) -> dict[str, float]:
    """Relative change of each module's own parameters; of a module, where a name is of one of its outputs."""
    found, known = {}, dict(model.named_modules())
    for module in modules:
        name = locate(known, module)
        own = [f"{name}.{each}" for each, _ in known[name].named_parameters()]
        change = math.sqrt(sum(float((now[n] - before[n]).double().square().sum()) for n in own))
        size = math.sqrt(sum(float(before[n].double().square().sum()) for n in own))
        found[module] = change / max(size, 1e-12)
    return found


def kept(losses: Sequence[float], count: int) -> list[int]:
    """Snapshots whose weights are kept: markers of FMCS where there are some, the ends, and some between."""
    found = assess(losses, SPACING)
    chosen = {0, count - 1, *(found.markers or ())}
    for snapshot in np.linspace(0, count - 1, KEPT).round().astype(int).tolist():
        if len(chosen) < KEPT:
            chosen.add(snapshot)
    return sorted(chosen)


def run(item: Plan, places: Sequence[str], start: Mapping[str, Tensor] | None) -> tuple[dict[str, Any], list[Any]]:
    """Train, and give the record and the weights that are kept."""
    data, recipe = images(item, places), RECIPES[item.recipe]
    model = network(item, data.classes)
    if start is not None:
        own = model.state_dict()
        model.load_state_dict({n: start[n] if start[n].shape == v.shape else v for n, v in own.items()})
    generator = torch.Generator().manual_seed(item.seed)
    half, backbone = head_names(model, item, data.probe[0][:2])
    epochs = max(1, round(EPOCHS[item.dataset] * recipe.longer))
    rate = recipe.lr * (0.3 if start is not None else 1)
    if recipe.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), rate, 0.9, weight_decay=recipe.decay)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=recipe.decay)
    steps = epochs * math.ceil(len(data.train[0]) / recipe.batch)
    each = max(1, round(steps / epochs / SNAPSHOTS[item.dataset] * max(1.0, recipe.longer)))
    warm = max(1, steps // epochs)
    states, rows, step = [weights(model)], [], 0

    def look(total: list[float]) -> None:
        loss, accuracy = judged(model, data.validation)
        row = {"train_loss": float(np.mean(total)), "val_loss": loss, "val_accuracy": accuracy}
        if rows:
            states.append(weights(model))
            row |= {"weight_change": moved(model, item.modules, states[-1], states[-2])}
        rows.append(row)

    with (
        mlflow.start_run(run_name=item.key),
        record(
            model, item.modules, probe=data.probe[0][:RECORDED], name=item.key, map_size=8, say=lambda _: None
        ) as recorder,
    ):
        passed: list[float] = []
        while step < steps:
            for x, y in batches(data, recipe, generator):
                model.train(item.part != "head-eval")
                trained = choose_part(model, item, step / steps, half, backbone)
                for name, value in model.named_parameters():
                    value.requires_grad_(name in trained)
                for group in optimizer.param_groups:
                    share = 1.0 if recipe.schedule == "constant" else 0.5 * (1 + math.cos(math.pi * step / steps))
                    group["lr"] = rate * min(1.0, (step + 1) / warm) * share
                loss = F.cross_entropy(model(x), y, label_smoothing=recipe.smoothing)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                recorder.loss(loss)
                passed.append(loss.item())
                if not rows:
                    look(passed)  # snapshot 0's loss is that of the first step; its network is the one before it
                step += 1
                if step % each == 0 or step == steps:
                    look(passed)
                    recorder.snapshot(val_loss=rows[-1]["val_loss"], val_accuracy=rows[-1]["val_accuracy"])
                    passed = []
    for snapshot, metrics in enumerate(recorder.record.metrics[: len(rows)]):
        rows[snapshot]["drift"] = {n.removeprefix("drift/"): v for n, v in metrics.items() if n.startswith("drift/")}
    chosen = kept([row["train_loss"] for row in rows], len(rows))
    facts = {"plan": asdict(item), "modules": item.modules, "classes": data.classes, "snapshots": rows, "kept": chosen}
    return facts, [states[i] for i in chosen]


def trained_elsewhere(item: Plan, folder: Path) -> Mapping[str, Tensor] | None:
    """Weights of the same network at the end of its training on digits, for one that is fine-tuned."""
    if item.part != "fine-tuned":
        return None
    path = folder / f"{Plan(item.backbone, 'digits').key}.pt"
    return torch.load(path)[-1] if path.exists() else None


@click.command(help=__doc__)
@click.option("--out", default="corpus", show_default=True, help="Folder of the files, and of the MLflow store.")
@click.option("--data-root", default="data", show_default=True, help="Where MNIST is.")
@click.option("--cifar10", default="cifar10", show_default=True, help="cifar10, or folder:PATH of its images.")
@click.option("--mini-imagenet", default="mini_imagenet", show_default=True, help="folder:PATH of its twenty classes.")
@click.option("--shard", default="0/1", show_default=True, help="Which part of the work this process does.")
@click.option("--forget-maps/--keep-maps", default=True, show_default=True, help="Delete recorded maps afterwards.")
def main(out: str, data_root: str, cifar10: str, mini_imagenet: str, shard: str, forget_maps: bool) -> None:
    torch.set_num_threads(1)
    folder, (part, of) = Path(out), map(int, shard.split("/"))
    folder.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{folder.resolve()}/corpus_{part}.db")
    experiment = mlflow.get_experiment_by_name("corpus")
    place = (folder / f"artifacts_{part}").resolve()
    mlflow.set_experiment(
        experiment_id=experiment.experiment_id if experiment else mlflow.create_experiment("corpus", place.as_uri())
    )
    for number, item in enumerate(plan()):
        path = folder / f"{item.key}.json"
        if number % of == part and not path.exists():
            took = timed(lambda item=item, path=path: one(item, path, (data_root, cifar10, mini_imagenet)))
            if took:
                click.echo(f"{number:3d} {item.key}: {took}")
            if forget_maps:
                _forget(place)


def timed(call: Callable[[], str]) -> str:
    began = time.monotonic()
    told = call()
    return told and f"{told}, {time.monotonic() - began:.0f} s"


def one(item: Plan, path: Path, places: Sequence[str]) -> str:
    """Train one and write its files; empty where what it starts from is missing."""
    start = trained_elsewhere(item, path.parent)
    if item.part == "fine-tuned" and start is None:
        return ""
    facts, states = run(item, places, start)
    torch.save(states, path.with_suffix(".pt"))
    path.with_suffix(".part").write_text(json.dumps(facts))
    path.with_suffix(".part").replace(path)
    last = facts["snapshots"][-1]
    return f"loss {last['train_loss']:.3f}, accuracy {last['val_accuracy']:.2f}, kept {facts['kept']}"


def _forget(place: Path) -> None:
    for path in place.glob("*/artifacts/feature_maps/**/*"):
        if path.suffix in (".npz", ".safetensors"):
            path.unlink()


if __name__ == "__main__":
    main()
