"""What published figures of a module are worth on the corpus's bags, beside FMCE-Net.

    python research/corpus_baselines.py measure --weights corpus
    python research/corpus_baselines.py table
    python research/corpus_baselines.py card --predictor fmce_mlflow/predictor/resources/fmce_net

``measure`` takes the figures of `baseline_scores.py` of the last feature stage in each kept snapshot of
`corpus_train.py`, on the images and with the BatchNorm statistics of the corpus's bags. Each training is one line of
``corpus_baselines.jsonl``, and one that is there is passed over, so the command can be stopped and called again.

``table`` maps each figure to FMCS on some architectures and scores it on the others, in the folds of `corpus_fit.py`,
on the bags of all trainings that the file has. Beside them stand extra-trees, fitted to all bags that FMCE-Net is
fitted to, and what nobody knows who has a model alone: losses of the training, seen by extra-trees. ``card`` writes the
figures into a predictor's card.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import click
import numpy as np
import pandas as pd
import torch
from baseline_scores import NAMES, baseline_scores
from baselines import FIGURES, scalar_baselines
from corpus_fit import COLUMN, FIT, SHAPE, SLICES, cross_validate, folds, without
from corpus_plan import Plan
from corpus_read import FOLDER, facts_of, read
from corpus_reduce import looks, of_weights, trainings
from corpus_train import network
from numpy.typing import NDArray

from fmce_mlflow.method.evidence.settle import settled
from fmce_mlflow.method.fitting.bags import Bags
from fmce_mlflow.method.fitting.baselines import seen_bags
from fmce_mlflow.method.fitting.protocols import score
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.predictor import flavor
from fmce_mlflow.predictor.card import model_card

FILE = Path(__file__).with_name("corpus_baselines.jsonl")
DIGITS = 5
LOSSES = "extra-trees of losses"


@click.group(help=__doc__)
def main() -> None:
    torch.set_num_threads(1)


def measured(path: Path) -> dict[str, dict[str, Any]]:
    """What is known of each training, by its key."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {one["key"]: one for one in map(json.loads, lines)}


@main.command(help="Take the figures of trainings that the file lacks.")
@of_weights
@click.option("--out", default=str(FILE), show_default=False, type=Path, help="File that is added to.")
@click.option("--only", default="", help="Regular expression: trainings whose key has it.")
@click.option("--weightwatcher/--no-weightwatcher", default=True, show_default=True, help="Ask WeightWatcher too.")
def measure(
    weights: str,
    out: Path,
    data_root: str,
    cifar10: str,
    mini_imagenet: str,
    shard: str,
    only: str,
    weightwatcher: bool,
) -> None:
    have = measured(out)
    for key, facts, states in trainings(weights, shard, lambda key: key in have or not re.search(only, key)):
        began = time.monotonic()
        rows = figures(facts, states, (data_root, cifar10, mini_imagenet), weightwatcher)
        line = {"key": key, "snapshots": facts["kept"], **{name: [row[name] for row in rows] for name in NAMES}}
        with out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        click.echo(f"{key}: {time.monotonic() - began:.0f} s")


def figures(
    facts: Mapping[str, Any], states: Sequence[Any], places: Sequence[str], weightwatcher: bool
) -> list[dict[str, float]]:
    """The baselines of the last stage in each kept snapshot."""
    item = Plan(**facts["plan"])
    seen = looks(item, places)
    pixels, _ = next(seen.sets)
    model, rows = network(item, seen.images.classes).eval(), []
    for state in states:
        model.load_state_dict(state)
        judged = settled(model, [pixels]) or model
        found = baseline_scores(judged, facts["modules"][-1], pixels, watch_weights=weightwatcher)
        rows.append({name: float(f"{value:.{DIGITS}g}") for name, value in found.items()})
    return rows


def on_bags(bags: Bags, path: Path) -> dict[str, NDArray[np.float64]]:
    """The figures of the file by name, (N,) each; NaN but for last stages on 64 images of all classes."""
    known, table = measured(path), bags.table
    found = {name: np.full(len(table), np.nan) for name in NAMES}
    for row in np.flatnonzero(SLICES["last stage"](table) & table["run_id"].isin(known)):
        one = known[table["run_id"][row]]
        for name in NAMES:
            found[name][row] = one[name][one["snapshots"].index(table["snapshot"][row])]
    return found


def losses(bags: Bags, folder: Path) -> NDArray[np.float64]:
    """Losses of the snapshot and of the untrained network, and its accuracy (N, 5); NaN but for last stages."""
    found = np.full((len(bags.table), 5), np.nan)
    for key, rows in bags.table[SLICES["last stage"](bags.table) & ~bags.table["dense"]].groupby("run_id"):
        with np.load(folder / f"{key}.npz", allow_pickle=False) as file:
            each = pd.DataFrame(facts_of(file)["snapshots"])[["train_loss", "val_loss", "val_accuracy"]].to_numpy()
        found[rows.index] = np.column_stack([each[rows["snapshot"]], np.broadcast_to(each[0, :2], (len(rows), 2))])
    return found


def baselines(
    bags: Bags, folder: Path, path: Path, protocol: str, count: int
) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """A line for each baseline, and which bags were scored."""
    table, fold = bags.table, np.full(len(bags.table), "", dtype="<U8")
    for number, held in enumerate(folds(bags, protocol, count)):
        fold[held] = str(number)
    values: dict[str, NDArray[Any]] = dict(on_bags(bags, path))
    scored = np.isfinite(values["rankme"]) & (fold != "")
    unlabelled = without(bags, ["labels"])
    values["extra-trees of maps"] = seen_bags(bags, SetConfig(statistics="bag")).features
    values["extra-trees of all evidence"] = seen_bags(unlabelled, SHAPE).features
    values[LOSSES] = losses(bags, folder)
    found = scalar_baselines(
        values,
        table["fmcs"].to_numpy(),
        table["level"].to_numpy(dtype="float64", na_value=np.nan),
        fold,
        runs=table["run_id"].to_numpy(),
        snapshots=table["snapshot"].to_numpy(),
        scored=scored,
    )
    return found, scored


OF_BAGS = click.option("--bags", default=FOLDER, show_default=False, type=Path, help="Folder of corpus_reduce.py.")
OF_FIGURES = click.option("--figures", default=FILE, show_default=False, type=Path, help="File of `measure`.")
FOLDS = click.option("--folds", "count", default=6, show_default=True, help="As of corpus_fit.py.")


@main.command("table", help="Score the figures, and FMCE-Net on the same bags, on networks that are held out.")
@OF_BAGS
@OF_FIGURES
@FOLDS
@click.option("--protocol", default="architecture", type=click.Choice(list(COLUMN)), show_default=True)
@click.option("--net/--no-net", default=True, show_default=True, help="FMCE-Net too, which takes minutes.")
@click.option("--jobs", default=2, show_default=True)
def table_(bags: Path, figures: Path, count: int, protocol: str, net: bool, jobs: int) -> None:
    known = read(bags)
    lines, scored = baselines(known, bags, figures, protocol, count)
    rows = known.table[scored]
    click.echo(
        f"{protocol}: {scored.sum()} bags of {rows['run_id'].nunique()} trainings and {rows['backbone'].nunique()} "
        f"architectures\n{lines.round(3).to_string()}"
    )
    if net:
        index, found = cross_validate(known, protocol, SHAPE, FIT, count, jobs)
        place = np.flatnonzero(scored[index])
        part = known.table.iloc[index[place]].reset_index(drop=True)
        for name, each in found.items():
            metrics = score(part, [each[i] for i in place], SHAPE.levels).metrics
            click.echo(f"FMCE-Net {name}: " + "  ".join(f"{key} {metrics[key]:.3f}" for key in FIGURES))


@main.command(help="Write the baselines, architectures held out, into the card of a predictor.")
@OF_BAGS
@OF_FIGURES
@FOLDS
@click.option("--predictor", required=True, type=Path, help="Folder of the predictor, which is written anew.")
def card(bags: Path, figures: Path, count: int, predictor: Path) -> None:
    before = flavor.load_predictor(predictor)
    lines, _ = baselines(read(bags), bags, figures, "architecture", count)
    shown = {name: {key: float(lines.loc[name, key]) for key in FIGURES} for name in lines.index.drop(LOSSES)}
    own = before.info["figures"]
    info = before.info | {"figures": own | {"architecture": {"set": own["architecture"]["set"], **shown}}}
    flavor.save_model(predictor, flavor.Predictor(before.net, info, model_card(info, before.net)))


if __name__ == "__main__":
    main()
