"""The paper's table: FMCE-Net on ResNet-50 and ShuffleNet v2 × MNIST and CIFAR-10, and on runs that it has not seen.

    python research/paper_runs.py
    python research/paper_table.py --tracking-uri sqlite:///paper.db --out paper_table.json

``images``: a net is fitted to half of the probe images of one backbone run, as published, and scored on the other half;
one net per backbone seed. ``run``: nets are fitted to the runs of the other seeds, and scored on the other half of the
images of the run that was held out. Precision, recall and F1 are means over levels. A cell that is in the file already
is not computed again.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import torch
from mlflow import MlflowClient
from paper_runs import BACKBONES, EPOCHS, EXPERIMENT, STORE, TAG, key_of

from fmce_mlflow.fmcs_dataset.label import build_fmcs_dataset
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.fitting.bags import collect_bags
from fmce_mlflow.method.fitting.baselines import run_baselines
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fitting.fit_outline import fit_outline_split, predict_outline
from fmce_mlflow.method.fitting.fit_set import fit_set, predict_bags
from fmce_mlflow.method.fitting.protocols import score, splits
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.predictor.fmcs_source import artifact_reader

FIGURES = ("accuracy", "precision", "recall", "f1", "within_one", "mae", "spearman")
OUTLINE = FitConfig(epochs=30)


def runs_of(client: MlflowClient, backbone: str, dataset: str) -> list[str]:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found = client.search_runs([experiment.experiment_id], f"tags.`{TAG}` LIKE '{key_of(backbone, dataset, '%')}'")
    done = [run for run in found if run.info.status == "FINISHED"]
    return [run.info.run_id for run in sorted(done, key=lambda run: run.data.tags[TAG])]


def images(table: pd.DataFrame, read, bags: BagConfig, levels: int) -> list[dict[str, float]]:
    """One outline net per run, on images that it has not seen."""
    rows = []
    for _, part in table.groupby("run_id", sort=False):
        part = part.reset_index(drop=True)
        (split,) = splits(part, "images")
        net = fit_outline_split(part, read, split, bags, {"levels": levels}, OUTLINE).net
        found = predict_outline(net, part, read, split, bags)
        metrics = score(found.rows, found.predictions, levels).metrics
        rows.append({name: metrics[name] for name in FIGURES} | found.metrics)
    return rows


def unseen_runs(table: pd.DataFrame, read, bags: BagConfig, levels: int) -> dict[str, list[dict[str, float]]]:
    """Every run held out in turn: figures by predictor, one row per run."""
    statistics = collect_bags(table, read, bags)
    rows: dict[str, list[dict[str, float]]] = {}
    for split in splits(table, "run", cross_validate=True):
        net = fit_outline_split(table, read, split, bags, {"levels": levels}, OUTLINE).net
        outline = predict_outline(net, table, read, split, bags)
        found = {"outline": (outline.rows, outline.predictions)}
        train = split.train[statistics.row] & ~statistics.test_images
        test = np.flatnonzero(split.test[statistics.row] & statistics.test_images)
        part = table.iloc[statistics.row[test]].reset_index(drop=True)
        fitted = fit_set(statistics, train, statistics.column("run_id"), SetConfig(levels=levels), FitConfig())
        found["set"] = part, predict_bags(fitted.net, statistics, test)
        for name, predictions in run_baselines(statistics, np.flatnonzero(train), test, levels).items():
            found[name] = part, predictions
        for name, (where, predictions) in found.items():
            metrics = score(where, predictions, levels).metrics
            rows.setdefault(name, []).append({key: metrics[key] for key in FIGURES})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracking-uri", default=STORE)
    parser.add_argument("--out", default="paper_table.json", help="figures by cell; read again where they are there")
    parser.add_argument("--spacing", default="time", choices=["time", "loss"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    client = MlflowClient(args.tracking_uri)
    out = Path(args.out)
    cells = json.loads(out.read_text()) if out.exists() else {}
    config, bags = ConvergenceConfig(spacing=args.spacing), BagConfig()
    for backbone in BACKBONES:
        for dataset in EPOCHS:
            runs, key = runs_of(client, backbone, dataset), f"{backbone} × {dataset}"
            if key not in cells or cells[key]["runs"] != len(runs):
                found = build_fmcs_dataset(client, runs, config=config)
                table, read = found.table, artifact_reader(client)
                points = [one.point for one in found.convergences.values()]
                cell = {"runs": len(runs), "T": points, "left_out": list(found.left_out.values())}
                cell["images"] = images(table, read, bags, config.levels)
                if table["run_id"].nunique() > 1:
                    cell["run"] = unseen_runs(table, read, bags, config.levels)
                cells[key] = cell
                out.write_text(json.dumps(cells, indent=1))
            show(key, cells[key])


def show(key: str, cell: dict) -> None:
    print(f"{key}: {cell['runs']} runs, T = {cell['T']}", *cell["left_out"], sep="\n  ", flush=True)
    rows = {"images, outline": cell["images"], **{f"run, {name}": one for name, one in cell.get("run", {}).items()}}
    for name, one in rows.items():
        frame = pd.DataFrame(one)
        figures = (f"{k} {frame[k].mean():.3f} ± {frame[k].std(ddof=0):.3f}" for k in frame.columns)
        print(f"  {name:26s}", "  ".join(figures), flush=True)


if __name__ == "__main__":
    main()
