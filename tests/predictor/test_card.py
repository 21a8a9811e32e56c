"""What a predictor's card says of its figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fmce_mlflow.method.fitting.protocols import score
from fmce_mlflow.method.fmce_net.belief import Prediction
from fmce_mlflow.method.fmce_net.config import OutlineConfig, SetConfig
from fmce_mlflow.method.fmce_net.outline_net import OutlineNet
from fmce_mlflow.method.fmce_net.set_net import SetNet
from fmce_mlflow.predictor.card import model_card, predictor_info
from fmce_mlflow.predictor.find import bundled_predictor


def rows():
    """Two backbones, three snapshots each."""
    return pd.DataFrame({
        "run_id": list("aaabbb"), "backbone": ["near"] * 3 + ["far"] * 3, "dataset": "digits", "module": "stage",
        "snapshot": [0, 1, 2] * 2, "fmcs": [0.0, 0.5, 1.0] * 2, "channels": 8, "height": 4, "width": 4,
        "level": pd.array([0, 2, 4] * 2, dtype="Int64"),
    })  # fmt: skip


def card(found, net, **more):
    predictions = [
        Prediction(v, 0.1, max(0.0, v - 0.16), min(1.0, v + 0.16), np.full(5, 0.2), round(4 * v)) for v in found
    ]
    table = rows()
    info = predictor_info(table, "r", {}, {"architecture": {net.kind: score(table, predictions, 5)}}) | more
    return info, model_card(info, net)


def test_it_names_what_the_net_was_far_off_on():
    net = SetNet(SetConfig(members=1))
    net.std_scale.fill_(1.4)
    info, text = card([0.0, 0.4, 0.9, 0.0, 0.1, 0.2], net, known_failures=["Something that is known."])
    (failure,) = info["failures"]["architecture"]
    assert failure == {
        "backbone": "far", "dataset": "digits", "runs": 1, "mae": pytest.approx(0.4), "spearman": pytest.approx(1.0)
    }  # fmt: skip
    assert (
        "## Known failures" in text and "| far | digits | 1 | 0.40 | 1.00 |" in text and "- Something that is" in text
    )
    # of six truths the last two are outside; widths are 0.16, 0.32, 0.26, 0.16, 0.26 and 0.32
    assert "`architecture` 66.7% (width 0.25)" in text and "widened until it held 90 %" in text


def test_without_failures_it_names_none():
    info, text = card([0.0, 0.5, 1.0] * 2, SetNet(SetConfig(members=1)))
    assert info["failures"] == {"architecture": []} and "Known failures" not in text
    assert "not calibrated" in text


def test_an_outline_net_is_not_said_to_be_calibrated():
    assert "not calibrated" in card([0.0, 0.5, 1.0] * 2, OutlineNet(OutlineConfig(channels=8, height=4, width=4)))[1]


def test_the_bundled_one_has_every_part():
    text = bundled_predictor().card
    for part in ("Trained on", "How good it is", "Calibration", "Known failures", "Limits"):
        assert f"## {part}\n" in text
    for protocol in ("run", "architecture", "dataset"):
        assert protocol in text
    for name in ("set", "activation_deviation", "weightwatcher_alpha", "rankme"):
        assert f"| {name} |" in text
