"""What a recording survives: a server that is away, a disk that is full, a run that is gone, and the process's end."""

from __future__ import annotations

import json
import random
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from fmce_mlflow.cli.main import main
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from fmce_mlflow.runs.uploads.options import UploadOptions
from tests.conftest import new_client, new_run
from tests.helpers.faults import everything, experiment_run, wait_for
from tests.helpers.faulty_proxy import faulty_proxy
from tests.helpers.progress import ended
from tests.helpers.recordings import EPOCHS, begun, loop, recording
from tests.helpers.small_training import SOON

pytestmark = pytest.mark.usefixtures("impatient")
AT_ONCE = {"patience": 0, "convergence": replace(SOON, threshold=9.0)}
"""A module has converged by its second drift."""


@pytest.fixture
def proxied(server):
    """A proxy before the server, a client of it, and a run."""
    with faulty_proxy(server) as proxy:
        client = MlflowClient(proxy.uri)
        yield proxy, client, experiment_run(client)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, _empty_store):
    """Everything of the loop's recording, on a local store."""
    client = new_client(tmp_path_factory.mktemp("undisturbed"), _empty_store)
    run_id = new_run(client)
    with begun(client, run_id, lambda line: None) as recorder:
        loop(recorder)
    client.set_terminated(run_id)
    return everything(client, run_id)


def assert_whole(client, run_id, undisturbed, *, without=()):
    """Each snapshot once, and all else, but for some artifacts."""
    if client.get_run(run_id).info.status == "RUNNING":
        client.set_terminated(run_id)
    found = everything(client, run_id)
    expected = {**undisturbed, "artifacts": [path for path in undisturbed["artifacts"] if path not in without]}
    assert found["artifacts"] == expected["artifacts"]
    assert found == expected
    steps = [m.step for m in client.get_metric_history(run_id, "val_loss")]
    assert sorted(steps) == list(range(EPOCHS + 1))


def frozen(client, run_id):
    """What a run says is frozen."""
    found = client.get_run(run_id).data.tags.get("fmce.frozen")
    return found and json.loads(found)


@pytest.mark.parametrize("store", ["sqlite", "server"])
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_process_that_is_killed_goes_on_with_every_snapshot_once(client, undisturbed, store, kills, request):
    uri = client.tracking_uri if store == "sqlite" else request.getfixturevalue("server")
    dice, where = random.Random(3), MlflowClient(uri)
    run_id, left = experiment_run(where), kills
    while left:
        with recording(uri, run_id) as (process, _):
            wait_for(process, f"epoch {dice.randint(1, EPOCHS - 1)}")
            process.kill()
            process.wait()
        assert process.returncode == -signal.SIGKILL and where.get_run(run_id).info.status == "RUNNING"
        left -= 1
    with recording(uri, run_id) as (process, _):
        said = ended(process)[0]
    assert process.returncode == 0 and "are there already" in said, said
    assert_whole(where, run_id, undisturbed)


def test_a_server_that_goes_away_and_comes_back_is_said_once_and_loses_nothing(server, proxied, undisturbed):
    said = []
    proxy, client, run_id = proxied

    def at(epoch):
        if epoch == 3:
            proxy.down()
        if epoch == 6:
            proxy.up()

    with begun(client, run_id, said.append) as recorder:
        loop(recorder, at)
    assert_whole(MlflowClient(server), run_id, undisturbed)
    assert sum("training goes on" in line for line in said) <= 1


def test_more_about_snapshot_0_waits_for_the_server_like_a_snapshot(server, proxied):
    said = []
    proxy, client, run_id = proxied
    with pytest.raises(KeyError), begun(client, run_id, said.append) as recorder:
        recorder.snapshot(miou=0.25)
        raise KeyError
    with begun(client, run_id, said.append) as recorder:
        proxy.down()
        recorder.snapshot(val_loss=7.0)
        proxy.up()
        loop(recorder, epochs=2)
    assert not any("the training goes on" in line for line in said)
    for name, values in {"val_loss": [7.0, 1.0, 0.5], "epoch": [0.0, 1.0, 2.0], "miou": [0.25]}.items():
        found = sorted(MlflowClient(server).get_metric_history(run_id, name), key=lambda metric: metric.step)
        assert [(one.step, one.value) for one in found] == list(enumerate(values))


def test_a_server_that_is_away_when_a_module_freezes_loses_nothing(server, proxied):
    said, there = [], MlflowClient(server)
    proxy, client, run_id = proxied

    def at(epoch):
        if epoch == 3:
            proxy.down()
            assert recorder.freeze_converged() == ("stem",)
            assert frozen(there, run_id) is None
        if epoch == 4:
            proxy.up()

    with begun(client, run_id, said.append, **AT_ONCE) as recorder:
        loop(recorder, at, epochs=5)
        recorder.uploads.drain()
        assert frozen(there, run_id) == {"stem": 3}, "before the end"
    assert not any("does not say yet what is frozen" in line or "not be completed" in line for line in said), said
    assert frozen(there, run_id) == {"stem": 3}
    assert FeatureMapReader(there, run_id).index.snapshots("stem") == tuple(range(6))


@pytest.mark.parametrize("by", ["sync", "record"])
def test_what_was_frozen_after_the_last_snapshot_of_all_is_known_to_whoever_goes_on(server, by, monkeypatch):
    """No snapshot's state has it, and the server did not hear of it."""
    there = MlflowClient(server)
    with faulty_proxy(server) as proxy:
        client = MlflowClient(proxy.uri)
        run_id = experiment_run(client)
        recorder = begun(client, run_id, lambda line: None, **AT_ONCE).__enter__()
        loop(recorder, epochs=3)
        recorder.uploads.drain()
        proxy.down()
        assert recorder.freeze_converged() == ("stem",)
        if by == "sync":
            monkeypatch.setattr(recorder.uploads, "_options", UploadOptions(patience=0.1))
            recorder.finish()
        else:
            recorder.uploads.release()  # as the end of the process does
            recorder._stoppable.close()
        assert frozen(there, run_id) is None
        proxy.up()
        if by == "sync":
            folder = UploadOptions().root / run_id
            ran = CliRunner().invoke(main, ["--tracking-uri", proxy.uri, "sync", str(folder)])
            assert ran.exit_code == 0 and "completing it" in ran.output, ran.output
            assert not folder.exists()
        else:
            with begun(client, run_id, lambda line: None, **AT_ONCE) as recorder:
                assert recorder.frozen == ("stem",)
                assert not any(parameter.requires_grad for parameter in recorder.model.stem.parameters())
    assert frozen(there, run_id) == {"stem": 3}


def test_a_server_that_stays_away_leaves_a_folder_that_sync_completes_the_run_from(server, undisturbed):
    said = []
    with faulty_proxy(server) as proxy:
        client = MlflowClient(proxy.uri)
        run_id = experiment_run(client)
        with begun(client, run_id, said.append, uploads=UploadOptions(patience=1)) as recorder:
            loop(recorder, lambda epoch: proxy.down() if epoch == 3 else None)
        assert recorder.snapshots == EPOCHS + 1 and recorder.ended
        folder = UploadOptions().root / run_id
        assert sum("has taken nothing for 1 s" in line for line in said) == 1
        assert sum(f"fmce sync {folder}" in line for line in said) == 1
        proxy.up()
        ran = CliRunner().invoke(main, ["--tracking-uri", proxy.uri, "sync", str(folder)])
        assert ran.exit_code == 0 and "was recorded to its end; completing it" in ran.output, ran.output
        assert not folder.exists()
        assert_whole(client, run_id, undisturbed, without=["plots/probe_pictures.png", "plots/saliency.png"])


@pytest.mark.parametrize("where", ["feature_maps/stem", "feature_maps/index.json", "checkpoint/slot_0.safetensors"])
def test_an_artifact_folder_that_takes_no_more_stops_nothing_and_leaves_no_half_snapshot(client, where):
    """A folder in a file's place, and a file in a folder's, take nothing, whoever writes; then they are gone again."""
    said, run_id = [], new_run(client)
    root = Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://"))
    aside = root.with_name("aside")

    def at(epoch):
        path = root / where
        if epoch == 3:
            path.rename(aside)
            path.touch() if aside.is_dir() else path.mkdir()
        if epoch == 6:
            path.unlink() if aside.is_dir() else path.rmdir()
            aside.rename(path)

    with begun(client, run_id, said.append) as recorder:
        loop(recorder, at)
    assert sum("was not recorded; the training goes on" in line for line in said) == 1
    assert not any("could not be completed" in line for line in said)
    assert recorder.snapshots == EPOCHS + 1 - 3
    reader = FeatureMapReader(client, run_id)  # its seal is right
    assert reader.index.snapshots("stem") == tuple(range(recorder.snapshots))
    for snapshot in range(recorder.snapshots):
        reader.read("stem", snapshot)
    steps = [m.step for m in client.get_metric_history(run_id, "val_loss")]
    assert sorted(steps) == list(range(recorder.snapshots))


def test_a_folder_that_never_takes_anything_again_leaves_what_was_there(client):
    said, run_id = [], new_run(client)
    root = Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://"))

    def at(epoch):
        if epoch == 3:
            shutil.copytree(root, root.with_name("kept"))
            shutil.rmtree(root)
            root.touch()

    with begun(client, run_id, said.append) as recorder:
        loop(recorder, at)
    assert recorder.snapshots == 4 and sum("the training goes on" in line for line in said) == 1
    assert sum("could not be completed" in line for line in said) == 1
    root.unlink()
    root.with_name("kept").rename(root)
    assert FeatureMapReader(client, run_id).index.snapshots("stem") == (0, 1, 2, 3)
    with begun(client, run_id, said.append) as recorder:
        loop(recorder)
    assert recorder.snapshots == EPOCHS + 1


@pytest.mark.parametrize("store", ["sqlite", "server"])
def test_a_run_that_is_deleted_stops_nothing(client, store, request):
    where, said = client if store == "sqlite" else MlflowClient(request.getfixturevalue("server")), []
    run_id = experiment_run(where)
    with begun(where, run_id, said.append) as recorder:
        loop(recorder, lambda epoch: where.delete_run(run_id) if epoch == 2 else None)
    assert recorder.ended
    told = [line for line in said if "deleted" in line or "must be in the 'active' state" in line]
    assert 1 <= len(told) <= 3, said
    where.restore_run(run_id)
    if store == "server":
        ran = CliRunner().invoke(
            main, ["--tracking-uri", where.tracking_uri, "sync", str(UploadOptions().root / run_id)]
        )
        assert ran.exit_code == 0, ran.output
    FeatureMapReader(where, run_id).read("stem", 1)


@pytest.mark.parametrize("store", ["sqlite", "server"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_told_to_stop_closes_its_own_run(client, undisturbed, store, number, request):
    uri = client.tracking_uri if store == "sqlite" else request.getfixturevalue("server")
    if store == "server" and MlflowClient(uri).get_experiment_by_name("tests") is None:
        experiment_run(MlflowClient(uri))
    with recording(uri) as (process, run_id):
        wait_for(process, "epoch 2")
        process.send_signal(number)
        said = ended(process)[0]
    where = MlflowClient(uri)
    assert where.get_run(run_id).info.status == "KILLED" and f"Go on with record(…, run_id='{run_id}')" in said
    with begun(where, run_id, lambda line: None) as recorder:
        loop(recorder)
    assert_whole(where, run_id, undisturbed)


@pytest.mark.parametrize("store", ["sqlite", "server"])
def test_a_recording_that_nobody_ended_goes_on_though_mlflow_has_closed_its_run(client, undisturbed, store, request):
    """MLflow gives an active run the status FINISHED when the interpreter ends."""
    uri = client.tracking_uri if store == "sqlite" else request.getfixturevalue("server")
    with recording(uri, ending="forgotten") as (process, run_id):
        said = ended(process)[0]
    where = MlflowClient(uri)
    assert process.returncode == 0 and where.get_run(run_id).info.status == "FINISHED", said
    with begun(where, run_id, lambda line: None) as recorder:
        assert recorder.snapshots == 5 and where.get_run(run_id).info.status == "RUNNING"
        loop(recorder)
    assert_whole(where, run_id, undisturbed)
    assert not (UploadOptions().root / run_id).exists()


def test_what_waits_for_a_run_that_mlflow_has_closed_is_uploaded(server, undisturbed):
    """The server comes back after the training, and only for MLflow's last word."""
    with faulty_proxy(server) as proxy:
        client = MlflowClient(proxy.uri)
        run_id = experiment_run(client)
        recorder = begun(client, run_id, lambda line: None, uploads=UploadOptions(patience=1)).__enter__()
        loop(recorder, lambda epoch: proxy.down() if epoch == 2 else None, epochs=5)
        recorder.uploads.release()  # as the end of the process does
        recorder._stoppable.close()
        there, folder = MlflowClient(server), UploadOptions().root / run_id
        there.set_terminated(run_id, "FINISHED")
        assert len(list(folder.glob("snapshot_*"))) >= 3
        proxy.up()
        ran = CliRunner().invoke(main, ["--tracking-uri", proxy.uri, "sync", str(folder)])
        assert ran.exit_code == 0 and f"Run {run_id} is closed: KILLED" in ran.output, ran.output
        with begun(client, run_id, lambda line: None) as recorder:
            assert recorder.snapshots == 6
            loop(recorder)
        assert_whole(client, run_id, undisturbed)
    assert mlflow.active_run() is None
