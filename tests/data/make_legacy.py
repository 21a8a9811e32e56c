"""Makes `legacy/`: what commit 64b2078 wrote, the last release before every file moved to its room.

Run it on a checkout of that commit, never on a later one::

    PYTHONPATH=CHECKOUT python tests/data/make_legacy.py

Databases become SQL text. A path of this machine becomes `@LEGACY@` (the folder itself), the URL of the tracking server
`@SERVER@`; `tests/helpers/legacy.py` puts them back.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE / "legacy"
FMCE = "from fmce_mlflow.cli import main; main(prog_name='fmce')"
BACKBONE = [
    "--backbone", "tests.data.legacy_net:tiny", "--modules", "stage", "--image-size", "8", "--train-size", "96",
    "--validation-size", "40", "--probe-size", "16", "--epochs", "4", "--snapshots-per-epoch", "2",
    "--batch-size", "16", "--lr", "0.05", "--cpu", "true",
]  # fmt: skip
LABELS = ["--levels", "3", "--threshold", "0.25", "--smoothing", "0", "--window", "1"]
NET = ["--bag-size", "8", "--bags-per-map", "2", "--folds", "2", "--epochs", "12", "--baselines", "false"]
IMPATIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
}


class Maker:
    """Runs commands of the old release in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = f"sqlite:///{folder / 'mlflow.db'}"

    def start(self, *words: str, uri: str = "") -> subprocess.Popen[str]:
        """A command of the old release, its output a pipe."""
        paths = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), str(HERE.parents[1])]
        environment = {**os.environ, **IMPATIENT, "PYTHONPATH": os.pathsep.join(paths)}
        environment |= {"MLFLOW_TRACKING_URI": uri or self.store, "MLFLOW_TRACKING_USERNAME": "", "LOGNAME": "legacy"}
        return subprocess.Popen(
            [sys.executable, "-c", FMCE, *words],
            cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def fmce(self, *words: str) -> None:
        """A command that must succeed."""
        process = self.start(*words)
        said, _ = process.communicate()
        print(said)
        assert process.returncode == 0, said

    def runs(self, database: str = "mlflow.db") -> list[str]:
        """Ids of all runs that no other run has below it, in order."""
        with closing(sqlite3.connect(self.folder / database)) as connection:
            rows = connection.execute(
                "select run_uuid from runs where run_uuid not in "
                "(select run_uuid from tags where key = 'mlflow.parentRunId') order by start_time"
            )
            return [str(row[0]) for row in rows]

    def kill(self, word: str) -> None:
        """A training that is killed once it has said a word."""
        process = self.start("train-backbone", *BACKBONE, *LABELS, "--seed", "0", "--model-format", "pickle")
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="")
            if word in line:
                process.kill()
        process.wait()
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed"

    def strand(self) -> str:
        """A training to its end whose server went away in its middle: what is on disk waits for `fmce sync`."""
        with server(self.folder / "server") as (uri, serving):
            words = ["--seed", "0", "--model-format", "pickle", "--upload-patience", "3"]
            words += ["--spool-folder", str(self.folder / "spool")]
            process = self.start("train-backbone", *BACKBONE, *LABELS, *words, uri=uri)
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="")
                if "snapshot 2/8" in line:
                    os.killpg(serving.pid, signal.SIGKILL)
            process.wait()
            assert process.returncode == 1, "it should have found no server"
        return uri


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An MLflow server that keeps everything in a folder."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", "--serve-artifacts",
            "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder / "kept"),
        ],
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError:
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def make(maker: Maker) -> dict[str, object]:
    """Everything; returns what the test has to know of it."""
    about: dict[str, object] = {}
    maker.fmce("train-backbone", *BACKBONE, *LABELS, "--seed", "0", "--register-as", "legacy")
    maker.fmce("train-backbone", *BACKBONE, *LABELS, "--seed", "1", "--model-format", "pickle")
    maker.fmce("train-backbone", *BACKBONE, *LABELS, "--seed", "2", "--model-format", "pickle", "--keep", "markers")
    about["backbones"] = maker.runs()
    maker.fmce("build-fmcs", "--source-runs", ",".join(maker.runs()), *LABELS)
    about["fmcs_dataset"] = maker.runs()[-1]
    maker.fmce("train-fmce-net", *NET, "--width", "16", "--members", "1", "--register-as", "legacy-set")
    about["set"] = maker.runs()[-1]
    outline = ["--net", "outline", "--protocol", "images", "--features", "8", "--blocks", "1", "--heads", "2"]
    maker.fmce("train-fmce-net", *NET, *outline, "--register-as", "legacy-outline")
    about["outline"] = maker.runs()[-1]
    space = {"width": 16, "depth": 1, "bag_size": 8, "bags_per_map": 2, "epochs": 12, "statistics": "both"}
    study = ["--trials", "3", "--members", "1", "--folds", "2", "--storage", "sqlite:///optuna.db"]
    maker.fmce("tune-fmce-net", *study, "--space", json.dumps(space), "--register-as", "legacy-tuned")
    about["study"] = maker.runs()[-1]
    for kind in ("set", "outline"):
        words = ["--model", "models:/legacy/1", "--predictor", f"models:/legacy-{kind}/1", "--modules", "stage"]
        maker.fmce("evaluate", *words, "--bag-size", "8", "--saliency", "false", "--probe-size", "64")
        about[f"evaluation_{kind}"] = maker.runs()[-1]
    maker.kill("snapshot 3/8")
    about["killed"] = maker.runs()[-1]
    about["server"] = maker.strand()
    about["stranded"] = maker.runs("server/mlflow.db")[-1]
    return about


def neutral(folder: Path, places: dict[str, str]) -> None:
    """Databases as SQL text, and no path of this machine anywhere."""
    for database in folder.rglob("*.db"):
        with closing(sqlite3.connect(database)) as connection:
            database.with_suffix(".sql").write_text("\n".join(connection.iterdump()) + "\n")
        database.unlink()
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.suffix in (".png", ".html", ".lock") or path.name == "lock":  # large, and never read again
            path.unlink()
        elif path.suffix == ".pt2":
            rewrite_archive(path, places)
        else:
            path.write_bytes(replaced(path.read_bytes(), places))


def rewrite_archive(path: Path, places: dict[str, str]) -> None:
    """The stack traces of an exported program name the files of its exporter."""
    with zipfile.ZipFile(path) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in entries:
            archive.writestr(info.filename, replaced(data, places))


def replaced(data: bytes, places: dict[str, str]) -> bytes:
    """Some bytes with each place's name for the place."""
    for place, name in places.items():
        data = data.replace(place.encode(), name.encode())
    return data


def main() -> None:
    """Make the folder anew."""
    with tempfile.TemporaryDirectory(prefix="legacy") as temporary:
        folder = Path(temporary).resolve()
        about = make(Maker(folder))
        (folder / "mlruns").rename(folder / "artifacts")  # git ignores what is named mlruns
        places = {f"{folder}/mlruns": "@LEGACY@/artifacts", str(folder): "@LEGACY@"}
        places |= {str(about.pop("server")): "@SERVER@"}
        places |= {sys.prefix: "/environment", sys.base_prefix + "/lib": "/python", str(HERE.parents[1]): "/repository"}
        places |= {path: "/release" for path in os.environ["PYTHONPATH"].split(os.pathsep) if path}
        neutral(folder, places)
        (folder / "about.json").write_text(json.dumps(about, indent=2) + "\n")
        shutil.rmtree(TARGET, ignore_errors=True)
        shutil.copytree(folder, TARGET)


if __name__ == "__main__":
    main()
