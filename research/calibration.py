r"""What a predictor gains that is calibrated to an architecture by one run of it.

    python research/calibration.py --passes 0,10,20,40 --lr 0.0005 --pull 1
    python research/calibration.py --passes 20 --held-out

Architectures are held out in turn, and a predictor is fitted to the others. For each pair of trainings of a held-out
architecture it is calibrated by the one and scored on the other: another seed of the same training, other classes of
the same data, or other data. Figures are of last feature stages on 64 images of all classes, without labels, of
networks on which choices are made; ``--held-out`` scores those on which nothing was chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from corpus_fit import FIT, SHAPE, folds, groups_of, without
from corpus_read import FOLDER, read, take

from fmce_mlflow.method.fitting.bags import Bags
from fmce_mlflow.method.fitting.calibrate import calibrated
from fmce_mlflow.method.fitting.config import CalibrationConfig
from fmce_mlflow.method.fitting.fit_set import fit_set, predict_bags
from fmce_mlflow.method.fmce_net.set_net import SetNet

COLUMNS = [
    "passes",
    "lr",
    "pull",
    "shrinkage",
    "pair",
    "run_id",
    "fmcs",
    "level",
    "before",
    "after",
    "inside",
    "width",
    "said",
]


def pairs(table: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Trainings of one architecture, whole ones alone: the one to calibrate by, the one to score, what they share."""
    runs = table[(table["part"] == "all") & ~table["random"]].drop_duplicates("run_id")
    for _, each in runs.groupby("backbone"):
        for one, other in product(each.itertuples(), repeat=2):
            if one.run_id != other.run_id:
                yield one.run_id, other.run_id, apart(one, other)


def apart(one: Any, other: Any) -> str:
    """What sets two trainings of one architecture apart, the largest difference first."""
    if one.dataset != other.dataset:
        return "other data"
    if one.classes != other.classes:
        return "other classes"
    return "other seed" if one.recipe == other.recipe else "other recipe"


def one_pair(net: SetNet, bags: Bags, by: str, of: str, kind: str, grid: list[CalibrationConfig]) -> list[tuple]:
    """Rows of figures, a row for each bag and setting."""
    run, t = bags.column("run_id"), bags.table.iloc[bags.row]
    last = ((t["place"] == 0) & (t["chosen"] == "all") & (t["kind"] == "trained")).to_numpy()
    scored = np.flatnonzero((run == of) & last)
    fitted = take(bags, (run == by) & (t["kind"] == "trained").to_numpy())
    if not len(fitted.row) or not len(scored):  # a training without labels
        return []
    before, rows = predict_bags(net, bags, scored), []
    for config in grid:
        after = predict_bags(calibrated(net, fitted, config).net, bags, scored)
        for place, old, new in zip(scored, before, after, strict=True):
            true, level = t["fmcs"].iloc[place], t["level"].astype(float).iloc[place]
            rows.append(
                (config.passes, config.lr, config.pull, config.shrinkage, kind, of, true, level, old.fmcs, new.fmcs,
                 new.low <= true <= new.high, new.high - new.low, new.level)
            )  # fmt: skip
    return rows


def one_fold(bags: Bags, grid: list[CalibrationConfig], most: int, held: np.ndarray) -> list[tuple]:
    """All pairs of the architectures that are held out together, at most so many of each."""
    torch.set_num_threads(1)
    net = fit_set(bags, ~held, groups_of(bags), SHAPE, FIT).net
    own = without(take(bags, held), ["labels"])
    found, count = [], dict[tuple[str, str], int]()
    for by, of, kind in pairs(own.table):
        key = own.table.loc[own.table["run_id"] == of, "backbone"].iloc[0], kind
        count[key] = count.get(key, 0) + 1
        if count[key] <= most:
            found += one_pair(net, own, by, of, kind, grid)
    return found


@click.command(help=__doc__)
@click.option("--bags", default=str(FOLDER), show_default=False, help="Folder of corpus_reduce.py.")
@click.option("--passes", default="20", show_default=True, help="With commas.")
@click.option("--lr", default=str(CalibrationConfig().lr), show_default=True, help="With commas.")
@click.option("--pull", default=str(CalibrationConfig().pull), show_default=True, help="With commas.")
@click.option("--shrinkage", default=str(CalibrationConfig().shrinkage), show_default=True, help="With commas.")
@click.option("--folds", "count", default=6, show_default=True)
@click.option("--most", default=4, show_default=True, help="Pairs of each architecture and kind.")
@click.option("--jobs", default=2, show_default=True)
@click.option("--held-out", is_flag=True, help="Score the networks on which nothing was chosen.")
def main(
    bags: str, passes: str, lr: str, pull: str, shrinkage: str, count: int, most: int, jobs: int, held_out: bool
) -> None:
    known = read(Path(bags))
    never = known.table["held"].to_numpy()
    if held_out:
        parts = [never]
    else:
        known = take(known, ~never)
        parts = folds(known, "architecture", count)
    numbers = [[float(word) for word in text.split(",")] for text in (passes, lr, pull, shrinkage)]
    default = CalibrationConfig()
    grid = [
        replace(default, passes=int(p), lr=rate, pull=force, shrinkage=share)
        for p, rate, force, share in product(*numbers)
    ]
    with ProcessPoolExecutor(jobs) as pool:
        rows = [row for part in pool.map(partial(one_fold, known, grid, most), parts) for row in part]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["error before"], table["error after"] = ((table[name] - table["fmcs"]).abs() for name in ("before", "after"))
    table["right"] = (table["said"] == table["level"]).where(table["level"].notna())
    each = table.groupby(["pair", "passes", "lr", "pull", "shrinkage"]).agg(
        before=("error before", "mean"), after=("error after", "mean"), right=("right", "mean"),
        inside=("inside", "mean"), width=("width", "mean"), bags=("fmcs", "size"),
    )  # fmt: skip
    click.echo(each.round(3).to_string())


if __name__ == "__main__":
    main()
