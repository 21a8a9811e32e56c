"""Folders and files that nobody else may write, and what is trusted only where nobody else could."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from fmce_mlflow.cli.main import main
from fmce_mlflow.runs.uploads.spool import Spool, is_ours
from fmce_mlflow.safety.private import only_ours

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="modes and owners are POSIX's")
URI = "http://host.example/"


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def write(folder: Path) -> Path:
    """The folder of a run with one snapshot, its run's status and a lock."""
    held = Spool(folder, "0123", URI)
    part = held.begin(0)
    (part / "feature_maps" / "layer4").mkdir(parents=True)
    (part / "feature_maps" / "layer4" / "snapshot_00000.safetensors").write_bytes(b"abc")
    held.commit(part, [("train_loss", 1.0, 0, 0)], None)
    held.close_later("FAILED")
    held.release()
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o022, 0o077, 0o177, 0o777])
def test_what_waits_is_this_users_alone_whatever_the_umask(mask, tmp_path):
    with umask(mask):
        folder = write(tmp_path / "state" / "fmce" / "0123")
    made = [folder, *folder.parents[:2], *folder.rglob("*")]
    assert {mode(path) for path in made if path.is_dir()} == {0o700}
    assert {path.name: mode(path) for path in made if path.is_file() and mode(path) != 0o600} == {}
    assert len(made) > 8 and is_ours(folder)


def test_a_folder_that_is_there_keeps_its_mode(tmp_path):
    """It may be others' too; what is made in it is not."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o755)
    folder = write(tmp_path / "shared" / "0123")
    assert (mode(tmp_path / "shared"), mode(folder)) == (0o755, 0o700) and is_ours(folder)


@pytest.mark.parametrize(
    ("place", "bits", "ours"),
    [
        (".", 0o755, True),
        (".", 0o770, False),
        (".", 0o707, False),
        (".", 0o1777, False),  # anybody can put a run.json in it
        ("run.json", 0o644, True),
        ("run.json", 0o660, False),
        ("run.json", 0o606, False),
        ("..", 0o755, True),
        ("..", 0o777, False),  # anybody can put another folder in its place
        ("..", 0o1777, True),  # as /tmp
        ("../..", 0o757, False),
    ],
)
def test_a_folder_is_trusted_only_where_nobody_else_can_write_or_replace_it(place, bits, ours, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # it would be the user's own word
    folder = write(tmp_path / "state" / "fmce" / "0123")
    path = Path(os.path.normpath(folder / place))
    path.chmod(bits)
    assert is_ours(folder) is ours
    if not ours:
        result = CliRunner().invoke(main, ["sync", str(folder)], prog_name="fmce")
        assert result.exit_code == 2 and URI in result.output and "others can write it" in result.output


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can give files to another group")
def test_a_parent_that_a_group_of_several_can_write_is_not_trusted(tmp_path):
    folder = write(tmp_path / "state" / "fmce" / "0123")
    for group in (0, 100):  # root's, which containers give to anybody, and users
        os.chown(folder.parent, 0, group)
        folder.parent.chmod(0o775)
        assert not is_ours(folder)
    os.chown(folder.parent, 65534, 0)  # another user's, who can write it whatever its mode
    folder.parent.chmod(0o755)
    assert not is_ours(folder)


def test_a_link_in_place_of_a_file_is_not_ours(tmp_path):
    folder = write(tmp_path / "0123")
    (folder / "run.json").rename(tmp_path / "elsewhere.json")
    (folder / "run.json").symlink_to(tmp_path / "elsewhere.json")
    assert not only_ours(folder, folder / "run.json")
