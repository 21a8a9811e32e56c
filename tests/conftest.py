"""What several test files share: a fresh MLflow, a few images, a backbone run of a second."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

gc.set_threshold(200_000, 50, 50)  # while everything is imported

# One thread per process, in those that tests start too: the networks are tiny, and several processes share the cores.
# Set before torch and NumPy are imported, which read it once.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[name] = "1"
# MLflow's servers start eight more processes for jobs of theirs, none of which is wanted here; nor is any report home.
os.environ |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}

# pytest's own process, which runs no tests where others do, needs neither torch nor MLflow, which take seconds.
from filelock import FileLock

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.training.config import TrainingConfig
from tests.helpers import disk, postgres
from tests.helpers.servers import tracking_server

if TYPE_CHECKING:
    import torch
    from mlflow import MlflowClient

    from fmce_mlflow.method.images.split import ImageData

disk.do_not_wait()

collect_ignore = ["data/make_legacy.py"]  # for an earlier release

# Shells start jobs in the background with Ctrl-C ignored, and processes hand that on: tests that press it set it right.
signal.signal(signal.SIGINT, signal.default_int_handler)

FAST_TRAINING = TrainingConfig(
    epochs=2, snapshots_per_epoch=2, batch_size=16, optimizer="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4,
    schedule="constant", warmup_epochs=0.0, cpu=True,
)  # fmt: skip
"""A training of milliseconds; it does not depend on the defaults."""


def new_client(folder: Path, empty_store: Path, place: Path | None = None) -> MlflowClient:
    """A client of a fresh sqlite store, its artifacts under folder/artifacts; its experiment is `tests`.

    The store itself may have another place.
    """
    from mlflow import MlflowClient

    store = (place or folder) / "mlflow.db"
    shutil.copy(empty_store, store)
    made = MlflowClient(f"sqlite:///{store}")
    made.create_experiment("tests", artifact_location=(folder / "artifacts").as_uri())
    return made


def new_run(client: MlflowClient, **tags: str) -> str:
    """A run in the experiment of the `client` fixture."""
    experiment = client.get_experiment_by_name("tests")
    assert experiment is not None
    return str(client.create_run(experiment.experiment_id, tags=tags).info.run_id)


def fast_options(*, training: dict[str, Any] | None = None, **more: Any) -> BackboneOptions:
    """Options of a run of about a second: 96 digits of 8×8 pixels, 6 snapshots."""
    values: dict[str, Any] = {
        "backbone": "tests.helpers.nets:tiny",
        "modules": ("stage",),
        "image_size": 8,
        "train_size": 96,
        "validation_size": 40,
        "probe_size": 16,
        "model_format": "pickle",
        "convergence": ConvergenceConfig(levels=3, threshold=0.25, smoothing=0, window=1),  # T = 5
    }
    settings: dict[str, Any] = {"optimizer": "adamw", "lr": 0.1, "weight_decay": 0.01, "schedule": "cosine"}
    settings |= {"epochs": 3, "warmup_epochs": 1.0, **(training or {})}
    return BackboneOptions(**{**values, **more}, training=replace(FAST_TRAINING, **settings))


def _only_smoke(config: pytest.Config) -> bool:
    return config.getoption("markexpr") == "smoke"


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """`-m smoke` runs in this process: others would start for longer than its tests take. It needs no doctests."""
    if _only_smoke(config):
        config.option.numprocesses, config.option.dist, config.option.tx = 0, "no", []
        if config.args_source is config.ArgsSource.TESTPATHS:
            config.args = ["tests"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m smoke` imports only the files that have such tests."""
    if _only_smoke(config) and collection_path.suffix == ".py":
        return "mark.smoke" not in collection_path.read_text(encoding="utf-8") or None
    return None


def pytest_collection_finish() -> None:
    """What was imported stays: to look through it for garbage again and again took a quarter of the tests' time."""
    import mlflow
    import torch

    torch.set_num_threads(1)  # also where a plugin of pytest imported torch before
    for logger in (mlflow.__name__, "alembic"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _own_spool(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Snapshots that wait for a server do so in a folder of the tests' own."""
    os.environ["FMCE_SPOOL"] = str(tmp_path_factory.mktemp("spool"))


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking database with its schema, which takes seconds to make: the processes of a session share it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / "empty.db"
    with FileLock(folder / "empty.lock"):
        if not path.exists():
            from mlflow import MlflowClient

            made = tmp_path_factory.mktemp("store") / "mlflow.db"
            MlflowClient(f"sqlite:///{made}").search_experiments()
            shutil.copy(made, path)
    return path


@pytest.fixture(scope="session")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the store of one test after the other: MLflow never lets go of one that it knows by its address."""
    return tmp_path_factory.mktemp("client")


@pytest.fixture
def client(tmp_path: Path, _empty_store: Path, _place: Path) -> MlflowClient:
    """A client as of `new_client`, its artifacts in tmp_path."""
    for file in _place.iterdir():  # with its write-ahead log
        file.unlink()
    return new_client(tmp_path, _empty_store, _place)


@pytest.fixture
def tracking(client: MlflowClient) -> Iterator[MlflowClient]:
    """`client`, whose store and experiment are MLflow's own meanwhile."""
    import mlflow

    from tests.helpers.evaluations import tracked

    with tracked(client.tracking_uri):
        mlflow.set_experiment("tests")
        yield client


@pytest.fixture
def own_mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable names a run, an experiment or a store, and what a test does to MLflow's own does not outlive it."""
    import mlflow

    from tests.helpers.evaluations import tracked

    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    with tracked(mlflow.get_tracking_uri()):
        yield


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, _empty_store: Path, data: ImageData) -> dict[str, Any]:
    """Everything of an undisturbed run of `fast_options` on a local store."""
    from fmce_mlflow.backbone.train import train_backbone
    from fmce_mlflow.runs.run import Run
    from tests.helpers.faults import everything

    client = new_client(tmp_path_factory.mktemp("undisturbed"), _empty_store)
    run_id = new_run(client)
    train_backbone(Run(client, run_id, lambda _: None), fast_options(), data=data)
    return everything(client, run_id)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What waits for a server waits in tmp_path, and for seconds only."""
    from fmce_mlflow.safety import retry
    from tests.helpers.faults import IMPATIENT

    for name, value in IMPATIENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FMCE_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(retry, "LONGEST_WAIT", 0.4)


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `server` keeps everything."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="session")
def server(server_folder: Path, _empty_store: Path) -> Iterator[str]:
    """The URI of a tracking server that tests share; they add runs to it and count only their own."""
    with tracking_server(server_folder, _empty_store) as uri:
        yield uri


@pytest.fixture(scope="session")
def evaluation_store(tmp_path_factory: pytest.TempPathFactory, _empty_store: Path) -> Any:
    """Models and an FMCE-Net, logged once; tests add runs to it and change nothing that is there."""
    from tests.helpers.evaluations import make_store

    return make_store(new_client(tmp_path_factory.mktemp("evaluations"), _empty_store))


@pytest.fixture
def store(evaluation_store: Any) -> Iterator[Any]:
    """`evaluation_store`, MLflow's own meanwhile."""
    import mlflow

    from tests.helpers.evaluations import tracked

    with tracked(evaluation_store.client.tracking_uri):
        mlflow.set_experiment("tests")
        yield evaluation_store


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A browser that nothing reaches by network."""
    from tests.helpers.browser import opened

    with opened() as driver:
        yield driver


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A PostgreSQL server of the tests' own; tests that need it skip where it is not installed."""
    folder, user = postgres.programs(), postgres.owner()
    if folder is None or user is None:
        pytest.skip(postgres.MISSING)
    with postgres.server(folder, user) as made:
        yield made


@pytest.fixture
def postgres_url(postgres_server: postgres.Server) -> str:
    """The URL of a new, empty PostgreSQL database."""
    import psycopg

    name = f"test_{time.time_ns()}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    return postgres_server.url.removesuffix("postgres") + name


@pytest.fixture(scope="session")
def data() -> ImageData:
    """The images of `fast_options`: 96 to train on, 40 held out, 16 of them the probe."""
    from fmce_mlflow.method.images.split import load_images

    return load_images(fast_options())


@pytest.fixture
def seeded() -> Callable[..., torch.nn.Module]:
    """A network built with given random weights, the global random state left alone."""
    import torch

    def build(factory: Callable[[], torch.nn.Module], seed: int = 0) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return factory()

    return build
