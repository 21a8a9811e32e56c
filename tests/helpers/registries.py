"""Registered models of tiny networks, and gates in processes of their own."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import mlflow.pytorch
from mlflow import MlflowClient
from mlflow.entities import Metric

import fmce_mlflow.gate.decide  # noqa: F401  # forks have torch and what evaluates already
from fmce_mlflow.cli.main import main
from fmce_mlflow.predictor.flavor import log_predictor
from fmce_mlflow.promotion.version_tags import AT, EVALUATION_RUN
from fmce_mlflow.runs.logged_models import log_saved_model, register
from fmce_mlflow.runs.run import Run
from tests.helpers.evaluations import PREPROCESSING, make_predictor, seeded_tiny

METADATA = {"fmce": {"preprocessing": PREPROCESSING, "modules": ["stage"]}}
OWN = (AT, EVALUATION_RUN, "fmce.promotion.evaluation_run", "fmce.promotion.run")
"""Tags that differ between two gates that came to the same end."""


def experiment_of(client: MlflowClient) -> str:
    """The experiment `tests`."""
    found = client.get_experiment_by_name("tests")
    return str(found.experiment_id if found else client.create_experiment("tests"))


def log_network(client: MlflowClient, seed: int = 0, **metrics: float) -> tuple[str, str]:
    """A run of a training with its metrics and a tiny network: its id, and that of the logged model."""
    run_id = client.create_run(experiment_of(client)).info.run_id
    client.log_batch(run_id, [Metric(key, value, 0, 0) for key, value in metrics.items()])

    def save(path: Path, description: Any) -> None:
        mlflow.pytorch.save_model(
            seeded_tiny(seed), str(path), mlflow_model=description, serialization_format="pickle", pip_requirements=[]
        )

    model_id = log_saved_model(client, run_id, save, name="model", metadata=METADATA)
    client.set_terminated(run_id)
    return run_id, model_id


def new_version(client: MlflowClient, name: str, seed: int = 0, **metrics: float) -> str:
    """The number of a new version of a registered model."""
    run_id, model_id = log_network(client, seed, **metrics)
    return register(client, run_id, model_id, name)


def new_predictor(client: MlflowClient, seed: int = 0) -> str:
    """The URI of an FMCE-Net."""
    run_id = client.create_run(experiment_of(client)).info.run_id
    model_id = log_predictor(Run(client, run_id, lambda text: None), make_predictor(seed))
    client.set_terminated(run_id)
    return f"models:/{model_id}"


def written(client: MlflowClient) -> dict[str, Any]:
    """Everything that a gate may write: tags, aliases and times of all models and versions, and all runs."""
    models = client.search_registered_models(max_results=1000)
    versions = client.search_model_versions(max_results=1000)
    runs = client.search_runs([experiment_of(client)], max_results=5000)
    return {
        "models": {one.name: (one.tags, one.aliases, one.last_updated_timestamp) for one in models},
        "versions": {(one.name, one.version): (one.tags, one.last_updated_timestamp) for one in versions},
        "runs": {one.info.run_id: (one.info.status, one.data.tags, one.data.metrics) for one in runs},
    }


def end_of(client: MlflowClient) -> dict[str, Any]:
    """What a gate leaves, without the ids of runs and times."""
    found = written(client)
    return {
        "aliases": {name: aliases for name, (_, aliases, _) in found["models"].items()},
        "tickets": [tag for tags, _, _ in found["models"].values() for tag in tags],
        "tags": {
            key: {name: value for name, value in tags.items() if name not in OWN}
            for key, (tags, _) in found["versions"].items()
        },
    }


def call_gate(uri: str, *words: str) -> None:
    """`fmce gate`, as a process of its own calls it."""
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))  # a fork's own know no pipe
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    main(["--tracking-uri", uri, "--experiment", "tests", "gate", *words], prog_name="fmce")
