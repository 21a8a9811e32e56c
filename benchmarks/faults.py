"""What a slow tracking server costs a training.

    python benchmarks/faults.py

A real `mlflow server` on this machine, and before it, in a process of its own, a proxy that passes requests on at once
or holds each one back for 200 ms. Trainings over the fast and over the slow way take turns. An interval is the time
between two snapshots, everything included that training waits for. The bound of the queue is --limit MiB; its peak is
measured at every snapshot that joins it. For comparison: the same requests on the training path, one after the other.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import multiprocessing
import os
import statistics
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import mlflow
import torch

from fmce_mlflow.backbone import train as backbone_run
from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.method.images.split import ImageData, load_images
from fmce_mlflow.method.training.config import TrainingConfig
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.uploads import uploader
from fmce_mlflow.runs.uploads.local import LocalUploads
from fmce_mlflow.runs.uploads.options import UploadOptions
from tests.helpers.faulty_proxy import FaultyProxy
from tests.helpers.servers import tracking_server

BAR = 1.05


def serve(server: str, delay: float, pipe) -> None:
    proxy = FaultyProxy(server)
    proxy.delay = delay
    pipe.send(proxy.uri)
    pipe.recv()
    proxy.down()


@contextmanager
def way(server: str, delay: float):
    """The URI of a proxy in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=serve, args=(server, delay, its), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join(10)


class OnThePath(LocalUploads):
    """Every request of a snapshot, while training waits."""

    @contextmanager
    def snapshot(self, index: int):
        yield self._run.client


def run(uri: str, options: BackboneOptions, data: ImageData, limit: int) -> tuple[list[float], int]:
    """Seconds of each epoch, and the most bytes that waited."""
    client, peak = mlflow.MlflowClient(uri), 0
    experiment = client.get_experiment_by_name("benchmark")
    run_id = client.create_run(experiment.experiment_id).info.run_id
    add = uploader.Uploader.add

    def counted(self, *args) -> int:
        nonlocal peak
        size = add(self, *args)
        peak = max(peak, self._spool.bytes)
        return size

    uploader.Uploader.add = counted
    try:
        train_backbone(Run(client, run_id, lambda _: None), options, data=data, uploads=UploadOptions(limit=limit))
    finally:
        uploader.Uploader.add = add
    stamps = [m.timestamp / 1000 for m in client.get_metric_history(run_id, "train_loss")]
    return [b - a for a, b in itertools.pairwise(stamps)], peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=float, default=0.2)
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--probe-size", type=int, default=256)
    parser.add_argument("--train-size", type=int, default=1285)
    parser.add_argument("--snapshots-per-epoch", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    options = BackboneOptions(
        probe_size=args.probe_size, validation_size=args.probe_size, train_size=args.train_size, model_format="pickle",
        training=TrainingConfig(
            epochs=args.epochs, snapshots_per_epoch=args.snapshots_per_epoch, warmup_epochs=0.0, cpu=True
        ),
    )  # fmt: skip
    data = load_images(options)
    with tempfile.TemporaryDirectory(prefix="fmce-") as name, tracking_server(Path(name)) as server:
        os.environ["FMCE_SPOOL"] = str(Path(name, "spool"))
        with way(server, 0.0) as fast, way(server, args.delay) as slow:
            mlflow.MlflowClient(server).create_experiment("benchmark")
            rows = [
                (run(fast, options, data, args.limit), run(slow, options, data, args.limit)) for _ in range(args.rounds)
            ]
            backbone_run.open_uploads = lambda run, *_: OnThePath(run, Path(name))
            on_path, _ = run(slow, options, data, args.limit)
    fast_epochs, slow_epochs = ([t for row in rows for t in row[i][0]] for i in (0, 1))
    ratio = statistics.median(slow_epochs) / statistics.median(fast_epochs)
    each = [statistics.median(s[0]) / statistics.median(f[0]) for f, s in rows]
    peak = max(row[1][1] for row in rows) / 2**20
    print(
        f"{len(data.train):,} training and {len(data.probe)} probe images, "
        f"{args.rounds} × {len(rows[0][0][0])} intervals: "
        f"{statistics.median(fast_epochs):.2f} s with a fast server, {statistics.median(slow_epochs):.2f} s with one "
        f"that delays every request by {1000 * args.delay:.0f} ms: ratio {ratio:.3f} "
        f"(rounds: {', '.join(f'{r:.3f}' for r in each)}), bar {BAR}: {'passed' if ratio <= BAR else 'FAILED'}"
    )
    print(
        f"most that waited on disk: {peak:.1f} MiB of {args.limit} MiB: {'passed' if peak <= args.limit else 'FAILED'}"
    )
    print(f"the same requests on the training path: {statistics.median(on_path):.2f} s")
    sys.exit(0 if ratio <= BAR and peak <= args.limit else 1)


if __name__ == "__main__":
    main()
