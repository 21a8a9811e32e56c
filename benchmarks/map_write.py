"""What writing feature maps costs, against safetensors' own write of the same bytes to the same disk.

    python benchmarks/map_write.py

The project's write checks every value, hashes the file, flushes it to the disk, moves it to its place in the run's
artifacts and writes the index that names it. It takes turns with safetensors, whose file is flushed once, and once left
in the page cache; SHA-256 alone stands beside.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from safetensors.numpy import save_file

from fmce_mlflow.runs.feature_index import ROOT, Probe, file_name
from fmce_mlflow.runs.feature_maps import FeatureMapWriter
from fmce_mlflow.runs.map_file import flush
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.uploads.open import open_uploads

RATIO = 0.8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=int, nargs="+", default=[8, 64, 256])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--folder", default=None, help="on the disk to write to")
    args = parser.parse_args()
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    for size in args.mebibytes:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            report(size, args.turns, Path(folder))


def report(size: int, turns: int, folder: Path) -> None:
    channels = size * 2**20 // (256 * 64 * 2)
    maps = np.random.default_rng(0).standard_normal((256, channels, 8, 8), np.float32).astype(np.float16)
    labels = np.arange(256)
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.create_experiment("maps", (folder / "artifacts").as_uri())
    run_id = client.create_run(experiment).info.run_id
    uploads = open_uploads(Run(client, run_id))
    writer = FeatureMapWriter(uploads, run_id, Probe("random", 256, "0" * 64), labels)
    raw = folder / "raw"
    times: dict[str, list[float]] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        times.setdefault(name, []).append(time.perf_counter() - start)

    for turn in range(turns + 1):
        with timed("safetensors, page cache"):
            save_file({"maps": maps, "labels": labels}, raw)
        raw.unlink()
        with timed("safetensors, flushed"):
            save_file({"maps": maps, "labels": labels}, raw)
            flush(raw)
        raw.unlink()
        with timed("written, checked, hashed and flushed"):
            writer.write(turn, {"stage": maps}, {})
        with timed("sha256"):
            hashlib.sha256(maps.data.cast("B"))
        (uploads.staging / ROOT / "stage" / file_name(turn)).unlink()
    found = {name: np.array(values[1:]) for name, values in times.items()}  # the first turn warms up
    print(f"{size} MiB: " + ", ".join(f"{name} {np.median(values) * 1e3:.1f} ms" for name, values in found.items()))
    for name in ("safetensors, flushed", "safetensors, page cache"):
        ratios = found[name] / found["written, checked, hashed and flushed"]
        low, ratio, high = np.quantile(ratios, [0.0, 0.5, 1.0])
        verdict = "met" if ratio >= RATIO else "missed"
        print(f"    against {name}: {ratio:.2f} ({low:.2f} to {high:.2f}), bar {RATIO}: {verdict}", flush=True)


if __name__ == "__main__":
    main()
