"""The trainings on which rules that stop and freeze are compared; ``research/stopping_rules.py`` compares them.

    python research/stopping.py --cifar10 folder:path/to/cifar10 --mini-imagenet folder:path/to/mini-imagenet-20
    python research/stopping.py --cifar10 … --mini-imagenet … --freeze 0.02

Each backbone of the plan is trained in full, or, with ``--freeze``, while modules freeze once CQI of their drift is
below that threshold. Each run is one JSON file in ``--out``: losses, drifts, accuracies and seconds of each snapshot.
A run that has its file is not trained again, so the command can be stopped and called again.

Seconds are those of the process on one thread, so that neighbours on the machine do not count. Accuracy is that on
held-out images that no rule sees: the first 1,000 held-out images are the validation set, the next ones are scored.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))  # so that research.corpus_nets can be named as a factory

import click
import numpy as np
import torch
from stopping_rules import CHOSEN_ON, DEFAULT, drifts
from torch import Tensor, nn

from fmce_mlflow.method.convergence.causal import converged_by_now
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.drift import centered_gram, gram_cka
from fmce_mlflow.method.images.config import SplitOptions
from fmce_mlflow.method.images.split import ImageData, load_images
from fmce_mlflow.method.images.training_batches import loader
from fmce_mlflow.method.networks.backbones import build_backbone
from fmce_mlflow.method.networks.freeze import Frozen
from fmce_mlflow.method.networks.take_maps import take_maps
from fmce_mlflow.method.networks.upstream import upstream
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.method.training.loop import train

VALIDATION, PROBE = 1000, 256
MODULES = {
    "shufflenet_v2_x0_5": ("maxpool", "stage2", "stage3", "stage4", "conv5"),
    "timm:test_resnet": ("maxpool", "layer1", "layer2", "layer3", "layer4"),
}
"""Recorded modules, from the input on. Both networks have the stem that they were published with, which is cheap."""
IMAGES = {"mnist": 2000, "mini": 5000, "cifar10": 5000}
SCORED = {"mnist": 2000, "mini": 1000, "cifar10": 4000}  # held-out images besides the validation set
EPOCHS = {"mnist": 20, "mini": 30, "cifar10": 24}
SEEDS = (0, 1, 2)  # of the scored runs


@dataclass(frozen=True)
class Plan:
    """One training."""

    dataset: str
    backbone: str
    seed: int
    freeze: float | None = None  # threshold of the drift's CQI; None: nothing freezes
    schedule: str = "cosine"

    @property
    def key(self) -> str:
        how = "full" if self.freeze is None else f"freeze-{self.freeze:g}"
        return f"{self.dataset}_{self.backbone.replace(':', '-')}_{self.schedule}_{self.seed}_{how}"

    @property
    def config(self) -> TrainingConfig:
        return TrainingConfig(
            epochs=EPOCHS[self.dataset], snapshots_per_epoch=1, schedule=self.schedule, seed=self.seed, cpu=True
        )

    def images(self, places: Mapping[str, str]) -> ImageData:
        options = SplitOptions(
            dataset=places[self.dataset], data_root=places["root"], image_size=32, train_size=IMAGES[self.dataset],
            validation_size=VALIDATION + SCORED[self.dataset], probe_size=PROBE,
        )  # fmt: skip
        return load_images(options)

    def network(self, classes: int) -> nn.Module:
        torch.manual_seed(self.seed)
        return build_backbone(self.backbone, num_classes=classes, image_size=32, stem="stock")


def plan() -> Iterator[Plan]:
    """First what chooses, then what is scored."""
    for dataset in CHOSEN_ON:
        for backbone in MODULES:
            yield Plan(dataset, backbone, 0)
    for seed in SEEDS:
        for backbone in MODULES:
            yield Plan("cifar10", backbone, seed)


class Looks:
    """What a training shows at its snapshots."""

    def __init__(self, model: nn.Module, modules: Sequence[str], data: ImageData) -> None:
        self.model, self.modules, self.data = model, modules, data
        n = len(data.validation)
        chunks = [list(range(start, min(start + 256, n))) for start in range(0, n, 256)]
        batches = list(loader(data.validation, preprocessing=data.preprocessing, batches=chunks))
        self.x, self.y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
        self.grams: dict[str, Any] = {}
        self.deviations: dict[str, list[Tensor]] = {name: [] for name in modules}

    @contextmanager
    def deviating(self) -> Iterator[None]:
        """Note the standard deviation of each module's output in each training batch."""

        def note(name: str) -> Callable[..., None]:
            def hook(module: nn.Module, _args: Any, output: Tensor) -> None:
                if self.model.training:
                    self.deviations[name].append(output.detach().std())

            return hook

        with ExitStack() as hooks:
            for name in self.modules:
                hooks.callback(self.model.get_submodule(name).register_forward_hook(note(name)).remove)
            yield

    def take(self) -> dict[str, Any]:
        """Drift, deviation and what it cost to look, then losses and accuracies."""
        deviation = {name: float(torch.stack(seen).mean()) for name, seen in self.deviations.items() if seen}
        self.deviations = {name: [] for name in self.modules}
        began, drift = time.process_time(), {}
        for name, value in take_maps(self.model, self.modules, [self.x[:PROBE]], PROBE).maps.items():
            gram = centered_gram(value)
            if name in self.grams:
                drift[name] = float(np.clip(1 - gram_cka(self.grams[name], gram), 0, 1))
            self.grams[name] = gram
        look = time.process_time() - began
        modes = [module.training for module in self.model.modules()]
        self.model.eval()
        with torch.no_grad():
            logits = torch.cat([self.model(x) for x in self.x.split(256)])
        for module, mode in zip(self.model.modules(), modes, strict=True):
            module.training = mode
        right = (logits.argmax(1) == self.y).float()
        return {
            "look_seconds": look,
            "val_loss": float(nn.functional.cross_entropy(logits[:VALIDATION], self.y[:VALIDATION])),
            "val_accuracy": float(right[:VALIDATION].mean()),
            "accuracy": float(right[VALIDATION:].mean()),
            "drift": drift,
            "deviation": deviation,
        }  # fmt: skip


def newly_converged(rows: Sequence[Mapping[str, Any]], modules: Sequence[str], threshold: float, done: int) -> int:
    """How many modules, from the input on, are frozen or have converged by their drift."""
    config = ConvergenceConfig(threshold=threshold)
    for name in modules[done:]:
        if not converged_by_now(drifts(rows, name), config, patience=DEFAULT[1]):
            break
        done += 1
    return done


def run(item: Plan, data: ImageData) -> dict[str, Any]:
    """Train, and say what was seen."""
    model, modules = item.network(len(data.classes)), MODULES[item.backbone]
    looks, frozen, done, rows = Looks(model, modules, data), Frozen(model), 0, []
    parts = upstream(model, modules, looks.x[:2])
    snapshots = train(model, data, item.config)
    with looks.deviating():
        while True:
            began = time.process_time()
            snapshot = next(snapshots, None)
            if snapshot is None:
                break
            seconds = time.process_time() - began
            rows.append({"train_loss": snapshot.train_loss, "train_seconds": seconds, **looks.take(), "frozen": done})
            if item.freeze is not None:
                now = newly_converged(rows, modules, item.freeze, done)
                for name in modules[done:now]:
                    frozen.freeze(parts[name])
                done = now
    return {"plan": asdict(item), "modules": modules, "snapshots": rows}


def places(data_root: str, cifar10: str, mini_imagenet: str) -> dict[str, str]:
    return {"root": data_root, "mnist": "mnist", "cifar10": cifar10, "mini": mini_imagenet}


def data_options(function: Any) -> Any:
    for name, default, text in (
        ("out", "stopping", "Folder of the JSON files."),
        ("mini-imagenet", "mini_imagenet", "folder:PATH of twenty classes of mini-ImageNet."),
        ("cifar10", "cifar10", "cifar10, or folder:PATH of its images."),
        ("data-root", "data", "Where MNIST is."),
    ):
        function = click.option(f"--{name}", default=default, show_default=True, help=text)(function)
    return function


@click.command(help=__doc__)
@data_options
@click.option("--only", default="", help="Only runs whose key contains this.")
@click.option("--freeze", default=0.0, help="Train the plan with modules that freeze at this threshold; 0: in full.")
def main(data_root: str, cifar10: str, mini_imagenet: str, out: str, only: str, freeze: float) -> None:
    torch.set_num_threads(1)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for item in plan():
        item = replace(item, freeze=freeze or None)
        path = folder / f"{item.key}.json"
        if only in item.key and not path.exists():
            told(path, run(item, item.images(places(data_root, cifar10, mini_imagenet))))


def told(path: Path, found: dict[str, Any]) -> None:
    """Write a run's file, and a line about it."""
    path.write_text(json.dumps(found, indent=1))
    last, seconds = found["snapshots"][-1], sum(row["train_seconds"] for row in found["snapshots"][1:])
    click.echo(f"{path.stem}: accuracy {last['accuracy']:.3f}, loss {last['train_loss']:.4f}, {seconds:.0f} s")


if __name__ == "__main__":
    main()
