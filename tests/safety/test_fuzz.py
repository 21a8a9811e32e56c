"""Whatever a reader is given: a result or an FmceError, nothing read outside its folder, nothing executed."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from tests.helpers.fuzzing import CANARY, SECRET, TARGETS, lay_out, outside
from tests.helpers.watching import Watch

QUICK, LONG = 60, 3000
WARM = 8
"""Examples that are read unwatched: they load what is loaded late."""


def attack(name: str, folder: Path, examples: int) -> int:
    """Read so many examples; returns how many were."""
    lay_out(folder)
    target, count = TARGETS[name], 0
    prepared = target.prepare(folder)
    watch = Watch(folder)

    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        derandomize=examples == QUICK,  # the long one looks for new ones
        phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    @given(target.examples)
    def read(example):
        nonlocal count
        count += 1
        if count <= WARM:
            target.read(folder, prepared, example)
            return
        with watch.on():
            target.read(folder, prepared, example)
        assert not watch.outside and not watch.executed, (watch.outside, watch.executed)

    read()
    return count


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, beside which there is what must not be read."""
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    monkeypatch.setattr("tempfile.tempdir", str(inside))
    monkeypatch.syspath_prepend(str(outside(inside)))
    return inside


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_input_is_refused(name, folder):
    assert attack(name, folder, QUICK) >= QUICK / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_much_hostile_input_is_refused(name, folder):
    assert attack(name, folder, LONG) >= LONG / 2


class Harmful:
    def __reduce__(self):
        return os.getcwd, ()


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (outside(folder) / SECRET).read_bytes(),
        lambda folder: (folder / "link").read_bytes(),
        lambda folder: (folder / ".." / "outside" / SECRET).unlink(),
        lambda folder: Path("/etc/hostname").read_bytes(),
        lambda folder: pickle.loads(pickle.dumps(Harmful())),
        lambda folder: eval("1 + 1"),
        lambda folder: exec(compile("1", "<hostile>", "exec")),
        lambda folder: os.system("true"),
        lambda folder: subprocess.run([sys.executable, "--version"], capture_output=True, check=True),
        lambda folder: __import__(CANARY),
    ],
    ids=["open", "link", "remove", "etc", "pickle", "eval", "exec", "system", "process", "import"],
)
def test_the_watch_sees_harm(harm, folder):
    lay_out(folder)
    os.symlink(outside(folder) / SECRET, folder / "link")
    watch = Watch(folder)
    with watch.on():
        (folder / "mine").write_text("fine")
    assert not watch.outside and not watch.executed
    sys.modules.pop(CANARY, None)
    with watch.on():
        harm(folder)
    assert watch.outside or watch.executed


@pytest.mark.parametrize("name", ["index", "safetensors", "flavor", "spool"])
def test_examples_reach_behind_the_first_check(name, folder):
    """Some are read to their end: a fuzzer whose examples all fail at once would find nothing."""
    from tests.helpers import fuzzing

    lay_out(folder)
    target = TARGETS[name]
    prepared = target.prepare(folder)
    read: list[bool] = []
    tolerant = fuzzing._tolerant

    def told(call):
        found = tolerant(call)
        read.append(found is not None)
        return found

    fuzzing._tolerant = told
    try:

        def whole(example) -> bool:
            read.clear()
            target.read(folder, prepared, example)
            return sum(read) >= {"index": 3, "safetensors": 1, "flavor": 1, "spool": 2}[name]

        find(target.examples, whole, settings=settings(max_examples=3000, deadline=None, database=None,
             suppress_health_check=list(HealthCheck), phases=(Phase.generate,)))  # fmt: skip
    finally:
        fuzzing._tolerant = tolerant
