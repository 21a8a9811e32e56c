"""What others may have written: sizes before bytes, folders before links, hashes before use."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from safetensors.torch import save as save_tensors

from fmce_mlflow.backbone import models as model_logging
from fmce_mlflow.backbone.resume import OPTIONS, stored_options
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.cli.main import main
from fmce_mlflow.errors import ArtifactError, DataError, IntegrityError, PredictorError
from fmce_mlflow.fmcs_dataset.table import read_table
from fmce_mlflow.method.fmce_net.config import SetConfig
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.method.images import named as datasets
from fmce_mlflow.method.networks import archive_weights
from fmce_mlflow.predictor import flavor
from fmce_mlflow.predictor.flavor import Predictor, load_predictor, save_model
from fmce_mlflow.runs import descriptions
from fmce_mlflow.runs.artifacts import fetched
from fmce_mlflow.runs.feature_index import INDEX, ROOT
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from fmce_mlflow.runs.run import Run
from fmce_mlflow.runs.uploads import spool
from fmce_mlflow.runs.uploads.spool import Spool
from fmce_mlflow.safety import reading
from fmce_mlflow.safety.credentials import without_credentials
from fmce_mlflow.safety.reading import SEAL, parse_json, read_file, seal
from tests.conftest import fast_options, new_run
from tests.helpers.fuzzing import SECRET, lay_out, outside


@pytest.fixture(scope="module")
def finished(tmp_path_factory, _empty_store, data):
    """A client and its finished run, and the folder of its artifacts."""
    from tests.conftest import new_client

    client = new_client(tmp_path_factory.mktemp("finished"), _empty_store)
    run_id = new_run(client)
    train_backbone(Run(client, run_id, lambda _: None), fast_options(training={"epochs": 1}), data=data)
    return client, run_id, Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://"))


def test_only_regular_files_within_a_folder_are_read(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret").write_text("secret")
    os.symlink(tmp_path / "secret", tmp_path / "inside" / "link")
    os.symlink(tmp_path, tmp_path / "inside" / "up")
    os.symlink("loop", tmp_path / "inside" / "loop")
    os.mkfifo(tmp_path / "inside" / "pipe")
    root = tmp_path / "inside"
    for name in ("link", "up/secret", "../secret", "loop"):
        with pytest.raises(ArtifactError, match="leads out of"):
            read_file(root / name, 100, "It", root=root)
    for name, folder in (("pipe", root), ("zero", Path("/dev"))):  # neither waits nor reads without end
        with pytest.raises(ArtifactError, match="not a regular file"):
            read_file(folder / name, 100, "It", root=folder)
    (root / "file").write_bytes(bytes(100))
    assert read_file(root / "file", 100, "It", root=root) == bytes(100)
    with pytest.raises(ArtifactError, match="It has 100 bytes, and at most 99 are read"):
        read_file(root / "file", 99, "It", root=root)


def test_depth_is_bounded_whatever_the_recursion_limit():
    assert parse_json("[" * 100 + "]" * 100) is not None
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)
    try:
        with pytest.raises(ValueError, match="deeper than 100"):
            parse_json("[" * 102 + "]" * 102)
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:secret@host:5000", "http://host:5000"),
        ("postgresql+psycopg2://me:secret@host/db?sslmode=require", "postgresql+psycopg2://host/db?sslmode=require"),
        ("https://host/x?token=secret&a=1", "https://host/x?a=1"),
        ("http://me:secret@[bad", "…[bad"),
        ("sqlite:////a/b@c.db", "sqlite:////a/b@c.db"),
        ("/a/b", "/a/b"),
    ],
)
def test_credentials_are_not_shown(uri, shown):
    assert without_credentials(uri) == shown


def test_no_message_shows_credentials(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.chdir(tmp_path)
    for words in (
        ["train-fmce-net"],
        ["promote", "--model", "models:/x/1", "--alias", "a"],
        ["evaluate", "--model", "x"],
    ):
        with monkeypatch.context() as scope:
            scope.setenv("MLFLOW_TRACKING_URI", "http://me:verysecret@127.0.0.1:9")
            result = CliRunner().invoke(main, words, prog_name="fmce")
        assert result.exit_code == 1 and "verysecret" not in result.output, result.output


def test_a_link_in_the_artifact_folder_is_not_followed(finished, tmp_path):
    client, run_id, folder = finished
    (tmp_path / "secret.json").write_text("{}")
    os.symlink(tmp_path / "secret.json", folder / "link.json")
    try:
        with pytest.raises(ArtifactError, match=r"leads out of|is outside"), fetched(client, run_id, "link.json"):
            pass
    finally:
        (folder / "link.json").unlink()


def test_the_index_of_a_finished_run_is_checked(finished):
    client, run_id, folder = finished
    index = folder / ROOT / INDEX
    whole = index.read_bytes()
    assert FeatureMapReader(client, run_id).index.entries
    record = json.loads(whole)
    del record["files"][-1]
    index.write_text(json.dumps(record))
    try:
        with pytest.raises(IntegrityError, match=r"feature_maps/index\.json of run .* is damaged"):
            FeatureMapReader(client, run_id)
    finally:
        index.write_bytes(whole)


def begun(client):
    """A run that died in training."""
    run_id = new_run(client, **{"fmce.role": "backbone"})
    stored = Run(client, run_id).log_json(fast_options().to_dict(), OPTIONS)
    for key, value in seal(OPTIONS, stored).items():
        client.set_tag(run_id, key, value)
    client.log_param(run_id, "backbone", "tests.helpers.nets:tiny")
    return run_id, Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://"), OPTIONS)


def test_a_resumed_run_imports_no_other_factory_than_it_began_with(client):
    """Who can write the artifacts alone, or set tags too, cannot choose what --resume imports."""
    run_id, path = begun(client)
    assert stored_options(Run(client, run_id)) == fast_options()
    path.write_text(path.read_text().replace("tests.helpers.nets:tiny", "os:abort"))
    with pytest.raises(IntegrityError, match=r"options\.json"):
        stored_options(Run(client, run_id))
    for key, value in seal(OPTIONS, path.read_bytes()).items():
        client.set_tag(run_id, key, value)
    with pytest.raises(ArtifactError, match=r"backbone is 'os:abort'.*parameter says 'tests.helpers.nets:tiny'"):
        stored_options(Run(client, run_id))


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "3", '{"modules": 3}', " " * 2**21], ids=range(5))
def test_options_that_cannot_be_read(client, text):
    run_id, path = begun(client)
    path.write_text(text)
    client.delete_tag(run_id, f"{SEAL}/{OPTIONS}")
    with pytest.raises(ArtifactError, match=r"options\.json of run"):
        stored_options(Run(client, run_id))


def test_kept_weights_are_checked(client):
    import torch

    run_id = new_run(client)
    sha256 = model_logging.save_weights(client, run_id, 3, {"w": torch.ones(2)})
    assert model_logging.kept_weights(Run(client, run_id), 3, sha256)["w"].tolist() == [1, 1]
    path = Path(
        client.get_run(run_id).info.artifact_uri.removeprefix("file://"), "weights", "snapshot_00003.safetensors"
    )
    path.write_bytes(save_tensors({"w": torch.zeros(2)}))
    with pytest.raises(IntegrityError, match="weights/snapshot_00003"):
        model_logging.kept_weights(Run(client, run_id), 3, sha256)
    path.write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="cannot be read"):
        model_logging.kept_weights(Run(client, run_id), 3, None)


@pytest.fixture
def waiting(tmp_path):
    """The folder of a run with one whole snapshot."""
    folder = tmp_path / "inside"
    folder.mkdir()
    lay_out(folder)
    held = Spool(folder, "0123", "http://host/")
    part = held.begin(0)
    (part / "weights").mkdir()
    (part / "weights" / "snapshot_00000.safetensors").write_bytes(b"abc")
    held.commit(part, [], None)
    held.release()
    return folder


def test_what_waits_is_uploaded_only_if_it_is_what_was_written(waiting):
    held = Spool(waiting, "0123", "http://host/")
    (path,) = held.units[0].files("weights")
    held.units[0].check(path)
    path.write_bytes(b"abd")
    with pytest.raises(IntegrityError, match=r"train them again by --resume"):
        held.units[0].check(path)
    (path.parent / "more").write_bytes(b"abc")
    with pytest.raises(IntegrityError, match="among those of"):
        held.units[0].check(path.parent / "more")
    held.release()


@pytest.mark.parametrize("place", ["snapshot_00000/weights/more", "snapshot_00007", "snapshot_00003.part", "lock"])
def test_a_link_among_what_waits_is_refused(waiting, place):
    """It would be uploaded, or what it leads to be removed or cut to nothing."""
    (waiting / place).unlink(missing_ok=True)
    target = outside(waiting) / (SECRET if place == "lock" or "more" in place else "")
    os.symlink(target, waiting / place)
    with pytest.raises(ArtifactError, match="is a link"):
        Spool(waiting, "0123", "http://host/")
    assert (outside(waiting) / SECRET).stat().st_size


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give a folder away")
def test_credentials_do_not_go_to_a_server_that_another_user_names(waiting, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # it would be the user's own word
    assert spool.is_ours(waiting)
    os.chown(waiting / "run.json", 65534, 65534)
    result = CliRunner().invoke(main, ["sync", str(waiting)], prog_name="fmce")
    assert result.exit_code == 2 and "written by another user" in result.output


def test_a_config_cannot_ask_for_more_memory_than_its_weights_have(tmp_path):
    save_model(tmp_path, Predictor(SetNet(SetConfig(members=1, width=4)).eval()))
    config = json.loads((tmp_path / "fmce_net/config.json").read_text())
    for changes, text in (
        ({"width": 65536, "depth": 64}, "Unknown|Missing|Another shape"),
        ({"members": 10**9}, "1 to 256"),
    ):
        data = json.dumps({**config, "config": {**config["config"], **changes}}).encode()
        (tmp_path / "fmce_net/config.json").write_bytes(data)
        description = yaml.safe_load((tmp_path / "MLmodel").read_text())
        description["flavors"]["fmce_net"]["sha256"]["config.json"] = reading.hashlib.sha256(data).hexdigest()
        (tmp_path / "MLmodel").write_text(yaml.safe_dump(description))
        with pytest.raises(PredictorError, match=text):
            load_predictor(tmp_path)


def test_a_predictors_files_are_not_read_through_links_nor_beyond_sizes(tmp_path, monkeypatch):
    save_model(tmp_path / "model", Predictor(SetNet(SetConfig(members=1, width=4)).eval(), card="# Card"))
    assert load_predictor(tmp_path / "model").card == "# Card"
    for name in ("config.json", "weights.safetensors", "model_card.md"):
        path = tmp_path / "model" / "fmce_net" / name
        shutil.move(path, tmp_path / name)
        os.symlink(tmp_path / name, path)
        with pytest.raises(PredictorError, match="leads out of"):
            load_predictor(tmp_path / "model")
        path.unlink()
        shutil.move(tmp_path / name, path)
    limits = [(descriptions, "MAX_BYTES")]
    limits += [(flavor, limit) for limit in ("MAX_CONFIG_BYTES", "MAX_WEIGHTS_BYTES", "MAX_CARD_BYTES")]
    for module, limit in limits:
        with monkeypatch.context() as scope:
            scope.setattr(module, limit, 3)
            with pytest.raises(PredictorError, match="at most 3 are read"):
                load_predictor(tmp_path / "model")


def test_a_table_that_unpacks_to_gigabytes_is_refused(monkeypatch):
    """A hundred rows of one long text take hardly more in parquet than one row does."""
    file = io.BytesIO()
    pd.DataFrame({"run_id": pd.array(["x" * 100_000] * 100, dtype="string")}).to_parquet(file)
    assert len(file.getvalue()) < 200_000
    monkeypatch.setattr("fmce_mlflow.fmcs_dataset.table.MAX_TEXT_BYTES", 5_000_000)
    with pytest.raises(ValueError, match="10,000,000 bytes, and at most 5,000,000"):
        read_table(file.getvalue(), {"run_id": "string"})
    monkeypatch.setattr("fmce_mlflow.fmcs_dataset.table.MAX_ROWS", 99)
    with pytest.raises(ValueError, match="100 rows, and at most 99"):
        read_table(file.getvalue(), {"run_id": "string"})


def test_a_small_gzip_of_a_large_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_MAX_IDX_BYTES", 10_000)
    (tmp_path / "images.gz").write_bytes(gzip.compress(bytes(10_001)))
    with pytest.raises(DataError, match="more than 10,000 bytes"):
        datasets._read_idx(tmp_path, "images")


def test_an_archives_weight_cannot_be_larger_than_its_file(tmp_path):
    meta = {
        "dtype": 7,
        "sizes": [{"as_int": 2**20}] * 2,
        "strides": [{"as_int": 0}] * 2,
        "storage_offset": {"as_int": 0},
    }
    entry = {"tensor_meta": meta, "use_pickle": False, "path_name": "w"}
    import zipfile

    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("model/data/weights/model_weights_config.json", json.dumps({"config": {"w": entry}}))
        archive.writestr("model/data/weights/w", np.ones(1, np.float32).tobytes())
    with pytest.raises(ArtifactError, match="does not stand in 4 bytes"):
        archive_weights.read_weights(tmp_path / "model.pt2")


@pytest.mark.parametrize("option", [["tune-fmce-net", "--space"], ["evaluate", "--model", "x", "--preprocessing"]])
def test_json_options_are_bounded(option, tmp_path):
    for text in ('{"a": ' * 5000, '{"a": "' + "x" * 2**21 + '"}'):
        result = CliRunner().invoke(main, [*option, text], prog_name="fmce")
        assert result.exit_code == 2 and ("deeper than" in result.output or "at most" in result.output), result.output
    if "--space" in option:
        result = CliRunner().invoke(main, [*option, "/dev/zero"], prog_name="fmce")
        assert result.exit_code == 2 and "not a regular file" in result.output


@pytest.mark.parametrize("option", ["--saliency", "--saliency-target"])
def test_a_number_of_thousands_of_digits_is_an_error_of_its_own(option):
    """Python reads no such numbers: benchmarks/fuzz.py found a traceback."""
    words = ["promote", option, "9" * 5000]
    result = CliRunner().invoke(main, words, prog_name="fmce")
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit)


def test_columns_that_unpack_to_gigabytes_are_refused_before_they_are_read(monkeypatch):
    file = io.BytesIO()
    pd.DataFrame({"seed": np.arange(2_000_000)}).to_parquet(file, compression="zstd")
    pd_read = read_table(file.getvalue(), {"seed": "int64"})
    assert len(pd_read) == 2_000_000
    monkeypatch.setattr("fmce_mlflow.fmcs_dataset.table.MAX_TEXT_BYTES", 1_000_000)
    with pytest.raises(ValueError, match="bytes unpacked, and at most 1,000,000 are read"):
        read_table(file.getvalue(), {"seed": "int64"})
