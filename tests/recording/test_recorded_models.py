"""A model that the user logs in a recorded run is known as a snapshot of it, through MLflow's own evaluation."""

from __future__ import annotations

import mlflow
import pytest
import torch

import fmce_mlflow
from tests.helpers.recordings import EPOCHS, PROBE, live, loop
from tests.helpers.small_training import PROBE_LABELS, SOON


def logged(model, name, form):
    """A model logged in the active run, as users do, but for its requirements, which MLflow takes a process to find."""
    training = model.training
    options = {"serialization_format": form, "pip_requirements": []}
    if form == "pt2":
        images = PROBE[:2].numpy()
        options |= {"input_example": images, "signature": mlflow.models.infer_signature(images)}
    info = mlflow.pytorch.log_model(model.eval(), name=name, **options)
    model.train(training)
    return info.model_uri


def evaluated(uri):
    """Metrics of MLflow's evaluation."""
    data = mlflow.data.from_images(PROBE.numpy())
    with mlflow.start_run():
        result = mlflow.models.evaluate(
            uri, data, model_type="fmce", evaluators="fmce", evaluator_config={"modules": ["stem"], "saliency": False}
        )
    return result.metrics


@pytest.mark.parametrize(("form", "signal"), [("pickle", "drift"), ("pt2", "train")])
def test_a_model_of_the_loop_is_known_by_its_weights(tracking, form, signal):
    model, uris = live(), {}
    with mlflow.start_run():
        with fmce_mlflow.record(
            model, ["stem"], probe=PROBE, labels=PROBE_LABELS, convergence=SOON, signal=signal, say=lambda line: None
        ) as recorder:
            loop(recorder, lambda epoch: uris.update({2: logged(model, "middle", form)} if epoch == 2 else {}))
            uris[EPOCHS] = logged(model, "end", form)
        with torch.no_grad():
            model.head.weight += 1
        uris["other"] = logged(model, "other", form)
    labels = {m.step: m.value for m in tracking.get_metric_history(recorder.run.id, "fmcs")}
    for snapshot in (2, EPOCHS):
        assert evaluated(uris[snapshot])["fmcs_measured"] == labels[snapshot]
    assert "fmcs_measured" not in evaluated(uris["other"])
