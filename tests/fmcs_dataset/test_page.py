from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fmce_mlflow.fmcs_dataset.build import PAGE, build_fmcs
from fmce_mlflow.fmcs_dataset.page import MOST_CURVES, dataset_page
from fmce_mlflow.method.convergence.config import ConvergenceConfig
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
