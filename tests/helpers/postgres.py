"""A PostgreSQL server of the tests' own, where its programs are installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path

MISSING = "PostgreSQL's initdb and pg_ctl are not installed, or this is root and there is no user postgres or nobody"


def programs() -> Path | None:
    """The folder of initdb and pg_ctl; Debian keeps them off the path."""
    names = [shutil.which("initdb"), *sorted(glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)]
    folders = [Path(name).resolve().parent for name in names if name]
    return next((folder for folder in folders if (folder / "pg_ctl").exists()), None)


def owner() -> str | None:
    """The user that the server runs as, for it refuses root; empty for this one."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return ""
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known), None)


class Server:
    """A running server that can be stopped and started.

    Attributes:
        url: ``postgresql://…`` of its first database, without password.
    """

    def __init__(self, folder: Path, bin_folder: Path, user: str) -> None:
        self._folder, self._bin, self._user = folder, bin_folder, user
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"postgresql://fmce@127.0.0.1:{self.port}/postgres"
        if user:
            shutil.chown(folder, user)
        self._call("initdb", "--auth=trust", "-U", "fmce", "--encoding=UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        listen = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._call("pg_ctl", "start", "-w", "-l", str(self._folder / "server.log"), "-o", listen)

    def stop(self) -> None:
        self._call("pg_ctl", "stop", "-w", "-m", "immediate")

    def _call(self, name: str, *words: str) -> None:
        done = subprocess.run(
            [str(self._bin / name), "-D", str(self._folder / "data"), *words], cwd="/", user=self._user or None,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PGCTLTIMEOUT": "3600"},  # a busy machine is slow and not broken
        )  # fmt: skip
        assert done.returncode == 0, f"{name}: {done.stderr}"


@contextmanager
def server(bin_folder: Path, user: str) -> Iterator[Server]:
    """A server on a free port of this machine, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="fmce-postgres-") as name:  # pytest's own are closed to other users
        made = Server(Path(name), bin_folder, user)
        made.start()
        try:
            yield made
        finally:
            made.stop()
