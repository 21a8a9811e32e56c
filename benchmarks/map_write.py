"""What writing feature maps costs, against safetensors' own write of the same bytes to the same disk.

    python benchmarks/map_write.py

The project's write checks every value, hashes the file, moves it to its place in the run's artifacts and writes the
index that names it. The two take turns; each writes a new file, once into the page cache and once flushed to the disk.
SHA-256 alone is measured beside them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from safetensors.numpy import save_file

from fmce_mlflow.feature_maps import ROOT, FeatureMapWriter, Probe, file_name
from fmce_mlflow.uploads import open_uploads

RATIO = 0.8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=int, nargs="+", default=[4, 64, 256])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--folder", default=None, help="on the disk to write to")
    args = parser.parse_args()
    for size in args.mebibytes:
        for flush in (False, True):
            with tempfile.TemporaryDirectory(dir=args.folder) as folder:
                report(size, args.turns, Path(folder), flush)


def report(size: int, turns: int, folder: Path, flush: bool) -> None:
    channels = size * 2**20 // (256 * 64 * 2)
    maps = np.random.default_rng(0).standard_normal((256, channels, 8, 8), np.float32).astype(np.float16)
    labels = np.arange(256)
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.create_experiment("maps", (folder / "artifacts").as_uri())
    run_id = client.create_run(experiment).info.run_id
    uploads = open_uploads(client, run_id)
    writer = FeatureMapWriter(uploads, run_id, Probe("random", 256, "0" * 64), labels)
    ours, raw, hashed = [], [], []

    def done(path: Path) -> Path:
        if flush:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        return path

    for turn in range(turns + 1):
        start = time.perf_counter()
        save_file({"maps": maps, "labels": labels}, folder / "raw")
        done(folder / "raw").unlink()
        middle = time.perf_counter()
        writer.write(turn, {"stage": maps}, {})
        done(uploads.staging / ROOT / "stage" / file_name(turn)).unlink()
        end = time.perf_counter()
        hashlib.sha256(maps.data.cast("B"))
        if turn:  # the first warms up
            raw.append(middle - start)
            ours.append(end - middle)
            hashed.append(time.perf_counter() - end)
    ratios = [a / b for a, b in zip(raw, ours, strict=True)]
    ratio = statistics.median(ratios)
    where = "on disk" if flush else "in the page cache"
    print(
        f"{size} MiB {where}: SHA-256 {statistics.median(hashed) * 1e3:.1f} ms, safetensors "
        f"{statistics.median(raw) * 1e3:.1f} ms, written, checked and hashed "
        f"{statistics.median(ours) * 1e3:.1f} ms; ratio {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}), bar "
        f"{RATIO}: {'met' if ratio >= RATIO else 'missed'}",
        flush=True,
    )


if __name__ == "__main__":
    main()
