from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from PIL import Image

from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.errors import ArtifactError, IntegrityError, NonFiniteLossError, RunError
from fmce_mlflow.fmcs_dataset.label import FmcsDataset, build_fmcs_dataset
from fmce_mlflow.fmcs_dataset.log import describe, log_fmcs_dataset
from fmce_mlflow.fmcs_dataset.plugin import FmcsDatasetSource
from fmce_mlflow.fmcs_dataset.table import COLUMNS, load_fmcs_dataset
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.runs.feature_index import Probe
from fmce_mlflow.runs.feature_maps import FeatureMapReader, FeatureMapWriter
from fmce_mlflow.runs.run import Run
from tests.conftest import fast_options, new_run

CONFIG = ConvergenceConfig(levels=3, threshold=0.1)
REAL = ConvergenceConfig(levels=3, threshold=0.07)
FALLING = [2.0, 1.0, 0.5, 0.2, 0.1, 0.08, 0.07, 0.07, 0.07]  # converges at snapshot 6 by CONFIG
STILL_FALLING = [2.0, 1.6, 1.2, 0.8, 0.4, 0.0]


def reference(losses, beta, window, threshold, levels):
    """T, markers and FMCS, written down from the definitions without sharing a line with the package."""
    s = [losses[0]]
    for loss in losses[1:]:
        s.append(beta * s[-1] + (1 - beta) * loss)
    spread = max(losses) - min(losses)
    values = [float("inf")]
    for t in range(1, len(losses)):
        steps = [s[i] - s[i - 1] for i in range(max(1, t - window + 1), t + 1)]
        values.append(abs(sum(steps) / len(steps)) / spread)
    point = len(losses)
    while point > 0 and values[point - 1] < threshold:
        point -= 1
    marks = [int(point * k / (levels - 1) + 0.5) for k in range(levels)]
    scores = []
    for t in range(len(losses)):
        below = max(k for k in range(levels) if marks[k] <= t)
        if below == levels - 1:
            scores.append(1.0)
        else:
            part = (t - marks[below]) / (marks[below + 1] - marks[below])
            scores.append((below + part) / (levels - 1))
    return point, marks, scores


def history(client, run_id, name):
    return [m.value for m in sorted(client.get_metric_history(run_id, name), key=lambda m: m.step)]


def written_run(
    client,
    losses,
    *,
    modules=("stage",),
    drifts=None,
    weights=None,
    val=None,
    status="FINISHED",
    role="backbone",
    maps=None,
    seed=0,
):
    """A run with the losses that a test needs, written the way a backbone run writes them."""
    run_id = new_run(client, **{"fmce.role": role})
    count = len(losses) if maps is None else maps
    if count:
        writer = FeatureMapWriter(client, run_id, Probe("digits", 4, "a" * 64), np.arange(4))
        for snapshot in range(count):
            value = np.random.default_rng(snapshot).normal(size=(4, 2, 3, 3)).astype(np.float16)
            writer.write(snapshot, dict.fromkeys(modules, value), {})
    metrics = [Metric("train_loss", v, 0, i) for i, v in enumerate(losses)]
    metrics += [Metric("val_loss", v, 0, i) for i, v in enumerate(val or losses)]
    metrics += [Metric("epoch", i / 2, 0, i) for i in range(len(losses))]
    for module, values in (drifts or {}).items():
        metrics += [Metric(f"drift/{module}", v, 0, i + 1) for i, v in enumerate(values)]
    for module, values in (weights or {}).items():
        metrics += [Metric(f"weight_change/{module}", v, 0, i + 1) for i, v in enumerate(values)]
    params = {"backbone": "tests.helpers.nets:tiny", "dataset": "digits", "seed": str(seed)}
    client.log_batch(run_id, metrics=metrics, params=[Param(k, v) for k, v in params.items()])
    client.set_terminated(run_id, status)
    return run_id


@pytest.fixture(scope="module")
def trained(tmp_path_factory, _empty_store):
    """Real backbone runs: `tiny` on digits with two modules, `plain` on a folder of images."""
    root = tmp_path_factory.mktemp("trained")
    shutil.copy(_empty_store, root / "mlflow.db")
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    client.create_experiment("tests", artifact_location=(root / "artifacts").as_uri())
    rng = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 200)):
        (root / "photos" / name).mkdir(parents=True)
        for i in range(60):
            pixels = np.clip(rng.normal(level, 40, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "photos" / name / f"{i:03d}.png")
    training = {"epochs": 6, "optimizer": "sgd", "schedule": "constant", "warmup_epochs": 0.0, "weight_decay": 5e-4}
    tiny = fast_options(modules=("stem", "stage"), training=training)
    plain = replace(tiny, backbone="tests.helpers.nets:plain", modules=("stage",), dataset=f"folder:{root / 'photos'}")
    plain = replace(plain, image_size=None, train_size=None, validation_size=16)
    runs = []
    for options in (tiny, plain):
        runs.append(new_run(client))
        train_backbone(Run(client, runs[-1], lambda _: None), options)
    return client, runs, root


def test_labels_of_real_runs_are_those_of_their_logged_losses(trained):
    client, (tiny, plain), _ = trained
    table = build_fmcs_dataset(client, [tiny, plain], config=REAL).table
    assert table["run_id"].drop_duplicates().tolist() == [tiny, plain]
    for (run_id, _), rows in table.groupby(["run_id", "module"]):
        losses = history(client, run_id, "train_loss")
        _, marks, scores = reference(losses, 0.5, 3, 0.07, 3)
        assert rows["snapshot"].tolist() == list(range(13))
        assert rows["epoch"].tolist() == [i / 2 for i in range(13)]
        np.testing.assert_allclose(rows["fmcs"], scores, rtol=0, atol=1e-12)
        assert dict(rows.dropna(subset="level")[["snapshot", "level"]].values.tolist()) == {
            snapshot: k for k, snapshot in enumerate(marks)
        }


def test_runs_of_different_backbones_data_and_modules_are_one_table(trained):
    client, (tiny, plain), root = trained
    table = build_fmcs_dataset(client, [tiny, plain], config=REAL).table
    found = table[["run_id", "backbone", "dataset", "seed", "module", "n", "channels", "height", "width"]]
    folder = f"folder:{root / 'photos'}"
    assert found.drop_duplicates().values.tolist() == [
        [tiny, "tests.helpers.nets:tiny", "digits", 0, "stem", 16, 8, 8, 8],
        [tiny, "tests.helpers.nets:tiny", "digits", 0, "stage", 16, 16, 4, 4],
        [plain, "tests.helpers.nets:plain", folder, 0, "stage", 16, 8, 4, 4],
    ]


def test_every_row_names_a_file_that_is_there(trained):
    client, runs, root = trained
    table = build_fmcs_dataset(client, runs, config=REAL).table
    for row in table.itertuples():
        file = root / "artifacts" / row.run_id / "artifacts" / row.artifact_path
        assert hashlib.sha256(file.read_bytes()).hexdigest() == row.sha256
    maps, labels = FeatureMapReader(client, row.run_id).read(row.module, row.snapshot)
    assert maps.shape == (row.n, row.channels, row.height, row.width) and labels.shape == (row.n,)


def test_columns_and_their_types(client):
    run_id = written_run(client, FALLING, seed=7)
    dataset = build_fmcs_dataset(client, [run_id], config=CONFIG)
    names = (
        "run_id backbone dataset seed module snapshot epoch fmcs level moved_from moved_until n channels height width "
        "artifact_path sha256"
    ).split()
    assert list(dataset.table.columns) == names == list(COLUMNS)
    assert {n: str(t) for n, t in dataset.table.dtypes.items()} == COLUMNS
    parent = new_run(client)
    log_fmcs_dataset(Run(client, parent), dataset, config=CONFIG, signal="train")
    loaded = load_fmcs_dataset(client, parent)
    pd.testing.assert_frame_equal(loaded, dataset.table)
    schema = pq.read_schema(client.download_artifacts(parent, "fmcs_dataset.parquet"))
    kinds = {"int64": "int64", "Int64": "int64", "float64": "double"}
    for name, kind in COLUMNS.items():
        assert str(schema.field(name).type).removeprefix("large_") == kinds.get(kind, "string")
    assert loaded["seed"].unique().tolist() == [7]


def test_counts_by_run_module_and_level(client):
    first = written_run(client, FALLING, modules=("stem", "stage"))
    second = written_run(client, FALLING, seed=1)
    counts = build_fmcs_dataset(client, [first, second], config=CONFIG).counts()
    assert counts.drop(columns=["backbone", "dataset"]).values.tolist() == [
        [first, 0, "stem", 9, 1, 1, 1],
        [first, 0, "stage", 9, 1, 1, 1],
        [second, 1, "stage", 9, 1, 1, 1],
    ]
    assert list(counts.columns[-4:]) == ["snapshots", "level_0", "level_1", "level_2"]


def test_it_is_logged_as_artifact_and_input_with_counts_and_what_was_left_out(client, tracking):
    good, bad = written_run(client, FALLING), written_run(client, STILL_FALLING)
    dataset = build_fmcs_dataset(client, [good, bad], config=CONFIG)
    parent = new_run(client, **{"fmce.role": "fmcs_dataset"})
    log_fmcs_dataset(Run(client, parent), dataset, config=CONFIG, signal="train")
    run = client.get_run(parent)
    assert run.data.metrics == {
        "fmcs_dataset/rows": 9, "fmcs_dataset/runs": 1, "fmcs_dataset/modules": 1, "fmcs_dataset/markers": 3,
        "fmcs_dataset/left_out": 1, "fmcs_dataset/unlabelled": 0,
    }  # fmt: skip
    assert run.data.params["source_runs_used"] == good
    assert (run.data.params["levels"], run.data.params["threshold"], run.data.params["signal"]) == ("3", "0.1", "train")
    notes = json.loads(Path(client.download_artifacts(parent, "fmcs_left_out.json")).read_text())
    assert list(notes["left_out"]) == [bad] and "Not converged" in notes["left_out"][bad]
    logged = json.loads(Path(client.download_artifacts(parent, "fmcs_counts.json")).read_text())
    assert logged["columns"] == list(dataset.counts().columns)

    (entry,) = run.inputs.dataset_inputs
    assert {tag.key: tag.value for tag in entry.tags} == {"mlflow.data.context": "training"}
    assert entry.dataset.name == "fmcs_dataset" and entry.dataset.source_type == "fmcs_dataset"
    assert [column["name"] for column in json.loads(entry.dataset.schema)["mlflow_colspec"]] == list(COLUMNS)
    assert json.loads(entry.dataset.profile)["num_rows"] == 9
    source = mlflow.data.get_source(entry)
    assert isinstance(source, FmcsDatasetSource) and source.run_id == parent
    pd.testing.assert_frame_equal(source.load(), dataset.table)


def test_the_digest_tells_labels_apart(client):
    run_id = written_run(client, FALLING)
    digests = []
    for levels in (3, 3, 4):
        parent = new_run(client)
        config = replace(CONFIG, levels=levels)
        dataset = build_fmcs_dataset(client, [run_id], config=config)
        log_fmcs_dataset(Run(client, parent), dataset, config=config, signal="train")
        digests.append(client.get_run(parent).inputs.dataset_inputs[0].dataset.digest)
    assert digests[0] == digests[1] != digests[2]


def test_mlflow_finds_the_source_by_its_entry_point():
    (found,) = [e for e in entry_points(group="mlflow.dataset_source") if e.name == "fmcs_dataset"]
    assert found.load() is FmcsDatasetSource
    assert not FmcsDatasetSource._can_resolve("runs:/abc/fmcs_dataset.parquet")


def test_each_signal_labels_by_its_own_sequence(client):
    val = [2.0, 2.0, 2.0, 1.9, 1.2, 0.6, 0.3, 0.25, 0.25]
    drifts = {"stem": [0.9, 0.5, 0.2, 0.1, 0.05, 0.04, 0.04, 0.04], "stage": [0.9, 0.9, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1]}
    run_id = written_run(client, FALLING, val=val, modules=("stem", "stage"), drifts=drifts)
    config = ConvergenceConfig(levels=3, threshold=0.15)
    sequences = {("train", "stem"): FALLING, ("val", "stem"): val}
    sequences |= {("drift", module): [values[0], *values] for module, values in drifts.items()}
    points = {}
    for (signal, module), losses in sequences.items():
        table = build_fmcs_dataset(client, [run_id], config=config, signal=signal, modules=[module]).table
        points[signal, module], _, scores = reference(losses, 0.5, 3, 0.15, 3)
        np.testing.assert_allclose(table["fmcs"], scores, rtol=0, atol=1e-12)
    assert list(points.values()) == [5, 8, 6, 7]


def test_unconverged_runs_are_dropped_and_named_or_kept_without_a_label(client):
    good, bad = written_run(client, FALLING), written_run(client, STILL_FALLING)
    dropped = build_fmcs_dataset(client, [good, bad], config=CONFIG)
    assert set(dropped.table["run_id"]) == {good} and list(dropped.left_out) == [bad] and not dropped.unlabelled
    assert "Not converged" in dropped.left_out[bad]
    kept = build_fmcs_dataset(client, [good, bad], config=CONFIG, unconverged="keep")
    rows = kept.table[kept.table["run_id"] == bad]
    assert len(rows) == 6 and rows["fmcs"].isna().all() and rows["level"].isna().all()
    assert not kept.left_out and list(kept.unlabelled) == [bad]
    assert kept.counts().set_index("run_id").loc[bad, ["snapshots", "level_0"]].tolist() == [6, 0]
    said: list[str] = []
    describe(dropped, said.append)
    describe(kept, said.append)
    assert f"Run {bad} is left out: Not converged" in said[1]
    assert f"Run {bad} is kept without a label: Not converged" in said[3]


def test_a_dataset_without_any_label_can_be_logged(client):
    bad = written_run(client, STILL_FALLING)
    dataset = build_fmcs_dataset(client, [bad], config=CONFIG, unconverged="keep")
    parent = new_run(client)
    log_fmcs_dataset(Run(client, parent), dataset, config=CONFIG, signal="train")
    assert load_fmcs_dataset(client, parent)["fmcs"].isna().all()


def test_a_module_that_has_not_settled_is_left_out_alone(client):
    drifts = {"stem": [0.9, 0.5, 0.2, 0.1, 0.05, 0.04, 0.04, 0.04], "stage": [0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1]}
    run_id = written_run(client, FALLING, modules=("stem", "stage"), drifts=drifts)
    config = ConvergenceConfig(levels=3, threshold=0.15)
    dataset = build_fmcs_dataset(client, [run_id], config=config, signal="drift")
    assert set(dataset.table["module"]) == {"stem"}
    assert dataset.left_out[run_id].startswith("stage: Not converged")


def test_too_many_levels_are_a_reason_that_says_what_to_do(client):
    run_id = written_run(client, [2.0, 0.1, 0.1, 0.1, 0.1, 0.1])
    with pytest.raises(RunError) as error:
        build_fmcs_dataset(client, [run_id], config=ConvergenceConfig(levels=9, threshold=0.2))
    assert run_id in str(error.value) and "9 levels need" in str(error.value)
    assert "--snapshots-per-epoch" in str(error.value)


def test_no_run_left_lists_every_reason(client):
    runs = [written_run(client, [*STILL_FALLING, last]) for last in (-0.4, -0.5)]
    with pytest.raises(RunError, match="No run is left") as error:
        build_fmcs_dataset(client, runs, config=CONFIG)
    assert all(f"{run_id}: Not converged" in str(error.value) for run_id in runs)
    assert "--unconverged keep" in str(error.value)


def test_runs_that_cannot_be_used_are_refused_by_name(client):
    cases = {
        "no losses": written_run(client, [], maps=2),
        "recorded no feature maps": written_run(client, FALLING, maps=0),
        "still running": written_run(client, FALLING, status="RUNNING"),
        "no backbone run": written_run(client, FALLING, role="tuning"),
        "There is no run": "0123456789abcdef0123456789abcdef",
        "There is no run 'not an id'": "not an id",
    }
    for message, run_id in cases.items():
        with pytest.raises(RunError, match=message) as error:
            build_fmcs_dataset(client, [run_id], config=CONFIG)
        assert run_id in str(error.value)
    with pytest.raises(RunError, match=r"drift/stage has 0 values"):
        build_fmcs_dataset(client, [written_run(client, FALLING)], config=CONFIG, signal="drift")


def test_a_deleted_run_says_how_to_restore_it(client):
    run_id = written_run(client, FALLING)
    client.delete_run(run_id)
    with pytest.raises(RunError, match=f"mlflow runs restore --run-id {run_id}"):
        build_fmcs_dataset(client, [run_id], config=CONFIG)


def test_losses_with_a_gap_or_a_nan_are_refused(client):
    gap = written_run(client, FALLING)
    client.log_metric(gap, "train_loss", 0.07, step=11)
    with pytest.raises(RunError, match="gaps or doubles"):
        build_fmcs_dataset(client, [gap], config=CONFIG)
    nan = written_run(client, [2.0, 1.0, float("nan"), 0.5])
    with pytest.raises(NonFiniteLossError, match=f"training loss of run {nan} of snapshot 2 is nan"):
        build_fmcs_dataset(client, [nan], config=CONFIG)


def test_modules_are_chosen_by_name_and_glob(client):
    run_id = written_run(client, FALLING, modules=("layer1", "layer2", "neck"))
    chosen = build_fmcs_dataset(client, [run_id], config=CONFIG, modules=["neck", "lay*1"]).table["module"]
    assert set(chosen) == {"layer1", "neck"}
    with pytest.raises(RunError, match=r"maps of layer1, layer2, neck, and none of layer3\. Did you mean layer"):
        build_fmcs_dataset(client, [run_id], config=CONFIG, modules=["layer3"])


def test_snapshots_without_maps_or_without_losses_have_no_row(client):
    more_maps = written_run(client, FALLING, maps=11)
    fewer_maps = written_run(client, FALLING, maps=4)
    table = build_fmcs_dataset(client, [more_maps, fewer_maps], config=CONFIG).table
    assert table.groupby("run_id", sort=False)["snapshot"].max().tolist() == [8, 3]
    _, _, scores = reference(FALLING, 0.5, 3, 0.1, 3)
    np.testing.assert_allclose(table.loc[table["run_id"] == fewer_maps, "fmcs"], scores[:4], rtol=0, atol=1e-12)


def test_a_run_named_twice_counts_once(client):
    run_id = written_run(client, FALLING)
    assert len(build_fmcs_dataset(client, [run_id, run_id], config=CONFIG).table) == len(FALLING)


def test_a_damaged_or_missing_parquet_is_an_error_that_says_so(client, tmp_path):
    dataset = build_fmcs_dataset(client, [written_run(client, FALLING)], config=CONFIG)
    parent = new_run(client)
    with pytest.raises(RunError, match=r"has no fmcs_dataset\.parquet"):
        load_fmcs_dataset(client, parent)
    log_fmcs_dataset(Run(client, parent), dataset, config=CONFIG, signal="train")
    file = tmp_path / "artifacts" / parent / "artifacts" / "fmcs_dataset.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    with pytest.raises(IntegrityError, match=r"fmcs_dataset\.parquet of run .* is damaged"):
        load_fmcs_dataset(client, parent)
    client.delete_tag(parent, "fmce.sha256/fmcs_dataset.parquet")  # a run of an earlier release has none
    for damaged in (whole[:-20], whole[: len(whole) // 2], b"", b"not parquet at all"):
        file.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"fmcs_dataset\.parquet of run .* cannot be read"):
            load_fmcs_dataset(client, parent)
    dataset.table.drop(columns="sha256").to_parquet(file)
    with pytest.raises(ArtifactError, match="sha256"):
        load_fmcs_dataset(client, parent)


def test_a_table_of_before_weights_were_measured_is_read(client, tmp_path):
    run_id = written_run(client, FALLING)
    dataset = build_fmcs_dataset(client, [run_id], config=CONFIG)
    path = tmp_path / "fmcs_dataset.parquet"
    dataset.table.drop(columns=["moved_from", "moved_until"]).to_parquet(path)
    client.log_artifact(run_id, str(path))
    pd.testing.assert_frame_equal(load_fmcs_dataset(client, run_id), dataset.table)
    assert dataset.table["moved_until"].isna().all()


def test_each_module_has_the_label_of_its_own_weights(client):
    still, late = [0.0] * 8, [0.0] * 2 + [0.1] * 6
    changes = {"still": still, "late": late, "moving": [0.1] * 8}
    run_id = written_run(client, FALLING, modules=(*changes, "unknown"), weights=changes)
    dataset = build_fmcs_dataset(client, [run_id], config=CONFIG)
    run, own = (assess(losses, CONFIG) for losses in (FALLING, FALLING[2:]))
    expected = {
        "still": ([0.0] * 9, None, 0),
        "late": ([0.0] * 2 + own.fmcs.tolist(), 2, 8),
        "moving": (run.fmcs.tolist(), 0, 8),
        "unknown": (run.fmcs.tolist(), None, None),
    }
    for module, rows in dataset.table.groupby("module"):
        fmcs, moved_from, moved_until = expected[module]
        assert rows["fmcs"].tolist() == fmcs
        found = rows[["moved_from", "moved_until"]].drop_duplicates().astype(object).values.tolist()
        assert [[None if pd.isna(v) else v for v in one] for one in found] == [[moved_from, moved_until]]
    assert set(dataset.convergences) == {run_id, f"{run_id}/late"} and not dataset.left_out
    assert dataset.convergences[run_id].point == run.point


def test_a_module_that_never_moved_is_in_it_though_its_run_has_not_converged(client):
    run_id = written_run(client, STILL_FALLING, modules=("still", "moving"), weights={"still": [0.0] * 5})
    dataset = build_fmcs_dataset(client, [run_id], config=CONFIG)
    assert set(dataset.table["module"]) == {"still"} and set(dataset.table["fmcs"]) == {0.0}
    assert "Not converged" in dataset.left_out[run_id]


def test_snapshots_without_a_label_are_dropped_or_kept(client):
    losses = [*FALLING, 0.06, 0.03, 0.0]
    run_id = written_run(client, losses, weights={"stage": [0.0] * 8 + [0.1] * 3})
    dropped = build_fmcs_dataset(client, [run_id], config=CONFIG)
    assert dropped.table["snapshot"].tolist() == list(range(9)) and set(dropped.table["fmcs"]) == {0.0}
    assert dropped.left_out[run_id].startswith("stage: Its weights moved from snapshot 8 on")
    kept = build_fmcs_dataset(client, [run_id], config=CONFIG, unconverged="keep")
    assert kept.table["fmcs"].isna().sum() == 3 and kept.unlabelled == dropped.left_out


@pytest.mark.parametrize(
    ("column", "value"),
    [("fmcs", 2.0), ("fmcs", -5.0), ("fmcs", np.inf), ("fmcs", 1 + 1e-6), ("level", -1), ("level", 10**12),
     ("snapshot", -1), ("moved_from", -1), ("channels", 0), ("n", -3), ("rows", None)],
)  # fmt: skip
def test_a_dataset_of_another_program_is_checked_before_it_is_used(client, tmp_path, column, value):
    row = {name: 1 if kind.lower().startswith(("int", "float")) else "x" for name, kind in COLUMNS.items()}
    table = pd.DataFrame([{**row, "fmcs": fmcs, "level": None} for fmcs in (0.0, 1.0, np.nan)]).astype(COLUMNS)
    run_id = new_run(client)
    path = tmp_path / "fmcs_dataset.parquet"
    table.to_parquet(path)
    client.log_artifact(run_id, str(path))
    pd.testing.assert_frame_equal(load_fmcs_dataset(client, run_id), table)
    table.iloc[:0].to_parquet(path) if column == "rows" else table.assign(**{column: value}).to_parquet(path)
    client.log_artifact(run_id, str(path))
    expected = "it has no rows" if column == "rows" else rf"its column {column} has .*, and only"
    with pytest.raises(ArtifactError, match=rf"fmcs_dataset\.parquet of run .* cannot be read: {expected}"):
        load_fmcs_dataset(client, run_id)


def test_an_empty_table_has_its_columns():
    empty = pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)
    assert FmcsDataset(empty, {}, {}).counts().empty
