"""Synthetic FMCS-datasets whose maps tell FMCS plainly: the share of channels that are alive grows with it."""

from __future__ import annotations

import numpy as np
import pandas as pd


def table(runs: int = 4, snapshots: int = 9, *, backbones=("a", "b"), datasets=("x",), channels: int = 24, n: int = 24):
    rows = []
    for run in range(runs):
        for snapshot in range(snapshots):
            fmcs = min(1.0, snapshot / (snapshots - 1))
            level = fmcs * 4
            rows.append(
                {
                    "run_id": f"run{run}",
                    "backbone": backbones[run % len(backbones)],
                    "dataset": datasets[(run // len(backbones)) % len(datasets)],
                    "seed": run,
                    "module": "layer4",
                    "snapshot": snapshot,
                    "epoch": float(snapshot),
                    "fmcs": fmcs,
                    "level": int(level) if level == int(level) else None,
                    "n": n,
                    "channels": channels,
                    "height": 2,
                    "width": 2,
                    "artifact_path": f"feature_maps/layer4/snapshot_{snapshot:05d}.safetensors",
                    "sha256": "0" * 64,
                }
            )
    return pd.DataFrame(rows).astype({"level": "Int64"})


def read(row) -> np.ndarray:
    rng = np.random.default_rng([int(row.seed), int(row.snapshot)])
    maps = np.maximum(rng.normal(size=(row.n, row.channels, row.height, row.width)), 0)
    alive = rng.permutation(row.channels)[: round(row.channels * (1 - 0.8 * row.fmcs))]
    mask = np.full(row.channels, 0.02)
    mask[alive] = 1.0
    return (maps * mask[:, None, None]).astype(np.float16)
