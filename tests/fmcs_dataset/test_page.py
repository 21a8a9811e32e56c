from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fmce_mlflow.fmcs_dataset.build import PAGE, build_fmcs
from fmce_mlflow.fmcs_dataset.page import MOST_CURVES, dataset_page
from fmce_mlflow.fmcs_dataset.table import COLUMNS
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.moving import label_module
from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.runs.run import Run
from tests.conftest import fast_options, new_run
from tests.helpers import reports
from tests.helpers.reports import text


def test_a_dataset_page_has_every_run_and_what_was_left_out():
    table, found = reports.table(6)
    page = dataset_page(table, found, run_id="ab12", left_out={"f00d": "Not converged: CQI is 0.03."})
    words = text(page)
    assert page.count("<svg") == 7 and "6 runs of shufflenet_v2_x0_5, resnet18 on digits" in words
    assert "150 labelled feature-map files of 6 runs, 2 backbones and 1 data set." in words
    assert "f00d : Not converged: CQI is 0.03." in words and "Kept without a label" not in words
    assert "fmce train-fmce-net --fmcs-run ab12 --cross-validate" in words
    assert "05c0ffee resnet18 digits 5 layer4 256 × 1024 × 4 × 4 15 0, 4, 8, 11, 15 25" in words


def test_a_dataset_page_says_which_modules_did_not_move():
    table, found = reports.table(3)
    run_ids = table["run_id"].drop_duplicates().tolist()
    labels = [label_module(reports.losses(i), changes, found[run_id].config) for i, (run_id, changes) in enumerate(
        zip(run_ids, ([0.0] * 25, [0.0] * 4 + [0.1] * 21, [0.1] * 25), strict=True)
    )]  # fmt: skip
    for run_id, one in zip(run_ids, labels, strict=True):
        rows = table["run_id"] == run_id
        table.loc[rows, "fmcs"], table.loc[rows, "level"] = one.fmcs, one.levels
        table.loc[rows, "moved_from"], table.loc[rows, "moved_until"] = one.moved_from, one.moved_until
    found[f"{run_ids[1]}/layer4"] = labels[1].judged
    words = text(dataset_page(table.astype(COLUMNS), found, run_id="ab12"))
    never, late = f"conv5 of run {run_ids[0][:8]}", f"layer4 of run {run_ids[1][:8]}"
    assert f"{never} never moved." in words and f"{late} moved from snapshot 3 on." in words
    assert "A label is about the module’s own weights" in words and words.count("moved from") == 1
    assert "× 4 × 4 none none 25" in words, "no T and no markers of its own"
    assert f"{labels[1].judged.point} 3, {labels[1].judged.markers[1]}, " in words
    assert "A label is about" not in text(dataset_page(reports.table(3)[0], found, run_id="ab12"))


def test_a_dataset_page_of_many_runs_stays_small():
    table, found = reports.table(MOST_CURVES + 5)
    page = dataset_page(table, found, run_id="ab12")
    assert page.count("<svg") == MOST_CURVES + 1 and "5 more are not drawn" in page and len(page) < 400_000


def test_a_dataset_without_labels_has_a_page():
    table, _ = reports.table(1)
    table["fmcs"], table["level"] = np.nan, None
    run_id = str(table["run_id"][0])
    still = assess(reports.losses(), ConvergenceConfig(threshold=1e-9))
    page = text(dataset_page(table, {run_id: still}, run_id="ab12", unlabelled={run_id: still.verdict()}))
    assert "1 run in it has no label." in page and "none none 25" in page and "one run cannot be scored" in page


@pytest.mark.parametrize("signal", ["train", "drift"])
def test_building_a_dataset_logs_its_page(client, data, signal):
    jobs = [fast_options(modules=("stem", "stage"), signal=signal, training={"seed": seed}) for seed in (0, 1)]
    run_id = new_run(client)
    built = build_fmcs(Run(client, run_id, lambda line: None), jobs, {"digits": data}, unconverged="keep")
    words = text(Path(client.download_artifacts(run_id, PAGE)).read_text(encoding="utf-8"))
    assert f"{len(built.table['run_id'].unique())} runs of tests.helpers.nets:tiny on digits" in words
    assert (
        words.count("tests.helpers.nets:tiny on digits, seed")
        == len(built.convergences)
        == (2 if signal == "train" else 4)
    )
