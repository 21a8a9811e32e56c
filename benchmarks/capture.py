"""What recording feature maps costs: time per epoch, and memory over snapshots.

    python benchmarks/capture.py --cifar10 folder:path/to/cifar10

Time: training with capture and a plain loop of the same steps take turns, an epoch each, so that a busy machine slows
both. The plain loop is followed by one plain forward pass over the probe images. Every epoch gives one ratio:

    (epoch with capture) / (plain epoch + plain forward pass over the probe)

Memory: a fresh process for each number of snapshots, its peak resident memory.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))

from peak_memory import peak_of_this_process

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.images.config import SplitOptions
from fmce_mlflow.method.images.split import ImageData, load_images
from fmce_mlflow.method.images.training_batches import loader
from fmce_mlflow.method.networks.backbones import build_backbone
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.method.training.steps import epoch_order
from fmce_mlflow.runs.run import Run
from tests.helpers.watched import watched

BACKBONE, MODULE = "shufflenet_v2_x0_5", "conv5"
TIME_BAR = 1.10
PROBE = 512


def images(dataset: str, data_root: str, train_size: int | None) -> ImageData:
    options = SplitOptions(
        dataset=dataset,
        data_root=data_root,
        train_size=train_size,
        probe_size=PROBE,
        validation_size=PROBE,
        image_size=32,
    )
    return load_images(options)


def network(data: ImageData) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_backbone(BACKBONE, num_classes=len(data.classes), image_size=32)


def training(epochs: int) -> TrainingConfig:
    return TrainingConfig(
        epochs=epochs, snapshots_per_epoch=1, batch_size=64, optimizer="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4,
        schedule="constant", warmup_epochs=0.0, cpu=True,
    )  # fmt: skip


def plain_epochs(model: torch.nn.Module, data: ImageData, config: TrainingConfig):
    """Train an epoch at every `next`: what one would write without this package."""
    optimizer = torch.optim.SGD(
        model.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    for epoch in range(config.epochs):
        order = epoch_order(len(data.train), config.seed, epoch).tolist()
        size = config.batch_size
        batches = [order[i : i + size] for i in range(0, len(order) - len(order) % size, size)]
        model.train()
        total = 0.0
        for x, y in loader(data.train, preprocessing=data.preprocessing, batches=batches, epoch=epoch):
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item()
        yield total / len(batches)


def forward_probe(model: torch.nn.Module, data: ImageData) -> None:
    batches = [list(range(i, min(i + 256, len(data.probe)))) for i in range(0, len(data.probe), 256)]
    model.eval()
    with torch.no_grad():
        for x, _ in loader(data.probe, preprocessing=data.preprocessing, batches=batches):
            model(x)


def timed(function) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def compare(name: str, data: ImageData, epochs: int) -> bool:
    config = training(epochs)
    model = network(data)
    plain = plain_epochs(model, data, config)
    captured = watched(network(data), data, config, [MODULE])
    first = next(captured)  # snapshot 0: no epoch
    megabytes = first.maps[MODULE].nbytes / 2**20
    rows = []
    for _ in range(epochs):
        steps = timed(lambda: next(plain))
        probe = timed(lambda: forward_probe(model, data))
        rows.append((timed(lambda: next(captured)), steps, probe))
    ratios = [whole / (steps + probe) for whole, steps, probe in rows]
    whole, steps, probe = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(ratios)
    print(
        f"{name}: {len(data.train):,} training and {len(data.probe)} probe images, maps of {megabytes:.0f} MiB; "
        f"medians of {epochs} epochs: with capture {whole:.2f} s, without {steps:.2f} s, probe forward {probe:.2f} s; "
        f"ratio {ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f}), bar {TIME_BAR}: "
        f"{'passed' if ratio <= TIME_BAR else 'FAILED'}",
        flush=True,
    )
    return ratio <= TIME_BAR


def through_mlflow(data: ImageData, epochs: int) -> None:
    """The same training as an MLflow run on sqlite and a local artifact folder, everything logged."""
    import mlflow

    from fmce_mlflow.backbone.options import BackboneOptions
    from fmce_mlflow.backbone.train import train_backbone

    config = training(epochs)
    model = network(data)
    plain = plain_epochs(model, data, config)
    base = [timed(lambda: next(plain)) + timed(lambda: forward_probe(model, data)) for _ in range(epochs)]
    with tempfile.TemporaryDirectory() as folder:
        client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
        experiment = client.create_experiment("benchmark", artifact_location=Path(folder, "artifacts").as_uri())
        run_id = client.create_run(experiment).info.run_id
        options = BackboneOptions(probe_size=PROBE, validation_size=PROBE, training=config)
        train_backbone(Run(client, run_id, lambda _: None), options, data=data)
        stamps = [m.timestamp / 1000 for m in client.get_metric_history(run_id, "train_loss")]
    whole = [b - a for a, b in itertools.pairwise(stamps)]
    logged, without = statistics.median(whole), statistics.median(base)
    print(
        f"digits through MLflow: with capture, drift, checkpoint and logging {logged:.2f} s per epoch, "
        f"without {without:.2f} s; ratio {logged / without:.3f} "
        "(one after the other, no bar)",
        flush=True,
    )


def peak_memory(snapshots: int) -> None:
    """Train with capture on few images, drop each snapshot, and print this process's peak memory in MiB."""
    data = images("digits", "data", 128)
    config = training(snapshots)
    for _ in watched(network(data), data, config, [MODULE]):
        pass
    print(peak_of_this_process())


def compare_memory(few: int, many: int) -> bool:
    peaks = []
    for snapshots in (few, many):
        words = [sys.executable, __file__, "--peak-memory", str(snapshots)]
        peaks.append(float(subprocess.run(words, check=True, capture_output=True, text=True).stdout))
    maps = PROBE * 1024 * 4 * 4 * 2 / 2**20
    growth = peaks[1] - peaks[0]
    passed = growth < maps
    print(
        f"peak memory: {peaks[0]:.0f} MiB with {few} snapshots, {peaks[1]:.0f} MiB with {many}; "
        f"growth {growth:+.0f} MiB, bar: less than the maps of one snapshot ({maps:.0f} MiB): "
        f"{'passed' if passed else 'FAILED'}",
        flush=True,
    )
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description="What recording feature maps costs.")
    parser.add_argument("--cifar10", default="cifar10", help="CIFAR-10: `cifar10`, or folder:<path> of its images")
    parser.add_argument("--data-root", default="data", help="where cifar10 is looked for")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of each kind")
    parser.add_argument("--peak-memory", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak_memory:
        peak_memory(args.peak_memory)
        return 0
    print(
        f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, {BACKBONE}, module {MODULE}"
    )
    digits = images("digits", args.data_root, None)
    passed = compare("digits", digits, args.epochs)
    try:
        passed &= compare("CIFAR-10", images(args.cifar10, args.data_root, 5000), args.epochs)
    except DataError as error:
        print(f"CIFAR-10: skipped. {error}")
    passed &= compare_memory(2, 12)
    through_mlflow(digits, args.epochs)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
