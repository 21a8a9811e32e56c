"""What `fmce overview` of 1,000 versions costs: seconds to make the page, its size, and seconds until a browser has it.

    python benchmarks/overview.py

An SQLite store is filled with registered models, straight into its tables; all but one version in fifty have an
evaluation of four modules. The page is made through MLflow's client, from the database and from a tracking server on
this machine, each several times, and opened in Chromium at both widths: until the page is loaded and drawn, and until a
click on a column's head has sorted the longest table.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
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

from fmce_mlflow.showing.overview import read_overview
from fmce_mlflow.showing.overview_page import overview_page
from tests.helpers.browser import opened, show
from tests.helpers.overviews import LAYERS, evaluate
from tests.helpers.servers import tracking_server

REPEATS = 5
DRAWN = "const done = arguments[0]; requestAnimationFrame(() => setTimeout(done))"


def fill(folder: Path, models: int, versions: int) -> None:
    """A store as MLflow writes it: copies of the rows of one version and of its evaluation."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    client.create_experiment("tests")
    client.create_registered_model("model")
    client.create_model_version("model", f"{folder}/model")
    first = evaluate(client, "models:/model/1", {name: 0.9 for name in LAYERS}, **{"fmce.predictor": "bundled"})
    with sqlite3.connect(folder / "mlflow.db") as db:

        def copy(table: str, where: str, changed: dict[str, Callable[[dict[str, object]], object]]) -> None:
            cursor = db.execute(f"select * from {table} where {where}")
            names = [column[0] for column in cursor.description]
            for row in [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]:
                made = {name: changed[name](row) if name in changed else value for name, value in row.items()}
                db.execute(f"insert into {table} values ({','.join('?' * len(names))})", list(made.values()))

        for place in range(models * versions):
            name, number = f"model-{place // versions:03d}", place % versions + 1
            if number == 1:
                copy("registered_models", "name = 'model'", {"name": lambda _, name=name: name})
            version = {"name": lambda _, name=name: name, "version": lambda _, number=number: number}
            copy("model_versions", "name = 'model'", version)
            if place % 50 == 49:
                continue
            run, score = uuid.uuid4().hex, 1 - 0.7 / number
            uri = f"models:/{name}/{number}"
            own = {"run_uuid": lambda _, run=run: run}
            ours = f"run_uuid = '{first}'"
            copy("runs", ours, {**own, "start_time": lambda row, place=place: row["start_time"] + place})
            copy("tags", ours, {**own, "value": lambda row, uri=uri: uri if row["key"] == "fmce.model_uri" else row["value"]})  # fmt: skip # noqa: E501
            value = {"value": lambda row, score=score: score if row["key"].startswith("fmcs_predicted") else row["value"]}  # fmt: skip # noqa: E501
            for table in ("metrics", "latest_metrics"):
                copy(table, ours, {**own, **value})
        db.execute("delete from model_versions where name = 'model'")
        db.execute("delete from registered_models where name = 'model'")


def read(uri: str) -> tuple[dict[str, float], bytes]:
    """Median seconds to read a registry and to make its page, and the page."""
    client, taken = MlflowClient(uri), []
    for _ in range(REPEATS):
        started = time.perf_counter()
        found = read_overview(client)
        between = time.perf_counter()
        page = overview_page(found).encode()
        taken.append((between - started, time.perf_counter() - between))
    reading, making = (statistics.median(values) for values in zip(*taken, strict=True))
    return {"read": reading, "make the page": making}, page


def browse(path: Path, width: int) -> dict[str, float]:
    """Median seconds until a browser has drawn the page, and until it has sorted its longest table."""
    taken = []
    with opened() as browser:
        for _ in range(REPEATS + 1):
            started = time.perf_counter()
            show(browser, path, width=width)
            browser.execute_async_script(DRAWN)
            drawn = time.perf_counter()
            browser.execute_script(
                "document.querySelectorAll('section')[1].querySelectorAll('thead button')[1].click()"
            )
            browser.execute_async_script(DRAWN)
            taken.append((drawn - started, time.perf_counter() - drawn))
    opening, sorting = (statistics.median(values) for values in zip(*taken[1:], strict=True))
    return {f"open, {width} px": opening, f"sort, {width} px": sorting}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--versions", type=int, default=100, help="of each model")
    parser.add_argument("--keep", type=Path, help="file that the page is copied to")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="fmce-") as name:
        folder = Path(name)
        fill(folder, args.models, args.versions)
        seconds, page = read(f"sqlite:///{folder}/mlflow.db")
        print(f"{args.models * args.versions:,} versions of {args.models} models, {len(page) / 1e6:.2f} MB")
        print("\n".join(f"{what + ', sqlite':<24}{value:8.2f} s" for what, value in seconds.items()))
        with tracking_server(folder) as uri:
            print("\n".join(f"{what + ', server':<24}{value:8.2f} s" for what, value in read(uri)[0].items()))
        path = folder / "overview.html"
        path.write_bytes(page)
        for width in (1280, 400):
            print("\n".join(f"{what:<24}{value:8.2f} s" for what, value in browse(path, width).items()))
        if args.keep:
            shutil.copy(path, args.keep)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
