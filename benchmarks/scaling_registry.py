"""What the calls that a scored and promoted model makes cost, where MLflow knows 10, 1,000 or 100,000 models.

    python benchmarks/scaling_registry.py

A fresh SQLite store is filled with registered models of one version each and a run each, straight into its tables; then
the calls are made through MLflow's client and timed, each several times. Medians in milliseconds.
"""

from __future__ import annotations

import argparse
import logging
import os
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mlflow import MlflowClient

from fmce_mlflow.predictor.fmcs_source import latest_fmcs_run

REPEATS = 9


def fill(path: Path, experiment: str, count: int) -> None:
    """Rows as MLflow writes them: copies of those of the one model and the one run that are there."""
    with sqlite3.connect(path) as db:

        def copies(table: str, changed: dict[str, Callable[[int], object]]) -> None:
            cursor = db.execute(f"select * from {table} limit 1")
            names = [column[0] for column in cursor.description]
            row = cursor.fetchone()
            marks = ",".join("?" * len(names))
            made = (
                [changed[n](i) if n in changed else v for n, v in zip(names, row, strict=True)] for i in range(count)
            )
            db.executemany(f"insert into {table} values ({marks})", made)

        runs = [uuid.uuid4().hex for _ in range(count)]
        copies("runs", {"run_uuid": lambda i: runs[i], "name": lambda i: f"run {i}", "start_time": lambda i: i})
        copies("tags", {"run_uuid": lambda i: runs[i]})
        copies("registered_models", {"name": lambda i: f"model {i}"})
        copies("model_versions", {"name": lambda i: f"model {i}", "run_id": lambda i: runs[i]})


def measure(count: int) -> dict[str, float]:
    """Milliseconds of each call in a store of so many models."""
    with tempfile.TemporaryDirectory(prefix="fmce-") as name:
        client = MlflowClient(f"sqlite:///{name}/mlflow.db")
        experiment = client.create_experiment("scaling")
        first = client.create_run(experiment, tags={"fmce.role": "evaluation"}).info.run_id
        client.set_terminated(first)
        client.create_registered_model("mine")
        client.create_model_version("mine", f"{name}/model", run_id=first)
        fill(Path(name, "mlflow.db"), experiment, count)
        fmcs = client.create_run(experiment, tags={"fmce.role": "fmcs_dataset"}).info.run_id
        client.set_terminated(fmcs)
        taken: dict[str, list[float]] = {}

        def timed(what: str, call: Callable[[], object]) -> None:
            started = time.perf_counter()
            call()
            taken.setdefault(what, []).append(1000 * (time.perf_counter() - started))

        for i in range(REPEATS):
            run_id = client.create_run(experiment).info.run_id
            timed("make a run", lambda: client.create_run(experiment))
            timed("log a metric", lambda run_id=run_id: client.log_metric(run_id, "fmcs_predicted", 0.5))
            timed(
                "add a version", lambda run_id=run_id: client.create_model_version("mine", f"{name}/m", run_id=run_id)
            )
            timed("versions of a run", lambda run_id=run_id: client.search_model_versions(f"run_id='{run_id}'"))
            timed("versions of a model", lambda i=i: client.search_model_versions("name='mine'", max_results=1000))
            timed("set an alias", lambda i=i: client.set_registered_model_alias("mine", "champion", str(i + 2)))
            timed("version by alias", lambda: client.get_model_version_by_alias("mine", "champion"))
            timed("change a stage", lambda i=i: client.transition_model_version_stage("mine", str(i + 2), "Staging"))
            timed("latest FMCS-dataset", lambda: latest_fmcs_run(client))
        return {what: statistics.median(values[1:]) for what, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, nargs="+", default=[10, 1_000, 100_000])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    found = {count: measure(count) for count in args.models}
    print("milliseconds with so many models: " + ", ".join(f"{count:,}" for count in found))
    for what in found[args.models[0]]:
        print(f"{what:<22}" + "".join(f"{found[count][what]:>10.1f}" for count in args.models))
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
