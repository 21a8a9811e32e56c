"""What README.md promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from fmce_mlflow.cli.main import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def test_its_two_commands_stand_each_in_a_block_of_its_own():
    assert blocks("bash") == [
        "pip install mlflow uv && mlflow run . -e build_fmcs --env-manager uv\n",
        'pip install ".[test]" && pytest\n',
    ]


def test_its_commands_and_options_exist():
    lines = [line for block in blocks("console") for line in block.splitlines() if line.startswith("$ fmce ")]
    assert lines
    for line in lines:
        words = line.split()[2:]
        command = main.commands[words[0]]
        known = {name for option in command.params for name in option.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_its_table_has_every_entry_point():
    table = dict(re.findall(r"^\| `(\w+)` \| `([\w-]+)` \|", README, flags=re.MULTILINE))
    assert table == {name.replace("-", "_"): name for name in main.commands if not name.startswith(("list-", "show"))}


ELSEWHERE = ("MlflowClient", "evaluate(", "fmce_mlflow.record(")
"""In this file, in test_bundled_predictor.py, in test_recording.py."""


@pytest.mark.parametrize("block", [b for b in blocks("python") if not any(word in b for word in ELSEWHERE)])
def test_its_python_examples_run(block, capsys):
    exec(compile(block, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    expected = [line.partition("  # ")[2] for line in block.splitlines() if line.startswith("print(")]
    assert expected and printed == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, target


def run_main_job(uri, folder):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # `python` is this one
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "mlflow", "run", str(ROOT), "-e", "build_fmcs", "--env-manager", "local",
         "--experiment-name", "main"],
        env={k: v for k, v in os.environ.items() if k != "MLFLOW_EXPERIMENT_ID"}
        | {"MLFLOW_TRACKING_URI": uri, "PATH": path}, cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    print(f"The main job took {time.monotonic() - started:.0f} s.")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_main_job_and_what_it_logs(tmp_path, _empty_store):
    """`mlflow run . -e build_fmcs`: the names that docs/main_job.md lists, README's example.

    In this environment; or, where ``FMCE_MAIN_JOB`` is the tracking URI of a store in which that was run and nothing
    else, there.
    """
    done = os.environ.get("FMCE_MAIN_JOB")
    uri = done or f"sqlite:///{tmp_path / 'mlflow.db'}"
    if not done:
        (tmp_path / "mlflow.db").write_bytes(_empty_store.read_bytes())
    client = MlflowClient(uri)
    experiment = "0" if done else client.create_experiment("main", artifact_location=(tmp_path / "artifacts").as_uri())
    if not done:
        run_main_job(uri, tmp_path)

    runs = client.search_runs([experiment], order_by=["attributes.start_time"])
    parent, *children = runs
    assert [run.info.status for run in runs] == ["FINISHED"] * 5
    assert parent.data.tags["fmce.role"] == "fmcs_dataset" and parent.data.tags["mlflow.project.entryPoint"]
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == [
        "fmcs_counts.json",
        "fmcs_dataset.parquet",
        "fmcs_left_out.json",
        "fmcs_report.html",
    ]
    assert len(parent.inputs.dataset_inputs) == 1
    assert parent.data.metrics["fmcs_dataset/runs"] == 4 and parent.data.metrics["fmcs_dataset/markers"] == 20
    for seed, run in enumerate(children):
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["fmce.role"] == "backbone" and run.data.params["seed"] == str(seed)
        names = {"train_loss", "val_loss", "val_accuracy", "cqi", "fmcs", "drift/conv5"}
        assert names <= set(run.data.metrics)
        for name in names:
            first = 1 if name in ("cqi", "drift/conv5") else 0
            history = sorted(metric.step for metric in client.get_metric_history(run.info.run_id, name))
            assert history == list(range(first, 25)), name
        assert run.data.metrics["val_accuracy"] > 0.9
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"convergence.json", "feature_maps", "plots"} <= files
        maps = {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "feature_maps/conv5")}
        assert maps == {f"snapshot_{snapshot:05d}.safetensors" for snapshot in range(25)}
        assert len(run.outputs.model_outputs) == 1

    (example,) = [block for block in blocks("python") if "MlflowClient" in block]
    example = example.replace("sqlite:///mlflow.db", uri).replace("RUN_ID", parent.info.run_id)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["maps"].shape == (256, 1024, 4, 4) and names["labels"].shape == (256,)
