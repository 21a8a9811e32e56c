"""The snapshot of a recording that a model is: by its weights, or by its metadata."""

from __future__ import annotations

import copy

import pytest
import torch

from fmce_mlflow.evaluation.choices import Notes
from fmce_mlflow.evaluation.findings import TrainingRun
from fmce_mlflow.evaluation.provenance import find_training_run
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.recording.signals import run_convergence
from fmce_mlflow.runs.torch_models import TorchModel, TrainingFacts
from tests.conftest import new_run
from tests.helpers.recordings import begun, loop


@pytest.mark.parametrize("signal", ["train", "drift"])
def test_a_model_is_known_as_a_snapshot_with_the_label_that_the_recording_gave_it(client, signal):
    run_id, models = new_run(client), []
    with begun(client, run_id, lambda line: None, signal=signal, prefix="fmce/") as recorder:
        loop(recorder, lambda epoch: models.append(copy.deepcopy(recorder.model)))
    labels = {m.step: m.value for m in client.get_metric_history(run_id, "fmce/fmcs")}
    assert labels[3] > 0 and len(labels) == recorder.snapshots
    logged = client.create_logged_model(client.get_run(run_id).info.experiment_id, source_run_id=run_id).model_id
    stated = TrainingFacts(source_run=run_id, snapshot=3)
    for model in (TorchModel(models[2], "", logged), TorchModel(recorder.model, "", facts=stated)):
        found = find_training_run(client, model, notes := Notes())
        assert (found.run_id, found.snapshot, found.fmcs) == (run_id, 3, labels[3]) and not notes.choices
        assert found.convergence.signal == signal
    with torch.no_grad():
        models[2].head.weight[0, 0] += 1e-3
    assert find_training_run(client, TorchModel(models[2], "", logged), notes) is None
    assert "its weights are those of none of the snapshots" in notes.choices[0]


def test_each_module_is_measured_by_its_own_weights(client):
    run_id = new_run(client)
    with begun(client, run_id, lambda line: None) as recorder:
        recorder.model.stem.requires_grad_(False)
        loop(recorder)
    logged = client.create_logged_model(client.get_run(run_id).info.experiment_id, source_run_id=run_id).model_id
    found = find_training_run(client, TorchModel(recorder.model, "", logged), Notes())
    assert found.fmcs == 1 and found.convergence.point is not None
    assert found.measured("stem") == found.measured("stem.0") == 0, "it never moved, nor did what is in it"
    assert found.measured("head") == 1, "it was not recorded, and has the label of the run"


def test_a_run_of_before_weights_were_measured_has_one_label_for_all():
    found = TrainingRun("ab12", 3, 0.5)
    assert found.measured("stem") == found.measured("head") == 0.5
    signals = run_convergence([{"train_loss": 2.3 * 0.6**t} for t in range(21)], ConvergenceConfig())
    found = TrainingRun("ab12", 5, 0.5, signals.train, signals, "train")
    assert found.measured("stem") == 0.5 == signals.train.fmcs[5]


def test_a_module_without_a_label_is_not_measured():
    metrics = [{"train_loss": 2.3 * 0.6**t, "weight_change/stem": 0.1} for t in range(21)]
    signals = run_convergence(metrics, ConvergenceConfig(), starts_trained=True)
    found = [TrainingRun("ab12", t, 0.5, signals.train, signals, "train").measured("stem") for t in (5, 15, 99)]
    assert found == [None, 1.0, 0.5]
