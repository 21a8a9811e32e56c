"""docs/show.md runs as it stands there, with the ids of a run and a model of the test's own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner

from fmce_mlflow.cli.main import main
from fmce_mlflow.runs.feature_index import Probe
from fmce_mlflow.runs.feature_maps import FeatureMapWriter
from tests.conftest import new_client, new_run
from tests.helpers.evaluations import PREPROCESSING, log_model, pixels, seeded_tiny, tracked, write_files

TEXT = (Path(__file__).parents[2] / "docs" / "show.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^\$ (fmce show .*)$", TEXT, flags=re.MULTILINE)


@pytest.fixture
def run_id(tmp_path, _empty_store, monkeypatch):
    """A run with maps of `layer3` and `layer4`; two versions of a model `photos`, and such a folder."""
    monkeypatch.chdir(tmp_path)
    client = new_client(tmp_path, _empty_store)
    made = new_run(client)
    writer = FeatureMapWriter(client, made, Probe("noise", 4, "0" * 64), np.arange(4))
    for snapshot in range(2):
        maps = np.random.default_rng(snapshot).normal(size=(4, 3, 5, 5)).astype(np.float16)
        writer.write(snapshot, {"layer3": maps, "layer4": maps}, {})
    write_files(tmp_path / "photos", pixels())
    with tracked(client.tracking_uri):
        mlflow.set_experiment("tests")
        for _ in range(2):
            with mlflow.start_run():
                log_model(
                    seeded_tiny(), metadata={"fmce": {"preprocessing": PREPROCESSING}}, registered_model_name="photos"
                )
        yield made


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(run_id, command, tmp_path):
    words = shlex.split(command.replace("RUN_ID", run_id).replace("layer3,layer4", "stem,stage"))[1:]
    result = CliRunner().invoke(main, words, prog_name="fmce")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "feature_maps.html").stat().st_size > 10_000


@pytest.mark.parametrize("code", BLOCKS)
def test_python_runs(run_id, code, tmp_path):
    exec(compile(code.replace("RUN_ID", run_id), "show.md", "exec"), {})


def test_there_are_commands_and_python():
    assert len(COMMANDS) == 2 and len(BLOCKS) == 2
