"""The page on calibration: its commands are understood, and run from beginning to end."""

from __future__ import annotations

import shlex

import pytest
from click.testing import CliRunner

from fmce_mlflow.cli.main import main
from fmce_mlflow.predictor.options import TAG
from tests.docs.test_docs import blocks
from tests.helpers.evaluations import tracked

PAGE = "calibration.md"
SMALL = (
    "--modules stage --image-size 8 --train-size 96 --validation-size 40 --probe-size 16 --model-format pickle "
    "--batch-size 16 --optimizer adamw --lr 0.05 --schedule cosine --epochs 12 --snapshots-per-epoch 2 --cpu true"
).split()


def commands() -> list[list[str]]:
    lines = [line[2:] for block in blocks(PAGE, "console") for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line)[1:] for line in lines]


def test_the_commands_are_understood():
    assert [words[0] for words in commands()] == ["train-backbone", "calibrate", "evaluate", "calibrate"]
    for name, *words in commands():
        command = main.commands[name]
        context = command.make_context(name, list(words))
        assert context.params.get("model", "models:/digits/1") == "models:/digits/1"


@pytest.mark.slow
def test_from_a_recorded_run_to_evaluations_that_use_what_it_calibrates(client):
    """With a network of a few hundred parameters, everything on the page; nothing else names the predictor."""

    def fmce(*words: str) -> str:
        arguments = ["--tracking-uri", client.tracking_uri, "--experiment", "tests", *words]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    train, by_run, evaluate, anew = commands()
    with tracked(client.tracking_uri):
        fmce(*train, "--backbone", "tests.helpers.nets:tiny", *SMALL)
        (version,) = client.search_model_versions("name='digits'")
        run_id = version.run_id
        said = fmce(*[run_id if word == "RUN_ID" else word for word in by_run])
        assert "one run: not measured" in said and "Registered as models:/digits-predictor/1" in said
        said = fmce(*evaluate, "--saliency", "false")
        assert "The predictor is models:/digits-predictor/1" in said
        said = fmce(*anew, *SMALL)
        assert "Training 2 of 2" in said and "on runs that were left out" in said
        assert client.get_registered_model("digits").tags[TAG] == "models:/digits-predictor/2"
        assert "The predictor is models:/digits-predictor/2" in fmce(*evaluate, "--saliency", "false")
        (lines,) = blocks(PAGE, "python")
        exec(compile(lines, PAGE, "exec"), {"runs": [run_id]})
        assert client.get_registered_model("digits").tags[TAG] == "models:/digits-predictor/3"
