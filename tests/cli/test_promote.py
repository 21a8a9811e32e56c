from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fmce_mlflow.cli.main import main
from fmce_mlflow.promotion.options import Target
from fmce_mlflow.promotion.registry import holders
from tests.conftest import new_client
from tests.helpers.evaluations import make_store, pixels, write_files

ROOT = Path(__file__).parents[2]
CHAMPION = Target("alias", "champion")


pytestmark = pytest.mark.usefixtures("own_mlflow")


@pytest.fixture(scope="module")
def store(tmp_path_factory, _empty_store):
    return make_store(new_client(tmp_path_factory.mktemp("store"), _empty_store))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    write_files(path, pixels())
    return path


def promote(store, folder, *words):
    """Runs the command in this process, with images and a predictor to evaluate now."""
    result = CliRunner().invoke(
        main,
        [
            "--tracking-uri", store.client.tracking_uri, "--experiment", "tests", "promote", *words,
            "--dataset", f"folder:{folder}", "--predictor", store.predictor, "--modules", "stage",
            "--saliency", "false",
        ],
        prog_name="fmce",
    )  # fmt: skip
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert "Traceback" not in result.output and "Warning" not in result.output
    return result


def last_promotion(client):
    experiment = client.get_experiment_by_name("tests").experiment_id
    (run,) = client.search_runs([experiment], "tags.`fmce.role` = 'promotion'", max_results=1)
    return run


def evaluations_below(client, run):
    experiment = client.get_experiment_by_name("tests").experiment_id
    found = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert all(one.data.tags["fmce.role"] == "evaluation" and one.info.status == "FINISHED" for one in found)
    return found


def test_it_evaluates_both_versions_now_and_promotes(store, folder):
    words = ["--model", "models:/tiny/1", "--alias", "champion", "--compare-to", "champion", "--tolerance", "1e-4"]
    result = promote(store, folder, *words, "--require", "fmcs_predicted>=0")
    assert result.exit_code == 0, result.output
    assert "models:/tiny/1: stage: FMCS" in result.output and "models:/tiny/2: stage: FMCS" in result.output
    assert "Version 1 of tiny is promoted to alias champion; before, it was held by version 2." in result.output
    run = last_promotion(store.client)
    assert run.info.status == "FINISHED" and len(evaluations_below(store.client, run)) == 2
    assert holders(store.client, "tiny", CHAMPION) == ["1"]


def test_a_refusal_has_its_own_exit_code_and_names_figures_on_stderr(store, folder):
    words = ["--model", "models:/tiny/3", "--stage", "Production", "--require", "fmcs_predicted>1"]
    result = promote(store, folder, *words, "--require", "fmcs_predicted<=1")
    assert result.exit_code == 3
    assert result.stderr.startswith(
        "Error: Version 3 of tiny as stage Production is refused:\n  - fmcs_predicted>1: not met, it is 0."
    )
    assert "fmcs_predicted<=1: met" in result.stdout and "fmcs_predicted<=1" not in result.stderr
    run = last_promotion(store.client)
    assert run.info.status == "FINISHED" and run.data.tags["fmce.promotion.decision"] == "refused"
    assert store.client.get_model_version("tiny", "3").current_stage == "None"


def test_a_dry_run_says_what_would_happen(store, folder):
    (evaluation, *_) = store.client.search_runs([store.experiment], "tags.`fmce.model_uri` = 'models:/tiny/1'") or [
        None
    ]
    words = ["--model", "models:/tiny/1", "--alias", "next", "--require", "fmcs_predicted>=0", "--dry-run"]
    if evaluation is not None:
        words += ["--evaluation-run", evaluation.info.run_id]
    result = promote(store, folder, *words)
    assert result.exit_code == 0, result.output
    assert "Without --dry-run it would be promoted to alias next." in result.output
    assert holders(store.client, "tiny", Target("alias", "next")) == []


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ("--model models:/tiny/1", 2, "name one of alias and stage"),
        ("--model models:/tiny/1 --alias a --require x", 2, "require must be like"),
        ("--model models:/tiny/1 --alias a --batch-size 0 --probe-size 1", 2, "2 options cannot be used"),
        ("--model models:/tinny/1 --alias a", 1, "no registered model 'tinny' on sqlite.*Did you mean tiny"),
        ("--model models:/tiny/9 --alias a", 1, "no version '9'"),
        ("--model models:/tiny@champ --alias a", 1, "no alias 'champ'. Did you mean champion"),
        ("--model models:/tiny/1 --alias a --evaluation-run 3f2a", 1, "There is no run '3f2a'"),
    ],
)
def test_a_mistake_is_told_before_anything_is_evaluated(store, folder, words, code, expected):
    count = len(store.client.search_runs([store.experiment]))
    result = promote(store, folder, *words.split())
    assert result.exit_code == code
    assert re.search(expected, result.stderr, re.DOTALL), result.stderr
    made = len(store.client.search_runs([store.experiment])) - count
    assert made == (1 if "evaluation-run" in words else 0)


def test_a_gate_by_a_known_evaluation_loads_no_torch(store, folder):
    """In a process of its own, as a CI job calls it."""
    promote(store, folder, "--model", "models:/tiny/2", "--alias", "x", "--require", "fmcs_predicted>=0", "--dry-run")
    (evaluation,) = evaluations_below(store.client, last_promotion(store.client))
    code = (
        "import sys\nfrom fmce_mlflow.cli.main import main\ntry:\n    main(sys.argv[1:], prog_name='fmce')\n"
        "finally:\n    print('torch:', 'torch' in sys.modules)"
    )
    words = ["promote", "--model", "models:/tiny/2", "--alias", "gate", "--evaluation-run", evaluation.info.run_id]
    result = subprocess.run(
        [sys.executable, "-c", code, *words, "--require", "fmcs_predicted>1"],
        capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "MLFLOW_TRACKING_URI": store.client.tracking_uri, "MLFLOW_EXPERIMENT_NAME": "tests"},
    )  # fmt: skip
    assert result.returncode == 3 and "is refused" in result.stderr, result.stderr
    assert result.stdout.endswith("torch: False\n")
