"""Snapshots on their way to a real `mlflow server` that fails in every way."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import threading
import time
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import Metric

from fmce_mlflow.backbone.resume import stored_options
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.cli.main import main
from fmce_mlflow.errors import ArtifactError, RunError, UploadError
from fmce_mlflow.runs import checkpoint_slots as checkpoint
from fmce_mlflow.runs.checkpoint_slots import Pointer, publish
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.uploads import spool
from fmce_mlflow.runs.uploads.options import UploadOptions
from fmce_mlflow.runs.uploads.remote import RemoteUploads
from fmce_mlflow.runs.uploads.spool import Spool
from fmce_mlflow.runs.uploads.uploader import replay
from fmce_mlflow.safety import retry
from tests.conftest import fast_options
from tests.helpers.faults import everything, experiment_run
from tests.helpers.faulty_proxy import MODES, Fault, faulty_proxy
from tests.helpers.progress import until


@pytest.fixture(autouse=True)
def own_server(impatient, monkeypatch):
    before = mlflow.get_tracking_uri()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    mlflow.set_tracking_uri(before)


@pytest.fixture
def proxy(server):
    with faulty_proxy(server) as made:
        yield made


@pytest.fixture
def remote(proxy):
    return MlflowClient(proxy.uri)


@pytest.fixture
def train(remote, data):
    """Trains in a run on the proxy; returns the run and what was said, and calls back at every line."""

    def run(at=lambda line: None, run_id=None, resume=False, **options):
        said, run_id = [], run_id or experiment_run(remote)
        chosen = stored_options(Run(remote, run_id)) if resume else fast_options()

        def say(line):
            said.append(line)
            at(line)

        train_backbone(Run(remote, run_id, say), chosen, data=data, uploads=UploadOptions(**options))
        return run_id, said

    return run


def spool_of(run_id):
    return UploadOptions().root / run_id


def begun(action):
    """A listener that acts once the run has begun to train."""
    done = []

    def listen(line):
        if "Will write" in line and not done:
            done.append(action())

    return listen


def fmce(*words):
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # which the command before has set
    result = CliRunner().invoke(main, words, prog_name="fmce")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def test_a_run_survives_a_fault_of_every_kind(server, train, proxy, whole):
    places = [
        "PUT /api/2.0/mlflow-artifacts",
        "runs/set-tag",
        "runs/log-batch",
        "feature_maps/index",
        "checkpoint/slot",
    ]
    faults = [Fault(mode, places[i % len(places)], times=1) for i, mode in enumerate(MODES)]
    run_id, said = train(begun(lambda: proxy.faults.extend(faults)))
    assert everything(MlflowClient(server), run_id) == whole
    assert dict(proxy.met) == dict.fromkeys(MODES, 1)
    assert not spool_of(run_id).exists()
    assert any("training goes on" in line for line in said) and "MLflow takes uploads again." in said


@pytest.mark.parametrize(
    ("word", "times"),
    [
        ("PUT", 12),
        ("/feature_maps/stage/", 3),
        ("/feature_maps/index.json", 2),
        ("/checkpoint/slot_1", 2),
        ("/options.json", 1),
        ("/convergence.json", 2),
        ("/plots/saliency.png", 1),
        ("/MLmodel", 2),
    ],
)
def test_what_is_taken_by_a_page_in_the_servers_place_is_sent_again(server, train, proxy, whole, word, times):
    """A firewall answers uploads with 200 and a page; where artifacts are read or listed, with a page too."""
    client = MlflowClient(server)
    run_id = experiment_run(client)
    proxy.faults.append(Fault("page", word, times=times))
    _, said = train(run_id=run_id)
    assert proxy.met["page"] == times
    assert everything(client, run_id) == whole and not spool_of(run_id).exists()
    assert any("does not have" in line for line in said)


def test_what_a_page_takes_for_good_stays_on_disk(server, train, proxy):
    run_id = experiment_run(MlflowClient(server))
    with pytest.raises(UploadError, match=r"does not have feature_maps/stage/(.|\n)*7 snapshots(.|\n)*fmce sync"):
        train(begun(lambda: proxy.faults.append(Fault("page", "PUT", times=10**6))), run_id, patience=1)
    assert len(list(spool_of(run_id).rglob("*.safetensors"))) >= 8, "all maps and the last checkpoint"
    proxy.faults.clear()
    assert fmce("sync", str(spool_of(run_id))).exit_code == 0
    assert MlflowClient(server).get_run(run_id).info.status == "FINISHED"


def test_looking_costs_a_listing_for_each_folder_and_batch(out, proxy, tmp_path):
    """Ten snapshots that wait are looked at together: maps, index and checkpoint by one request each."""
    proxy.down()
    for snapshot in range(11):
        record(out, snapshot, 10, tmp_path)
    proxy.up()
    out.drain()
    listings = [request for request in proxy.seen if "artifacts?path=" in request]
    assert 1 <= len(listings) <= 2 * 3, listings


@pytest.mark.slow
def test_training_goes_on_while_the_server_is_away(server, train, proxy, whole):
    """All snapshots are taken before the server comes back."""
    counts = []

    def back():
        counts.append(len(list(spool_of(run_id).glob("snapshot_*"))))
        proxy.up()

    def listen(line):
        if "Will write" in line:
            proxy.down()
        if "snapshot 6/6" in line:
            threading.Timer(0.5, back).start()

    run_id = experiment_run(MlflowClient(server))
    train(listen, run_id)
    assert counts == [7]
    assert everything(MlflowClient(server), run_id) == whole


def test_sync_completes_a_run_whose_server_did_not_come_back(server, train, proxy, whole):
    run_id = experiment_run(MlflowClient(server))
    with pytest.raises(UploadError, match=rf"for 1 s(.|\n)*7 snapshots(.|\n)*fmce sync \S+{run_id}"):
        train(begun(proxy.down), run_id, patience=1)
    folder = spool_of(run_id)
    assert len(list(folder.glob("snapshot_*"))) == 7 and MlflowClient(server).get_run(run_id).info.status == "RUNNING"
    away = fmce("sync", str(folder))
    assert away.exit_code == 1 and "Error: MLflow at" in away.output and len(list(folder.glob("snapshot_*"))) == 7
    proxy.up()
    done = fmce("sync", str(folder))
    assert done.exit_code == 0 and "uploaded 7 snapshots" in done.output and "FINISHED" in done.output
    assert everything(MlflowClient(server), run_id) == whole and not folder.exists()
    again = fmce("sync")
    assert again.exit_code == 0 and "Nothing waits in" in again.output
    lost = fmce("sync", str(folder))
    assert lost.exit_code == 1 and "There is no" in lost.output


@pytest.mark.slow
def test_the_server_goes_away_before_the_run_is_completed(server, train, proxy, whole):
    """All snapshots are there, the models and the status are not."""
    run_id = experiment_run(MlflowClient(server))
    with pytest.raises(UploadError, match=r"0 snapshots(.|\n)*fmce sync"):
        train(lambda line: proxy.down() if "onverged" in line else None, run_id, patience=1)
    proxy.up()
    assert fmce("sync", str(spool_of(run_id))).exit_code == 0
    assert everything(MlflowClient(server), run_id) == whole


def test_a_stopped_run_leaves_its_snapshots_on_disk_and_goes_on_with_them(server, proxy, train, whole, monkeypatch):
    """SIGTERM while the server is away; --resume begins with what waits."""
    monkeypatch.setattr("fmce_mlflow.backbone.finish.GRACE", 0.3)
    run_id = experiment_run(MlflowClient(server))

    def listen(line):
        if "Will write" in line:
            proxy.down()
        if "snapshot 3/6" in line:
            signal.raise_signal(signal.SIGTERM)

    said = []
    with pytest.raises(KeyboardInterrupt):
        train(lambda line: (said.append(line), listen(line)), run_id)
    assert f"Stopped. Go on with: fmce train-backbone --resume {run_id}" in said
    assert f"fmce sync {spool_of(run_id)}" in said[-1] and "4 snapshots" in said[-1]
    proxy.up()
    _, lines = train(run_id=run_id, resume=True)
    assert any("Uploading what waits" in line for line in lines)
    assert any("going on after snapshot 3" in line for line in lines)
    assert everything(MlflowClient(server), run_id) == whole


@pytest.mark.slow
def test_a_failed_run_that_is_synced_is_closed_as_it_ended(server, proxy, train, whole):
    run_id, client = experiment_run(MlflowClient(server)), MlflowClient(server)

    def listen(line):
        if "Will write" in line:
            proxy.down()
        if "snapshot 2/6" in line:
            raise RuntimeError("a mistake of ours")

    with pytest.raises(RuntimeError):
        train(listen, run_id, patience=0.5)
    proxy.up()
    done = fmce("sync", str(spool_of(run_id).parent))
    assert done.exit_code == 0 and f"--resume {run_id}" in done.output
    assert client.get_run(run_id).info.status == "FAILED" and not spool_of(run_id).exists()
    assert [m.step for m in client.get_metric_history(run_id, "train_loss")] == [0, 1, 2]
    train(run_id=run_id, resume=True)
    assert everything(client, run_id) == whole


@pytest.mark.slow
def test_a_folder_of_a_run_that_went_on_elsewhere_changes_nothing(server, proxy, train, whole, tmp_path):
    run_id = experiment_run(MlflowClient(server))
    with pytest.raises(UploadError):
        train(begun(proxy.down), run_id, patience=0.5)
    proxy.up()
    elsewhere = {"folder": str(tmp_path / "elsewhere")}
    train(run_id=run_id, resume=True, **elsewhere)
    assert everything(MlflowClient(server), run_id) == whole
    assert fmce("sync", str(spool_of(run_id))).exit_code == 0
    assert everything(MlflowClient(server), run_id) == whole


def test_a_deleted_run_ends_the_training_with_a_clear_error(server, train, proxy):
    client = MlflowClient(server)
    run_id = experiment_run(client)
    with pytest.raises(UploadError, match=r"refuses what run (.|\n)* deleted, restore it(.|\n)*fmce sync"):
        train(lambda line: client.delete_run(run_id) if "snapshot 2/6" in line else None, run_id, patience=20)
    client.restore_run(run_id)
    _, lines = train(run_id=run_id, resume=True)
    assert any("going on after snapshot" in line for line in lines)
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_disk_that_takes_no_snapshot_any_more_closes_the_run(server, train, proxy, whole):
    """Neither the snapshot nor the status can be written; the server is there."""
    client = MlflowClient(server)
    run_id = experiment_run(client)

    def listen(line):
        if "snapshot 1/6" in line:
            (spool_of(run_id) / "snapshot_00002.part").touch()
            (spool_of(run_id) / "close.json").mkdir()

    with pytest.raises(ArtifactError, match=rf"cannot be kept in .*--spool-folder .*--resume {run_id}"):
        train(listen, run_id)
    assert client.get_run(run_id).info.status == "FAILED" and not spool_of(run_id).exists()
    train(run_id=run_id, resume=True)
    assert everything(client, run_id) == whole


def test_a_run_whose_uploads_are_over_is_closed_all_the_same(server, train, proxy):
    """What waits was damaged: its thread has ended, and the server takes the status."""
    run_id = experiment_run(MlflowClient(server))

    def listen(line):
        if "Will write" in line:
            proxy.down()
        if "snapshot 2/6" in line:
            for path in spool_of(run_id).rglob("feature_maps/stage/*.safetensors"):
                path.write_bytes(b"damaged")
            proxy.up()

    with pytest.raises(UploadError, match=r"is damaged or was changed"):
        train(listen, run_id)
    assert MlflowClient(server).get_run(run_id).info.status == "FAILED"


# The folder and its bound


@pytest.fixture
def out(remote, request):
    """At most 1 MiB may wait, and for a minute; a test's parameter is another patience in seconds."""
    options = UploadOptions(limit=1, patience=getattr(request, "param", 60))
    made = RemoteUploads(Run(remote, experiment_run(remote), lambda _: None), options)
    yield made
    made._uploader.stop()


def record(out, snapshot, size, tmp_path):
    """Log a snapshot of one file in place of maps."""
    with out.snapshot(snapshot) as sink:
        for name, folder in (("snapshot.bin", "feature_maps/stage"), ("index.json", "feature_maps")):
            path = Path(tmp_path, name)
            path.write_bytes(bytes(size if name.endswith("bin") else 10))
            sink.log_artifact("", str(path), folder)
        path = Path(tmp_path, "slot_0.safetensors")
        path.write_bytes(bytes(1000))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        publish(sink, "", path, Pointer(path.name, snapshot, sha256))
        sink.log_batch("", metrics=[Metric("loss", float(snapshot), 1000 + snapshot, snapshot)])


def test_training_waits_where_the_limit_would_be_passed(out, proxy, tmp_path):
    proxy.down()
    for snapshot in range(3):
        out.make_room()
        record(out, snapshot, 300_000, tmp_path)
    assert 900_000 < out._spool.bytes <= 2**20
    threading.Timer(0.7, proxy.up).start()
    began = time.monotonic()
    out.make_room()
    assert time.monotonic() - began > 0.5
    out.drain()
    assert out._spool.units == []


@pytest.mark.parametrize("out", [1], indirect=True)
def test_a_wait_for_room_ends_with_the_patience(out, proxy, tmp_path):
    proxy.down()
    record(out, 0, 600_000, tmp_path)
    with pytest.raises(UploadError, match=r"1 s and the folder's limit is reached(.|\n)*1 snapshot, 0\.6 MiB"):
        out.make_room()


def test_who_waits_does_not_wait_for_the_pause_after_an_earlier_failure(out, proxy, tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_WAIT", 1000.0)
    proxy.down()
    record(out, 0, 10, tmp_path)
    until(lambda: out._uploader.failure is not None)
    proxy.up()
    out.drain()
    assert out._spool.empty


@pytest.mark.parametrize("out", [0.01], indirect=True)
def test_patience_begins_with_the_first_failure(out, proxy):
    """What is completed at the end may take longer than the patience, and then fail once."""
    run_id, tries = out._run.id, []

    def slow():
        tries.append(time.sleep(0.05))
        out._run.client.set_tag(run_id, "tried", len(tries))

    proxy.faults.append(Fault("500", "set-tag", times=2))  # for MLflow tries twice
    out.persist(slow)
    assert out._run.fetch().data.tags["tried"] == "2"


def test_tags_wait_on_disk_and_are_set_before_the_next_snapshot(out, proxy, tmp_path):
    proxy.down()
    out.tag("fmce.a", "1", 0)
    out.tag("fmce.b", "2", 0)
    out.tag("fmce.a", "3", 1)
    record(out, 1, 10, tmp_path)
    assert spool._read_tags(spool_of(out._run.id) / spool.TAGS) == {"fmce.a": ("3", 1), "fmce.b": ("2", 0)}
    proxy.seen.clear()
    proxy.up()
    out.drain()
    tags = out._run.fetch().data.tags
    assert (tags["fmce.a"], tags["fmce.b"]) == ("3", "2")
    assert not (spool_of(out._run.id) / spool.TAGS).exists()
    first = next(i for i, request in enumerate(proxy.seen) if request.startswith("PUT"))
    assert sum("set-tag" in request for request in proxy.seen[:first]) == 2, proxy.seen


def test_tags_that_wait_do_not_take_the_place_of_those_of_a_run_that_went_on_elsewhere(remote, tmp_path):
    run = Run(remote, experiment_run(remote), lambda _: None)
    run.set_tags({checkpoint.TAG: Pointer("slot_0.safetensors", 4, "0" * 64).to_json(), "fmce.a": "theirs"})
    for key, snapshot in (("fmce.a", 3), ("fmce.b", 4)):
        held = Spool(tmp_path / "spool" / run.id, run.id, remote.tracking_uri)
        held.keep_tag(key, "ours", snapshot)
        held.release()
        held = Spool(tmp_path / "spool" / run.id, run.id, remote.tracking_uri)
        replay(run, held)
        assert held.empty and not (held.folder / spool.TAGS).exists()
        held.release()
    tags = run.fetch().data.tags
    assert (tags["fmce.a"], tags["fmce.b"]) == ("theirs", "ours")


@pytest.mark.parametrize("text", ["[]", "{}", '{"format_version": 1, "tags": [["a", "b"]]}', '{"format_version": 2}'])
def test_tags_that_wait_and_are_damaged_are_an_error_that_names_them(tmp_path, text):
    Spool(tmp_path, "run", "http://there").release()
    (tmp_path / spool.TAGS).write_text(text)
    with pytest.raises(ArtifactError, match=r"tags\.json"):
        Spool(tmp_path, "run", "http://there")


def test_one_snapshot_larger_than_the_limit_may_wait(out, proxy, tmp_path):
    out.make_room()
    record(out, 0, 2 * 2**20, tmp_path)
    out.make_room()
    assert out._spool.units == []


def test_only_the_last_snapshot_keeps_its_checkpoint(out, proxy, tmp_path):
    proxy.down()
    for snapshot in range(4):
        record(out, snapshot, 10, tmp_path)
        time.sleep(0.1)  # the thread has taken the first one
    assert [unit.checkpoint is not None for unit in out._spool.units] == [True, False, False, True]
    proxy.up()
    out.drain()
    pointer = checkpoint.pointer(out._run)
    assert pointer.snapshot == 3
    assert [m.step for m in out._run.client.get_metric_history(out._run.id, "loss")] == [0, 1, 2, 3]


def test_a_checkpoint_never_goes_into_the_slot_in_use(out, proxy, tmp_path):
    used = []
    for snapshot in (0, 2, 4, 5, 7):
        record(out, snapshot, 10, tmp_path)
        out.drain()
        used.append(checkpoint.pointer(out._run).slot)
    assert all(a != b for a, b in itertools.pairwise(used))


def test_a_snapshot_that_was_being_written_is_dropped_and_whole_ones_are_kept(tmp_path):
    first = Spool(tmp_path / "run", "run", "http://user:secret@host/")
    folder = first.begin(0)
    (folder / "a").write_bytes(b"abc")
    first.commit(folder, [("loss", 0.1 + 0.2, 7, 0)], None)
    first.begin(1).joinpath("b").write_bytes(b"abc")
    with pytest.raises(RunError, match="another process"):
        Spool(tmp_path / "run", "run", "http://host/")
    first.release()
    with pytest.raises(RunError, match="belongs to run run"):
        Spool(tmp_path / "run", "other", "http://host/")
    second = Spool(tmp_path / "run", "run", "http://host/")
    assert [(unit.snapshot, unit.metrics) for unit in second.units] == [(0, [("loss", 0.1 + 0.2, 7, 0)])]
    assert not list((tmp_path / "run").glob("*.part"))
    assert "secret" not in (tmp_path / "run" / "run.json").read_text()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 1, "snapshot": "x", "metrics": 3}'])
def test_a_damaged_folder_is_an_error_that_names_it(tmp_path, text):
    run = Spool(tmp_path, "run", "http://host/")
    run.commit(run.begin(0), [], None)
    run.release()
    (tmp_path / "snapshot_00000" / "unit.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"unit\.json"):
        Spool(tmp_path, "run", "http://host/")


def test_what_is_no_spool_cannot_be_synced(tmp_path):
    (tmp_path / "some file").touch()
    result = fmce("sync", str(tmp_path))
    assert result.exit_code == 1 and "this is not a folder of a run that waits" in result.output
    Spool(tmp_path / "spool" / "0123", "0123", "sqlite:///" + str(tmp_path / "mlflow.db")).release()
    result = fmce("sync", str(tmp_path / "spool"))
    assert result.exit_code == 1 and "There is no run 0123" in result.output


def test_a_folder_that_cannot_be_made_is_told_before_training(remote, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match=r"cannot be kept in .*file.*--spool-folder"):
        RemoteUploads(Run(remote, "0123", print), UploadOptions(folder=str(tmp_path / "file")))


def test_options_out_of_range_are_all_named():
    words = ["--spool-limit", "0", "--upload-patience", "-1", "--epochs", "0"]
    result = fmce("train-backbone", *words)
    assert result.exit_code == 2
    for name in ("spool-limit", "upload-patience", "epochs"):
        assert name in result.output


def test_closing_status_and_layout_are_read_back(tmp_path):
    run = Spool(tmp_path, "run", "http://host/")
    assert spool.closing_status(tmp_path) is None
    run.close_later("KILLED")
    assert spool.closing_status(tmp_path) == "KILLED"
    run.remove()
    assert not tmp_path.exists()
