"""Storages of studies: those that cannot be used, SQLite, and a real PostgreSQL server."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from fmce_mlflow.errors import ConfigError, RunError
from fmce_mlflow.tuning.mirror import RUN
from fmce_mlflow.tuning.storage import open_storage, shown
from fmce_mlflow.tuning.study import tune
from fmce_mlflow.tuning.trials import counted_trials, tally
from fmce_mlflow.tuning.workers import run_workers
from tests.conftest import new_run
from tests.helpers.forks import FORKS
from tests.helpers.progress import taken
from tests.helpers.studies import SETTINGS, Parabola, Sleeps, claim, opens
from tests.helpers.study_tools import begin, children, curve, kill_a_worker, options


def test_storage_that_does_not_answer_is_one_message_without_the_password(tmp_path):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        port = held.getsockname()[1]
        for address in (
            f"postgresql://me:secret@127.0.0.1:{port}/optuna",
            f"sqlite:///{tmp_path}/missing/optuna.db",
            "postgres://me:secret@host/optuna",
            "optuna.db",
            "nosuch://me:secret@host/db",
        ):
            with pytest.raises(ConfigError) as error:
                open_storage(address, heartbeat=1, grace=2)
            text = str(error.value)
            assert "does not answer" in text and "secret" not in text and "Expected is" in text, text
    assert shown("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"


def test_a_server_that_keeps_silent_is_given_up_after_seconds():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # takes connections and never answers
        address = f"postgresql://me:secret@127.0.0.1:{silent.getsockname()[1]}/optuna?connect_timeout=2"
        with pytest.raises(ConfigError, match=r"does not answer: .*timeout expired.* Check host, port"):
            open_storage(address, heartbeat=1, grace=2)
        silent.settimeout(0)
        attempts = []
        with contextlib.suppress(BlockingIOError):
            while True:
                attempts.append(silent.accept())
        assert 1 <= len(attempts) <= 2, "each takes the two seconds that the address allows"


def test_a_driver_that_is_missing_is_named():
    with pytest.raises(ConfigError, match=r"No module named 'psycopg2'.*pip install 'psycopg\[binary\]'"):
        open_storage("postgresql+psycopg2://me:secret@127.0.0.1/optuna", heartbeat=1, grace=2)


def test_the_database_of_mlflow_is_refused_and_left_alone(client):
    before = Path(client.tracking_uri.removeprefix("sqlite:///")).read_bytes()
    with pytest.raises(ConfigError, match=r"is the database of MLflow\. Optuna needs one of its own"):
        open_storage(client.tracking_uri, heartbeat=1, grace=2)
    assert Path(client.tracking_uri.removeprefix("sqlite:///")).read_bytes() == before


def claims(url: str, workers: int) -> list[int]:
    """Numbers of the trials that some processes got, which all ask for waiting trials at the same time."""
    study = optuna.create_study(storage=open_storage(url, heartbeat=60, grace=120), study_name="s")
    for _ in range(20 * workers):
        study.enqueue_trial({})
    ready, out = FORKS.Barrier(workers), FORKS.Queue()
    processes = [FORKS.Process(target=claim, args=(url, "s", ready, out)) for _ in range(workers)]
    for process in processes:
        process.start()
    numbers = [number for _ in range(workers) for number in taken(out, *processes)]
    for process in processes:
        process.join()
    return sorted(numbers)


def test_no_waiting_trial_is_claimed_twice_on_sqlite(tmp_path):
    assert claims(f"sqlite:///{tmp_path / 'optuna.db'}", 2) == list(range(40))


# --- PostgreSQL


@pytest.mark.slow
@pytest.mark.parametrize(("trials", "killed"), [(16, False), (60, True)])
def test_four_workers_on_postgresql_lose_nothing_and_do_nothing_twice(client, postgres_url, tmp_path, trials, killed):
    job, study = begin(client, postgres_url, Sleeps(str(tmp_path), seconds=0.3, hangs=killed), trials)
    if killed:
        kill_a_worker(replace(job, seed=99), tmp_path)
    run_workers(job, client, 4, say=lambda _: None)
    found = counted_trials(study.trials)
    assert len(found) == trials and all(t.state is TrialState.COMPLETE for t in found)
    assert tally(study.trials)["retried"] == killed
    assert len({t.user_attrs["pid"] for t in found}) == 4 and len({t.params["x"] for t in found}) == trials
    runs = children(client, study)
    assert len(runs) == trials
    for trial in found:
        run_id = trial.user_attrs[RUN]
        x = trial.params["x"]
        assert curve(client, run_id) == [(1, pytest.approx(x + 1)), (2, pytest.approx(x + 0.5)), (3, pytest.approx(x))]
        run = client.get_run(run_id)
        assert run.info.status == "FINISHED" and float(run.data.params["x"]) == x
        for name in ("duration", "best_validation_mae"):
            assert len(client.get_metric_history(run_id, name)) == 1


@pytest.mark.slow
def test_no_waiting_trial_is_claimed_twice_on_postgresql(postgres_url):
    assert claims(postgres_url, 4) == list(range(80))


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_processes_that_make_the_tables_at_the_same_moment(request, tmp_path, database):
    url = f"sqlite:///{tmp_path / 'o.db'}" if database == "sqlite" else request.getfixturevalue("postgres_url")
    ready, out = FORKS.Barrier(4), FORKS.Queue()
    processes = [FORKS.Process(target=opens, args=(url, ready, out)) for _ in range(4)]
    for process in processes:
        process.start()
    answers = Counter(taken(out, *processes) for _ in processes)
    for process in processes:
        process.join()
    assert answers == {"opened": 4}


def test_a_database_that_goes_away_is_one_message_and_the_study_goes_on_later(client, postgres_server, postgres_url):
    study_run = new_run(client)
    lines: list[str] = []

    def objective(trial, report) -> float:
        if trial.number == 2 and not lines.count("stopped"):
            lines.append("stopped")
            postgres_server.stop()
        return Parabola()(trial, report)

    def search(resume: bool):
        chosen = options(postgres_url, 4, resume=resume)
        return tune(client, chosen, objective, SETTINGS, lambda: study_run, lambda *_: "m-1", say=lines.append)

    try:
        with pytest.raises(RunError, match=r"The storage postgresql://fmce@.* stopped answering: .*--resume"):
            search(resume=False)
    finally:
        postgres_server.start()
    assert client.get_run(study_run).info.status == "FAILED"
    result = search(resume=True)
    study = optuna.load_study(study_name="fmce", storage=open_storage(postgres_url, heartbeat=1, grace=2))
    assert tally(study.trials)["complete"] == 4 and len(children(client, study)) == 4
    assert result.run_id == study_run and client.get_run(study_run).info.status == "FINISHED"
