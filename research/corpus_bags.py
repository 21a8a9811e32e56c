"""Statistics of the corpus's bags in one file: what took hours to train can be fitted again, and added to, anywhere.

    python research/corpus_bags.py --tracking-uri sqlite:///corpus.db

adds every finished run that the file lacks; `corpus.py train` passes over runs that are in it. The file is
NumPy's npz: features in float16, feature by feature and the high bytes apart from the low ones, which compresses
best, and JSON of each run's losses and of the rows that its bags were drawn from. Of random networks it has training
bags only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import torch
from mlflow import MlflowClient

from fmce_mlflow.fmcs_dataset.label import build_fmcs_dataset
from fmce_mlflow.method.fitting.bags import Bags, collect_bags
from fmce_mlflow.method.fitting.config import BagConfig
from fmce_mlflow.method.fmce_net.statistics import FEATURES
from fmce_mlflow.predictor.fmcs_source import artifact_reader

FILE = Path(__file__).with_name("corpus_bags.npz")
CONFIG = BagConfig(bags_per_map=2)
COLUMNS = ("backbone", "dataset", "module", "channels", "height", "width")
LOSSES = ("train_loss", "val_loss", "val_accuracy")


def known(path: Path) -> list[dict[str, Any]]:
    """What the file says of its runs: key, losses, columns of their rows, snapshots."""
    if not path.exists():
        return []
    with np.load(path, allow_pickle=False) as file:
        runs = list(json.loads(file["runs"].tobytes()))
    return [{**run, "key": today(run["key"])} for run in runs]


def today(name: str) -> str:
    """A backbone, or the key of its run, by the name it has now: networks of the corpus were once in benchmarks/."""
    return re.sub(r"^benchmarks\.", "research.", name)


def read(path: Path) -> tuple[Bags, dict[str, dict[str, Any]]]:
    """All bags, a run's key as its ``run_id``, and the losses by key.

    Raises:
        SystemExit: If the file was made with other statistics or bags than those of this release.
    """
    runs = known(path)
    features, scalars = _load(path)
    table = pd.concat(
        [
            pd.DataFrame({"run_id": run["key"], **{name: run[name] for name in COLUMNS}, "snapshot": run["snapshots"]})
            for run in runs
        ],
        ignore_index=True,
    )
    each = np.concatenate([np.full(len(run["snapshots"]), _bags(run["key"])) for run in runs])
    test = np.concatenate([np.arange(count) >= CONFIG.bags_per_map for count in each])
    bags = Bags(table, np.repeat(np.arange(len(table)), each), test, features.astype(np.float32), scalars)
    return bags, {run["key"]: run for run in runs}


def is_random(backbone: str) -> bool:
    """Whether a backbone, or the key of its run, is of a network drawn at random."""
    return re.match(r"(research\.random_nets:)?net_\d+(\||$)", today(backbone)) is not None


def _bags(key: str) -> int:
    """Bags of each map in the file: for training, and as many for scoring."""
    return CONFIG.bags_per_map * (1 if is_random(key) else 2)


def add(client: MlflowClient, path: Path, experiment: str, tag: str, modules: dict[str, tuple[str, ...]]) -> None:
    """Reduce the finished runs that the file lacks, and write it anew.

    Raises:
        SystemExit: As :func:`read`; or if there is no run at all.
    """
    runs, parts = known(path), []
    if runs:
        parts.append(_load(path))
    have = {run["key"] for run in runs}
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id], max_results=5000)
    for run in sorted(found, key=lambda run: run.data.tags.get(tag, "")):
        key = today(run.data.tags.get(tag, ""))
        if run.info.status != "FINISHED" or not key or key in have:
            continue
        module = modules[today(run.data.params["backbone"])][0]
        table = build_fmcs_dataset(client, [run.info.run_id], unconverged="keep", modules=[module]).table
        table["dataset"] = table["dataset"].where(~table["dataset"].str.startswith("folder:"), "cifar10")
        table["backbone"] = table["backbone"].map(today).str.replace(r"^research\.\w+:", "", regex=True)
        bags = collect_bags(table.assign(fmcs=0.0), artifact_reader(client), CONFIG, threads=1)
        kept = np.arange(len(bags.row)) % (2 * CONFIG.bags_per_map) < _bags(key)
        parts.append((np.asarray(bags.features)[kept].astype(np.float16), bags.scalars[kept]))
        first = {name: value if isinstance(value, str) else int(value) for name, value in table.iloc[0].items()
                 if name in COLUMNS}  # fmt: skip
        losses = {name: history(client, run.info.run_id, name) for name in LOSSES}
        runs.append({"key": key, **first, **losses, "snapshots": table["snapshot"].astype(int).tolist()})
        print(f"{key}: {kept.sum()} bags", flush=True)
    if not parts:
        raise SystemExit("There is no finished run of the corpus. Train it with `corpus.py train`.")
    features, scalars = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    path.with_suffix(".new.npz").unlink(missing_ok=True)
    halves = np.ascontiguousarray(features.T).view(np.uint16)
    np.savez_compressed(
        path.with_suffix(".new.npz"),
        high=(halves >> 8).astype(np.uint8),
        low=(halves & 0xFF).astype(np.uint8),
        scalars=scalars,
        runs=_text(runs),
        config=_text(asdict(CONFIG)),
    )
    path.with_suffix(".new.npz").replace(path)
    print(f"{path.name}: {len(runs)} runs, {len(features)} bags, {path.stat().st_size / 2**20:.1f} MiB")


def _load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features float16 (N, FEATURES) and scalars of all bags."""
    with np.load(path, allow_pickle=False) as file:
        if file["high"].shape[0] != FEATURES or json.loads(file["config"].tobytes()) != asdict(CONFIG):
            raise SystemExit(f"{path} was made by another release: remove it, and train the corpus.")
        halves = (file["high"].astype(np.uint16) << 8) | file["low"]
        return np.ascontiguousarray(halves.view(np.float16).T), file["scalars"]


def history(client: MlflowClient, run_id: str, name: str) -> list[float]:
    """Values of a metric in the order of snapshots."""
    values = {m.step: m.value for m in client.get_metric_history(run_id, name)}
    return [values[step] for step in sorted(values)]


def _text(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def main() -> None:
    from corpus import EXPERIMENT, MODULES, TAG

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracking-uri", default="sqlite:///corpus.db")
    parser.add_argument("--bags", type=Path, default=FILE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    add(MlflowClient(args.tracking_uri), args.bags, EXPERIMENT, TAG, MODULES)


if __name__ == "__main__":
    main()
