"""What the pages on evaluating, promoting, saliency and reports show runs as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from mlflow.models.evaluation.validation import ModelValidationFailedException
from torch import nn

from fmce_mlflow.cli.main import main
from tests.conftest import new_client, new_run
from tests.helpers.evaluations import PREPROCESSING, log_model, pixels, tracked, write_files

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["evaluator.md", "evaluation_data.md", "promotion.md", "report.md", "saliency.md"]


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[list[str]]:
    """Commands that evaluate or promote, in blocks and in the text."""
    lines = [line[2:] for block in blocks(page, "console") for line in block.splitlines() if line.startswith("$ ")]
    lines += re.findall(r"`(fmce [\w-]+ [^`]*models:/[^`]*)`", (DOCS / page).read_text(encoding="utf-8"))
    words = [shlex.split(line.partition(" || ")[0]) for line in lines]
    return [
        one[1:] for one in words if one[:2] in (["fmce", "evaluate"], ["fmce", "promote"])
    ]  # trainings take minutes


class Stages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer3 = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.layer4 = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer4(self.layer3(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def store(tmp_path_factory, _empty_store):
    """Three versions of `my-backbone`, one of `digits`, and `photos` with class folders, in a folder."""
    folder = tmp_path_factory.mktemp("docs")
    client = new_client(folder, _empty_store)
    metadata = {"fmce": {"preprocessing": PREPROCESSING}}
    with tracked(client.tracking_uri):
        mlflow.set_experiment("tests")
        for name in ("my-backbone", "my-backbone", "my-backbone", "digits"):
            with mlflow.start_run():
                log_model(Stages().eval(), metadata=metadata, registered_model_name=name)
    client.set_registered_model_alias("my-backbone", "champion", "1")
    for part in ("photos", "splits/photos/test"):
        (folder / part).mkdir(parents=True)
        for i in range(2):
            write_files(folder / part / str(i), pixels(8))
    return client, folder


@pytest.fixture
def here(store, monkeypatch):
    client, folder = store
    monkeypatch.chdir(folder)
    with tracked(client.tracking_uri):
        mlflow.set_experiment("tests")
        yield client


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python(here, page, monkeypatch, capsys):
    if page == "evaluation_data.md":
        monkeypatch.chdir("splits")
    names = {"images": pixels(16), "targets": np.arange(16) % 2}
    with mlflow.start_run():
        for block in blocks(page, "python"):
            try:
                exec(compile(block, page, "exec"), names)
            except ModelValidationFailedException as error:
                assert "MetricThreshold" in block and "fmcs_predicted" in str(error)  # an untrained model
    if page == "evaluator.md":
        assert "layer4" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES)
def test_commands(here, page):
    """The models are untrained, so promotions are refused."""
    evaluation = None
    for words in commands(page):
        if "RUN_ID" in words:
            evaluation = evaluation or evaluated(here)
            words = [evaluation if word == "RUN_ID" else word for word in words]
        result = CliRunner().invoke(main, ["--tracking-uri", here.tracking_uri, "--experiment", "tests", *words])
        assert result.exit_code == (3 if words[0] == "promote" else 0), result.output


def evaluated(client) -> str:
    from fmce_mlflow.evaluation.evaluate import evaluate_model
    from fmce_mlflow.image_dataset.plugin import from_images
    from fmce_mlflow.runs.run import Run

    run_id = new_run(client)
    other = new_run(client)
    for one, version in ((run_id, 3), (other, 1)):
        evaluate_model(Run(client, one), f"models:/my-backbone/{version}", from_images("photos"), {"saliency": False})
    for one in (run_id, other):
        client.set_terminated(one)
    return run_id


@pytest.mark.parametrize("page", PAGES)
def test_entry_points(page):
    project = yaml.safe_load((DOCS.parent / "MLproject").read_text(encoding="utf-8"))["entry_points"]
    for line in re.findall(r"`mlflow run ([^`]*)`", (DOCS / page).read_text(encoding="utf-8")):
        name = re.search(r"-e (\w+)", line)[1]
        assert set(re.findall(r"-P (\w+)=", line)) <= set(project[name]["parameters"])


def test_pages_have_what_is_tested():
    assert sum(len(blocks(page, "python")) for page in PAGES) >= 6
    assert {words[0] for page in PAGES for words in commands(page)} == {"evaluate", "promote"}
