from __future__ import annotations

import json
import shutil
import signal
from collections import namedtuple
from pathlib import Path

import mlflow
import pytest
import torch

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.backbone.resume import stored_options
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.errors import ArtifactError, ConfigError, NonFiniteLossError, RunError
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.drift import linear_cka
from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.recording.conclude import DRIFT_PLOT
from fmce_mlflow.recording.probe_pictures import PICTURES
from fmce_mlflow.runs.checkpoint_slots import TAG
from fmce_mlflow.runs.feature_maps import FeatureMapReader
from fmce_mlflow.runs.run import Run
from tests.conftest import fast_options, new_client, new_run
from tests.helpers.faults import artifacts, dying, everything
from tests.helpers.progress import ended, until
from tests.helpers.trainings import training


def run(client, options, data=None, run_id=None):
    said = []
    run_id = run_id or new_run(client)
    return train_backbone(Run(client, run_id, said.append), options, data=data), said


def history(client, run_id, name):
    return {m.step: m.value for m in client.get_metric_history(run_id, name)}


def steps(client, run_id, name):
    return sorted(m.step for m in client.get_metric_history(run_id, name))


def convergence_of(client, run_id):
    return json.loads(Path(client.download_artifacts(run_id, "convergence.json")).read_text())


def test_all_names_of_a_run_are_there(client, data):
    options = fast_options(modules=("stem", "stage"))
    result, said = run(client, options, data)
    run_id = result.run_id
    logged = client.get_run(run_id)
    assert logged.info.status == "FINISHED"
    assert logged.data.tags["fmce.role"] == "backbone"
    assert logged.data.tags["fmce.converged"] == str(result.convergence.converged).lower() == "true"
    assert logged.data.tags["fmce.convergence_point"] == str(result.convergence.point)
    assert logged.data.tags["fmce.probe_sha256"] == data.probe_sha256
    assert TAG not in logged.data.tags
    every = list(range(7))
    for name in ("train_loss", "val_loss", "val_accuracy", "fmcs", "focus/stem", "focus/stage"):
        assert steps(client, run_id, name) == every
    for name in ("cqi", "drift/stem", "drift/stage"):
        assert steps(client, run_id, name) == every[1:]
    assert sorted(artifacts(client, run_id)) == sorted(
        ["convergence.json", "feature_maps/index.json", "options.json", "plots/convergence.png", "plots/saliency.png"]
        + [PICTURES, DRIFT_PLOT]
        + [f"feature_maps/{m}/snapshot_0000{s}.safetensors" for m in ("stem", "stage") for s in every]
    )
    assert logged.data.params | {"lr": "0.1", "modules_used": "stem,stage", "stem_used": "stock", "levels": "3"} == (
        logged.data.params
    )
    assert any("Will write" in line for line in said) and result.convergence.verdict() in " ".join(said)

    losses = history(client, run_id, "train_loss")
    record = convergence_of(client, run_id)
    assert record["signal"] == "train" and record["epochs"] == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    for name in ("train", "val"):
        assert Convergence.from_dict(record[name]).signal == name
    assert Convergence.from_dict(record["train"]).losses.tolist() == [losses[s] for s in every]
    assert list(record["drift"]) == ["stem", "stage"]
    assert history(client, run_id, "fmcs") == dict(enumerate(result.convergence.fmcs))
    reader = FeatureMapReader(client, run_id)
    for module in ("stem", "stage"):
        maps = [reader.read(module, s)[0] for s in every]
        assert reader.read(module, 0)[1].tolist() == data.probe.labels.tolist()
        for s in every[1:]:
            drift = history(client, run_id, f"drift/{module}")[s]
            assert drift == pytest.approx(1 - linear_cka(maps[s - 1], maps[s]), abs=1e-9)
    assert reader.index.probe.sha256 == data.probe_sha256
    (output,) = logged.outputs.model_outputs
    assert (output.step, f"models:/{output.model_id}") == (6, result.model_uri)
    assert result.val_accuracy == history(client, run_id, "val_accuracy")[6]


def test_options_survive_json_and_the_run(client, data):
    options = fast_options(
        modules=("stem", "stage"), map_size=3, keep="markers", signal="val", register_as="name",
        training={"optimizer": "adamw", "lr": 1e-3}, convergence=ConvergenceConfig(levels=2, rule="first"),
    )  # fmt: skip
    assert BackboneOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options
    flat = options.flat()
    assert (flat["modules"], flat["train_size"], flat["lr"], flat["rule"]) == ("stem,stage", "96", "0.001", "first")
    assert {"training", "convergence"}.isdisjoint(flat) and all(isinstance(value, str) for value in flat.values())


def test_every_wrong_option_is_named_at_once():
    with pytest.raises(ConfigError) as raised:
        fast_options(
            stem="big", keep="none", signal="loss", model_format="onnx", map_size=0, probe_size=1, image_size=1
        )
    names = [problem.split()[0] for problem in raised.value.problems]
    assert sorted(names) == ["image-size", "keep", "map-size", "model-format", "probe-size", "signal", "stem"]


def test_the_same_options_give_the_same_run(client, data):
    (first, _), (second, _) = (run(client, fast_options(), data) for _ in range(2))
    for name in ("train_loss", "val_loss", "val_accuracy", "drift/stage", "cqi", "fmcs"):
        assert history(client, first.run_id, name) == history(client, second.run_id, name)
    a, b = (FeatureMapReader(client, r.run_id).index.entries for r in (first, second))
    assert a == b  # sha256 of every file among it


def test_a_module_with_two_outputs_has_two_names(client, data):
    options = fast_options(backbone="tests.helpers.nets:TwoMaps", modules=("neck",), training={"epochs": 1})
    result, _ = run(client, options, data)
    assert FeatureMapReader(client, result.run_id).index.modules == ("neck.0", "neck.1")
    assert client.get_run(result.run_id).data.params["modules_used"] == "neck.0,neck.1"
    assert steps(client, result.run_id, "drift/neck.1") == [1, 2]


def test_keep_markers_leaves_their_maps_only(client, data):
    result, said = run(client, fast_options(keep="markers"), data)
    assert FeatureMapReader(client, result.run_id).index.snapshots("stage") == result.convergence.markers
    kept = [path for path in artifacts(client, result.run_id) if path.endswith(".safetensors")]
    assert len(kept) == 3 and any("dropped 4 files" in line for line in said)


def test_models_of_markers(client, data):
    result, _ = run(client, fast_options(log_checkpoints=True, register_as="tiny"), data)
    outputs = client.get_run(result.run_id).outputs.model_outputs
    assert {output.step for output in outputs} == {*result.convergence.markers, 6}
    assert not any(path.startswith("weights") for path in artifacts(client, result.run_id))
    assert client.get_model_version("tiny", "1").run_id == result.run_id


@pytest.mark.parametrize("signal", ["val", "drift"])
def test_other_signals_decide(client, data, signal):
    result, _ = run(client, fast_options(signal=signal), data)
    assert result.convergence.signal == signal
    name = "val_loss" if signal == "val" else "drift/stage"
    values = history(client, result.run_id, name)
    assert result.convergence.losses.tolist()[1:] == [values[s] for s in range(1, 7)]


def test_a_run_that_has_not_converged_completes_and_says_so(client, data):
    options = fast_options(keep="markers", convergence=ConvergenceConfig(threshold=1e-9))
    result, said = run(client, options, data)
    assert not result.convergence.converged and result.convergence.problem is None
    logged = client.get_run(result.run_id)
    assert logged.info.status == "FINISHED" and logged.data.tags["fmce.converged"] == "false"
    assert "fmce.convergence_point" not in logged.data.tags
    assert any("Not converged" in line for line in said) and any("all maps are kept" in line for line in said)
    assert steps(client, result.run_id, "fmcs") == [] and steps(client, result.run_id, "cqi") == list(range(1, 7))
    assert FeatureMapReader(client, result.run_id).index.snapshots("stage") == tuple(range(7))


@pytest.mark.parametrize("epochs", [1, 3])
def test_too_few_snapshots_complete_with_a_problem(client, data, epochs):
    training = {"epochs": epochs, "snapshots_per_epoch": 1}
    options = fast_options(training=training, convergence=ConvergenceConfig(levels=11, threshold=0.9))
    result, _ = run(client, options, data)
    assert result.convergence.problem and result.convergence.markers is None
    assert client.get_run(result.run_id).info.status == "FINISHED"
    assert convergence_of(client, result.run_id)["train"]["problem"] == result.convergence.problem


def test_a_run_that_diverges_has_failed_with_all_before_it_logged(client, data):
    options = fast_options(
        backbone="tests.helpers.nets:plain", training={"lr": 1e38, "momentum": 0.0, "weight_decay": 0.0}
    )
    run_id = new_run(client)
    with pytest.raises(NonFiniteLossError) as raised:
        run(client, options, data, run_id)
    logged = list(range(raised.value.snapshot))
    assert logged and client.get_run(run_id).info.status == "FAILED"
    assert steps(client, run_id, "train_loss") == logged
    assert FeatureMapReader(client, run_id).index.snapshots("stage") == tuple(logged)


def test_a_disk_that_is_too_full_is_told_before_the_training(client, data, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))
    run_id = new_run(client)
    with pytest.raises(ArtifactError, match=r"need 0\.1 MiB, and the artifact store at .* has 0\.0 MiB free\. Use a"):
        run(client, fast_options(), data, run_id)
    assert client.get_run(run_id).info.status == "FAILED" and steps(client, run_id, "train_loss") == []


def test_a_precision_that_is_not_there_fails_the_run(client, data):
    run_id = new_run(client)
    with pytest.raises(ConfigError, match="fp16"):
        run(client, fast_options(training={"precision": "fp16"}), data, run_id)
    assert client.get_run(run_id).info.status == "FAILED"


@pytest.mark.parametrize("model_format", ["pickle", "pt2"])
def test_bfloat16_training_logs_a_float32_model(client, data, model_format):
    result, said = run(client, fast_options(training={"precision": "bf16"}, model_format=model_format), data)
    assert not any("cannot be exported" in line for line in said)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        model = mlflow.pytorch.load_model(result.model_uri)
    finally:
        mlflow.set_tracking_uri(before)
    assert not hasattr(model, "_original_forward")


def wait_for_snapshot(client, run_id, process, snapshot):
    def reached():
        tag = client.get_run(run_id).data.tags.get(TAG)
        if tag and json.loads(tag)["snapshot"] >= snapshot:
            return True
        assert process.poll() is None, process.communicate()[0]

    until(reached, process, pause=0.03)


def test_a_killed_run_goes_on_to_what_an_undisturbed_one_is(client, data):
    whole, _ = run(client, fast_options(training={"epochs": 9}), data)
    run_id = new_run(client)
    with training(client.tracking_uri, run_id, 9) as process:
        wait_for_snapshot(client, run_id, process, 2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert client.get_run(run_id).info.status == "RUNNING"
    with training(client.tracking_uri, run_id, 9, resume=True) as process:
        wait_for_snapshot(client, run_id, process, 8)
        process.send_signal(signal.SIGINT)  # Ctrl-C
        said = ended(process)[0]
    assert "going on after snapshot" in said and f"fmce train-backbone --resume {run_id}" in said
    assert client.get_run(run_id).info.status == "KILLED"
    options = stored_options(Run(client, run_id))
    assert options == fast_options(training={"epochs": 9})
    _, lines = run(client, options, data, run_id)
    assert any("going on after snapshot" in line for line in lines)
    assert everything(client, run_id) == everything(client, whole.run_id)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, _empty_store, data):
    """A run with all that can be interrupted: its options, and everything of it."""
    client = new_client(tmp_path_factory.mktemp("undisturbed"), _empty_store)
    options = fast_options(keep="markers", log_checkpoints=True)
    return options, everything(client, run(client, options, data)[0].run_id)


@pytest.mark.parametrize(
    "place",
    [
        "fmce_mlflow.backbone.resume.save",
        "fmce_mlflow.runs.uploads.local.LocalUploads.log_batch",
        "fmce_mlflow.runs.run.Run.log_json",
        "fmce_mlflow.backbone.models.log_models",
        "fmce_mlflow.runs.feature_maps.FeatureMapWriter.keep_only",
    ],
)
@pytest.mark.parametrize("moment", ["before", "behind"])
def test_a_run_that_dies_around_any_step_can_be_finished(client, data, undisturbed, place, moment):
    options, whole = undisturbed
    call = 2 if place.rpartition(".")[2] in ("save", "log_batch", "log_json") else 1
    run_id = new_run(client)
    with dying(place, call, before=moment == "before"):
        run(client, options, data, run_id)
    run(client, stored_options(Run(client, run_id)), data, run_id)
    assert everything(client, run_id) == whole


def test_what_cannot_be_resumed(client, data):
    result, _ = run(client, fast_options(training={"epochs": 1}), data)
    with pytest.raises(RunError, match="is finished; there is nothing to resume"):
        stored_options(Run(client, result.run_id))
    with pytest.raises(RunError, match="it is not a backbone run"):
        stored_options(Run(client, new_run(client, **{"fmce.role": "evaluation"})))
    with pytest.raises(RunError, match=r"options\.json is missing"):
        stored_options(Run(client, new_run(client, **{"fmce.role": "backbone"})))
    with pytest.raises(RunError, match="There is no run 'nowhere'"):
        stored_options(Run(client, "nowhere"))
    run_id = new_run(client, **{"fmce.role": "backbone"})
    client.log_text(run_id, '{"backbone": "resnet18"}', "options.json")
    with pytest.raises(ArtifactError, match=r"options\.json of run \w+ cannot be read"):
        stored_options(Run(client, run_id))


def test_the_callers_random_state_and_tracking_are_left_alone(client, data):
    torch.manual_seed(5)
    before, uri = torch.get_rng_state(), mlflow.get_tracking_uri()
    run(client, fast_options(), data)
    assert torch.equal(torch.get_rng_state(), before)
    assert mlflow.get_tracking_uri() == uri and mlflow.active_run() is None
