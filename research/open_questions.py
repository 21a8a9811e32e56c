"""What the paper leaves open, measured on runs that are in no corpus of the bundled predictor.

    python research/experiments.py --parts paper,recipes,others
    python research/open_questions.py table --tracking-uri sqlite:///experiments.db
    python research/open_questions.py pooling --tracking-uri sqlite:///corpus.db

``table`` asks of every run: when it converged; how validation accuracy goes with FMCS and with the bundled predictor's
FMCS over training; whether the maps' variance falls and Grad-CAM tightens. Spearman's ρ is taken over each run's
snapshots 0 … T. ``pooling`` fits ``set`` nets to the corpus of twelve runs, with maps pooled in four ways; each run is
held out in turn.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import torch
from corpus import EXPERIMENT as CORPUS
from corpus import PAIRED
from corpus import TAG as CORPUS_TAG
from corpus_bags import history
from experiments import EXPERIMENT, TAG, plan
from mlflow import MlflowClient
from numpy.typing import NDArray
from scipy.stats import spearmanr

from fmce_mlflow.errors import RunError
from fmce_mlflow.fmcs_dataset.label import build_fmcs_dataset
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.fitting.bags import Bags, collect_bags
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fitting.fit_set import fit_set, predict_bags
from fmce_mlflow.method.fitting.protocols import score, splits
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.statistics import COSINE_QUANTILES, POOLED_STATISTICS, SPECTRUM
from fmce_mlflow.predictor.find import bundled_predictor
from fmce_mlflow.predictor.fmcs_source import artifact_reader

LABELS = ConvergenceConfig(spacing="loss")
"""As the labels of the bundled predictor's corpus."""
BETWEEN = POOLED_STATISTICS + 2 * len(COSINE_QUANTILES) + SPECTRUM
"""The share of the maps' energy that is variation between images; unlike their deviation, it does not hang on scale."""


def finished(client: MlflowClient) -> dict[str, str]:
    """Run ids by key."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs = client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=1000)
    found = {run.data.tags[TAG]: run.info.run_id for run in runs if TAG in run.data.tags}
    return {key: found[key] for key in plan() if key in found}


def ask(client: MlflowClient, key: str, run_id: str, net: torch.nn.Module) -> dict[str, object]:
    """All figures of one run."""
    about = plan()[key]
    accuracy = np.array(history(client, run_id, "val_accuracy"))
    row: dict[str, object] = {
        name: about.get(name, "") for name in ("part", "backbone", "dataset", "varied", "value", "seed")
    }
    row |= {"accuracy": accuracy[-1]}
    try:
        found = build_fmcs_dataset(client, [run_id], config=LABELS)
    except RunError:
        return {**row, "T": None}
    (verdict,) = found.convergences.values()
    epochs, size = np.array(history(client, run_id, "epoch")), about["training"].batch_size
    point = int(verdict.point)
    module = found.table["module"].iloc[0]
    bags = collect_bags(found.table, artifact_reader(client), BagConfig(bags_per_map=2))
    predicted = predict_bags(net, bags, np.arange(len(bags.row)))
    per_bag = pd.DataFrame(
        {
            "snapshot": bags.column("snapshot"),
            "predicted": [p.fmcs for p in predicted],
            "truth": bags.fmcs,
            "held": [p.low <= t <= p.high for p, t in zip(predicted, bags.fmcs, strict=True)],
            "deviation": bags.scalars[:, 0],
            "rank": bags.scalars[:, 1],
            "between": bags.features[:, BETWEEN],
        }
    )
    each = per_bag.groupby("snapshot").mean()
    until = each[each.index <= point]
    accuracy = accuracy[until.index]
    focus = np.array(history(client, run_id, f"focus/{module}"))
    row |= {
        "T": point,
        "epoch_of_T": epochs[point],
        "steps_to_T": round(float(epochs[point]) * 2000 / size),
        "accuracy_at_T": accuracy[-1],
        "fmcs~accuracy": rho(until["truth"], accuracy),
        "predicted~accuracy": rho(until["predicted"], accuracy),
        "predicted~fmcs": rho(until["predicted"], until["truth"]),
        "mae": (each["predicted"] - each["truth"]).abs().mean(),
        "held": each["held"].mean(),
        "deviation~fmcs": rho(until["deviation"], until["truth"]),
        "deviation_change": until["deviation"].iloc[-1] / until["deviation"].iloc[0],
        "between~fmcs": rho(until["between"], until["truth"]),
        "between_0": until["between"].iloc[0],
        "between_T": until["between"].iloc[-1],
        "rank~fmcs": rho(until["rank"], until["truth"]),
    }
    if len(focus) > point and np.ptp(focus) > 0:  # maps of one position have no focus
        row |= {"focus~fmcs": rho(focus[until.index], until["truth"]), "focus_0": focus[0], "focus_T": focus[point]}
    return row


def rho(first, second) -> float:
    """Spearman's ρ; 0 where either does not vary."""
    first, second = np.asarray(first), np.asarray(second)
    return float(spearmanr(first, second).statistic) if np.ptp(first) and np.ptp(second) else 0.0


def table(args: argparse.Namespace) -> None:
    client = MlflowClient(args.tracking_uri)
    net = bundled_predictor().net
    rows = []
    for key, run_id in finished(client).items():
        rows.append({"key": key, **ask(client, key, run_id, net)})
        print(f"\r{len(rows)} {key:60s}", end="", flush=True)
    frame = pd.DataFrame(rows)
    frame.to_json(args.out, orient="records", indent=1)
    correlations = [name for name in frame.columns if "~" in name]
    print("\n\nSpearman's rho per run, median [10 %, 90 %], and share of runs above 0.5")
    for name in (*correlations, "deviation_change", "between_0", "between_T", "focus_0", "focus_T", "mae", "held"):
        values = frame[name].dropna()
        low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
        share = np.mean(values > 0.5)
        print(f"  {name:20s} {middle:6.3f} [{low:6.3f}, {high:6.3f}]  {share:.0%} of {len(values)} runs")
    kept = ["T", "epoch_of_T", "steps_to_T", "accuracy_at_T", "accuracy"]
    kept += ["predicted~fmcs", "predicted~accuracy", "mae", "held"]
    recipes = frame[frame["part"] == "recipes"]
    base = recipes[(recipes["varied"] == "lr") & (recipes["value"] == 1e-3)]
    extra = [base.assign(varied="batch_size", value=64), base.assign(varied="augmentation", value="none")]
    recipes = pd.concat([recipes, *extra])
    for varied, part in recipes.groupby("varied", sort=False):
        missing = part["T"].isna().groupby([part["dataset"], part["value"]]).sum().rename("no T")
        mean = part.groupby(["dataset", "value"])[kept].mean()
        print(f"\n{varied}\n{mean.join(missing).round(3).to_string()}")
    others = frame[frame["part"] != "recipes"].groupby(["backbone", "dataset"])[[*kept, *correlations]].mean()
    print(f"\nother backbones\n{others.round(3).to_string()}")


POOLINGS: dict[str, Callable[[NDArray[np.floating]], NDArray[np.floating]]] = {
    "none": lambda maps: maps,
    "mean": lambda maps: maps.astype(np.float32).mean((2, 3), keepdims=True),
    "max": lambda maps: maps.max((2, 3), keepdims=True),
    "gem": lambda maps: np.cbrt((maps.astype(np.float32).clip(1e-6) ** 3).mean((2, 3), keepdims=True)),
}
"""``none`` keeps maps of up to 4 × 4, as the net sees them; GeM with p = 3 (Radenović et al., arXiv 1711.02512)."""


def pooling(args: argparse.Namespace) -> None:
    client = MlflowClient(args.tracking_uri)
    experiment = client.get_experiment_by_name(CORPUS)
    keys = [f"{b}|{d}|{s}|default" for b in PAIRED for d in ("mnist", "cifar10") for s in (0, 1)]
    runs = client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=1000)
    ids = {run.data.tags.get(CORPUS_TAG): run.info.run_id for run in runs}
    rows = []
    for key in keys:
        found = build_fmcs_dataset(client, [ids[key]], config=LABELS).table
        rows.append(found[found["module"] == found["module"].iloc[0]])
    labelled = pd.concat(rows, ignore_index=True)
    read = artifact_reader(client)
    results = []
    for name, pool in POOLINGS.items():
        bags = collect_bags(labelled, lambda row, pool=pool: pool(read(row)), BagConfig(bags_per_map=2))
        results.append({"pooling": name, **held_out(bags, labelled)})
        print(pd.DataFrame(results).round(3).to_string(), flush=True)
    pd.DataFrame(results).to_json(args.out, orient="records", indent=1)


def held_out(bags: Bags, rows: pd.DataFrame) -> dict[str, float]:
    """Figures of ``set`` nets, each run held out in turn."""
    shape, fit = SetConfig(levels=LABELS.levels), FitConfig(folds=3)
    parts, predictions = [], []
    for split in splits(rows, "run", cross_validate=True):
        train = split.train[bags.row] & ~bags.test_images
        test = np.flatnonzero(split.test[bags.row] & bags.test_images)
        net = fit_set(bags, train, bags.column("run_id"), shape, fit).net
        parts.append(rows.iloc[bags.row[test]])
        predictions += predict_bags(net, bags, test)
    metrics = score(pd.concat(parts, ignore_index=True), predictions, shape.levels).metrics
    return {name: metrics[name] for name in ("accuracy", "within_one", "mae", "spearman", "coverage")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, call, uri in (
        ("table", table, "sqlite:///experiments.db"),
        ("pooling", pooling, "sqlite:///corpus.db"),
    ):
        one = commands.add_parser(name)
        one.add_argument("--tracking-uri", default=uri)
        one.add_argument("--out", type=Path, default=Path(f"{name}.json"))
        one.set_defaults(call=call)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.call(args)


if __name__ == "__main__":
    main()
