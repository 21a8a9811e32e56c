from __future__ import annotations

import json

import mlflow
import numpy as np
import pytest
import torch
from mlflow.entities import LoggedModelStatus

from fmce_mlflow.backbone import models as model_logging
from fmce_mlflow.backbone.train import train_backbone
from fmce_mlflow.errors import ArtifactError, BackboneError
from fmce_mlflow.method.images.preprocessing import Preprocessing
from fmce_mlflow.method.networks.capture import capture
from fmce_mlflow.method.networks.model_forms import load_exported
from fmce_mlflow.runs.run import Run
from tests.conftest import fast_options, new_run
from tests.helpers import nets

pytestmark = pytest.mark.usefixtures("tracking")  # MLflow's loaders find models by its own store


def log(client, run_id, model, data, **more):
    said = []
    options = {
        "modules": ("stage",), "backbone": "tests.helpers.nets:tiny", "serialization": "pickle", "final": 6,
        "markers": (),
        "register_as": None,
    }  # fmt: skip
    return model_logging.log_models(Run(client, run_id, said.append), model, data, **{**options, **more}), said


def trained_net(seeded, factory=nets.tiny, seed=0):
    """Random weights, and running statistics that are not those of a new network."""
    model = seeded(factory, seed)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model.train()(torch.randn(20, 3, 8, 8))
    return model


def images(data, n=5):
    return torch.stack([data.preprocessing(data.probe[i][0]) for i in range(n)])


def outputs(model, x):
    with torch.no_grad():
        return model.eval()(x)


def test_a_pickled_model_loads_with_the_same_outputs(client, data, seeded):
    model = trained_net(seeded)
    uri, said = log(client, new_run(client), model, data)
    loaded = mlflow.pytorch.load_model(uri)
    assert said == [] and torch.equal(outputs(loaded, images(data)), outputs(model, images(data)))
    served = mlflow.pyfunc.load_model(uri).predict(images(data).numpy())
    np.testing.assert_allclose(served, outputs(model, images(data)).numpy(), rtol=1e-5, atol=1e-6)


def test_an_exported_model_gives_the_eager_outputs_and_maps(client, data, seeded, tmp_path):
    model = trained_net(seeded)
    uri, said = log(client, new_run(client), model, data, serialization="pt2")
    assert said == []
    folder = mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / "fetched"))
    exported, x = load_exported(folder), images(data)  # five images, exported with two
    with capture(exported, ["stage"]) as forward:
        output, maps = forward(x)
    torch.testing.assert_close(output, outputs(model, x))
    with capture(model, ["stage"]) as forward:
        torch.testing.assert_close(maps["stage"], forward(x)[1]["stage"])


@pytest.mark.parametrize("serialization", ["pickle", "pt2"])
def test_what_a_stranger_needs_is_with_the_model(client, data, seeded, serialization):
    run_id = new_run(client)
    uri, _ = log(client, run_id, trained_net(seeded), data, serialization=serialization)
    info = mlflow.models.get_model_info(uri)
    (given,), (result,) = info.signature.inputs.inputs, info.signature.outputs.inputs
    assert (given.shape, given.type, result.shape, result.type) == ((-1, 3, 8, 8), np.float32, (-1, 10), np.float32)
    example = mlflow.pyfunc.load_model(uri).input_example
    np.testing.assert_array_equal(example, images(data, 2).numpy())
    assert {k: v for k, v in info.metadata["fmce"].items() if k != "preprocessing"} == {
        "backbone": "tests.helpers.nets:tiny", "modules": ["stage"], "snapshot": 6, "source_run": run_id,
        "classes": list(data.classes),
    }  # fmt: skip
    assert Preprocessing.from_dict(info.metadata["fmce"]["preprocessing"]) == data.preprocessing
    assert (info.run_id, info.model_id) == (run_id, uri.removeprefix("models:/"))


def test_the_model_stands_in_the_runs_experiment_and_is_ready(client, data, seeded):
    mlflow.set_experiment("another")
    run_id = new_run(client)
    client.log_metric(run_id, "train_loss", 0.25, step=6)
    client.log_metric(run_id, "train_loss", 0.5, step=5)
    uri, _ = log(client, run_id, trained_net(seeded), data)
    (output,) = client.get_run(run_id).outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert (output.step, f"models:/{output.model_id}") == (6, uri)
    assert (logged.status, logged.name, logged.source_run_id) == (LoggedModelStatus.READY, "model", run_id)
    assert logged.experiment_id == client.get_run(run_id).info.experiment_id
    assert [(m.key, m.value, m.step) for m in logged.metrics] == [("train_loss", 0.25, 6)]
    assert [m.step for m in client.get_metric_history(run_id, "train_loss")] == [6, 5]
    assert mlflow.get_tracking_uri() == client.tracking_uri and mlflow.active_run() is None


def test_logging_twice_does_nothing_the_second_time(client, data, seeded):
    run_id, model = new_run(client), trained_net(seeded)
    first, _ = log(client, run_id, model, data, register_as="digits")
    again, _ = log(client, run_id, model, data, register_as="digits")
    assert first == again
    assert len(client.get_run(run_id).outputs.model_outputs) == 1
    assert len(client.search_model_versions("name = 'digits'")) == 1


def test_registering_makes_versions_that_load(client, data, seeded):
    nets_of = [trained_net(seeded, seed=seed) for seed in range(2)]
    for model in nets_of:
        log(client, new_run(client), model, data, register_as="our digits' net")
    for version, model in enumerate(nets_of, start=1):
        loaded = mlflow.pytorch.load_model(f"models:/our digits' net/{version}")
        assert torch.equal(outputs(loaded, images(data)), outputs(model, images(data)))


def test_a_logged_model_knows_its_versions(client, data, seeded):
    """As after ``mlflow.register_model``: the UI and the report name a model by it."""
    run_id = new_run(client)
    model = trained_net(seeded)
    for name in ("one", "one", "other"):
        logged, _ = log(client, run_id, model, data, register_as=name)
    model_id = logged.removeprefix("models:/")
    told = [{"name": "one", "version": "1"}, {"name": "other", "version": "1"}]
    assert json.loads(client.get_logged_model(model_id).tags["mlflow.modelVersions"]) == told
    client.delete_logged_model_tag(model_id, "mlflow.modelVersions")  # as a kill between the two would leave it
    log(client, run_id, model, data, register_as="one")
    assert json.loads(client.get_logged_model(model_id).tags["mlflow.modelVersions"]) == told[:1]


def test_models_of_markers_have_the_weights_of_their_snapshots(client, data, seeded):
    run_id = new_run(client)
    kept = {snapshot: trained_net(seeded, seed=snapshot) for snapshot in (0, 1, 2, 4, 6)}
    for snapshot, model in kept.items():
        model_logging.save_weights(client, run_id, snapshot, model.state_dict())
    final = trained_net(seeded, seed=6)
    log(client, run_id, final, data, markers=(0, 2, 4), register_as="marked")
    logged = {o.step: o.model_id for o in client.get_run(run_id).outputs.model_outputs}
    assert sorted(logged) == [0, 2, 4, 6]
    for snapshot, model_id in logged.items():
        loaded = mlflow.pytorch.load_model(f"models:/{model_id}")
        assert torch.equal(outputs(loaded, images(data)), outputs(kept[snapshot], images(data)))
    assert client.get_model_version("marked", "1").source == f"models:/{logged[6]}"
    assert len(client.search_model_versions("name = 'marked'")) == 1
    assert [file.path for file in client.list_artifacts(run_id)] == []  # kept weights are gone


def test_weights_that_were_not_kept_are_told(client, data, seeded):
    with pytest.raises(ArtifactError, match="weights of snapshot 2 of run"):
        log(client, new_run(client), trained_net(seeded), data, markers=(2,))


def test_a_model_that_cannot_be_exported_is_pickled_and_that_is_said(client, data, seeded):
    run_id, model = new_run(client), seeded(nets.Branching)
    uri, said = log(client, run_id, model, data, serialization="pt2")
    assert len(said) == 1 and "cannot be exported to pt2" in said[0] and "pickle" in said[0]
    assert torch.equal(outputs(mlflow.pytorch.load_model(uri), images(data)), outputs(model, images(data)))
    (output,) = client.get_run(run_id).outputs.model_outputs
    assert client.get_logged_model(output.model_id).status == LoggedModelStatus.READY


@pytest.mark.parametrize("serialization", ["pickle", "pt2"])
def test_a_parametrized_network_is_logged_with_the_weights_that_it_computes(client, data, seeded, serialization):
    model = trained_net(seeded, nets.parametrized)
    model_logging.check_saving(model, data, serialization)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    uri, said = log(client, new_run(client), model, data, serialization=serialization)
    assert said == [] and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    loaded = mlflow.pytorch.load_model(uri)
    if serialization == "pt2":
        loaded = loaded.module() if hasattr(loaded, "module") else loaded
    torch.testing.assert_close(loaded(images(data)), outputs(model, images(data)))


def test_what_no_format_takes_is_told_before_it_is_trained(client, data):
    for backbone, model_format in (("Locked", "pickle"), ("LockedAndBranching", "pt2")):
        run = Run(client, new_run(client), lambda line: None)
        options = fast_options(backbone=f"tests.helpers.nets:{backbone}", model_format=model_format)
        with pytest.raises(BackboneError, match=r"(?s)cannot be logged .*as a pickle .*lock"):
            train_backbone(run, options, data=data)
        assert run.fetch().info.status == "FAILED" and run.fetch().data.metrics == {}


def test_what_one_format_takes_is_trained(client, data):
    run = Run(client, new_run(client), lambda line: None)
    options = fast_options(backbone="tests.helpers.nets:Locked", model_format="pt2", training={"epochs": 1})
    assert train_backbone(run, options, data=data).model_uri


def test_a_model_that_could_not_be_stored_is_no_output_of_the_run(client, data, seeded, tmp_path):
    run_id = new_run(client)
    (tmp_path / "artifacts" / "models").parent.mkdir(exist_ok=True)
    (tmp_path / "artifacts" / "models").write_text("a file where the folder of models should be")
    with pytest.raises(ArtifactError, match=r"The artifact store of model model .* cannot be used"):
        log(client, run_id, trained_net(seeded), data)
    run = client.get_run(run_id)
    assert not (run.outputs and run.outputs.model_outputs)
    (tmp_path / "artifacts" / "models").unlink()
    uri, _ = log(client, run_id, trained_net(seeded), data)
    assert mlflow.pytorch.load_model(uri)
