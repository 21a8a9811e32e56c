"""What the tests of faults share: a run on any store, all of a run that must be the same, processes to kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from fmce_mlflow.runs.feature_maps import FeatureMapReader
from tests.helpers.progress import line_of

REPOSITORY = Path(__file__).parents[2]
IMPATIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""MLflow's client gives up after seconds, so that what is behind it has to hold."""

SCRIPT = """
import sys
from mlflow import MlflowClient
from fmce_mlflow.safety import retry as upload_retry
from fmce_mlflow.backbone.resume import stored_options
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.runs.run import Run
from tests.conftest import fast_options

upload_retry.FIRST_WAIT = 0.05
client, run_id, epochs = MlflowClient(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
options = stored_options(Run(client, run_id)) if "resume" in sys.argv else fast_options(training={"epochs": epochs})
train_backbone(Run(client, run_id, lambda text: print(text, flush=True)), options)
"""


def artifacts(client: MlflowClient, run_id: str, folder: str | None = None) -> Iterator[str]:
    """Paths of all of a run's artifacts."""
    for file in client.list_artifacts(run_id, folder):
        if file.is_dir:
            yield from artifacts(client, run_id, file.path)
        else:
            yield file.path


def everything(client: MlflowClient, run_id: str) -> dict[str, Any]:
    """All of a run that does not depend on its clock or on its models' ids; every map is read and checked."""
    run = client.get_run(run_id)
    names = [name for name in run.data.metrics if name != "images_per_second"]
    with tempfile.TemporaryDirectory() as folder:
        convergence = json.loads(Path(client.download_artifacts(run_id, "convergence.json", folder)).read_text())
    reader = FeatureMapReader(client, run_id)
    for module, snapshot in reader.index.entries:
        reader.read(module, snapshot)
    return {
        "metrics": {name: sorted((m.step, m.value) for m in client.get_metric_history(run_id, name)) for name in names},
        "artifacts": sorted(artifacts(client, run_id)),
        "maps": reader.index,  # with each file's sha256
        "convergence": convergence,
        "models": sorted(output.step for output in run.outputs.model_outputs),
        "status": run.info.status,
    }


def experiment_run(client: MlflowClient, name: str = "tests") -> str:
    """A new run, in an experiment that is made if it is not there."""
    found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else client.create_experiment(name)
    return str(client.create_run(experiment).info.run_id)


@contextmanager
def training(uri: str, run_id: str, epochs: int, *words: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """A process that trains in a run and has begun; gone at the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, uri, run_id, str(epochs), *words],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **IMPATIENT, "PYTHONPATH": str(REPOSITORY), **more},
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line == "ready\n", line + process.stdout.read()
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], word: str) -> list[str]:
    """Lines of a process up to the one that contains a word."""
    lines: list[str] = []
    while not lines or word not in lines[-1]:
        lines.append(line_of(process))
        assert lines[-1], f"it ended before it said {word!r}: " + "".join(lines)
    return lines
