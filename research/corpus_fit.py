r"""The bundled predictor: fit FMCE-Net to the corpus, and score it on what it has not seen.

    python research/corpus_fit.py score --protocol architecture
    python research/corpus_fit.py score --protocol architecture --without weights     # an ablation
    python research/corpus_fit.py held-out
    python research/corpus_fit.py fit --out fmce_mlflow/predictor/resources/fmce_net

``score`` holds out architectures, trainings or data sets in turn, of the networks on which choices are made alone;
``--everything`` takes all. ``held-out`` fits to those networks and scores the others, a third of the architectures,
which nothing was chosen on. Networks drawn at random are fitted to and never scored. Figures are of last feature
stages on 64 images of all classes, unless a line says otherwise.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import click
import numpy as np
import pandas as pd
import torch
from corpus_read import FOLDER, SPACING, read, take

from fmce_mlflow.method.evidence.groups import GROUPS, NAMES, columns
from fmce_mlflow.method.fitting.bags import Bags
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fitting.fit_set import fit_set, predict_bags
from fmce_mlflow.method.fitting.protocols import Scores, score
from fmce_mlflow.method.fmce_net.belief import Prediction
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.predictor import flavor
from fmce_mlflow.predictor.card import model_card, predictor_info

SHAPE = SetConfig(statistics="bag", evidence=tuple(GROUPS), trees=150, leaves=15)
NETWORKS = SetConfig(statistics="all", reference=True, scaling="quantile", evidence=tuple(GROUPS), members=2)
FIT = FitConfig(epochs=25, folds=5, batch_size=256, averaging=0.97)
COLUMN = {"architecture": "backbone", "run": "run_id", "dataset": "dataset"}


def without(bags: Bags, groups: Sequence[str]) -> Bags:
    """Bags of which some groups of evidence are not known."""
    assert bags.evidence is not None
    evidence = bags.evidence.copy()
    evidence[:, columns(groups)] = np.nan
    return replace(bags, evidence=evidence)


def folds(bags: Bags, protocol: str, count: int) -> list[np.ndarray]:
    """Bags that are held out together, one array per fold; all of a group, none of a network drawn at random."""
    values = bags.table[COLUMN[protocol]].to_numpy()
    named = pd.unique(values[~bags.table["random"].to_numpy()])
    order = np.random.default_rng(0).permutation(named)
    parts = np.array_split(order, min(count, len(order)))
    return [np.isin(values, part) & ~bags.table["random"].to_numpy() for part in parts]


def groups_of(bags: Bags) -> np.ndarray:
    """Architectures; "" of networks drawn at random, which no interval is set on."""
    return np.where(bags.table["random"], "", bags.table["backbone"]).astype(str)[bags.row]


def one_fold(bags: Bags, held: np.ndarray, shape: SetConfig, fit: FitConfig, hidden: Sequence[str]) -> Any:
    """Predictions of the bags held out by a net fitted to the others, and once more without their labels."""
    torch.set_num_threads(1)
    net = fit_set(bags, ~held, groups_of(bags), shape, fit).net
    index = np.flatnonzero(held)
    found = {"without labels": predict_bags(net, without(bags, {*hidden, "labels"}), index)}
    if "labels" in shape.evidence:
        found["with labels"] = predict_bags(net, without(bags, hidden), index)
    return index, found


def cross_validate(
    bags: Bags, protocol: str, shape: SetConfig, fit: FitConfig, count: int, jobs: int, hidden: Sequence[str] = ()
) -> tuple[np.ndarray, dict[str, list[Prediction]]]:
    """Positions of all bags that were held out, and the predictions of each."""
    parts = folds(bags, protocol, count)
    with ProcessPoolExecutor(jobs) as pool:
        found = list(pool.map(one_fold, *zip(*[(bags, held, shape, fit, hidden) for held in parts], strict=True)))
    index = np.concatenate([part for part, _ in found])
    names = found[0][1]
    return index, {name: [one for _, each in found for one in each[name]] for name in names}


def _seen(t: pd.DataFrame, chosen: str, last: bool = True) -> pd.Series:
    """Bags of trainings, not of copies, on a set of images: of last stages, or of those before."""
    return _role(t, "stage", chosen) & ((t["place"] == 0) == last)


def _role(t: pd.DataFrame, role: str, chosen: str = "all") -> pd.Series:
    """Bags of trainings, not of copies, on a set of images: of stages, or of necks or heads of dense networks."""
    return (t["kind"] == "trained") & (t["chosen"] == chosen) & (t["role"] == role)


SLICES = {
    "last stage": lambda t: _seen(t, "all"),
    "trained as a whole": lambda t: _seen(t, "all") & (t["part"] == "all"),
    "middle stages": lambda t: _seen(t, "all", last=False),
    "few classes": lambda t: _seen(t, "few") & ~t["dense"],
    "8 to 32 images": lambda t: _seen(t, "small"),
    "trained on 2 to 5": lambda t: _seen(t, "all") & (t["classes"] <= 5) & ~t["dense"],
    "dense: last stage": lambda t: _seen(t, "all") & t["dense"],
    "dense: middle stages": lambda t: _seen(t, "all", last=False) & t["dense"],
    "dense: neck": lambda t: _role(t, "neck"),
    "dense: head": lambda t: _role(t, "head"),
}


def told(table: pd.DataFrame, predictions: Sequence[Prediction], levels: int) -> str:
    """A line of figures for each slice."""
    lines = []
    for name, chosen in SLICES.items():
        place = np.flatnonzero(chosen(table).to_numpy())
        if len(place):
            m = score(table.iloc[place].reset_index(drop=True), [predictions[i] for i in place], levels).metrics
            lines.append(
                f"  {name:24s} MAE {m['mae']:.3f}  level {m.get('accuracy', np.nan):.3f}  rho {m['spearman']:.3f}  "
                f"holds {m.get('coverage', np.nan):.3f}  width {m.get('width', np.nan):.3f}  ({len(place)})"
            )
    found = np.array([one.fmcs for one in predictions])
    fresh = (table["fmcs"] == 0).to_numpy()
    mature = (
        (table["fmcs"] == 1) & (table["place"] == 0) & (table["chosen"] == "all") & (table["kind"] == "trained")
    ).to_numpy()
    lines.append(
        f"  of label 0 above 0.3: {(found[fresh] > 0.3).sum()} of {fresh.sum()}; of label 1 above 0.7: "
        f"{(found[mature] > 0.7).mean():.3f} of {mature.sum()}"
    )
    return "\n".join(lines)


@click.group(help=__doc__)
def main() -> None:
    torch.set_num_threads(1)


@main.command("score", help="Hold out groups in turn.")
@click.option("--bags", default=str(FOLDER), show_default=False, help="Folder of corpus_reduce.py.")
@click.option("--protocol", default="architecture", type=click.Choice(list(COLUMN)), show_default=True)
@click.option("--folds", "count", default=6, show_default=True, help="Folds; many: each group alone.")
@click.option("--without", "hidden", default="", help="Groups of evidence to leave out, with commas.")
@click.option("--everything", is_flag=True, help="Also the networks on which nothing is chosen.")
@click.option("--inner", default=FIT.folds, show_default=True, help="Folds within a fit, which set its spread.")
@click.option("--epochs", default=FIT.epochs, show_default=True)
@click.option("--networks", is_flag=True, help="An ensemble of networks in place of trees.")
@click.option("--jobs", default=2, show_default=True)
@click.option("--results", default="", help="Write every prediction to this JSON file.")
def score_(
    bags: str,
    protocol: str,
    count: int,
    hidden: str,
    everything: bool,
    inner: int,
    epochs: int,
    networks: bool,
    jobs: int,
    results: str,
) -> None:
    known = read(Path(bags))
    if not everything:
        known = take(known, ~known.table["held"].to_numpy())
    gone = [name for name in hidden.split(",") if name]
    shape = replace(NETWORKS if networks else SHAPE, evidence=tuple(name for name in GROUPS if name not in gone))
    index, found = cross_validate(known, protocol, shape, replace(FIT, epochs=epochs, folds=inner), count, jobs)
    table = known.table.iloc[index].reset_index(drop=True)
    counts = known.table.drop_duplicates("run_id")
    click.echo(
        f"{protocol}: {len(counts)} trainings, {counts['random'].sum()} of them random; without {hidden or 'nothing'}"
    )
    for name, predictions in found.items():
        click.echo(f" {name}\n{told(table, predictions, shape.levels)}")
    _write(results, table, found)


@main.command("held-out", help="Fit to the networks on which choices were made, and score the others.")
@click.option("--bags", default=str(FOLDER), show_default=False, help="Folder of corpus_reduce.py.")
@click.option("--networks", is_flag=True, help="An ensemble of networks in place of trees.")
@click.option("--results", default="", help="Write every prediction to this JSON file.")
def held_out(bags: str, networks: bool, results: str) -> None:
    known = read(Path(bags))
    shape = NETWORKS if networks else SHAPE
    index, found = one_fold(known, known.table["held"].to_numpy(), shape, FIT, ())
    table = known.table.iloc[index].reset_index(drop=True)
    for name, predictions in found.items():
        click.echo(f"held out, {table['backbone'].nunique()} architectures, {name}\n{told(table, predictions, 5)}")
        if name == "without labels":
            for group, part in table[_seen(table, "all")].groupby("backbone").indices.items():
                chosen = np.flatnonzero(_seen(table, "all").to_numpy())[part]
                error = np.abs([predictions[i].fmcs for i in chosen] - table["fmcs"].to_numpy()[chosen]).mean()
                click.echo(f"    {group:44s} MAE {error:.3f} ({len(chosen)})")
    _write(results, table, found)


def _write(path: str, table: pd.DataFrame, found: Mapping[str, Sequence[Prediction]]) -> None:
    if path:
        values = {name: [round(one.fmcs, 4) for one in each] for name, each in found.items()}
        Path(path).write_text(json.dumps({"rows": table.to_dict("list"), **values}, default=str))


KNOWN_FAILURES = [
    "A convolution alone, without normalisation, at the beginning of a network: what little its weights tell does not "
    "say whether it was ever trained.",
    "Networks whose output is not read (no classes, or several): without it the mean error is half as large again.",
    "A module that was trained behind or before parts that stayed random: it scores less than its own training.",
    "Trainings that end with a high loss (vision transformers on little data): their FMCS is 1 by definition, and the "
    "net says less.",
]


@main.command(help="Fit to everything and write the predictor.")
@click.option("--bags", default=str(FOLDER), show_default=False, help="Folder of corpus_reduce.py.")
@click.option("--out", required=True, help="Folder of the predictor.")
@click.option("--folds", "count", default=40, show_default=True, help="Of the figures in its card.")
@click.option("--jobs", default=2, show_default=True)
def fit(bags: str, out: str, count: int, jobs: int) -> None:
    known = read(Path(bags))
    scores: dict[str, dict[str, Scores]] = {}
    for protocol, parts in (("architecture", count), ("run", 6), ("dataset", 6)):
        index, found = cross_validate(known, protocol, SHAPE, FIT, parts, jobs)
        table = known.table.iloc[index].reset_index(drop=True)
        place = np.flatnonzero(_seen(table, "all").to_numpy())
        rows = table.iloc[place].reset_index(drop=True)
        scores[protocol] = {"set": score(rows, [found["without labels"][i] for i in place], SHAPE.levels)}
        click.echo(f"{protocol}\n{told(table, found['without labels'], SHAPE.levels)}")
    fitted = fit_set(known, np.ones(len(known.row), bool), groups_of(known), SHAPE, FIT)
    table = shown(known)
    params = {**asdict(BagConfig()), **asdict(SPACING), "signal": "train"}
    info = {"known_failures": KNOWN_FAILURES, "depths": "all"} | predictor_info(
        table, "corpus", {name: str(value) for name, value in params.items()}, scores
    )
    for record in info["corpus"]:
        if record["backbone"] == RANDOM_NETWORKS:
            record |= dict.fromkeys(("channels", "height", "width"), "various")
    rows_of = known.rows(reference=SHAPE.reference, evidence=True)
    each = [fitted.net.distance(rows_of.take(np.array([i]))) for i in range(0, len(known.row), 7)]
    info["corpus_distance"] = {"far": float(np.quantile(each, 0.995)), "median": float(np.median(each))}
    flavor.save_model(out, flavor.Predictor(fitted.net, info, model_card(info, fitted.net)))


RANDOM_NETWORKS = "networks drawn at random"


def shown(bags: Bags) -> pd.DataFrame:
    """The corpus as a card shows it: its trainings, with the shapes of their maps."""
    assert bags.evidence is not None
    channels, positions = (
        np.exp(bags.evidence[:, NAMES.index(name)]).round().astype(int)
        for name in ("place channels", "place positions")
    )
    side = np.sqrt(positions).round().astype(int)
    table = bags.table.assign(channels=channels, height=side, width=side)
    table["backbone"] = table["backbone"].where(~table["random"], RANDOM_NETWORKS)
    table["module"] = table["module"].where(~table["random"], "various")
    table["backbone"] = table["backbone"].str.replace(r"^research\.\w+:", "", regex=True)
    return table[table["kind"] == "trained"]


if __name__ == "__main__":
    main()
