"""How the memory of evaluations grows: with the images of a folder, and with evaluations in one process.

ShuffleNet v2 ×0.5 is evaluated as a user would, by the bundled predictor and with Grad-CAM, in a process of its own for
each figure. Own memory (`RssAnon` on Linux) belongs to the process alone; its peak is looked at every 50 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from peak_memory import Peak, memory, peak_of_this_process

MOST_OF_IMAGES, MOST_OF_RUNS, SETTLED = 40, 10, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs=2, default=[2_000, 100_000])
    parser.add_argument("--evaluations", type=int, default=24)
    parser.add_argument("--part", nargs="+", choices=["images", "evaluations"], default=["images", "evaluations"])
    parser.add_argument("--child", nargs=3, metavar=("STORE", "IMAGES", "TIMES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        store, images, times = args.child
        print(json.dumps(_child(Path(store), images, int(times))))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _set_up(root)
        if "images" in args.part:
            _report_images(root, args.images)
        if "evaluations" in args.part:
            _report_evaluations(root, args.evaluations)


def _report_images(root: Path, counts: list[int]) -> None:
    peaks = []
    for n in counts:
        _write(root / str(n), n)
        found = _measured(root, n, 1)
        peaks.append(found["peak"])
        print(f"{n:,} images of a folder: own memory {found['peak']:.0f} MiB at most, resident {found['resident']:.0f}")
    _say("Growth of own memory", peaks[1] - peaks[0], MOST_OF_IMAGES)


def _report_evaluations(root: Path, times: int) -> None:
    if not (root / "256").exists():
        _write(root / "256", 256)
    after = _measured(root, 256, times)["after"]
    print(
        f"{times} evaluations in one process, own memory after each: {' '.join(f'{value:.0f}' for value in after)} MiB"
    )
    _say(f"Growth after evaluation {SETTLED}", after[-1] - after[SETTLED - 1], MOST_OF_RUNS)


def _say(what: str, found: float, most: float) -> None:
    print(f"{what} {found:.0f} MiB, bar {most}: {'met' if found <= most else 'missed'}", flush=True)


def _measured(root: Path, images: int, times: int) -> dict:
    command = [sys.executable, __file__, "--child", str(root), str(root / str(images)), str(times)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def _child(root: Path, images: str, times: int) -> dict:
    import logging

    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(f"sqlite:///{root}/mlflow.db")
    mlflow.set_experiment("memory")
    after = []
    with Peak() as peak:
        for _ in range(times):
            with mlflow.start_run():
                mlflow.models.evaluate(
                    (root / "uri").read_text(),
                    mlflow.data.from_images(images),
                    model_type="fmce",
                    evaluators="fmce",
                    evaluator_config={"preprocessing": "scale"},
                )
            after.append(memory()[0])
    return {"peak": peak.own, "resident": peak_of_this_process(), "after": after}


def _set_up(root: Path) -> None:
    """Log a new network to a fresh store, in a process of its own."""
    code = f"""
import mlflow, numpy as np, torch
from fmce_mlflow.method.networks.backbones import build_backbone
mlflow.set_tracking_uri("sqlite:///{root}/mlflow.db")
mlflow.set_experiment(experiment_id=mlflow.create_experiment("memory", artifact_location="{(root / "a").as_uri()}"))
torch.manual_seed(0)
model = build_backbone("shufflenet_v2_x0_5", num_classes=10, image_size=32).eval()
example = np.zeros((2, 3, 32, 32), np.float32)
logged = mlflow.pytorch.log_model(
    model, name="model", serialization_format="pickle", input_example=example, pip_requirements=[]
)
open("{root}/uri", "w").write(logged.model_uri)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def _write(folder: Path, n: int) -> None:
    """Files of 32 × 32 pixels in ten class folders; a thousand contents, of which the others are hard links."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    paths = [folder / f"class_{i % 10}" / f"image_{i:06d}.png" for i in range(n)]
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True)
    for i, path in enumerate(paths):
        if i < 1000:
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
        else:
            os.link(paths[i % 1000], path)


if __name__ == "__main__":
    main()
