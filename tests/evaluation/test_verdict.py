from __future__ import annotations

from dataclasses import replace

import pytest

from fmce_mlflow.evaluation.findings import PredictorFacts, TrainingRun
from fmce_mlflow.evaluation.verdict import next_steps, overall, state, trust, verdict
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import assess
from tests.helpers import reports
from tests.helpers.reports import finding, report, some_images


@pytest.mark.parametrize(
    ("fmcs", "std", "more", "badge", "words"),
    [
        (0.97, 0.02, {}, "mature", "it is trained enough to build on"),
        (0.93, 0.06, {}, "likely", "probably trained enough to build on, though the interval reaches below"),
        (
            0.84,
            0.08,
            {},
            "unlikely",
            "probably not yet trained enough to build on, though the interval reaches the bar",
        ),
        (0.62, 0.07, {}, "immature", "is about 62% of the way to convergence (90% interval 50–74%); it is not yet"),
        (0.97, 0.02, {"far": True}, "unknown", "unlike those that the predictor was trained on"),
        (
            0.62,
            0.07,
            {"early": True},
            "unknown",
            "it lies earlier in its network than the modules that the predictor was trained on",
        ),
        (0.62, 0.0, {}, "immature", "(the predictor gives no interval); it is not yet"),
        (0.95, 0.0, {}, "mature", "(the predictor gives no interval); it is trained enough"),
        (1.0, 0.01, {}, "mature", "x looks fully converged (90% interval 98–100%); it is trained enough"),
    ],
)
def test_verdicts(fmcs, std, more, badge, words):
    found = finding("x", fmcs, std, **more)
    assert state(found) == badge and words in verdict(found)


def test_next_steps_follow_from_the_findings():
    steps = " ".join(next_steps(reports.several()))
    assert "Score rpn.head.conv with a predictor that knows such models" in steps
    assert "Train head.tower.0 and neck further" in steps and "backbone.body.layer4.1.conv2 could be frozen" in steps
    mature = report(finding("x", 0.97, 0.02))
    assert next_steps(mature)[0].startswith("Let it through")
    assert not any(step.startswith(("Train", "Let")) for step in next_steps(report(finding("x", 0.95, far=True))))
    disagreeing = report(finding("x", 0.2, 0.02, measured=1.0))
    assert "Find out why x scores 0.20 where its training says 1.00" in " ".join(next_steps(disagreeing))
    few = replace(mature, images=some_images(8))
    assert "8 are few" in " ".join(next_steps(few))
    unconverged = assess(reports.losses(), ConvergenceConfig(threshold=1e-9))
    still = replace(mature, training=TrainingRun("9c1e44d0", 9, convergence=unconverged))
    assert "has not converged by its losses" in " ".join(next_steps(still))


# Which modules decide, and which one is named


def names(modules):
    return [module.name for module in modules]


def test_of_a_network_with_a_reset_stage_that_stage_is_named_and_not_the_one_after_it():
    found = report(
        finding("layer1", 0.97, 0.02), finding("layer2", 0.95, 0.02), finding("layer3", 0.40), finding("layer4", 0.33),
        finding("layer5", 0.97, 0.02), training=None,
    )  # fmt: skip
    assert names(found.fallen) == ["layer3", "layer4"] and found.least.name == "layer4"
    assert found.metrics["fmcs_predicted"] == 0.33
    inherits = "The first in the network that is not mature is layer3; layer4 follows it and inherits what it lacks."
    assert inherits in overall(found) and inherits in found.summary
    assert [line.partition(":")[0] for line in found.summary.splitlines()[:5]] == [f"layer{i}" for i in range(1, 6)]
    (train, *_) = [step for step in next_steps(found) if step.startswith("Train")]
    assert "Train layer3 further first (layer4 may follow by itself)" in train


def test_one_that_only_may_be_below_the_bar_does_not_take_the_blame_of_one_that_is():
    found = report(finding("neck", 0.84, 0.08), finding("head", 0.31), finding("tail", 0.3))
    assert names(found.fallen) == ["head", "tail"]
    assert names(report(finding("neck", 0.84, 0.08), finding("head", 0.95)).fallen) == ["neck"]
    assert report(finding("neck", 0.97, 0.01), finding("head", 0.95, 0.01)).fallen == ()


def test_pools_and_activations_and_what_the_predictor_does_not_know_decide_nothing():
    """Issue 16: of a converged network, `fmcs_predicted` was that of conv1, 0.39 ± 0.54."""
    unknown = [finding("conv1", 0.39, 0.54, early=True), finding("neck", 0.1, far=True)]
    plain = [finding("relu", 0.2, weightless=True), finding("pool", 0.1, weightless=True)]
    found = report(
        unknown[0], plain[0], unknown[1], finding("layer3", 0.96, 0.01), plain[1], finding("layer4", 0.94, 0.01)
    )
    assert names(found.deciding) == ["layer3", "layer4"] and found.least.name == "layer4" and found.fallen == ()
    assert found.metrics["fmcs_predicted"] == 0.94 and found.metrics["fmcs_predicted/conv1"] == 0.39
    assert "Least mature: layer4." in found.summary and "conv1 is" not in overall(found)
    assert found.summary.count("the predictor does not know such modules") == 2
    assert not any("relu" in step or "pool" in step for step in next_steps(found))
    alone = report(plain[0], plain[1])
    assert names(alone.deciding) == ["relu", "pool"] and alone.metrics["fmcs_predicted"] == 0.1


def test_what_lies_before_the_first_immature_module_may_be_the_cause():
    found = report(finding("layer3", 0.2, early=True), finding("layer4", 0.3), training=None)
    assert found.inherited == " It may begin before layer4, in layer3, which the predictor does not know."
    assert found.inherited in overall(found)


@pytest.mark.parametrize("more", [{"far": True}, {"early": True}])
@pytest.mark.parametrize("n", [1, 3])
def test_without_a_module_that_the_predictor_knows_there_is_no_figure_to_gate_on(n, more):
    found = report(*(finding(f"layer{i}", 0.95, 0.01, **more) for i in range(n)))
    assert found.deciding == () == found.fallen and "fmcs_predicted" not in found.metrics
    assert found.metrics["fmcs_predicted/layer0"] == 0.95
    assert "no verdict and no fmcs_predicted" in found.summary
    assert "knows none of the 3 modules" in overall(found) if n == 3 else "may be far off" in overall(found)
    assert not any(step.startswith(("Let", "Train")) for step in next_steps(found))


def untouched(name, fmcs=0.0, **more):
    return finding(name, fmcs, 0.001, untouched=True, **more)


def test_where_one_was_never_trained_it_is_named_and_neither_a_low_score_before_it_nor_what_follows():
    found = report(
        finding("layer1", 0.4), finding("layer2", 0.95, 0.01), untouched("layer3", far=True, distance=4.0),
        finding("layer4", 0.2), training=None,
    )  # fmt: skip
    assert names(found.deciding) == ["layer1", "layer2", "layer3", "layer4"]
    assert found.least.name == "layer3" and names(found.fallen) == ["layer3", "layer4"]
    assert state(found.least) == "untrained" and found.metrics["fmcs_predicted"] == 0
    assert found.inherited == (
        " Immaturity begins there; layer4 follows it and inherits what it lacks. layer1 should be judged again when it "
        "is trained."
    )
    assert found.inherited in overall(found) and "layer3 has an FMCS of 0.00: its weights are as an" in overall(found)
    first = next_steps(found)[0]
    assert first.startswith("Train layer3 first (layer4 may follow by itself), and judge layer1 again afterwards.")
    assert "were not loaded from the checkpoint" in first and len([s for s in next_steps(found) if "Train" in s]) == 1
    assert "Score layer3" not in " ".join(next_steps(found)) and "lies outside that corpus" not in " ".join(
        trust(found)
    )


def test_a_module_is_not_said_to_follow_its_own_part():
    found = report(untouched("features.3"), finding("features", 0.3), finding("head", 0.2), training=None)
    assert names(found.fallen) == ["features.3", "features", "head"]
    assert found.inherited == " Immaturity begins there; head follows it and inherits what it lacks."
    nested = report(untouched("features.0"), untouched("features.3"), untouched("features"), finding("head", 0.9))
    assert nested.untrained.name == "features.0"


def test_where_a_part_was_never_trained_immaturity_begins_in_it_though_scores_before_it_fall_too():
    found = report(finding("s.0", 0.5, 0.2), finding("s.1", 0.6), finding("s", 0.4, part="2"), finding("head", 0.3))
    assert found.begins is found.modules[2] is found.least and names(found.fallen) == ["s", "head"]
    assert found.untrained is None and names(found.before) == ["s.0", "s.1"]
    assert found.inherited == (
        " Immaturity begins in its part 2, which was never trained; head follows it and inherits what it lacks. s.0, "
        "s.1 should be judged again when it is trained."
    )
    first, *others = [step for step in next_steps(found) if "Train" in step]
    assert first.startswith("Train s.2 first (head may follow by itself), and judge s.0 and s.1 again") and not others
    mature = report(finding("s", 0.97, 0.01, part="2"), finding("head", 0.3, 0.01))
    assert mature.begins is None and names(mature.fallen) == ["head"]


def test_of_a_network_that_was_never_trained_all_modules_are_named():
    plain = finding("pool", 0.9, 0.01, weightless=True)
    found = report(untouched("layer1"), untouched("layer2"), plain, training=None)
    assert found.untrained is None and names(found.fallen) == ["layer1", "layer2"]
    assert next_steps(found)[0].startswith("Train layer1 and layer2. If that was done, find out why")
    assert found.summary.count("it was never trained") == 2


def test_which_evidence_there_was_is_told():
    predictor = PredictorFacts(name="p", evidence=("weights", "gap", "labels"))
    found = report(finding("a", 0.5, groups=("weights", "gap"), evidence={"untouched": 0.2}), predictor=predictor)
    told = "Evidence beside the maps: weights, BatchNorm's statistics computed anew; missing: labels."
    assert found.looked_at == told and told in found.summary and told in trust(found)
    assert report().looked_at == "" and found.metrics["fmce_untouched/a"] == found.metrics["fmce_untouched"] == 0.2


def test_lagging_statistics_are_a_step_and_those_of_an_untrained_module_are_not():
    gap = {"gap drift": 0.4}
    steps = " ".join(next_steps(report(finding("a", 0.95, 0.01, evidence=gap), untouched("b", evidence=gap))))
    assert "Compute BatchNorm's statistics anew before the model is used: those of a do not fit these images" in steps
    assert "Compute" not in " ".join(next_steps(report(finding("a", 0.95, 0.01, evidence={"gap drift": 0.05}))))
