"""A real MLflow tracking server for tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tests.helpers.progress import until


@contextmanager
def tracking_server(folder: Path, empty_store: Path | None = None, **environment: str) -> Iterator[str]:
    """The URI of a server that keeps everything below a folder and serves artifacts; its log is folder/log.

    It begins with a copy of an empty store, where one is given: to make the tables takes it seconds.
    """
    if empty_store is not None:
        shutil.copy(empty_store, folder / "mlflow.db")
        with closing(sqlite3.connect(folder / "mlflow.db")) as store, store:
            store.execute("PRAGMA journal_mode = WAL")  # waits for the disk once a commit, not four times
            # Else artifacts would pass the server by.
            store.execute("UPDATE experiments SET artifact_location = 'mlflow-artifacts:/' || experiment_id")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
                "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "kept"),
                "--serve-artifacts",
            ],
            stdout=log, stderr=log, start_new_session=True, env={**os.environ, **environment},
        )  # fmt: skip
        try:

            def answers() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                with suppress(OSError):
                    return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5))
                return False

            until(answers, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # nothing of it is needed any more
            process.wait()
