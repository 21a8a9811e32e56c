"""`pytest -m smoke`: the whole way once, in seconds, for who has just installed it."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from fmce_mlflow.cli.main import main
from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.predictor.find import bundled_predictor
from tests.helpers.evaluations import tracked

pytestmark = pytest.mark.smoke
TRAIN = (
    "train-backbone --backbone tests.helpers.nets:tiny --modules stage --image-size 8 --train-size 96 "
    "--validation-size 40 --probe-size 16 --epochs 3 --snapshots-per-epoch 2 --batch-size 16 --lr 0.1 --cpu true "
    "--levels 3 --threshold 0.25 --smoothing 0 --window 1 --model-format pickle --register-as smoke"
)
EVALUATE = "evaluate --model models:/smoke/1 --modules stage --probe-size 64 --saliency false"


def test_labels_follow_from_the_losses_of_a_run():
    found = assess([2.3 * 0.6**t for t in range(21)])
    assert found.converged and found.point == 10 and found.markers == (0, 3, 5, 8, 10)
    assert found.fmcs is not None and found.fmcs[0] == 0 and found.fmcs[10] == found.fmcs[20] == 1


def test_the_bundled_predictor_scores_feature_maps_whatever_the_order_of_their_channels():
    predictor = bundled_predictor()
    assert predictor is not None
    maps = np.abs(np.random.default_rng(0).normal(size=(32, 24, 6, 6))).astype(np.float32)
    found, shuffled = (predictor.net.predict(bag) for bag in (maps, maps[:, ::-1].copy()))
    assert 0 <= found.fmcs <= 1 and found.std > 0
    assert shuffled.fmcs == pytest.approx(found.fmcs, abs=1e-4)


def test_a_backbone_is_trained_registered_and_scored(client):
    runner = CliRunner()
    with tracked(client.tracking_uri):
        for words in (TRAIN, EVALUATE):
            result = runner.invoke(main, ["--tracking-uri", client.tracking_uri, *words.split()], prog_name="fmce")
            assert result.exit_code == 0, result.output
    trained, evaluated = (
        client.search_runs([one.experiment_id for one in client.search_experiments()], f"tags.`fmce.role` = '{role}'")[
            0
        ].data
        for role in ("backbone", "evaluation")
    )
    assert trained.tags["fmce.converged"] == "true" and trained.metrics["fmcs"] == 1
    assert 0 <= evaluated.metrics["fmcs_predicted/stage"] <= 1
    assert evaluated.metrics["fmcs_measured"] == 1, "by the losses of the run that it is from"
