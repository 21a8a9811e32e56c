"""What evaluating and recording cost on a GPU, and whether its statistics are those of the CPU.

Three parts, each on float32 and bfloat16 weights: statistics of bags on the GPU against those of the CPU; seconds of an
evaluation of all images in memory against a bare forward pass over them; and whether taking maps for a recording lets
the next pass be queued before they have arrived. ``--device cpu`` does the same on a CPU, with few small images: it
shows that the script runs, and measures nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

SHAPES = [(64, 1024, 4, 4), (64, 512, 1, 1), (64, 64, 56, 56), (64, 2048, 7, 7), (64, 197, 14, 14)]
TOLERANCE = 1e-3  # of a feature
RATIO = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--backbone")
    parser.add_argument("--images", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no GPU here, so nothing is measured. --device cpu runs a small form of this script.")
    small = args.device == "cpu"
    backbone = args.backbone or ("resnet18" if small else "resnet50")
    size, n = args.size or (32 if small else 224), args.images or (256 if small else 10_000)
    print(torch.cuda.get_device_name() if not small else "CPU, small form: the seconds mean nothing", flush=True)
    _report_equality(args.device)
    for dtype in (torch.float32, torch.bfloat16):
        _report_evaluation(args.device, backbone, dtype, n, size, args.batch, args.turns)
        _report_recording(args.device, backbone, dtype, min(n, 1024), size, args.batch)


def _report_equality(device: str) -> None:
    from fmce_mlflow.method.fmce_net.statistics import bag_features

    torch.manual_seed(0)
    for shape in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            maps = torch.relu(torch.randn(shape)).to(dtype)
            apart = float((bag_features(maps.to(device)) - bag_features(maps)).abs().max())
            verdict = _verdict(device, f"bar {TOLERANCE}", apart <= TOLERANCE)
            print(f"features of {shape}, {dtype}: {apart:.1e} apart at most{verdict}", flush=True)


def _report_evaluation(
    device: str, backbone: str, dtype: torch.dtype, n: int, size: int, batch: int, turns: int
) -> None:
    from fmce_mlflow.method.fmce_net.config import SetConfig
    from fmce_mlflow.method.fmce_net.set_net import SetNet
    from fmce_mlflow.method.images.input_batches import InputBatches
    from fmce_mlflow.method.images.inputs import image_inputs
    from fmce_mlflow.method.images.preprocessing import Preprocessing
    from fmce_mlflow.method.networks.backbones import build_backbone
    from fmce_mlflow.method.networks.find_modules import default_module
    from fmce_mlflow.method.scoring.score_modules import bag_order, score_modules

    torch.manual_seed(0)
    network = build_backbone(backbone, num_classes=1000, image_size=size).eval().to(device, dtype)
    example = torch.zeros(2, 3, size, size, device=device, dtype=dtype)
    module = default_module(network, example=example)
    pixels = np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    order, sizes = bag_order(n, bag_size=64)
    net, half = SetNet(SetConfig()).eval(), Preprocessing(size, size, mean=(0.5,) * 3, std=(0.25,) * 3)
    ready = torch.from_numpy(pixels[:batch]).permute(0, 3, 1, 2).contiguous().to(device, dtype)

    def evaluate() -> None:
        batches = InputBatches(
            image_inputs(pixels), batch_size=batch, preprocessing=half, input_shape=(3, size, size), indices=order,
            pinned=device == "cuda",
        )  # fmt: skip
        score_modules(network, [module], batches, net, images=n, bag_sizes=sizes.tolist())

    def bare() -> None:
        with torch.inference_mode():
            for _ in range(-(-len(order) // batch)):
                network(ready)

    ratios = []
    for turn in range(turns + 1):
        took = [_seconds(device, work) for work in (bare, evaluate)]
        ratios += [took[0] / took[1]] if turn else []  # the first one warms up
        last = took
    ratio = statistics.median(ratios)
    print(
        f"{backbone}, {dtype}, {n:,} images of {size}: bare {last[0]:.2f} s, evaluate {last[1]:.2f} s, ratio "
        f"{ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f}){_verdict(device, f'bar {RATIO}', ratio >= RATIO)}",
        flush=True,
    )


def _report_recording(device: str, backbone: str, dtype: torch.dtype, n: int, size: int, batch: int) -> None:
    from fmce_mlflow.method.networks.backbones import build_backbone
    from fmce_mlflow.method.networks.find_modules import default_module
    from fmce_mlflow.method.networks.take_maps import take_maps

    torch.manual_seed(0)
    network = build_backbone(backbone, num_classes=1000, image_size=size).eval().to(device, dtype)
    module = default_module(network, example=torch.zeros(2, 3, size, size, device=device, dtype=dtype))
    pixels = torch.rand(n, 3, size, size, device=device, dtype=dtype)

    def take() -> None:
        take_maps(network, [module], pixels.split(batch), n)

    def bare() -> None:
        with torch.inference_mode():
            for part in pixels.split(batch):
                network(part)

    for work in (bare, take):
        _seconds(device, work)
    took = [statistics.median(_seconds(device, work) for _ in range(3)) for work in (bare, take)]
    print(
        f"{backbone}, {dtype}, maps of {n:,} images for a recording: {took[1]:.3f} s, bare {took[0]:.3f} s, ratio "
        f"{took[0] / took[1]:.3f}",
        flush=True,
    )


def _verdict(device: str, bar: str, holds: bool) -> str:
    """Whether a bar is met; nothing on a CPU."""
    return f", {bar}: {'met' if holds else 'missed'}" if device == "cuda" else ""


def _seconds(device: str, work) -> float:
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
