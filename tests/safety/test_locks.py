"""Locks between processes, and the lock on an SQLite file whose tables are made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from fmce_mlflow.cli import runs as cli_runs
from fmce_mlflow.cli.main import main
from fmce_mlflow.errors import BusyError
from fmce_mlflow.safety.locks import hold

HOLDS = """
import sys, time
from pathlib import Path
from fmce_mlflow.safety.locks import hold
held = hold(Path(sys.argv[1]), "busy")
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds a lock."""
    with subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path / "lock"], stdout=subprocess.PIPE, text=True) as made:
        assert made.stdout.readline() == "held\n"
        yield made
        made.kill()


def test_a_lock_is_another_processes_until_that_ends_however_it_ends(holder, tmp_path):
    with pytest.raises(BusyError, match="somebody works here"):
        hold(tmp_path / "lock", "somebody works here")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    hold(tmp_path / "lock", "busy").release()


def test_a_wait_is_told_and_ends(holder, tmp_path, monkeypatch):
    monkeypatch.setattr("fmce_mlflow.safety.locks.MOMENT", 0.05)
    told = []
    with pytest.raises(BusyError, match="too long"):
        hold(tmp_path / "lock", "too long", patience=0.2, waiting=lambda: told.append("waiting"))
    assert told == ["waiting"]


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return home


def promote(uri):
    return CliRunner().invoke(main, ["--tracking-uri", uri, "promote", "--model", "models:/x/1", "--alias", "a"])


def test_the_lock_of_a_database_lies_in_the_users_own_folder_and_its_wait_ends(client, own_home, monkeypatch):
    before = set(Path(tempfile.gettempdir()).glob("fmce-*.lock"))
    promote(client.tracking_uri)
    assert set(Path(tempfile.gettempdir()).glob("fmce-*.lock")) == before
    (lock,) = own_home.rglob("*.lock")
    assert lock.parent.stat().st_mode & 0o077 == 0, "nobody else can hold it"
    monkeypatch.setattr("fmce_mlflow.safety.locks.MOMENT", 0.05)
    monkeypatch.setattr(cli_runs, "PATIENCE", 0.2)
    held = hold(lock, "busy")
    result = promote(client.tracking_uri)
    held.release()
    assert result.exit_code == 1 and result.output.count(str(lock)) == 2, result.output
    assert "Waiting for another command" in result.output and "Wait for it, or stop it" in result.output


@pytest.mark.parametrize("home", ["/dev/null", "/proc"])
def test_where_there_is_no_place_for_a_lock_there_is_none(client, own_home, monkeypatch, home):
    monkeypatch.setenv("HOME", home)
    result = promote(client.tracking_uri)
    assert result.exit_code == 1 and "no registered model" in result.output, result.output
    assert isinstance(MlflowClient(client.tracking_uri).search_experiments(), list) and not os.listdir(own_home)
