"""Reduce the weights that `corpus_train.py` kept to evidence: one small file per training.

    python research/corpus_reduce.py --weights corpus --out research/corpus

Each kept snapshot is looked at as an evaluation would look at a model, on 64 images of all classes, and on another set:
in turn a few classes or unequal shares, and 8 to 32 images. Besides, once in a training, copies with fresh weights, and
the trained network with one stage reset to fresh weights.

Files are NumPy's npz without pickles: features and evidence in float16, features of fresh copies, rows of what each is,
and the training's record in JSON. A training that has its file is passed over, so the command can be stopped and called
again.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))

import click
import numpy as np
import torch
from corpus_plan import Plan
from corpus_train import Images, images, network
from torch import Tensor, nn

from fmce_mlflow.method.evidence.groups import NAMES
from fmce_mlflow.method.fmce_net.statistics import bag_features
from fmce_mlflow.method.networks.backbones import build_backbone
from fmce_mlflow.method.networks.capture import locate
from fmce_mlflow.method.networks.fresh_weights import SCHEMES, reinitialised
from fmce_mlflow.method.scoring.collect import Collected, collect, fresh_features, maps_of

SETS = ("all", "few", "small")
KINDS = ("trained", "fresh", "reset", "after-reset")
FORMAT = 1


@dataclass
class Rows:
    """What is written: a row for each module, image set and look."""

    snapshot: list[int] = field(default_factory=list)
    module: list[int] = field(default_factory=list)
    chosen: list[int] = field(default_factory=list)  # set of images
    kind: list[int] = field(default_factory=list)
    features: list[Tensor] = field(default_factory=list)
    evidence: list[Tensor] = field(default_factory=list)

    def add(self, snapshot: int, module: int, chosen: int, kind: str, features: Tensor, evidence: Tensor) -> None:
        """One more."""
        values = (snapshot, module, chosen, KINDS.index(kind), features, evidence)
        for name, value in zip(("snapshot", "module", "chosen", "kind", "features", "evidence"), values, strict=True):
            getattr(self, name).append(value)

    def arrays(self) -> dict[str, np.ndarray]:
        """As the file has them."""
        each = {name: np.array(getattr(self, name), np.int16) for name in ("snapshot", "module", "chosen", "kind")}
        most = float(np.finfo(np.float16).max)
        return each | {
            name: torch.stack(getattr(self, name)).clamp(-most, most).half().numpy()
            for name in ("features", "evidence")
        }


def chosen_images(labels: np.ndarray, classes: int, draw: np.random.Generator) -> Iterator[np.ndarray]:
    """Places of the images of each of :data:`SETS`."""
    order = draw.permutation(len(labels))
    yield order[:64]
    few = draw.integers(4)
    if few == 3 or classes <= 2:
        shares = draw.dirichlet(np.full(classes, 0.5))[labels[order]]
        yield order[np.argsort(-np.log(draw.random(len(order))) / (shares + 1e-6))][:64]
    else:
        kept = np.isin(labels[order], draw.permutation(classes)[: 1 + few])
        yield order[kept][:64]
    yield draw.permutation(len(labels))[: draw.choice([8, 12, 16, 24, 32])]


@dataclass(frozen=True)
class Looks:
    """What a training's networks are looked at with."""

    images: Images
    draw: np.random.Generator
    build: Callable[[], nn.Module] | None  # the network as its library draws it: not every model's is known
    sets: Iterator[tuple[Tensor, Tensor]]  # images and classes of each of :data:`SETS`, drawn one by one


def looks(item: Plan, places: Sequence[str]) -> Looks:
    """The images of a training, the same in each call, from the folders of the data sets."""
    data, draw = images(item, places), np.random.default_rng(crc32(item.key.encode()))
    x, y = data.probe
    factory = partial(build_backbone, item.backbone, num_classes=data.classes, image_size=32)
    build = factory if draw.random() < 0.5 else None
    sets = ((x[index], y[index]) for index in chosen_images(y.numpy(), data.classes, draw))
    return Looks(data, draw, build, sets)


def reduced(facts: Mapping[str, Any], states: list[Any], places: Sequence[str]) -> dict[str, np.ndarray]:
    """All rows of a training."""
    item = Plan(**facts["plan"])
    seen = looks(item, places)
    model = network(item, seen.images.classes).eval()
    return evidence_rows(model, facts, states, seen.sets, seen.draw, seen.build)


def evidence_rows(
    model: nn.Module,
    facts: Mapping[str, Any],
    states: list[Any],
    sets: Iterable[tuple[Tensor, Tensor | None]],
    draw: np.random.Generator,
    build: Callable[[], nn.Module] | None,
) -> dict[str, np.ndarray]:
    """All rows of a network's kept weights, on each of :data:`SETS` of images and what is known of these."""
    modules, rows, references = tuple(facts["modules"]), Rows(), []
    for number, (images_of_set, targets) in enumerate(sets):
        pixels = [images_of_set]
        notes: list[str] = []
        model.load_state_dict(states[0])
        fresh = fresh_features(model, modules, pixels, build, notes=notes)
        references.append(torch.stack([fresh[name] for name in modules]))

        def look(
            net: nn.Module,
            snapshot: int,
            kinds: list[str],
            *,
            pixels: list[Tensor] = pixels,
            targets: Tensor | None = targets,
            fresh: dict[str, Tensor] = fresh,
            number: int = number,
        ) -> None:
            found = collect(net, modules, pixels, targets=lambda _: targets, fresh=fresh)
            _add(rows, found, pixels[0], snapshot, number, kinds, modules)
            for note in found.notes:
                click.echo(f"  {note}")

        for turn, (snapshot, state) in enumerate(zip(facts["kept"], states, strict=True)):
            if number == 0 or turn % 2 == number % 2:
                model.load_state_dict(state)
                look(model, snapshot, ["trained"] * len(modules))
        if number:
            continue
        model.load_state_dict(states[-1])
        scheme = SCHEMES[int(draw.integers(len(SCHEMES)))]
        look(reinitialised(model, seed=int(draw.integers(1000)), scheme=scheme), 0, ["fresh"] * len(modules))
        stage = int(draw.integers(len(modules) - 1))
        _reset(model, modules[stage], scheme, int(draw.integers(1000)))
        kinds = ["trained"] * stage + ["reset"] + ["after-reset"] * (len(modules) - stage - 1)
        kinds = [
            "reset" if modules[stage].startswith(f"{name}.") and kinds[i] != "reset" else kinds[i]
            for i, name in enumerate(modules)
        ]
        look(model, facts["kept"][-1], kinds)
    made = rows.arrays()
    return made | {"references": torch.stack(references).half().numpy()}


@torch.no_grad()
def _reset(model: nn.Module, module: str, scheme: Any, seed: int) -> None:
    """Give a module fresh weights, in place."""
    name = locate(dict(model.named_modules()), module)
    fresh = reinitialised(model, seed=seed, scheme=scheme).get_submodule(name).state_dict()
    model.get_submodule(name).load_state_dict(fresh)


def _add(
    rows: Rows, found: Collected, pixels: Tensor, snapshot: int, chosen: int, kinds: list[str], modules: tuple[str, ...]
) -> None:
    maps = maps_of(found.network, modules, [pixels])
    for place, (name, kind) in enumerate(zip(modules, kinds, strict=True)):
        whole = maps[name]
        if not bool(torch.isfinite(whole).all()):
            continue
        features = bag_features(whole)
        rows.add(snapshot, place, chosen, kind, features, found.modules[name].row(features, whole.shape, len(whole)))


def of_weights(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a command that goes over kept weights, and is shown what the trainings were."""
    for option in (
        click.option("--shard", default="0/1", show_default=True, help="Which part of the work this process does."),
        click.option("--mini-imagenet", default="mini_imagenet", show_default=True, help="folder:PATH of its classes."),
        click.option("--cifar10", default="cifar10", show_default=True, help="cifar10, or folder:PATH of its images."),
        click.option("--data-root", default="data", show_default=True, help="Where MNIST is."),
        click.option("--weights", default="corpus", show_default=True, help="Folder of corpus_train.py."),
    ):
        command = option(command)
    return command


def trainings(weights: str, shard: str, done: Callable[[str], bool]) -> Iterator[tuple[str, dict[str, Any], list[Any]]]:
    """Key, record and kept weights of each training of a shard that is not done, the oldest first."""
    part, of = map(int, shard.split("/"))
    for path in sorted(Path(weights).glob("*.json"), key=lambda path: path.stat().st_mtime):
        if crc32(path.stem.encode()) % of == part and not done(path.stem):
            yield path.stem, json.loads(path.read_text()), torch.load(path.with_suffix(".pt"))


@click.command(help=__doc__)
@of_weights
@click.option("--out", default="research/corpus", show_default=True, help="Folder of the files.")
def main(weights: str, out: str, data_root: str, cifar10: str, mini_imagenet: str, shard: str) -> None:
    torch.set_num_threads(1)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for key, facts, states in trainings(weights, shard, lambda key: (folder / f"{key}.npz").exists()):
        began = time.monotonic()
        made = reduced(facts, states, (data_root, cifar10, mini_imagenet))
        write(folder / f"{key}.npz", facts, made)
        click.echo(f"{key}: {len(made['kind'])} rows, {time.monotonic() - began:.0f} s")


def write(target: Path, facts: Mapping[str, Any], made: Mapping[str, np.ndarray]) -> None:
    """One file, whole or not at all; the high bytes of features apart from the low ones compress best."""
    halves = np.ascontiguousarray(made["features"].T).view(np.uint16)
    text = np.frombuffer(json.dumps({"format": FORMAT, "evidence": NAMES, **facts}).encode(), np.uint8)
    rest = {name: value for name, value in made.items() if name != "features"}
    with target.with_suffix(".part").open("wb") as file:
        np.savez_compressed(
            file, facts=text, high=(halves >> 8).astype(np.uint8), low=(halves & 0xFF).astype(np.uint8), **rest
        )
    target.with_suffix(".part").replace(target)


if __name__ == "__main__":
    main()
