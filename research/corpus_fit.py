r"""The bundled predictor: fit FMCE-Net to the corpus, and score it on what it has not seen.

    python research/corpus_fit.py --reference --predictors baselines --results baselines.json
    python research/corpus_fit.py --reference --scaling quantile --epochs 40 --predictors set --also baselines.json \
        --out fmce_mlflow/resources/fmce_net
    python research/corpus_fit.py --predictors losses

The last one is no predictor: it knows the losses and the accuracy of each snapshot, which need labels and the training
run, and says how far FMCS can be known from them, without the run's future.

Losses, and statistics of the maps of each run's last feature stage, come from the file of `corpus_bags.py`. Runs whose
network is at chance in eval mode where its loss has converged are left out and named: their labels would be wrong.
Every run, architecture and data set is held out once; runs in ``--run-folds`` groups. Networks drawn at random are
fitted to and never scored, and where a data set is held out, not fitted to either.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import torch
from corpus import PAIRED
from corpus_bags import CONFIG, FILE, is_random, read
from sklearn.ensemble import RandomForestRegressor

from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.method.fitting.bags import Bags
from fmce_mlflow.method.fitting.baselines import as_predictions, run_baselines, seen_bags
from fmce_mlflow.method.fitting.config import FitConfig
from fmce_mlflow.method.fitting.fit_set import fit_set, predict_bags
from fmce_mlflow.method.fitting.protocols import score
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.predictor import flavor
from fmce_mlflow.predictor.card import model_card, predictor_info

CHANCE = 2.0
"""A run is at chance where its accuracy around T is below so many times that of guessing."""


RANDOM_NETWORKS = "networks drawn at random"


KNOWN_FAILURES = [
    "Stages in the middle of a network: it was fitted to last feature stages alone, and is far off on others.",
    "Networks whose BatchNorm statistics lag (MobileNet v3, MNASNet, LCNet on little data): in eval mode their maps "
    "are those of an untrained network, and the net says so, while their training loss has converged.",
    "Trainings that end with a high loss (vision transformers on little data): their FMCS is 1 by definition, and the "
    "net says less.",
    "Kinds of networks that are alone in the corpus.",
]


def labelled(bags: Bags, losses: dict, signal: str, config: ConvergenceConfig) -> tuple[Bags, dict[str, str]]:
    """The bags of runs that have labels, with them; and why others have none."""
    left_out: dict[str, str] = {}
    fmcs = np.full(len(bags.table), np.nan)
    level = np.full(len(bags.table), np.nan)
    for run_id, part in bags.table.groupby("run_id", sort=False).indices.items():
        record = losses[run_id]
        found = assess(record[f"{signal}_loss"], config, signal=signal)
        if found.fmcs is None:
            left_out[record["key"]] = found.verdict()
            continue
        accuracy = record["val_accuracy"]
        if max(accuracy[max(0, found.point - 1) : found.point + 2]) < CHANCE * 0.1:
            left_out[record["key"]] = f"At chance in eval mode at its T, snapshot {found.point}."
            continue
        snapshots = bags.table["snapshot"].to_numpy()[part]
        fmcs[part] = found.fmcs[snapshots]
        level[part] = [np.nan if (k := found.level(int(s))) is None else k for s in snapshots]
    table = bags.table.assign(fmcs=fmcs, level=pd.array(level, dtype="Float64").astype("Int64"))
    kept = ~np.isnan(fmcs)[bags.row]
    place = np.cumsum(~np.isnan(fmcs)) - 1
    return (
        Bags(
            table[~np.isnan(fmcs)].reset_index(drop=True), place[bags.row[kept]], bags.test_images[kept],
            bags.features[kept], bags.scalars[kept],
        ),
        left_out,
    )  # fmt: skip


def folds(bags: Bags, protocol: str, run_folds: int) -> list[np.ndarray]:
    """Rows of the table that are held out, one array per fold."""
    table = bags.table
    named = table[~table["backbone"].map(is_random)]
    if protocol == "run":
        runs = np.random.default_rng(0).permutation(named["run_id"].unique())
        return [table["run_id"].isin(runs[i::run_folds]).to_numpy() for i in range(run_folds)]
    column = {"architecture": "backbone", "dataset": "dataset"}[protocol]
    return [(table[column] == name).to_numpy() for name in named[column].unique()]


def known_losses(bags: Bags, losses: dict) -> np.ndarray:
    """What a snapshot's losses and accuracy are, and were before training: float64 (N, 5)."""
    found = []
    for run_id, snapshot in zip(bags.column("run_id"), bags.column("snapshot"), strict=True):
        record = losses[run_id]
        train, val = record["train_loss"], record["val_loss"]
        found.append([train[snapshot], val[snapshot], train[0], val[0], record["val_accuracy"][snapshot]])
    values = np.array(found)
    values[:, :4] = np.log(values[:, :4] + 1e-3)
    return values


def by_losses(values: np.ndarray, fmcs: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """FMCS by a random forest over :func:`known_losses`."""
    forest = RandomForestRegressor(200, min_samples_leaf=10, max_features=0.6, random_state=0)
    return forest.fit(values[train], fmcs[train]).predict(values[test])


def cross_validate(
    bags: Bags, losses: dict, protocol: str, shape: SetConfig, fit: FitConfig, run_folds: int, which: str
):
    rows, predictions = {}, {}
    column = {"run": "run_id", "architecture": "backbone", "dataset": "run_id"}[protocol]
    known = known_losses(bags, losses)
    seen = seen_bags(bags, shape)
    for held in folds(bags, protocol, run_folds):
        train = ~held[bags.row] & ~bags.test_images
        test = np.flatnonzero(held[bags.row] & bags.test_images)
        part = bags.table.iloc[bags.row[test]].reset_index(drop=True)
        found = {}
        if which == "losses":
            found["losses"] = as_predictions(by_losses(known, bags.fmcs, np.flatnonzero(train), test), shape.levels)
        if which in ("set", "all"):
            net = fit_set(bags, train, bags.column(column), shape, fit).net
            found["set"] = predict_bags(net, bags, test)
        if which in ("baselines", "all"):
            found |= run_baselines(seen, np.flatnonzero(train), test, shape.levels)
        for name, values in found.items():
            rows.setdefault(name, []).append(part)
            predictions.setdefault(name, []).extend(values)
    scores = {name: score(pd.concat(rows[name], ignore_index=True), predictions[name], shape.levels) for name in rows}
    if protocol == "run":
        for parts in rows.values():
            parts[:] = [part.assign(seeds=seeds_of(bags.table, part["run_id"])) for part in parts]
    group = {"architecture": "backbone", "dataset": "dataset", "run": "seeds"}[protocol]
    return scores, by_group(rows, predictions, group, shape)


def seeds_of(table: pd.DataFrame, keys: pd.Series) -> list[str]:
    """Of each run whether another seed of the same training is there; a key is backbone|dataset|seed|recipe."""
    counts = Counter(re.sub(r"\|\d+\|", "|", key) for key in table["run_id"].unique())
    return ["another-seed-known" if counts[re.sub(r"\|\d+\|", "|", key)] > 1 else "training-unknown" for key in keys]


def by_group(rows: dict, predictions: dict, column: str, shape: SetConfig) -> list[tuple[str, str, int, dict]]:
    """Predictor, group, its runs, and the figures of each group."""
    found = []
    for name in rows:
        table = pd.concat(rows[name], ignore_index=True)
        for group, part in table.groupby(column).indices.items():
            figures = score(
                table.iloc[part].reset_index(drop=True), [predictions[name][i] for i in part], shape.levels
            ).metrics
            found.append((name, group, table["run_id"].iloc[part].nunique(), figures))
    return found


def score_predictor(folder: Path, bags: Bags, only: str) -> None:
    """Print the figures of a predictor that is there already, on test images of the runs whose key matches."""
    net = flavor.load_predictor(folder).net
    chosen = np.array([re.search(only, key) is not None for key in bags.table["run_id"]])
    index = np.flatnonzero(chosen[bags.row] & bags.test_images)
    rows = bags.table.iloc[bags.row[index]].reset_index(drop=True)
    m = score(rows, predict_bags(net, bags, index), net.config.levels).metrics
    print(f"{rows['run_id'].nunique()} runs: {told(m)}")


def told(m: dict[str, float]) -> str:
    return (
        f"accuracy {m['accuracy']:.3f}  within one {m['within_one']:.3f}  MAE {m['mae']:.3f}  ρ {m['spearman']:.3f}  "
        f"holds {m.get('coverage', np.nan):.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bags", type=Path, default=FILE, help="statistics of the corpus, by corpus_bags.py")
    parser.add_argument("--signal", default="train", choices=["train", "val"])
    parser.add_argument("--spacing", default="loss", choices=["time", "loss"])
    parser.add_argument("--statistics", default="all")
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--scaling", default="standard", choices=["standard", "quantile"])
    parser.add_argument("--protocols", default="architecture,run,dataset")
    parser.add_argument("--run-folds", type=int, default=10)
    parser.add_argument("--paired", action="store_true", help="the corpus of twelve runs alone, each held out in turn")
    parser.add_argument("--predictors", default="all", choices=["all", "set", "baselines", "losses"])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--score", type=Path, help="fit nothing: score the predictor in this folder")
    parser.add_argument("--only", default="", help="with --score, runs whose key matches this regular expression")
    parser.add_argument("--jobs", type=int, default=2, help="protocols at a time, a process each")
    parser.add_argument("--out", default="", help="write the predictor, fitted to everything, to this folder")
    parser.add_argument("--results", default="", help="write figures to this JSON file")
    parser.add_argument(
        "--also", type=Path, help="figures of baselines, by --results, that the card of --out shows too"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    bags, losses = read(args.bags)
    if args.paired:
        backbones = PAIRED
        keys = {f"{b}|{d}|{s}|default" for b in backbones for d in ("mnist", "cifar10") for s in (0, 1)}
        rows = bags.table["run_id"].isin(keys).to_numpy()
        place, kept = np.cumsum(rows) - 1, rows[bags.row]
        bags = Bags(
            bags.table[rows].reset_index(drop=True), place[bags.row[kept]], bags.test_images[kept],
            bags.features[kept], bags.scalars[kept],
        )  # fmt: skip
    convergence = ConvergenceConfig(spacing=args.spacing)
    bags, left_out = labelled(bags, losses, args.signal, convergence)
    counts = bags.table.drop_duplicates("run_id")
    random = counts["backbone"].map(is_random)
    print(
        f"\n{(~random).sum()} runs of {counts['backbone'][~random].nunique()} architectures, {random.sum()} of "
        f"{RANDOM_NETWORKS}, {len(bags.row)} bags; left out:"
    )
    for key, reason in left_out.items():
        print(f"  {key.replace('research.corpus_nets:', '')}: {reason[:110]}")
    if args.score:
        score_predictor(args.score, bags, args.only)
        return
    shape = SetConfig(statistics=args.statistics, reference=args.reference, scaling=args.scaling, members=args.members)
    batch = 32 if args.paired else 128
    fit = FitConfig(epochs=args.epochs, patience=max(4, args.epochs // 3), folds=3, batch_size=batch, averaging=0.95)
    scores = {}
    protocols = [name for name in args.protocols.split(",") if name]
    run_folds = len(counts) if args.paired else args.run_folds
    with ProcessPoolExecutor(args.jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting = {
            protocol: pool.submit(cross_validate, bags, losses, protocol, shape, fit, run_folds, args.predictors)
            for protocol in protocols
        }
        for protocol in protocols:
            scores[protocol], groups = waiting[protocol].result()
            for name, one in scores[protocol].items():
                print(f"{protocol:12s} {name:20s} {told(one.metrics)}", flush=True)
            for name, group, runs, figures in groups:
                if name in ("set", "extra_trees", "losses"):
                    print(f"    {name:12s} {group:36s} {runs:3d} runs  {told(figures)}", flush=True)
    if args.results:
        record = {p: {n: one.metrics for n, one in group.items()} for p, group in scores.items()}
        Path(args.results).write_text(json.dumps(record, indent=1))
    if args.out:
        fitted = fit_set(bags, np.ones(len(bags.row), bool), bags.column("run_id"), shape, fit)
        params = {**asdict(CONFIG), **asdict(convergence), "signal": args.signal}
        table = bags.table
        shown = table.assign(backbone=table["backbone"].mask(table["backbone"].map(is_random), RANDOM_NETWORKS))
        info = {"known_failures": KNOWN_FAILURES} | predictor_info(
            shown, "corpus", {k: str(v) for k, v in params.items()}, scores
        )
        for protocol, group in json.loads(args.also.read_text()).items() if args.also else ():
            known = info["figures"][protocol]["set"]
            info["figures"][protocol] |= {name: {k: m[k] for k in known if k in m} for name, m in group.items()}
        for record in info["corpus"]:
            if record["backbone"] == RANDOM_NETWORKS:
                record |= dict.fromkeys(("channels", "height", "width"), "various")
        inputs = bags.rows(reference=shape.reference).take(np.arange(len(bags.row)))
        distances = fitted.net.standardize(inputs).square().mean(1).sqrt().numpy()
        info["corpus_distance"] = {"far": float(np.quantile(distances, 0.99)), "median": float(np.median(distances))}
        flavor.save_model(args.out, flavor.Predictor(fitted.net, info, model_card(info, fitted.net)))


if __name__ == "__main__":
    main()
