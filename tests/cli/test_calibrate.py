"""The command `calibrate`: what it is given, and what is said of what it cannot be."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from fmce_mlflow.cli.calibrate import calibration_options
from fmce_mlflow.cli.main import main


def context(*words: str):
    return main.commands["calibrate"].make_context("calibrate", list(words))


def test_its_options_are_those_of_the_calibration_and_of_the_trainings():
    given = context("--model", "models:/x/1", "--dataset", "digits", "--seeds", "0,1", "--epochs", "3", "--passes", "7")
    options, training, _ = calibration_options(given.params)
    assert (options.model, options.seeds, options.fit.passes, options.tie) == ("models:/x/1", (0, 1), 7, "model")
    assert (training.dataset, training.training.epochs) == ("digits", 3)
    assert training.register_as is None and options.register_as is None
    options, training, _ = calibration_options(
        context("--model", "models:/x/1", "--source-runs", "a,b", "--register-as", "mine", "--modules", "s*").params
    )
    assert (options.source_runs, options.register_as, training.modules) == (("a", "b"), "mine", ("s*",))
    assert training.register_as is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "model is empty; name one, as in --model models:/NAME/1"),
        (["--model", "models:/x/1"], "name recorded runs in source-runs, or in dataset the images"),
        (
            ["--model", "models:/x/1", "--dataset", "digits", "--source-runs", "a"],
            "name one of source-runs and dataset",
        ),
        (["--model", "models:/x/1", "--dataset", "digit"], "dataset 'digit' is unknown. Did you mean digits?"),
        (["--model", "models:/x/1", "--dataset", "digits", "--seeds", ""], "seeds is empty; name at least one"),
        (["--model", "models:/x/1", "--dataset", "digits", "--backbone", "resnet81"], "Did you mean resnet"),
        (["--model", "models:/x/1", "--source-runs", "a", "--passes", "-1"], "passes"),
        (["--model", "models:/x/1", "--source-runs", "a", "--register-as", "a/b"], "register-as must be a name"),
    ],
)
def test_a_mistake_is_said_and_no_run_is_made(words, said, tmp_path):
    uri = f"sqlite:///{tmp_path / 'never.db'}"
    result = CliRunner().invoke(main, ["--tracking-uri", uri, "calibrate", *words])
    assert result.exit_code == 2 and said in result.output, result.output
    assert not list(tmp_path.iterdir())
