"""kill -9 at random moments, in real processes: minutes long."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from fmce_mlflow.backbone.resume import stored_options
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.cli.main import main
from fmce_mlflow.errors import RunError
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.uploads.options import UploadOptions
from tests.conftest import fast_options, new_client, new_run
from tests.helpers.faults import REPOSITORY, everything, experiment_run, wait_for
from tests.helpers.faulty_proxy import MODES, Fault, faulty_proxy
from tests.helpers.progress import ended
from tests.helpers.servers import tracking_server
from tests.helpers.trainings import training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.usefixtures("impatient")]
KILLS, LONG, EPOCHS = 20, 60, 15


def undisturbed(folder, empty_store, data, epochs):
    folder.mkdir()
    client = new_client(folder, empty_store)
    run_id = new_run(client)
    train_backbone(Run(client, run_id, lambda _: None), fast_options(training={"epochs": epochs}), data=data)
    return everything(client, run_id)


def killed(process, after, delay):
    """What a process says. It is killed some seconds after so many snapshots, if it has not ended by then."""
    said, seen = [], 0
    killer = threading.Timer(delay, process.kill)
    if after == 0:
        killer.start()
    for line in process.stdout:
        said.append(line)
        seen += "snapshot " in line and "/" in line
        if seen == after and killer.ident is None:
            killer.start()
    process.wait()
    killer.cancel()
    return "".join(said)


@pytest.mark.parametrize("store", ["sqlite", "server"])
def test_kills_at_random_moments_lose_nothing(tmp_path, _empty_store, data, server, store, request):
    """A run is killed until it is complete, then another one, until there were 20 kills."""
    whole = undisturbed(tmp_path / "whole", _empty_store, data, LONG)
    random_moment = random.Random(5)
    kills, runs, at = 0, 0, []
    with faulty_proxy(server) as proxy:
        proxy.delay = 0.02  # so that snapshots are still on disk when the process dies
        client = new_client(tmp_path, _empty_store) if store == "sqlite" else MlflowClient(proxy.uri)
        while kills < KILLS:
            run_id, resume = experiment_run(client), False
            while True:
                with training(client.tracking_uri, run_id, LONG, resume=resume) as process:
                    after = random_moment.randrange(36) if kills < KILLS else -1
                    said = killed(process, after, random_moment.uniform(0.0, 0.6))
                if process.returncode == 0:
                    break
                assert process.returncode == -signal.SIGKILL, said
                kills += 1
                at += re.findall(r"snapshot (\d+)/", said)[-1:] or ["outside"]
                if client.get_run(run_id).info.status == "FINISHED":  # there was nothing left to do but to tidy up
                    at[-1] = "end"
                    break
                try:
                    stored_options(Run(client, run_id))
                    resume = True
                except RunError:  # it had not begun: what a user does is to start it again
                    resume = False
            runs += 1
            found = everything(MlflowClient(server) if store == "server" else client, run_id)
            found["artifacts"] = [path for path in found["artifacts"] if at[-1] != "end" or "checkpoint/" not in path]
            assert found == whole
    for left in (tmp_path / "spool").glob("*"):  # of a run that died after it was closed
        assert (
            store == "server"
            and CliRunner().invoke(main, ["--tracking-uri", server, "sync", str(left)]).exit_code == 0
            and not left.exists()
        )
    print(f"\n{store}: {kills} kills at snapshots {', '.join(at)} of {2 * LONG}; {runs} runs, all equal, 0 lost")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_told_to_stop_closes_its_run(tmp_path, _empty_store, data, server, number):
    whole = undisturbed(tmp_path / "whole", _empty_store, data, 4)
    client = MlflowClient(server)
    run_id = experiment_run(client)
    with training(server, run_id, 4) as process:
        wait_for(process, "snapshot 2/8")
        process.send_signal(number)
        said = ended(process)[0]
    assert f"Stopped. Go on with: fmce train-backbone --resume {run_id}" in said
    assert client.get_run(run_id).info.status == "KILLED"
    train_backbone(Run(client, run_id, lambda _: None), stored_options(Run(client, run_id)), data=data)
    assert everything(client, run_id) == whole


def test_the_command_ends_with_the_signals_code(tmp_path):
    words = "train-backbone --backbone tests.helpers.nets:tiny --modules stage --epochs 500 --cpu".split()
    with subprocess.Popen(
        [sys.executable, "-m", "fmce_mlflow.cli.main", *words], cwd=REPOSITORY, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"},
    ) as process:  # fmt: skip
        try:
            wait_for(process, "snapshot 1/")
            process.terminate()
            out, err = ended(process)
        finally:
            process.kill()
    assert process.returncode == 143 and err.endswith("Error: Stopped.\n") and "--resume" in out


def test_many_faults_lose_nothing(tmp_path, _empty_store, data, server):
    """Random bursts of every kind of fault, at any request of the training and of its completion."""
    whole = undisturbed(tmp_path / "whole", _empty_store, data, EPOCHS)
    dice, tried, survived = random.Random(7), 0, 0
    words = ["PUT", "POST", "GET", "runs/log-batch", "runs/set-tag", "feature_maps/index", "checkpoint", "/stage/"]
    words += ["log-model", "logged-models", "runs/update", "plots", "convergence.json", "runs/get"]
    with faulty_proxy(server) as proxy:
        for _ in range(8):
            run_id, before = experiment_run(MlflowClient(server)), sum(proxy.met.values())
            proxy.faults = [
                Fault(dice.choice(MODES), dice.choice(words), times=dice.randint(1, 3), seconds=2.5) for _ in range(12)
            ]
            options = fast_options(training={"epochs": EPOCHS})
            train_backbone(
                Run(MlflowClient(proxy.uri), run_id, lambda _: None), options, data=data,
                uploads=UploadOptions(patience=120),
            )  # fmt: skip
            proxy.faults = []
            tried += sum(proxy.met.values()) - before
            assert everything(MlflowClient(server), run_id) == whole
            survived = tried
    assert tried > 100 and set(proxy.met) == set(MODES)
    print(f"\n{tried} faults tried, {survived} survived, 0 lost: {dict(proxy.met)}")


def test_a_server_that_is_killed_and_started_again_loses_nothing(tmp_path, _empty_store, data):
    whole = undisturbed(tmp_path / "whole", _empty_store, data, EPOCHS)
    folder = tmp_path / "server"
    folder.mkdir()
    failed: list[BaseException] = []
    with tracking_server(folder, _empty_store) as first, faulty_proxy(first) as proxy:
        run_id = experiment_run(MlflowClient(first))

        def train():
            try:
                options = fast_options(training={"epochs": EPOCHS})
                train_backbone(Run(MlflowClient(proxy.uri), run_id, lines.append), options, data=data)
            except BaseException as error:
                failed.append(error)

        lines: list[str] = []
        thread = threading.Thread(target=train)
        thread.start()
        while not any("snapshot 5/" in line for line in lines):
            time.sleep(0.01)
        proxy.down()
    with tracking_server(folder) as second:
        proxy.server = proxy.server._replace(netloc=second.removeprefix("http://"))
        proxy.up()
        thread.join()
        proxy.down()
        assert not failed and everything(MlflowClient(second), run_id) == whole
