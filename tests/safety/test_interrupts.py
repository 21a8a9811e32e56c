"""Ctrl-C, SIGTERM and disks that do not take what is logged, on a local store."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from fmce_mlflow.backbone import resume as checkpoint
from fmce_mlflow.backbone.resume import stored_options
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.cli.main import friendly_errors, main
from fmce_mlflow.runs import checkpoint_slots
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from fmce_mlflow.runs.run import Run
from fmce_mlflow.safety.interrupts import Terminated, held, raise_held, released, stoppable
from tests.conftest import fast_options, new_client, new_run
from tests.helpers.faults import everything


@pytest.fixture
def _hanging_up():
    """SIGHUP's own handler, also where the tests were started with nohup, which has it ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_hanging_up")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_a_snapshot_lets_it_be_finished(client, data, whole, monkeypatch, number):
    original, said, run_id = checkpoint.save, [], new_run(client)

    def save(sink, run, made):
        if made.state.snapshot == 3:
            signal.raise_signal(number)
        original(sink, run, made)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", save)
        with pytest.raises(KeyboardInterrupt) as raised:
            train_backbone(Run(client, run_id, said.append), fast_options(), data=data)
    assert isinstance(raised.value, Terminated) == (number != signal.SIGINT)
    assert f"Stopped. Go on with: fmce train-backbone --resume {run_id}" in said
    assert (
        client.get_run(run_id).info.status == "KILLED" and checkpoint_slots.pointer(Run(client, run_id)).snapshot == 3
    )
    for name in ("train_loss", "drift/stage"):
        assert max(m.step for m in client.get_metric_history(run_id, name)) == 3
    assert FeatureMapReader(client, run_id).index.snapshots("stage") == (0, 1, 2, 3)
    train_backbone(Run(client, run_id, said.append), stored_options(Run(client, run_id)), data=data)
    assert everything(client, run_id) == whole


def test_the_second_signal_does_not_wait():
    order = []
    with pytest.raises(KeyboardInterrupt), stoppable(), held():
        signal.raise_signal(signal.SIGINT)
        order.append("first")
        signal.raise_signal(signal.SIGINT)
        order.append("second")
    assert order == ["first"]


def test_what_is_released_is_broken_into_at_once_and_what_is_held_within_it_afterwards():
    done = []
    with pytest.raises(KeyboardInterrupt), stoppable(), held(), released():
        with held():
            signal.raise_signal(signal.SIGINT)
            done.append("the report")
        done.append("what follows")
    with pytest.raises(KeyboardInterrupt), stoppable(), held(), released():
        signal.raise_signal(signal.SIGINT)
        done.append("computing")
    with pytest.raises(KeyboardInterrupt), stoppable(), held():
        signal.raise_signal(signal.SIGINT)
        done.append("writing")
        with released():
            done.append("what is released next")
    with pytest.raises(Terminated), stoppable(), held():
        signal.raise_signal(signal.SIGTERM)
        raise_held()
    raise_held()  # nothing waits any more
    assert done == ["the report", "writing"]


def test_after_a_signal_that_broke_in_the_closing_is_held_no_longer():
    done = []
    with pytest.raises(KeyboardInterrupt), stoppable(), held():
        try:
            with released():
                signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            done.append("closing")
            signal.raise_signal(signal.SIGINT)
            done.append("closed")
    assert done == ["closing"]


def test_a_signal_after_an_interrupt_that_the_block_made_itself_still_waits():
    """A tuning worker is told to stop and gets SIGTERM too: its trial's end, which it is writing, must be written."""
    done = []
    with pytest.raises(KeyboardInterrupt), stoppable(), held():
        try:
            with released():
                raise KeyboardInterrupt  # no signal
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("the trial's end")
            raise
    assert done == ["the trial's end"]


def test_handlers_of_others_are_left_alone_and_ours_do_not_outlive_the_block():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
        with stoppable():
            pass
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in before} == before
    met = []
    signal.signal(signal.SIGTERM, lambda *_: met.append(1))
    try:
        with stoppable():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before[signal.SIGTERM])
    assert met == [1]


def test_a_worker_process_dies_of_sigterm_as_any_other():
    with stoppable():
        ready, begun = os.pipe()
        worker = os.fork()
        if worker == 0:
            os.write(begun, b"1")  # a signal right behind fork() is lost: Python forgets what was pending
            for _ in range(1200):
                time.sleep(0.05)  # a signal between two bytecodes and pause() would leave that waiting
            os._exit(0)
        os.read(ready, 1)
        os.kill(worker, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == -signal.SIGTERM


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_the_exit_code_tells_the_signal(error, code):
    with pytest.raises(SystemExit) as raised, friendly_errors():
        raise error
    assert raised.value.code == code


@contextmanager
def mounted(folder: Path, options: str):
    """A file system in memory at a folder; skips where this process may not mount any."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def trained(client, run_id, data, at=lambda line: None):
    """Train as the command does; its message where it fails."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with pytest.raises(SystemExit) as raised, friendly_errors():
        train_backbone(Run(client, run_id, at), fast_options(probe_size=40), data=None)
    return raised.value.code


def test_a_disk_that_fills_up_leaves_what_was_logged_readable(tmp_path, _empty_store, data, capsys):
    client = new_client(tmp_path, _empty_store)
    with mounted(tmp_path / "artifacts", "size=1m"):
        run_id = new_run(client)

        def fill(line):
            if "snapshot 2/6" in line:
                free = os.statvfs(tmp_path / "artifacts")
                (tmp_path / "artifacts" / "other").write_bytes(bytes(free.f_bavail * free.f_bsize - 8192))

        assert trained(client, run_id, data, fill) == 1
        message = capsys.readouterr().err
        assert "No space left on device" in message and "what was logged stays readable" in message
        assert client.get_run(run_id).info.status == "FAILED"
        reader = FeatureMapReader(client, run_id)
        assert reader.index.snapshots("stage")[:3] == (0, 1, 2)
        for snapshot in reader.index.snapshots("stage"):
            reader.read("stage", snapshot)
        (tmp_path / "artifacts" / "other").unlink()
        train_backbone(Run(client, run_id, lambda _: None), stored_options(Run(client, run_id)))
        assert client.get_run(run_id).info.status == "FINISHED"
        assert FeatureMapReader(client, run_id).index.snapshots("stage") == tuple(range(7))


def test_a_folder_that_becomes_read_only_is_a_clear_error(tmp_path, _empty_store, data, capsys):
    client = new_client(tmp_path, _empty_store)
    artifacts = tmp_path / "artifacts"
    with mounted(artifacts, "size=4m"):
        run_id = new_run(client)

        def close(line):
            if "snapshot 2/6" in line:
                # A mount on top: the one below holds the run's lock open, so it could not be made read-only
                subprocess.run(["mount", "--bind", artifacts, artifacts], check=True)
                subprocess.run(["mount", "-o", "remount,bind,ro", artifacts], check=True)

        assert trained(client, run_id, data, close) == 1
        message = capsys.readouterr().err
        assert "Read-only file system" in message and "what was logged stays readable" in message
        reader = FeatureMapReader(client, run_id)
        assert [reader.read("stage", s)[0].shape[0] for s in reader.index.snapshots("stage")] == [40, 40, 40]
        subprocess.run(["umount", "-l", artifacts], check=True)


def test_an_experiment_that_is_deleted_meanwhile_is_a_clear_error(client, data, capsys):
    run_id = new_run(client)
    experiment = client.get_run(run_id).info.experiment_id

    def delete(line):
        if "snapshot 2/6" in line:
            client.delete_experiment(experiment)

    assert trained(client, run_id, data, delete) == 1
    message = capsys.readouterr().err
    assert "Error: MLflow at" in message and "deleted" in message
    client.restore_experiment(experiment)
    train_backbone(Run(client, run_id, lambda _: None), stored_options(Run(client, run_id)))
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_deleted_experiment_is_told_before_training(client):
    client.delete_experiment(client.get_experiment_by_name("tests").experiment_id)
    words = ["--tracking-uri", client.tracking_uri, "--experiment", "tests", "train-backbone", "--dataset", "digits"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1 and "mlflow experiments restore" in result.output
