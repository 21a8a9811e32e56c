"""The page on trainings that stop themselves runs as it stands there."""

from __future__ import annotations

import shlex

import mlflow

from fmce_mlflow.cli.backbone import train_options
from fmce_mlflow.cli.main import main
from tests.docs.test_docs import blocks
from tests.docs.test_recording import somebodys
from tests.helpers.evaluations import tracked


def test_the_loop_on_the_page_runs(client):
    (lines,) = blocks("stopping.md", "python")
    names = somebodys()
    with tracked(client.tracking_uri):
        mlflow.set_experiment("tests")
        exec(compile(lines, "stopping.md", "exec"), names)
    recorder = names["recorder"]
    assert recorder.snapshots == 3 and recorder.frozen == () and not recorder.should_stop  # two epochs are too few
    assert client.get_run(recorder.run.id).info.status == "FINISHED"


def test_the_commands_on_the_page_are_understood():
    lines = [line[2:] for block in blocks("stopping.md", "console") for line in block.splitlines() if line[:2] == "$ "]
    commands = [words[2:] for line in lines if (words := shlex.split(line))[:2] == ["fmce", "train-backbone"]]
    assert len(commands) == 2
    for words in commands:
        context = main.commands["train-backbone"].make_context("train-backbone", list(words), resilient_parsing=False)
        options, _ = train_options({**context.params})
        assert options.stop_when_converged or options.freeze_converged
