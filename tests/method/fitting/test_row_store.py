from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fmce_mlflow.method.fitting.bags import collect_bags
from fmce_mlflow.method.fitting.config import BagConfig, FitConfig
from fmce_mlflow.method.fitting.fit_set import fit_set, predict_bags
from fmce_mlflow.method.fitting.row_store import DiskTable, Rows, let_go, new_rows
from fmce_mlflow.method.fmce_net.config import SetConfig
from tests.helpers import bags_of_noise


def filled(count: int, width: int, *, in_memory: int) -> np.ndarray:
    rows = new_rows(count, width, in_memory=in_memory)
    rows[:] = np.random.default_rng(0).normal(3, 2, (count, width))
    return rows


def resident(name: str) -> int:
    """Bytes that this process has in memory: `RssAnon`, its own, or `RssFile`, of mapped files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    pytest.skip("this system does not tell resident memory by kind")


def test_a_table_on_disk_has_the_same_rows_and_keeps_them_when_its_memory_is_let_go():
    memory, disk = filled(500, 7, in_memory=10**6), filled(500, 7, in_memory=0)
    assert isinstance(disk, DiskTable) and not isinstance(memory, DiskTable)
    let_go(disk)
    let_go(memory)
    index = np.array([3, 499, 3, 0])
    references, group = np.arange(14, dtype=np.float32).reshape(2, 7), np.arange(500) % 2
    for more in ((), (references, group)):
        np.testing.assert_array_equal(Rows(memory, *more).take(index), Rows(disk, *more).take(index))
    assert Rows(disk, references, group).take(index).shape == (4, 14)


def test_a_table_on_disk_has_its_space_before_anything_is_written():
    table = DiskTable.empty(10_000, 7)
    assert os.fstat(table.file.fileno()).st_blocks * 512 >= table.nbytes


FULL = """
import resource, tempfile
from fmce_mlflow.errors import ArtifactError
from fmce_mlflow.method.fitting.row_store import new_rows
resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))  # stands for a disk with so much room
try:
    new_rows(10_000, 7, in_memory=0)[:] = 1
except ArtifactError as error:
    print(error)
"""


def test_a_disk_without_room_for_a_table_is_told_and_ends_nothing(tmp_path):
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-c", FULL], capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "has no room in" in done.stdout and str(tmp_path) in done.stdout and "TMPDIR" in done.stdout


def test_moments_in_parts_are_those_of_all_rows():
    rows = Rows(filled(1000, 5, in_memory=0))
    index = np.arange(1000)[::3]
    mean, deviation = rows.moments(index, at_once=0, chunk=77)
    every = rows.take(index).double()
    torch.testing.assert_close(mean, every.mean(0).float())
    torch.testing.assert_close(deviation, every.std(0, correction=0).float())
    whole = rows.moments(index)
    assert torch.equal(whole[0], every.float().mean(0)) and torch.equal(whole[1], every.float().std(0, correction=0))


def test_quantiles_are_numpys_and_of_many_rows_those_of_some():
    rng = np.random.default_rng(0)
    table, shares = rng.exponential(size=(5000, 3)).astype(np.float32), torch.tensor([0.0, 0.25, 0.5, 1.0])
    index = rng.permutation(5000)[:4000]
    expected = np.quantile(table[index], shares.numpy(), axis=0).T
    np.testing.assert_allclose(Rows(table).quantiles(index, shares), expected, rtol=1e-6)
    some = Rows(table).quantiles(index, shares, most=1000)
    np.testing.assert_allclose(some[:, 1:3], expected[:, 1:3], rtol=0.15)
    assert not np.allclose(some, expected)


def test_a_table_on_disk_takes_next_to_no_memory():
    count, width = 196_608, 256  # 192 MiB
    before = resident("RssAnon"), resident("RssFile")
    table = new_rows(count, width)
    rows, most = Rows(table), 0
    for start in range(0, count, 8192):
        table[start : start + 8192] = 1.0
        let_go(table)
    for index in np.random.default_rng(0).permutation(count)[:51_200].reshape(-1, 32):
        rows.take(index)
        most = max(most, resident("RssFile")) if index[0] % 16 == 0 else most
    assert isinstance(table, DiskTable) and table.nbytes == 192 * 2**20
    assert resident("RssAnon") - before[0] < 32 * 2**20
    assert most - before[1] < 32 * 2**20


@pytest.mark.parametrize("reference", [False, True])
def test_a_net_fitted_to_bags_on_disk_is_that_of_bags_in_memory(monkeypatch, reference):
    table, config = bags_of_noise.table(runs=3, snapshots=6), BagConfig(bag_size=8, bags_per_map=2)
    memory = collect_bags(table, bags_of_noise.read, config)
    monkeypatch.setattr("fmce_mlflow.method.fitting.bags.new_rows", lambda *shape: new_rows(*shape, in_memory=0))
    disk = collect_bags(table, bags_of_noise.read, config)
    assert isinstance(disk.features, DiskTable)
    train, shape = ~memory.test_images, SetConfig(members=1, width=8, reference=reference)
    nets = [
        fit_set(bags, train, bags.column("run_id"), shape, FitConfig(epochs=4, folds=2)).net for bags in (memory, disk)
    ]
    for one, other in zip(nets[0].state_dict().values(), nets[1].state_dict().values(), strict=True):
        assert torch.equal(one, other)
    scored = np.flatnonzero(memory.test_images)
    one, other = predict_bags(nets[0], memory, scored), predict_bags(nets[1], replace(disk), scored)
    assert [p.fmcs for p in one] == [p.fmcs for p in other]
