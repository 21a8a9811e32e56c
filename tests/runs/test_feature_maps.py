from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mlflow import MlflowClient
from safetensors.numpy import save
from safetensors.torch import save as save_torch

from fmce_mlflow.errors import ArtifactError, IntegrityError, RunError
from fmce_mlflow.runs.artifacts import artifact_repository, fetched
from fmce_mlflow.runs.feature_index import Entry, Index, Probe, fields_of, file_name
from fmce_mlflow.runs.feature_maps import FeatureMapReader, FeatureMapWriter, read_stored
from fmce_mlflow.runs.map_file import is_finite, unpack, write_file
from tests.conftest import new_run
from tests.helpers.maps import pack
from tests.helpers.progress import until

LABELS = np.array([0, 1, 2], dtype=np.int64)
PROBE = Probe("digits", 3, "a" * 64)


def random_maps(seed, shape=(3, 2, 4, 5)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float16)


def entry_of(data, shape, module="layer4", snapshot=0):
    return Entry(module, snapshot, tuple(shape), "float16", len(data), hashlib.sha256(data).hexdigest())


@pytest.fixture
def recorded(client, tmp_path):
    """A run with two modules at snapshots 0, 1 and 2, and the folder of its files."""
    run_id = new_run(client)
    writer = FeatureMapWriter(client, run_id, PROBE, LABELS)
    for snapshot in range(3):
        maps = {"layer4": random_maps(snapshot), "neck.fpn-0": random_maps(10 + snapshot, (3, 1, 2, 2))}
        writer.write(snapshot, maps, {"layer4": snapshot})
    return run_id, writer, tmp_path / "artifacts" / run_id / "artifacts" / "feature_maps"


@settings(max_examples=40, deadline=None)
@given(
    maps=st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)).flatmap(
        lambda shape: arrays(np.float16, shape, elements=st.floats(-65504, 65504, width=16))
    )
)
def test_what_is_packed_is_unpacked(maps):
    labels = np.arange(len(maps))
    data = pack(maps, labels)
    read, read_labels = unpack(data, entry_of(data, maps.shape))
    assert read.dtype == np.float16 and (read.view(np.uint16) == maps.view(np.uint16)).all()
    assert read_labels.dtype == np.int64 and (read_labels == labels).all()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(maps=arrays(np.float16, st.tuples(*[st.integers(1, 9)] * 4), elements=st.floats(-65504, 65504, width=16)))
def test_a_file_has_the_bytes_that_safetensors_gives_it(tmp_path, maps):
    labels, path = np.arange(len(maps)), tmp_path / "maps.safetensors"
    size, sha256 = write_file(path, maps.T.copy().T, labels)
    data = save({"maps": maps, "labels": labels})
    assert path.read_bytes() == data == pack(maps, labels)
    assert (size, sha256) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("at", [0, 2**17 - 1, 2**17, 3 * 2**17 - 1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_found_wherever_it_is(at, value):
    maps = np.full(3 * 2**17, -65504, np.float16)
    assert is_finite(maps)
    maps[at] = value
    assert not is_finite(maps)


def test_maps_that_are_not_contiguous(client):
    maps = random_maps(0, (4, 5, 3, 2)).T
    data = pack(maps, np.arange(2))
    assert (unpack(data, entry_of(data, maps.shape))[0] == maps).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_maps_that_are_not_finite_are_refused_by_name(client, value):
    maps = random_maps(0)
    maps[1, 1, 2, 3] = value
    writer = FeatureMapWriter(client, new_run(client), PROBE, LABELS)
    with pytest.raises(ArtifactError, match="layer4 at snapshot 7 has NaN or infinite values"):
        writer.write(7, {"layer4": maps}, {})
    assert not writer.index.entries


@pytest.mark.parametrize("module", ["../up", "a/b", "", ".", "a..b", "a b", "/abs"])
def test_modules_that_cannot_be_folders_are_refused(client, module):
    with pytest.raises(ArtifactError, match="cannot be the name of a folder"):
        FeatureMapWriter(client, new_run(client), PROBE, LABELS).write(0, {module: random_maps(0)}, {})


def test_everything_written_is_read(client, recorded):
    run_id, writer, folder = recorded
    reader = FeatureMapReader(client, run_id)
    assert reader.index == writer.index and reader.index.probe == PROBE
    assert reader.index.modules == ("layer4", "neck.fpn-0")
    assert reader.index.snapshots("layer4") == (0, 1, 2)
    assert reader.index.entries["layer4", 2].clipped == 2
    assert reader.index.entries["layer4", 2].path == "feature_maps/layer4/snapshot_00002.safetensors"
    for snapshot in range(3):
        maps, labels = reader.read("layer4", snapshot)
        assert (maps == random_maps(snapshot)).all() and (labels == LABELS).all()
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == sorted(
        ["index.json", *(f"{m}/snapshot_0000{s}.safetensors" for m in ("layer4", "neck.fpn-0") for s in range(3))]
    )


@pytest.mark.parametrize("snapshots", [0, 1, 3])
def test_the_index_is_one_json_text(snapshots):
    keys = [(module, snapshot) for module in ("neck", "head") for snapshot in range(snapshots)]
    entries = {(m, s): Entry(m, s, (2, 3, 4, 4), "float16", 1000, "a" * 64, s) for m, s in keys}
    by_snapshot = sorted(entries.values(), key=lambda entry: entry.snapshot)
    files = [fields_of(e) | {"path": f"{e.module}/snapshot_0000{e.snapshot}.safetensors"} for e in by_snapshot]
    assert all("exponent" not in file for file in files)  # as in releases before
    expected = {"format_version": 1, "probe": asdict(PROBE), "files": files}
    for index in (Index(PROBE, entries), Index(PROBE, dict(entries))):  # again: each entry's text is kept
        assert index.to_json() == json.dumps(expected, indent=1)


def test_one_file_is_read_with_the_others_gone(client, recorded):
    run_id, _, folder = recorded
    for path in folder.rglob("*.safetensors"):
        if path != folder / "neck.fpn-0" / file_name(1):
            path.unlink()
    reader = FeatureMapReader(client, run_id)
    assert (reader.read("neck.fpn-0", 1)[0] == random_maps(11, (3, 1, 2, 2))).all()
    with pytest.raises(ArtifactError, match=r"layer4/snapshot_00001.safetensors of run \w+ is missing"):
        reader.read("layer4", 1)


def flip(data):
    return data[:200] + bytes([data[200] ^ 1]) + data[201:]


DAMAGES = {
    "truncated": lambda data, other: data[:-10],
    "empty": lambda data, other: b"",
    "longer": lambda data, other: data + b"\0",
    "flipped": lambda data, other: flip(data),
    "swapped": lambda data, other: other,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_with_the_file_and_both_hashes(client, recorded, damage):
    run_id, writer, folder = recorded
    path = folder / "layer4" / file_name(1)
    other = (folder / "layer4" / file_name(2)).read_bytes()
    path.write_bytes(DAMAGES[damage](path.read_bytes(), other))
    with pytest.raises(IntegrityError, match=r"feature_maps/layer4/snapshot_00001\.safetensors") as raised:
        FeatureMapReader(client, run_id).read("layer4", 1)
    assert raised.value.expected == writer.index.entries["layer4", 1].sha256
    assert raised.value.expected in str(raised.value)
    if damage != "longer":  # a file that is too long is not hashed
        assert raised.value.found == hashlib.sha256(path.read_bytes()).hexdigest()
        assert raised.value.found in str(raised.value)


HONEST = {
    "float32": save({"maps": random_maps(0).astype(np.float32), "labels": LABELS}),
    "bfloat16": save_torch({name: torch.zeros(3, 2, 4, 5).bfloat16() for name in ("maps", "labels")}),
    "another shape": save({"maps": random_maps(0, (3, 4, 2, 5)), "labels": LABELS}),
    "too few labels": save({"maps": random_maps(0), "labels": LABELS[:2]}),
    "labels of another type": save({"maps": random_maps(0), "labels": LABELS.astype(np.float64)}),
    "no labels": save({"maps": random_maps(0)}),
    "no safetensors": b"PK\3\4" + bytes(500),
    "a header beyond the file": (2**40).to_bytes(8, "little") + bytes(500),
}


@pytest.mark.parametrize("what", HONEST)
def test_other_contents_under_an_honest_hash_are_an_error(what):
    with pytest.raises(ArtifactError, match=r"layer4/snapshot_00000\.safetensors (holds|is not a feature-map)"):
        unpack(HONEST[what], entry_of(HONEST[what], (3, 2, 4, 5)))


def test_runs_and_maps_that_are_not_there(client, recorded):
    run_id, _, _ = recorded
    with pytest.raises(RunError, match="recorded no feature maps"):
        FeatureMapReader(client, new_run(client))
    reader = FeatureMapReader(client, run_id)
    with pytest.raises(RunError, match=r"no module 'layer3'.*Did you mean layer4\?"):
        reader.read("layer3", 0)
    with pytest.raises(RunError, match="no maps of layer4 at snapshot 9; it has 3 snapshots between 0 and 2"):
        reader.read("layer4", 9)


def test_keep_only_drops_files_and_entries_and_can_be_done_again(client, recorded):
    run_id, writer, folder = recorded
    again = FeatureMapWriter(client, run_id, PROBE, LABELS, writer.index.entries)  # as resumed behind a kill
    assert writer.keep_only({0, 2}) == 2
    assert again.keep_only({0, 2}) == 2
    assert FeatureMapReader(client, run_id).index == writer.index == again.index
    assert writer.index.snapshots("layer4") == (0, 2)
    assert sorted({p.name for p in folder.rglob("*.safetensors")}) == [file_name(0), file_name(2)]


def index_record(**changes):
    data = pack(random_maps(0), LABELS)
    index = Index(PROBE, {("layer4", s): entry_of(data, (3, 2, 4, 5), snapshot=s) for s in range(2)})
    record = json.loads(index.to_json())
    assert Index.from_json(json.dumps(record)) == index
    for key, value in changes.items():
        place, _, name = key.rpartition("__")
        target = {"": record, "probe": record["probe"], "file": record["files"][1]}[place]
        if value is KeyError:
            del target[name]
        else:
            target[name] = value
    return json.dumps(record)


WRONG = [
    *({f"{place}{name}": KeyError} for place, names in (
        ("", ("format_version", "probe", "files")),
        ("probe__", ("dataset", "n", "sha256")),
        ("file__", ("module", "snapshot", "shape", "dtype", "bytes", "sha256", "clipped", "path")),
    ) for name in names),
    {"format_version": 2}, {"format_version": "1"}, {"format_version": True}, {"format_version": None},
    {"probe": []}, {"probe": "digits"}, {"probe": None}, {"files": 3}, {"files": None}, {"files": {"a": 1}},
    {"files": [None]}, {"files": ["layer4"]},
    {"probe__dataset": 5}, {"probe__n": -1}, {"probe__n": 3.0}, {"probe__sha256": "A" * 64}, {"probe__sha256": "a"},
    {"file__snapshot": 0},  # the first one's
    {"file__snapshot": True}, {"file__snapshot": -1}, {"file__snapshot": "1"}, {"file__snapshot": 2},
    {"file__module": "layer3"}, {"file__module": ".."}, {"file__module": "../layer4"}, {"file__module": "/etc"},
    {"file__module": 4}, {"file__module": "layer4\n"}, {"file__module": "a..b"},
    {"file__path": "../../secret.safetensors"}, {"file__path": "/etc/passwd"}, {"file__path": None},
    {"file__path": "layer4/snapshot_00000.safetensors"}, {"file__path": "layer4/../layer4/snapshot_00001.safetensors"},
    {"file__shape": [3, 2, 4]}, {"file__shape": "3245"}, {"file__shape": [3, 2, 4, -5]}, {"file__shape": None},
    {"file__shape": [3, 2, 4, 2**52]}, {"file__shape": [3, 2, 4, 0]}, {"file__shape": [2**52] * 4},
    {"file__dtype": "float32"}, {"file__dtype": None}, {"file__bytes": 239}, {"file__bytes": 2**60},
    {"file__sha256": None}, {"file__sha256": "g" * 64}, {"file__clipped": "no"}, {"file__clipped": 1.5},
]  # fmt: skip


@pytest.mark.parametrize("changes", WRONG, ids=str)
def test_an_index_with_a_wrong_field_is_refused(changes):
    text = index_record(**changes)
    if changes == {"file__snapshot": 0}:
        text = text.replace("snapshot_00001", "snapshot_00000")
    with pytest.raises(ArtifactError, match=r"feature_maps/index\.json"):
        Index.from_json(text)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"1" * 5000, b"[" * 100_000])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(ArtifactError, match="no index of feature maps"):
        Index.from_json(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
FILE = st.fixed_dictionaries(
    {},
    optional={
        "module": JSON | st.just("a"), "snapshot": JSON | st.just(0),
        "path": JSON | st.just("a/snapshot_00000.safetensors"),
        "shape": JSON | st.just([1, 1, 1, 1]), "dtype": JSON | st.just("float16"), "bytes": JSON | st.just(99),
        "sha256": JSON | st.just("0" * 64), "clipped": JSON | st.just(0),
    },
)  # fmt: skip
INDEX = st.fixed_dictionaries(
    {"format_version": st.just(1)},
    optional={
        "probe": JSON | st.just({"dataset": "d", "n": 1, "sha256": "0" * 64}),
        "files": JSON | st.lists(FILE, max_size=3),
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=JSON | INDEX)
def test_any_json_gives_an_index_or_an_artifact_error(value):
    try:
        index = Index.from_json(json.dumps(value))
    except ArtifactError:
        return
    assert Index.from_json(index.to_json()) == index


def test_an_index_that_is_too_large_is_not_read(client, recorded, monkeypatch):
    monkeypatch.setattr("fmce_mlflow.runs.feature_maps.MAX_INDEX_BYTES", 100)
    with pytest.raises(ArtifactError, match="has 1,883 bytes, and at most 100 are read"):
        FeatureMapReader(client, recorded[0])


def test_an_index_that_points_outside_reads_nothing_there(client, recorded, tmp_path):
    run_id, writer, folder = recorded
    (folder / "index.json").write_text(writer.index.to_json().replace('"layer4/', '"../layer4/'))
    with pytest.raises(ArtifactError, match="Do not trust"):
        FeatureMapReader(client, run_id)


@pytest.mark.slow
def test_over_a_server_only_the_asked_file_is_fetched(server, server_folder):
    folder, client = server_folder, MlflowClient(server)
    run_id = client.create_run("0").info.run_id
    writer = FeatureMapWriter(client, run_id, PROBE, LABELS)
    for snapshot in range(3):
        writer.write(snapshot, {"layer4": random_maps(snapshot), "neck": random_maps(9)}, {})
    reader = FeatureMapReader(client, run_id)
    before = len((folder / "log").read_text())
    maps, _ = reader.read("layer4", 1)
    assert (maps == random_maps(1)).all()

    def fetched_paths():
        return [line for line in (folder / "log").read_text()[before:].splitlines() if ".safetensors" in line]

    until(fetched_paths, what="the server's log")
    time.sleep(0.5)  # for more of it
    (line,) = fetched_paths()
    assert "layer4/snapshot_00001.safetensors" in line

    entry = writer.index.entries["neck", 2]
    (path,) = folder.rglob(f"{run_id}/**/neck/{file_name(2)}")
    path.write_bytes(flip(path.read_bytes()))
    with pytest.raises(IntegrityError, match="neck/snapshot_00002"):
        reader.read("neck", 2)
    path.unlink()
    with pytest.raises(ArtifactError, match="is missing, though its index names it"):
        read_stored(artifact_repository(client, run_id), entry, f"run {run_id}")
    with fetched(client, run_id, "feature_maps/nowhere.json") as missing:
        assert missing is None
    with pytest.raises(RunError, match="recorded no feature maps"):
        FeatureMapReader(client, client.create_run("0").info.run_id)
    assert writer.keep_only({1}) == 4
    assert FeatureMapReader(client, run_id).index.snapshots("layer4") == (1,)


def test_a_file_that_is_listed_but_cannot_be_fetched_is_not_called_missing(client, recorded):
    run_id, _, folder = recorded
    path = folder / "layer4" / file_name(0)
    path.unlink()
    path.mkdir()  # listed under that name, and no file
    with pytest.raises(ArtifactError):
        FeatureMapReader(client, run_id).read("layer4", 0)
