"""What evaluating a model's modules costs, against a bare forward pass over the same images.

Images per second of ``mlflow.models.evaluate`` with fmce, saliency off, from the call to its return: MLflow loads the
model, images are preprocessed, maps become bags, bags become scores, tables, report and metrics are logged to sqlite.
The bare forward pass has its input ready in memory. The two take turns in one process.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from peak_memory import peak_of_this_process

RATIO, MEBIBYTES, MILLISECONDS = 0.85, 100, 50
MODULES = {"resnet18": "layer4", "shufflenet_v2_x0_5": "conv5"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[2_000, 10_000])
    parser.add_argument("--backbones", nargs="+", default=list(MODULES))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--part", choices=["speed", "memory", "loading"], nargs="+")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(_child(args.child, args.images[0], args.backbones[0])))
        return
    parts = args.part or ["loading", "memory", "speed"]
    if "loading" in parts:
        _report_loading()
    if "memory" in parts:
        _report_memory(args.images, args.backbones[0])
    if "speed" in parts:
        for backbone in args.backbones:
            for n in args.images:
                _report_speed(backbone, n, args.turns)


def _report_speed(backbone: str, n: int, turns: int) -> None:
    import mlflow
    import torch

    with tempfile.TemporaryDirectory() as folder:
        uri, predictor, pixels, ready = _set_up(Path(folder), backbone, n)
        network = mlflow.pytorch.load_model(uri)
        _evaluate(uri, predictor, pixels[:256])  # imports, caches
        evaluated, bare = [], []
        for _ in range(turns):
            start = time.perf_counter()
            _evaluate(uri, predictor, pixels)
            evaluated.append(n / (time.perf_counter() - start))
            start = time.perf_counter()
            with torch.inference_mode():
                for batch in ready.split(64):
                    network(batch)
            bare.append(n / (time.perf_counter() - start))
    ratios = [a / b for a, b in zip(evaluated, bare, strict=True)]
    ratio = statistics.median(ratios)
    print(
        f"{backbone}, {n:,} images: evaluate {statistics.median(evaluated):.0f} images/s, bare forward "
        f"{statistics.median(bare):.0f}; ratio {ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f}), bar {RATIO}: "
        f"{'met' if ratio >= RATIO else 'missed'}",
        flush=True,
    )


def _report_memory(images: list[int], backbone: str) -> None:
    peaks = []
    for n in images:
        command = [sys.executable, __file__, "--child", "memory", "--images", str(n), "--backbones", backbone]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        peaks.append(found["mib"])
        print(f"{backbone}, {n:,} images: peak {found['mib']:.0f} MiB", flush=True)
    growth = max(peaks) - min(peaks)
    print(f"Growth {growth:.0f} MiB, bar {MEBIBYTES}: {'met' if growth <= MEBIBYTES else 'missed'}", flush=True)


def _report_loading() -> None:
    found = []
    for _ in range(7):
        command = [sys.executable, __file__, "--child", "loading"]
        found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    for name in ("load", "ask"):
        value = statistics.median(one[name] for one in found)
        print(f"{name}: {value:.2f} ms, bar {MILLISECONDS}: {'met' if value < MILLISECONDS else 'missed'}", flush=True)
    print(f"torch imported: {any(one['torch'] for one in found)}", flush=True)


def _child(what: str, n: int, backbone: str) -> dict[str, float]:
    if what == "loading":
        import importlib

        importlib.import_module("mlflow.models.evaluation.evaluator_registry")  # MLflow's own time does not count
        for name in [m for m in sys.modules if m.startswith("fmce_mlflow")]:
            del sys.modules[name]
        (entry,) = metadata.entry_points(group="mlflow.model_evaluator", name="fmce")
        start = time.perf_counter()
        plugin = entry.load()
        loaded = time.perf_counter()
        plugin().can_evaluate(model_type="classifier", evaluator_config={})
        asked = time.perf_counter()
        return {"load": (loaded - start) * 1e3, "ask": (asked - loaded) * 1e3, "torch": "torch" in sys.modules}
    with tempfile.TemporaryDirectory() as folder:
        uri, predictor, pixels, _ = _set_up(Path(folder), backbone, n, ready=False)
        _evaluate(uri, predictor, pixels)
    return {"mib": peak_of_this_process()}


def _set_up(folder: Path, backbone: str, n: int, *, ready: bool = True):
    import mlflow
    import numpy as np
    import torch

    from fmce_mlflow.method.fmce_net.config import SetConfig
    from fmce_mlflow.method.fmce_net.set_net import SetNet
    from fmce_mlflow.method.networks.backbones import build_backbone
    from fmce_mlflow.predictor.flavor import Predictor, save_model

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("b", artifact_location=(folder / "a").as_uri()))
    torch.manual_seed(0)
    network = build_backbone(backbone, num_classes=10, image_size=32).eval()
    logged = mlflow.pytorch.log_model(
        network,
        name="model",
        serialization_format="pickle",
        input_example=np.zeros((2, 3, 32, 32), np.float32),
        pip_requirements=[],
    )
    save_model(folder / "net", Predictor(SetNet(SetConfig()).eval()))
    pixels = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255) if ready else torch.zeros(0)
    return logged.model_uri, str(folder / "net"), pixels, tensor


def _evaluate(uri: str, predictor: str, pixels) -> None:
    import mlflow

    with mlflow.start_run():
        mlflow.models.evaluate(
            uri,
            mlflow.data.from_images(pixels, source="memory"),
            model_type="fmce",
            evaluators="fmce",
            evaluator_config={"predictor": predictor, "preprocessing": "scale", "saliency": False},
        )


if __name__ == "__main__":
    main()
