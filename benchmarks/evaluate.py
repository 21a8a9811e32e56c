"""What evaluating a model's modules costs, against a bare forward pass over the same images.

Seconds of ``mlflow.models.evaluate`` with fmce, saliency off, from the call to its return: MLflow loads the model,
images are preprocessed, maps become bags, bags become scores, tables, report and metrics are logged to sqlite. It is
done with a predictor that looks at maps alone, and with the bundled one, which looks at evidence too. The bare forward
pass has its input ready in memory, its channels last, which is the quicker way on a CPU. All take turns in one process.

Weights are random, BatchNorm's statistics those of the images, as after a training. With ``--lagging`` they are as an
initialisation leaves them: then every image passes twice, since maps are those of a settled copy.
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

MEBIBYTES, MILLISECONDS = 100, 50
MEMORY = "resnet18"
SPEED = (
    ("shufflenet_v2_x0_5", 32, 2_000),
    ("shufflenet_v2_x0_5", 32, 10_000),
    ("resnet18", 32, 2_000),
    ("timm:vit_tiny_patch16_224", 32, 2_000),
    ("shufflenet_v2_x0_5", 224, 500),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", help="How many; by default those of SPEED.")
    parser.add_argument("--backbones", nargs="+", help="By default those of SPEED.")
    parser.add_argument("--size", type=int, help="Height and width of the images; by default those of SPEED.")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--lagging", action="store_true", help="Leave BatchNorm's statistics as initialised.")
    parser.add_argument("--part", choices=["speed", "memory", "loading"], nargs="+")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(_child(args.child, (args.images or [0])[0])))
        return
    parts = args.part or ["loading", "memory", "speed"]
    if "loading" in parts:
        _report_loading()
    if "memory" in parts:
        _report_memory(args.images or [2_000, 10_000])
    if "speed" in parts:
        for backbone, size, n in SPEED:
            wanted = backbone in (args.backbones or [backbone]) and size == (args.size or size)
            if wanted and n in (args.images or [n]):
                _report_speed(backbone, size, n, args.turns, args.lagging)


def _report_speed(backbone: str, size: int, n: int, turns: int, lagging: bool) -> None:
    import mlflow
    import torch

    with tempfile.TemporaryDirectory() as folder:
        uri, maps_alone, pixels = _set_up(Path(folder), backbone, n, size=size, lagging=lagging)
        network = mlflow.pytorch.load_model(uri)
        ready = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)  # channels last
        seconds: dict[str, list[float]] = {"bare": [], "maps alone": [], "bundled": []}
        for predictor in (maps_alone, None):
            _evaluate(uri, predictor, pixels[:256])  # imports, caches
        for _ in range(turns):
            start = time.perf_counter()
            with torch.inference_mode():
                for batch in ready.split(64):
                    network(batch)
            seconds["bare"].append(time.perf_counter() - start)
            for name, predictor in (("maps alone", maps_alone), ("bundled", None)):
                start = time.perf_counter()
                _evaluate(uri, predictor, pixels)
                seconds[name].append(time.perf_counter() - start)
    found = [f"{backbone}, {n:,} images of {size}: bare {statistics.median(seconds['bare']):.2f} s"]
    for name in ("maps alone", "bundled"):
        ratios = [bare / took for bare, took in zip(seconds["bare"], seconds[name], strict=True)]
        found.append(
            f"{name} {statistics.median(seconds[name]):.2f} s, ratio {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )
    print("; ".join(found), flush=True)


def _report_memory(images: list[int]) -> None:
    peaks = []
    for n in images:
        command = [sys.executable, __file__, "--child", "memory", "--images", str(n)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        peaks.append(found["mib"])
        print(f"{MEMORY}, {n:,} images: peak {found['mib']:.0f} MiB", flush=True)
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


def _child(what: str, n: int) -> dict[str, float]:
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
        uri, predictor, pixels = _set_up(Path(folder), MEMORY, n)
        _evaluate(uri, predictor, pixels)
    return {"mib": peak_of_this_process()}


def _set_up(folder: Path, backbone: str, n: int, *, size: int = 32, lagging: bool = True):
    import mlflow
    import numpy as np
    import torch

    from fmce_mlflow.method.evidence.settle import settled
    from fmce_mlflow.method.fmce_net.config import SetConfig
    from fmce_mlflow.method.fmce_net.set_net import SetNet
    from fmce_mlflow.method.networks.backbones import build_backbone
    from fmce_mlflow.predictor.flavor import Predictor, save_model

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("b", artifact_location=(folder / "a").as_uri()))
    torch.manual_seed(0)
    network = build_backbone(backbone, num_classes=10, image_size=size).eval()
    coarse = np.random.default_rng(0).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)  # images that differ, unlike noise
    pixels = coarse.repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    if not lagging:
        first = torch.from_numpy(pixels[:512]).permute(0, 3, 1, 2).float().div(255)
        network = settled(network, first.split(128)) or network
    logged = mlflow.pytorch.log_model(
        network,
        name="model",
        serialization_format="pickle",
        input_example=np.zeros((2, 3, size, size), np.float32),
        pip_requirements=[],
    )
    save_model(folder / "net", Predictor(SetNet(SetConfig()).eval()))
    return logged.model_uri, str(folder / "net"), pixels


def _evaluate(uri: str, predictor: str | None, pixels) -> None:
    import mlflow

    named = {} if predictor is None else {"predictor": predictor}  # else the bundled one
    with mlflow.start_run():
        mlflow.models.evaluate(
            uri,
            mlflow.data.from_images(pixels, source="memory"),
            model_type="fmce",
            evaluators="fmce",
            evaluator_config={**named, "preprocessing": "scale", "saliency": False},
        )


if __name__ == "__main__":
    main()
