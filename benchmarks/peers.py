"""What public tools beside this project take for the nearest of its work, on the same network and images, in turns.

    pip install weightwatcher torchlens grad-cam
    OMP_NUM_THREADS=1 python benchmarks/peers.py

ResNet-18 with ten classes, images of 32 × 32 pixels in memory, all in one process. TorchLens wraps torch's functions
for as long as a process lives, so it comes last, and its turns are compared with ours without that.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import torch

from fmce_mlflow.method.networks.backbones import build_backbone
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.find_modules import list_modules
from fmce_mlflow.method.saliency.grad_cam import cams, resized

MODULES = ("layer1", "layer2", "layer3", "layer4")
SIZE = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--peers", nargs="+", default=["weightwatcher", "grad-cam", "torchlens"])
    args = parser.parse_args()
    torch.manual_seed(0)
    network = build_backbone("resnet18", num_classes=10, image_size=SIZE).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (args.images, SIZE, SIZE, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)
    with tempfile.TemporaryDirectory() as folder:
        if "weightwatcher" in args.peers:
            _compare(
                "WeightWatcher's analysis", _watch(network), _evaluation(Path(folder), network, pixels), args.turns
            )
        if "grad-cam" in args.peers:
            _compare(
                "pytorch-grad-cam, module by module",
                _theirs(network, images[:32]),
                _ours(network, images[:32]),
                args.turns,
            )
        if "torchlens" in args.peers:
            ours, theirs = _captured(network, images[:32]), _traced(network, images[:32])
            seconds = _timed(ours, args.turns + 1)  # before torch's functions are wrapped
            _report("TorchLens' trace with maps kept", _timed(theirs, args.turns + 1)[1:], seconds[1:])


def _compare(name: str, theirs: Callable[[], object], ours: Callable[[], object], turns: int) -> None:
    theirs(), ours()  # imports, caches
    pairs = [(_timed(theirs, 1)[0], _timed(ours, 1)[0]) for _ in range(turns)]
    _report(name, *zip(*pairs, strict=True))


def _report(name: str, theirs: list[float], ours: list[float]) -> None:
    ratios = [one / two for one, two in zip(theirs, ours, strict=True)]
    print(
        f"{name}: {statistics.median(theirs):.3f} s, ours {statistics.median(ours):.3f} s; theirs over ours "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


def _timed(work: Callable[[], object], turns: int) -> list[float]:
    found = []
    for _ in range(turns):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found


def _watch(network: torch.nn.Module) -> Callable[[], object]:
    """Spectra of all layers, by which it says how well each is trained."""
    with contextlib.redirect_stdout(io.StringIO()):
        from weightwatcher import WeightWatcher
    logging.getLogger("weightwatcher").setLevel(logging.ERROR)

    def analyse() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            WeightWatcher(model=network).analyze()

    return analyse


def _evaluation(folder: Path, network: torch.nn.Module, pixels: np.ndarray) -> Callable[[], object]:
    """Of one module, as a user evaluates it: bundled predictor, Grad-CAM, report and everything logged."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("b", artifact_location=(folder / "a").as_uri()))
    example = np.zeros((2, 3, SIZE, SIZE), np.float32)
    uri = mlflow.pytorch.log_model(
        network, name="model", serialization_format="pickle", input_example=example, pip_requirements=[]
    ).model_uri
    data = mlflow.data.from_images(pixels, source="memory")
    config = {"preprocessing": "scale", "modules": ["layer4"]}

    def evaluate() -> None:
        with mlflow.start_run():
            mlflow.models.evaluate(uri, data, model_type="fmce", evaluators="fmce", evaluator_config=config)

    return evaluate


def _theirs(network: torch.nn.Module, images: torch.Tensor) -> Callable[[], object]:
    from pytorch_grad_cam import GradCAM

    def found() -> None:
        for name in MODULES:
            with GradCAM(network, [network.get_submodule(name)]) as cam:
                for part in images.split(32):
                    cam(part, None)  # asks about the most probable class, as we do

    return found


def _ours(network: torch.nn.Module, images: torch.Tensor) -> Callable[[], object]:
    def found() -> None:
        for part in images.split(32):
            for cam in cams(network, MODULES, part).values():
                resized(cam, (SIZE, SIZE))

    return found


def _captured(network: torch.nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """Maps of every module that has any."""
    names = [name for name in list_modules(network) if name not in ("avgpool", "fc")]

    def found() -> object:
        with torch.inference_mode(), capture(network, names) as forward:
            return forward(images)

    return found


def _traced(network: torch.nn.Module, images: torch.Tensor) -> Callable[[], object]:
    def found() -> object:
        import torchlens

        with torch.inference_mode():
            return torchlens.trace(network, images)

    return found


if __name__ == "__main__":
    main()
