from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from fmce_mlflow.demo.options import ShortStory, StoryOptions
from fmce_mlflow.demo.story import SUMMARY, tell_story
from fmce_mlflow.errors import ConfigError, RunError
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.predictor.options import NetOptions
from fmce_mlflow.promotion.options import Target
from fmce_mlflow.promotion.registry import holders
from fmce_mlflow.promotion.rules import parse_requirements
from fmce_mlflow.runs.run import Run
from tests.conftest import fast_options, new_run

ROOT = Path(__file__).parents[2]
CHAMPION = Target("alias", "champion")


def tiny_story(**more):
    """A story of seconds, of a net that is too small for its predictions to mean much."""
    values = {
        "backbone": fast_options(
            training={"epochs": 6}, convergence=ConvergenceConfig(levels=3, threshold=0.1, smoothing=0, window=3)
        ),
        "seeds": (0, 1),
        "seed": 2,
        "net": NetOptions(
            baselines=False,
            bags=BagConfig(bag_size=4, bags_per_map=2),
            net=SetConfig(members=1, width=8),
            fit=FitConfig(epochs=20, folds=2),
        ),
        "register_as": "tiny",
        "require": parse_requirements(["fmcs_measured>=0.9"]),
    }
    return StoryOptions(**{**values, **more})


def tree(client):
    """Roles of runs, with those of the runs below them."""
    experiment = client.get_experiment_by_name("tests").experiment_id
    runs = client.search_runs([experiment], order_by=["attributes.start_time"])
    assert {run.info.status for run in runs[1:]} == {"FINISHED"}

    def below(parent):
        found = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent]
        return [(run.data.tags["fmce.role"], below(run.info.run_id)) for run in found]

    return below(runs[0].info.run_id)


def test_two_versions_are_evaluated_and_the_trained_one_is_promoted(client, tmp_path):
    """By the measured score, which does not depend on what a tiny net can learn."""
    run_id, said = new_run(client), []
    result = tell_story(Run(client, run_id, said.append), tiny_story())
    assert (result.early.decision, result.final.decision) == ("refused", "promoted")
    assert (result.early.measured, result.final.measured) == (0.5, 1.0)
    assert (result.early.version, result.final.version, result.final.snapshot) == ("1", "2", 12)
    assert holders(client, "tiny", CHAMPION) == ["2"]
    assert "Snapshot 12 of 12" in client.get_model_version("tiny", "2").description
    assert tree(client) == [
        ("fmcs_dataset", [("backbone", []), ("backbone", [])]),
        ("fmce_net", []),
        ("backbone", []),
        *[("evaluation", [])] * 2,
        *[("promotion", [])] * 2,
    ]
    path = Path(client.download_artifacts(run_id, SUMMARY, str(tmp_path)))
    table = pd.DataFrame(**json.loads(path.read_text()))
    assert list(table["decision"]) == ["refused", "promoted"]
    assert list(table["FMCS predicted"]) == [round(c.predicted, 3) for c in (result.early, result.final)]
    for chapter in (result.early, result.final):
        evaluation = client.get_run(chapter.evaluation_run)
        assert evaluation.data.metrics["fmcs_predicted"] == chapter.predicted
        assert evaluation.data.tags["fmce.predictor"] == result.predictor
    assert {"seconds/evaluation", "seconds/promotion"} <= set(client.get_run(run_id).data.metrics)
    assert [text.split()[0] for text in said if " of 5  " in text] == ["1", "2", "3", "4", "5"]
    assert any("not met, it is 0.5" in text for text in said)


def test_options_are_checked_all_at_once():
    with pytest.raises(ConfigError) as raised:
        ShortStory(epochs=0, seeds=(1,), seed=1, register_as="", alias="latest")
    assert len(raised.value.problems) == 5
    assert ShortStory().story().backbone.dataset == "digits"
    assert ShortStory(dataset="folder:photos").story().backbone.dataset == "folder:photos"
    with pytest.raises(ConfigError, match=r"dataset 'digit' is unknown\. Did you mean digits") as raised:
        ShortStory(dataset="digit", epochs=0, alias="latest")
    assert len(raised.value.problems) == 3


@pytest.mark.slow
def test_an_end_that_is_not_the_expected_one_is_told(client):
    run_id = new_run(client)
    with pytest.raises(RunError, match=r"early version was refused and the trained one refused, instead of"):
        tell_story(Run(client, run_id, lambda text: None), tiny_story(require=parse_requirements(["fmcs_predicted>1"])))
    assert SUMMARY in [file.path for file in client.list_artifacts(run_id)]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_story_as_mlflow_run_tells_it(client):
    """On the digits, with the defaults: FMCE-Net tells an early snapshot of an unseen run from its last."""
    experiment = client.get_experiment_by_name("tests").experiment_id
    environment = {**os.environ, "MLFLOW_TRACKING_URI": client.tracking_uri, "MLFLOW_EXPERIMENT_ID": experiment}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local"],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    took = time.monotonic() - started
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    print(f"The story took {took:.0f} s.")
    for text in ("fmcs_predicted>=0.9: not met", "promoted to alias champion", "mlflow ui --backend-store-uri"):
        assert text in result.stdout
    assert holders(client, "fmce-demo", CHAMPION) == ["2"]
    figures = [one.data.metrics for one in client.search_runs([experiment], "tags.`fmce.role` = 'evaluation'")]
    predicted = sorted(one["fmcs_predicted"] for one in figures)
    assert predicted[0] < 0.5 and predicted[1] > 0.9
    assert all(abs(one["fmcs_predicted"] - one["fmcs_measured"]) < 0.15 for one in figures)
