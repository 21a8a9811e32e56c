"""How long `fmce evaluate` on a few images takes from the shell to its exit, here and in another checkout, in turns.

A network is logged to a fresh sqlite store and 128 PNG files are written; then each checkout in turn evaluates it in a
process of its own. CPU seconds are user and system time of that process.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parents[1]
Seconds = tuple[float, float]  # wall clock, CPU


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="another checkout of this project")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--backbone", default="shufflenet_v2_x0_5")
    parser.add_argument("--formats", nargs="+", default=["pickle", "pt2"], help="in which the model is logged")
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    checkouts = [HERE, *([args.against.resolve()] if args.against else [])]
    with tempfile.TemporaryDirectory() as folder:
        root, store = Path(folder), f"sqlite:///{folder}/mlflow.db"
        _write(root / "images", args.images)
        commands = {"fmce --help": ["--help"]}
        for format_ in args.formats:
            words = ["--model", _log(store, root, args.backbone, format_), "--dataset", f"folder:{root / 'images'}"]
            commands[f"fmce evaluate, {args.backbone}, {format_}"] = [
                *("--tracking-uri", store, "evaluate", *words, "--preprocessing", "scale")
            ]
        for name, words in commands.items():
            _report(name, [[_run(checkout, words) for checkout in checkouts] for _ in range(args.turns + 1)][1:])


def _report(name: str, turns: list[list[Seconds]]) -> None:
    """Print medians; the first turn, which reads files for the first time, is not among them."""
    for kind, place in (("wall clock", 0), ("CPU", 1)):
        here = [turn[0][place] for turn in turns]
        line = f"{name}: {statistics.median(here):.2f} s ({min(here):.2f} to {max(here):.2f}), {kind}"
        if len(turns[0]) > 1:
            ratios = [turn[0][place] / turn[1][place] for turn in turns]
            there = statistics.median(turn[1][place] for turn in turns)
            line += (
                f"; there {there:.2f} s; ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )
        print(line, flush=True)


def _run(checkout: Path, words: list[str]) -> Seconds:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "from fmce_mlflow.cli.main import main; main(prog_name='fmce')", *words],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=tempfile.gettempdir(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _write(folder: Path, images: int) -> None:
    import numpy as np
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(images):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{i:05d}.png")


def _log(store: str, root: Path, backbone: str, format_: str) -> str:
    """The URI of a new network with 10 classes."""
    import mlflow
    import numpy as np
    import torch

    from fmce_mlflow.method.networks.backbones import build_backbone

    mlflow.set_tracking_uri(store)
    if mlflow.get_experiment_by_name("fmce") is None:
        mlflow.create_experiment("fmce", artifact_location=(root / "artifacts").as_uri())
    mlflow.set_experiment("fmce")
    torch.manual_seed(0)
    return mlflow.pytorch.log_model(
        build_backbone(backbone, num_classes=10, image_size=32).eval(),
        name="model",
        serialization_format=format_,
        input_example=np.zeros((2, 3, 32, 32), np.float32),
        pip_requirements=[],
    ).model_uri


if __name__ == "__main__":
    main()
