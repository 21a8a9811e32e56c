"""Does a score say of networks that nobody trained that they are untrained, and of one reset stage which it is?

    python research/untrained.py run --cifar10 folder:cifar10 --out untrained [--predictor FOLDER]
    python research/untrained.py table --out untrained
    python research/untrained.py list

``--parts`` chooses among

- ``untrained``: networks of :data:`ARCHITECTURES` with fresh weights, as their libraries build them on digits of 64
  pixels and with small stems on CIFAR-10's images of 32; up to four stages of each;
- ``settled``: the same networks, weights untouched, after 60 forward passes in training mode, which move BatchNorm's
  running statistics; those that have none are left out;
- ``frozen``: backbones of :data:`TRAINED` with fresh weights under a head that was trained on digits, with BatchNorm's
  statistics moving meanwhile and without;
- ``trained``: these networks trained on digits;
- ``reset``: the same with one of their stages reset, by ``reinitialised`` and by their library's own initialisation;
- ``images``: the trained ones, on images of three classes, of one, and on 16 images, beside all 128 of ten classes.

All is scored as ``fmce evaluate`` scores it. What was scored by the same predictor is read again; ``--out`` keeps the
trained networks too, which depend on no predictor. Seconds are the processor's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from zlib import crc32

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))  # so that research.corpus_nets can be named as a factory

import mlflow
import pandas as pd
import torch
from mlflow import MlflowClient
from stages import after, members, stages, watch
from torch import Tensor, nn
from torch.nn import functional as F
from untrained_list import ARCHITECTURES, smallest

from fmce_mlflow.errors import BackboneError, FmceError
from fmce_mlflow.evaluation.evaluate import examine
from fmce_mlflow.evaluation.options import EvaluationConfig
from fmce_mlflow.method.images.config import SplitOptions
from fmce_mlflow.method.images.split import load_images
from fmce_mlflow.method.images.training_batches import loader
from fmce_mlflow.method.networks.backbones import build_backbone
from fmce_mlflow.method.networks.fresh_weights import reinitialised
from fmce_mlflow.predictor.find import NamedPredictor, find_predictor
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.torch_models import TorchModel

PARTS = ("untrained", "settled", "frozen", "trained", "reset", "images")
TRAINED = (
    "timm:test_convnext", "timm:mobilenetv2_035", "timm:regnety_002", "timm:test_byobnet", "timm:lcnet_035",
    "research.corpus_nets:dense_cnn", "timm:test_vit2", "timm:starnet_s050", "research.corpus_nets:all_cnn",
    "timm:efficientvit_b0", "mobilenet_v3_small", "timm:test_efficientnet_gn", "research.corpus_nets:mixer",
)  # fmt: skip
"""Those of the corpus on which nothing was chosen."""
CONDITIONS = {"digits": 64, "cifar10": 32}
"""By data set, the images' size; for 64 pixels networks are as their libraries build them, for 32 the stem is small."""
INITS = ("reinitialised", "library")
CHOSEN: dict[str, Callable[[Tensor], Tensor]] = {
    "three classes": lambda labels: labels < 3,
    "one class": lambda labels: labels == 0,
    "16 images": lambda labels: torch.arange(len(labels)) < 16,
}
"""By set of images, which of all are in it, by their labels."""
IMAGES, TRAINING_IMAGES = 128, 2000
PASSES, PASS_IMAGES = 60, 16
EPOCHS, HEAD_EPOCHS, BATCH, RATE = 8, 4, 64, 2e-3
UNTRAINED, TRAINED_FROM = 0.3, 0.7


@dataclass(frozen=True)
class Images:
    """Normalised pixels (n, 3, H, W) and labels: to score on, and to train on."""

    probe: Tensor
    labels: Tensor
    train: Tensor
    train_labels: Tensor


@cache
def images(dataset: str, size: int, data_root: str) -> Images:
    data = load_images(SplitOptions(
        dataset=dataset, data_root=data_root, image_size=size, probe_size=IMAGES,
        train_size=None if dataset == "digits" else TRAINING_IMAGES,
    ))  # fmt: skip
    found = []
    for part in (data.probe, data.train):
        found += next(iter(loader(part, preprocessing=data.preprocessing, batches=[list(range(len(part)))])))
    return Images(*found)


def fresh(name: str, size: int, seed: int) -> nn.Module:
    """A network as its library initialises it, in eval mode."""
    torch.manual_seed(crc32(f"{name} {seed}".encode()))
    return build_backbone(name, num_classes=10, image_size=size).eval()


def settle(network: nn.Module, pixels: Tensor, seed: int = 0) -> None:
    """Move BatchNorm's statistics, and nothing else, by forward passes in training mode."""
    torch.manual_seed(seed)
    network.train()
    with torch.no_grad():
        for _ in range(PASSES):
            network(pixels[torch.randint(len(pixels), (PASS_IMAGES,))])
    network.eval()


def has_statistics(network: nn.Module) -> bool:
    return any(name.endswith("running_mean") for name, _ in network.named_buffers())


def fit(network: nn.Module, data: Images, epochs: int, *, keep_statistics: bool = False) -> None:
    """Train what of a network is not frozen, by AdamW and a cosine after one epoch of warm-up."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)
    steps = epochs * (len(data.train) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=1 / epochs)
    network.train(not keep_statistics)
    for _ in range(epochs):
        for batch in torch.randperm(len(data.train)).split(BATCH)[: steps // epochs]:
            loss = F.cross_entropy(network(data.train[batch]), data.train_labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, data: Images) -> float:
    return float((network(data.probe).argmax(1) == data.labels).float().mean())


def trained(name: str, data: Images, folder: Path, seed: int) -> nn.Module:
    """A network trained on digits; its weights are kept in a file."""
    network, file = fresh(name, 32, seed), folder / "weights" / f"{_slug(name)}-{seed}.pt"
    if file.exists():
        network.load_state_dict(torch.load(file, weights_only=True))
        return network
    fit(network, data, EPOCHS)
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), file)
    return network


def reset(network: nn.Module, stage: list[str], init: str, name: str, seed: int) -> None:
    """Give the modules of a stage fresh weights and statistics."""
    other = reinitialised(network, seed=seed + 1) if init == "reinitialised" else fresh(name, 32, seed + 1)
    with torch.no_grad():
        for member in stage:
            ours, theirs = network.get_submodule(member), other.get_submodule(member)
            for value, new in zip(_own(ours), _own(theirs), strict=True):
                value.copy_(new)


def _own(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]


def evaluate(
    network: nn.Module, data: Images, modules: tuple[str, ...], predictor: NamedPredictor, targets: bool
) -> dict[str, Any]:
    """What an evaluation finds of some modules, and what it took."""
    labels = data.labels.numpy() if targets else None
    dataset = mlflow.data.from_images(data.probe.numpy(), labels, name="probe").to_evaluation_dataset()
    config = EvaluationConfig(modules=modules, saliency=False)
    started = time.process_time()
    found = examine(_silent(), TorchModel(network.eval(), "models:/network/1"), dataset, config, predictor)
    return {
        "modules": [
            {"name": m.name, "fmcs": m.fmcs, "std": m.std, "low": m.low, "high": m.high, "early": m.early, "far": m.far}
            for m in found.modules
        ],
        "mature": found.mature,
        "fallen": [module.name for module in found.fallen],
        "warnings": list(found.warnings),
        "seconds": time.process_time() - started,
    }


@cache
def _silent() -> Run:
    return Run(MlflowClient("sqlite://"), "", lambda line: None)


Found = dict[str, Any]
Item = tuple[str, str, Callable[[], Found]]  # part, key, what finds it


def items(args: argparse.Namespace, predictor: NamedPredictor) -> Iterator[Item]:
    """Everything that is scored, part by part."""
    score = partial(evaluate, predictor=predictor, targets=args.targets)
    for part in ("untrained", "settled"):
        for place, name in enumerate(ARCHITECTURES):
            for number, (dataset, size) in enumerate(CONDITIONS.items()):
                if args.alternate and (place + number) % len(CONDITIONS):
                    continue
                yield part, f"{name}|{dataset}", partial(_untrained, args, score, part, name, dataset, size)
    hows = {"frozen": ("moving", "kept"), "trained": ("",), "reset": INITS, "images": tuple(CHOSEN)}
    for part in hows:
        for name in TRAINED:
            for how in hows[part]:
                for stage in range(4) if part == "reset" else (0,):
                    key = "|".join(filter(None, [name, how, f"stage {stage + 1}" if part == "reset" else ""]))
                    yield part, key, partial(_of_digits, args, score, part, name, how, stage)


def _untrained(
    args: argparse.Namespace, score: Callable[..., Found], part: str, name: str, dataset: str, size: int
) -> Found:
    network = fresh(name, size, args.seed)
    if part == "settled" and not has_statistics(network):
        return {"none": "no running statistics"}
    data = images(args.cifar10 if dataset == "cifar10" else dataset, size, args.data_root)
    if part == "settled":
        settle(network, data.train, args.seed)
    return score(network, data, stages(network, data.probe[:2]))


def _of_digits(
    args: argparse.Namespace, score: Callable[..., Found], part: str, name: str, how: str, stage: int
) -> Found:
    data, network = images("digits", 32, args.data_root), fresh(name, 32, args.seed)
    names, calls = stages(network, data.probe[:2]), watch(network, data.probe[:2])
    parts = members(network, names, calls)
    about: Found = {}
    if part == "frozen":
        if how == "moving" and not has_statistics(network):
            return {"none": "no running statistics"}
        head = after(network, names[-1], calls)
        for parameter_name, parameter in network.named_parameters():
            parameter.requires_grad_(parameter_name.rpartition(".")[0] in head)
        torch.manual_seed(args.seed)
        fit(network, data, HEAD_EPOCHS, keep_statistics=how == "kept")
    else:
        network = trained(name, data, Path(args.out), args.seed)
    if part == "reset":
        if stage >= len(names):
            return {"none": f"{len(names)} stages"}
        reset(network, parts[stage], how, name, args.seed)
        about["stage"] = names[stage]
    if part == "images":
        about["whole"] = [module["fmcs"] for module in score(network, data, names)["modules"]]
        kept = CHOSEN[how](data.labels)
        data = replace(data, probe=data.probe[kept], labels=data.labels[kept])
        about["images"] = len(data.labels)
    return about | {"accuracy": accuracy(network, data)} | score(network, data, names)


def run(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    predictor = find_predictor(args.predictor)
    identity = _identity(predictor)
    number, of = map(int, args.shard.split("/"))
    wanted = [
        item for item in items(args, predictor) if item[0] in args.parts.split(",") and re.search(args.only, item[1])
    ]
    for place, (part, key, find) in enumerate(wanted):
        file = Path(args.out) / part / f"{_slug(key)}.json"
        if place % of != number or (file.exists() and json.loads(file.read_text())["predictor"] == identity):
            continue
        started = time.process_time()
        try:
            found = find()
        except BackboneError as error:
            found = {"none": f"cannot be built: {error}"}
        except FmceError as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        found = {"part": part, "key": key, "predictor": identity, "all_seconds": time.process_time() - started} | found
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found, indent=1))
        print(part, told(found), flush=True)
    table(args)


def _identity(predictor: NamedPredictor) -> str:
    digest = hashlib.sha256(json.dumps(dict(predictor.predictor.info), default=str, sort_keys=True).encode())
    for name, value in sorted(predictor.predictor.net.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _slug(key: str) -> str:
    return re.sub(r"[^\w.-]+", "_", key)


def told(found: Found) -> str:
    """A line of one network."""
    if "modules" not in found:
        return f"{found['key']}: {found.get('none') or found['error']}"
    each = ", ".join(
        f"{m['name']} {m['fmcs']:.2f}±{m['std']:.2f}{'?' * m['early']}{'!' * m['far']}" for m in found["modules"]
    )
    more = f" accuracy {found['accuracy']:.2f}" if "accuracy" in found else ""
    named = f" reset {found['stage']}, named {(found['fallen'] or ['none'])[0]}" if "stage" in found else ""
    return f"{found['key']}:{more}{named} {each} ({found['all_seconds']:.1f} s)"


def table(args: argparse.Namespace) -> None:
    """Every network that is not as it should be, and figures of each part."""
    found = [json.loads(file.read_text()) for part in PARTS for file in sorted((Path(args.out) / part).glob("*.json"))]
    rows = [judged(one) for one in found if "modules" in one]
    failed = [one for one in found if "error" in one]
    for row in rows:
        if not row["right"]:
            print(f"{row['part']}: {told(row['found'])}")
    for one in failed:
        print(f"{one['part']}: {told(one)}")
    if not rows:
        raise SystemExit(f"There are no results in {args.out}.")
    frame = pd.DataFrame(rows).drop(columns="found")
    figures = frame.groupby("part", sort=False).agg(
        networks=("key", "size"), architectures=("name", "nunique"), right=("right", "sum"), last_right=("last", "sum"),
        highest=("highest", "max"), lowest=("lowest", "min"), evaluation_s=("seconds", "mean"),
        all_s=("all_seconds", "sum"),
    )  # fmt: skip
    print(figures.round(3).to_string())
    for how, part in frame[frame["part"] == "reset"].groupby("how"):
        report, alone = part["right"].mean(), part["by_score"].mean()
        print(f"reset, {how}: {report:.1%} named by the report, {alone:.1%} by scores alone")
    for how, part in frame[frame["part"] == "images"].groupby("how", sort=False):
        moved, holds = part["moved"].explode(), part["holds"].explode()
        print(
            f"images, {how}: scores differ from those on all by {moved.mean():.3f} on average, {moved.max():.2f} at "
            f"most; their interval holds {holds.mean():.1%} of these ({len(moved)} modules)"
        )
    print(f"{len(failed)} could not be scored; predictors: {sorted({one['predictor'] for one in found})}")


def judged(found: Found) -> dict[str, Any]:
    """Whether a network is scored as it should be: all its stages (``right``) and its last one alone (``last``).

    Untrained stages are to lie below 0.3, trained ones above 0.7, and of a network with a reset stage that one is to be
    the first that the report calls not mature (``by_score``: the first whose score is below its bar). On some of the
    images the interval is to hold the score on all.
    """
    part, scores = found["part"], [module["fmcs"] for module in found["modules"]]
    low = [module["name"] for module in found["modules"] if module["fmcs"] < found["mature"]]
    name, *rest = found["key"].split("|")
    row = {"part": part, "key": found["key"], "name": name, "how": rest[0] if rest else "", "found": found}
    row |= {
        "highest": max(scores),
        "lowest": min(scores),
        "seconds": found["seconds"],
        "all_seconds": found["all_seconds"],
    }
    if part == "reset":
        named = bool(found["fallen"]) and found["fallen"][0] == found["stage"]
        return row | {"right": named, "last": named, "by_score": low[:1] == [found["stage"]]}
    if part == "images":
        held = [m["low"] <= whole <= m["high"] for m, whole in zip(found["modules"], found["whole"], strict=True)]
        row |= {"moved": [abs(one - whole) for one, whole in zip(scores, found["whole"], strict=True)], "holds": held}
        return row | {"right": all(held), "last": held[-1]}
    fine = [score > TRAINED_FROM if part == "trained" else score <= UNTRAINED for score in scores]
    return row | {"right": all(fine), "last": fine[-1], "by_score": all(fine)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run", help="score what was not scored yet, and print the table")
    running.add_argument("--predictor", help="an FMCE-Net's model URI or folder; the bundled one otherwise")
    running.add_argument("--parts", default=",".join(PARTS))
    running.add_argument("--alternate", action="store_true", help="each untrained network on one data set, in turn")
    running.add_argument("--only", default="", help="a regular expression of keys")
    running.add_argument("--data-root", default="data")
    running.add_argument("--cifar10", default="cifar10", help="cifar10, or folder:PATH of its images")
    running.add_argument("--targets", action="store_true", help="show the evaluation the images' labels too")
    running.add_argument("--seed", type=int, default=0)
    running.add_argument("--shard", default="0/1")
    running.set_defaults(call=run)
    printing = commands.add_parser("table", help="print the table")
    printing.set_defaults(call=table)
    for command in (running, printing):
        command.add_argument("--out", default="untrained", help="folder of results, and of trained networks")
    listing = commands.add_parser("list", help="print timm's smallest network of each family; takes minutes")
    listing.set_defaults(call=lambda _: print("\n".join(smallest())))
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
