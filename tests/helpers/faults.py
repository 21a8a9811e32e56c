"""What the tests of faults share: a run on any store, all of a run that must be the same, processes to kill."""

from __future__ import annotations

import itertools
import json
import pkgutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
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


class Killed(BaseException):
    """Stands for the end of the process: nothing after it runs."""


@contextmanager
def dying(place: str, call: int, *, before: bool = False) -> Iterator[None]:
    """The block ends with the given call of a function, counted from 1: before the function has run, or after."""
    owner, _, name = place.rpartition(".")
    original, calls = pkgutil.resolve_name(place), itertools.count(1)

    def last(*args: Any, **more: Any) -> Any:
        ends = next(calls) == call
        if ends and before:
            raise Killed
        found = original(*args, **more)
        if ends:
            raise Killed
        return found

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(pkgutil.resolve_name(owner), name, last)
        yield


def experiment_run(client: MlflowClient, name: str = "tests") -> str:
    """A new run, in an experiment that is made if it is not there."""
    found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else client.create_experiment(name)
    return str(client.create_run(experiment).info.run_id)


def wait_for(process: subprocess.Popen[str], word: str) -> list[str]:
    """Lines of a process up to the one that contains a word."""
    lines: list[str] = []
    while not lines or word not in lines[-1]:
        lines.append(line_of(process))
        assert lines[-1], f"it ended before it said {word!r}: " + "".join(lines)
    return lines
