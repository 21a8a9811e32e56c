from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fmce_mlflow.errors import ConfigError, ConvergenceError, NonFiniteLossError, TooFewSnapshotsError
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.labels import convergence_point, cqi, fmcs, loss_markers, markers, smooth
from fmce_mlflow.method.convergence.verdict import Convergence, assess, disagreement

# A loss that sits on a plateau before it falls, like a network whose first epochs only move BatchNorm statistics.
PLATEAU = [
    2.303,
    2.302,
    2.301,
    2.300,
    1.6,
    0.9,
    0.5,
    0.3,
    0.2,
    0.15,
    0.12,
    0.11,
    0.105,
    0.103,
    0.102,
    0.101,
    0.101,
    0.1,
]
DECAY = [2.3 * 0.6**t for t in range(21)]
MU_1 = ConvergenceConfig(threshold=0.01)

losses_ = st.lists(st.floats(0, 10, width=32), min_size=2, max_size=40)
configs = st.builds(
    ConvergenceConfig,
    smoothing=st.sampled_from([0.0, 0.3, 0.5, 0.9]),
    window=st.integers(1, 6),
    threshold=st.sampled_from([0.003, 0.01, 0.05]),
    aggregation=st.sampled_from(["mean", "mean-abs"]),
    rule=st.sampled_from(["settled", "first"]),
    levels=st.integers(2, 6),
)


# --- an independent, slow reading of the definitions -----------------------------------------------------------------


def slow_cqi(losses, beta, window, aggregation):
    def s(t):
        return sum((1 - beta) * beta**i * losses[t - i] for i in range(t)) + beta**t * losses[0]

    values = [math.nan]
    for t in range(1, len(losses)):
        d = [s(i) - s(i - 1) for i in range(1, t + 1)][-window:]
        total = math.fsum(abs(x) if aggregation == "mean-abs" else x for x in d)
        value_range = max(losses) - min(losses)
        values.append(abs(total) / len(d) / value_range if value_range else 0.0)
    return values


def slow_point(values, threshold, rule):
    for t in range(1, len(values)):
        rest = values[t:] if rule == "settled" else values[t : t + 1]
        if all(v < threshold for v in rest):
            return t
    return None


def slow_time_score(t, point, levels):
    marks = [math.floor(point * k / (levels - 1) + 0.5) for k in range(levels)]
    if t >= marks[-1]:
        return 1.0
    k = max(k for k in range(levels) if marks[k] <= t)
    return (k + (t - marks[k]) / (marks[k + 1] - marks[k])) / (levels - 1)


@given(losses_, configs)
def test_cqi_and_the_convergence_point_agree_with_a_slow_implementation(losses, config):
    assume(max(losses) - min(losses) > 1e-3 or max(losses) == min(losses))
    values = cqi(losses, smoothing=config.smoothing, window=config.window, aggregation=config.aggregation)
    expected = slow_cqi(losses, config.smoothing, config.window, config.aggregation)
    np.testing.assert_allclose(values, expected, rtol=1e-7, atol=1e-10)
    assume(np.all(np.abs(values[1:] - config.threshold) > 1e-9))
    assert convergence_point(values, config.threshold, config.rule) == slow_point(
        values.tolist(), config.threshold, config.rule
    )


@given(st.integers(1, 200), st.integers(2, 12), st.integers(0, 30))
def test_markers_and_scores_agree_with_a_slow_implementation(point, levels, after):
    assume(point >= levels - 1)
    marks = markers(point, levels)
    assert marks == tuple(math.floor(point * k / (levels - 1) + 0.5) for k in range(levels))
    assert marks[0] == 0 and marks[-1] == point and len(set(marks)) == levels
    scores = fmcs(marks, point + 1 + after)
    np.testing.assert_allclose(
        scores, [slow_time_score(t, point, levels) for t in range(point + 1 + after)], atol=1e-12
    )


# --- numbers worked by hand ------------------------------------------------------------------------------------------


def test_hand_worked_smoothing():
    # s = 8; 0.25*8 + 0.75*4 = 5; 0.25*5 + 0.75*1 = 2
    assert smooth([8, 4, 1], 0.25).tolist() == [8.0, 5.0, 2.0]
    assert smooth([8, 4, 1], 0).tolist() == [8.0, 4.0, 1.0]


def test_hand_worked_cqi():
    # range 8; d = -4, -2, 0, +1; window 2: 4, (4+2)/2, (2+0)/2, |0+1|/2, each over 8
    values = cqi([8, 4, 2, 2, 3, 0], smoothing=0, window=2)
    assert math.isnan(values[0])
    assert values[1:5].tolist() == [4 / 8, 3 / 8, 1 / 8, 0.5 / 8]
    # d_5 = -3: |1 - 3|/2 = 1 with the plain mean, (1 + 3)/2 = 2 with absolute values
    assert values[5] == 1 / 8
    assert cqi([8, 4, 2, 2, 3, 0], smoothing=0, window=2, aggregation="mean-abs")[5] == 2 / 8


def test_equal_losses_have_cqi_0():
    np.testing.assert_array_equal(cqi([3, 3, 3, 3], smoothing=0.5, window=3), [math.nan, 0, 0, 0])
    np.testing.assert_array_equal(cqi([3], smoothing=0.5, window=3), [math.nan])


def test_a_window_longer_than_the_run_averages_what_there_is():
    assert cqi([4, 2, 0], smoothing=0, window=100)[1:].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("values", "first", "settled"),
    [
        ([math.nan, 0.5, 0.001, 0.5, 0.001, 0.002], 2, 4),
        ([math.nan, 0.5, 0.001, 0.5], 2, None),
        ([math.nan, 0.5, 0.2], None, None),
        ([math.nan, 0.001], 1, 1),
        ([math.nan, 0.01, 0.001], 2, 2),  # not below at equality
        ([math.nan], None, None),
    ],
)
def test_hand_worked_convergence_points(values, first, settled):
    assert convergence_point(values, 0.01, "first") == first
    assert convergence_point(values, 0.01, "settled") == settled


def test_marker_halves_are_rounded_up():
    assert markers(10, 5) == (0, 3, 5, 8, 10)  # 2.5 -> 3 and 7.5 -> 8, where Python's round gives 2 and 8
    assert markers(4, 5) == (0, 1, 2, 3, 4)
    assert markers(1, 2) == (0, 1)


def test_too_few_snapshots_says_how_to_get_more():
    with pytest.raises(TooFewSnapshotsError, match=r"converged at snapshot 3\..*--snapshots-per-epoch") as caught:
        markers(3, 5)
    assert "--levels" in str(caught.value) and "learning rate" in str(caught.value)


def test_hand_worked_loss_markers():
    # Lost of 8: 0, 1/8, 4/8, 4/8 (a rise takes nothing back), 6/8, 8/8; T = 5
    smoothed = [8, 7, 4, 5, 2, 0, 0]
    with pytest.raises(TooFewSnapshotsError, match="levels 1 and 2 are both reached at snapshot 2, where 50%"):
        loss_markers(smoothed, 5, 5)
    assert loss_markers(smoothed, 5, 3) == (0, 2, 5)


def test_the_last_loss_marker_is_where_the_least_loss_by_t_came():
    assert loss_markers([8, 4, 0, 1, 1], 4, 3) == (0, 1, 2)


def test_loss_spacing_needs_a_falling_loss():
    with pytest.raises(ConvergenceError, match="never below its first value, 1"):
        loss_markers([1, 2, 3, 3, 3, 3], 5, 5)


def test_loss_spacing_labels_a_fast_start_higher_than_time_spacing():
    losses = [math.exp(-t / 8) for t in range(60)]
    by_time = assess(losses, strict=True)
    by_loss = assess(losses, ConvergenceConfig(spacing="loss"), strict=True)
    assert by_time.point == by_loss.point
    assert by_loss.markers[1] < by_time.markers[1]
    lost = (by_loss.smoothed[0] - by_loss.smoothed) / (by_loss.smoothed[0] - by_loss.smoothed[by_loss.point])
    for level, snapshot in enumerate(by_loss.markers[1:], start=1):
        assert lost[snapshot] >= level / 4 - 1e-9 > lost[snapshot - 1] - 1e-9
        assert by_loss.fmcs[snapshot] == level / 4


@given(hnp.arrays(np.float64, st.integers(6, 40), elements=st.floats(-0.3, 1)), st.integers(2, 5))
def test_loss_markers_are_the_first_snapshots_to_reach_each_fraction(steps, levels):
    smoothed = 10 - np.cumsum(steps)
    point = len(smoothed) - 1
    try:
        marks = loss_markers(smoothed, point, levels)
    except ConvergenceError:
        return
    low = min(smoothed)
    assume(smoothed[0] - low > 1e-3)
    assert marks[0] == 0 and list(marks) == sorted(set(marks)) and len(marks) == levels
    for k, mark in enumerate(marks):
        reached = [
            t for t in range(point + 1) if (smoothed[0] - smoothed[t]) / (smoothed[0] - low) >= k / (levels - 1) - 1e-9
        ]
        assert mark == reached[0]


# --- properties ------------------------------------------------------------------------------------------------------


@given(losses_, configs, st.floats(0.01, 100), st.floats(-100, 100))
def test_scale_and_shift_of_the_loss_change_nothing(losses, config, scale, shift):
    assume(max(losses) - min(losses) > 0.01)
    moved = [scale * x + shift for x in losses]
    options = {"smoothing": config.smoothing, "window": config.window, "aggregation": config.aggregation}
    values = cqi(losses, **options)
    np.testing.assert_allclose(cqi(moved, **options), values, rtol=1e-6, atol=1e-8)
    assume(np.all(np.abs(values[1:] - config.threshold) > 1e-6))
    assert convergence_point(cqi(moved, **options), config.threshold, config.rule) == convergence_point(
        values, config.threshold, config.rule
    )


@given(losses_, configs)
def test_cqi_is_a_fraction_and_absolute_differences_never_lower_it(losses, config):
    options = {"smoothing": config.smoothing, "window": config.window}
    plain, absolute = cqi(losses, **options), cqi(losses, **options, aggregation="mean-abs")
    assert np.all(plain[1:] >= 0) and np.all(absolute[1:] <= 1 + 1e-9)
    assert np.all(plain[1:] <= absolute[1:] + 1e-9)


@given(st.floats(0.2, 0.95), st.floats(0.1, 10), st.floats(0, 1), configs)
def test_a_decaying_loss_converges_and_by_both_rules_at_the_same_snapshot(rate, scale, floor, config):
    losses = [floor + scale * rate**t for t in range(250)]
    values = cqi(losses, smoothing=config.smoothing, window=config.window, aggregation=config.aggregation)
    settled = convergence_point(values, config.threshold, "settled")
    assert settled is not None and settled < 250
    # "first" can only be earlier, where smoothing makes the first differences small.
    first = convergence_point(values, config.threshold, "first")
    assert first == settled or values[first : settled + 1].max() >= config.threshold


@given(losses_, configs)
def test_labels_rise_from_0_to_1_and_markers_carry_their_level(losses, config):
    try:
        found = assess(losses, config, strict=True)
    except ConvergenceError:
        assume(False)
    if not found.converged:
        assert found.point is found.markers is found.fmcs is None
        assert found.level(0) is None
        return
    assert found.fmcs[0] == 0 and np.all(found.fmcs[found.point :] == 1) and np.all(np.diff(found.fmcs) >= 0)
    assert np.all(found.fmcs[: found.markers[-1]] < 1)
    for k, snapshot in enumerate(found.markers):
        assert found.level(snapshot) == k
        assert found.fmcs[snapshot] == pytest.approx(k / (config.levels - 1))
    others = set(range(len(losses))) - set(found.markers)
    assert all(found.level(snapshot) is None for snapshot in others)


def test_a_plateau_fools_first_and_not_settled():
    first = convergence_point(cqi(PLATEAU, smoothing=0.5, window=3), 0.01, "first")
    settled = assess(PLATEAU, strict=True).point
    assert first == 1 and PLATEAU[first] > 2.3
    assert settled > 10 and PLATEAU[settled] < 0.13


def test_an_oscillating_loss_looks_converged_to_mean_and_not_to_mean_abs():
    losses = [2.0 if t % 2 else 1.0 for t in range(40)]
    options = {"smoothing": 0.5, "window": 2}
    assert assess(losses, ConvergenceConfig(**options), strict=True).converged
    assert not assess(losses, ConvergenceConfig(**options, aggregation="mean-abs"), strict=True).converged


# --- the whole judgement ---------------------------------------------------------------------------------------------


def test_a_run_that_is_still_learning_is_not_converged():
    found = assess([10 - t for t in range(10)], strict=True)
    assert not found.converged
    assert found.verdict().startswith("Not converged: by the training loss, CQI is 0.11 at the last snapshot, 9")


def test_verdicts():
    assert assess(DECAY, MU_1, strict=True).verdict() == (
        "Converged at snapshot 12 of 20: by the training loss, CQI stays below 0.01 from there."
    )
    short = assess(DECAY[:13], MU_1, strict=True).verdict()
    assert short.startswith("Converged at snapshot 12 of 12") and "only a longer training can confirm" in short
    worse = assess([1, 2, 3, 3.5, 4, *[4] * 12], signal="val", strict=True).verdict()
    assert "by the validation loss" in worse and "no lower than at snapshot 0 (1)" in worse
    first = assess(DECAY, replace(MU_1, rule="first"), signal="drift", strict=True).verdict()
    assert first == "Converged at snapshot 12 of 20: by the feature drift, CQI is for the first time below 0.01."


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_names_its_snapshot(bad):
    with pytest.raises(NonFiniteLossError, match=f"validation loss of snapshot 3 is {bad}") as caught:
        assess([2.0, 1.0, 0.5, bad, bad], signal="val", strict=True)
    assert caught.value.snapshot == 3


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([], r"shape \(0,\)"),
        ([1.0], "at least 2 snapshots, got 1"),
        ([[1.0, 2.0]], r"shape \(1, 2\)"),
        (["a", "b"], "one number per snapshot"),
        ([2.3, 2.3, 2.3], "2.3 at each of the 3 snapshots: nothing was learned"),
        ([1, 0, 0, 0, 0, 0, 0], "converged at snapshot"),
    ],
)
def test_losses_that_cannot_be_judged(losses, message):
    config = ConvergenceConfig(smoothing=0, window=1)
    with pytest.raises(ConvergenceError, match=message):
        assess(losses, config, strict=True)


def test_a_config_reports_all_its_problems_at_once():
    with pytest.raises(ConfigError) as caught:
        ConvergenceConfig(
            smoothing=1.0,
            window=2.5,
            threshold=math.nan,
            aggregation="mean_abs",
            rule="setled",
            levels=True,
            spacing="epoch",
        )
    assert len(caught.value.problems) == 7
    assert "Did you mean mean-abs" in str(caught.value) and "Did you mean settled" in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: smooth([1, 2], 1.5),
        lambda: cqi([1, 2], smoothing=0.5, window=0),
        lambda: convergence_point([math.nan, 0.1], -1, "first"),
        lambda: convergence_point([math.nan, 0.1], 0.1, "last"),
        lambda: markers(5, 1),
    ],
)
def test_functions_refuse_the_same_values_as_the_config(call):
    with pytest.raises(ConfigError):
        call()


def test_the_callers_array_is_left_alone():
    losses = np.array(DECAY)
    found = assess(losses, strict=True)
    losses[:] = -1
    assert found.losses.tolist() == DECAY


@settings(max_examples=50)
@given(losses_, configs, st.sampled_from(["train", "val", "drift"]))
def test_a_record_survives_json(losses, config, signal):
    try:
        found = assess(losses, config, signal=signal, strict=True)
    except ConvergenceError:
        assume(False)
    text = json.dumps(found.to_dict(), allow_nan=False)
    again = Convergence.from_dict(json.loads(text))
    assert again.config == config and again.point == found.point and again.markers == found.markers
    np.testing.assert_array_equal(again.cqi, found.cqi)
    assert again.to_dict() == found.to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"window": 3, "colour": "red"}},
        {"losses": [1.0, 2.0]},
        {"signal": "accuracy"},
        {"point": "soon"},
        {"cqi": None},
    ],
)
def test_a_foreign_record_is_refused(change):
    record = assess(DECAY, strict=True).to_dict()
    with pytest.raises(ConvergenceError, match=r"Convergence\.to_dict"):
        Convergence.from_dict({**record, **change})
    with pytest.raises(ConvergenceError, match="KeyError"):
        Convergence.from_dict({k: v for k, v in record.items() if k not in change})


# --- two signals of one run ------------------------------------------------------------------------------------------


def judged(losses, signal="val"):
    return assess(losses, signal=signal, strict=True)


def test_signals_that_agree():
    train = judged(DECAY, "train")
    assert disagreement(train, judged([0.3 + x for x in DECAY])) is None
    assert disagreement(judged(range(10, 0, -1), "train"), judged(range(10, 0, -1))) is None


def test_eval_mode_at_chance_is_said_first():
    text = disagreement(judged(DECAY, "train"), judged([2.3 + 0.01 * (t % 3) for t in range(21)]))
    assert "no better than untrained: its validation loss is 2.31, and 2.3 at snapshot 0" in text


def test_a_run_that_has_overfitted_is_not_called_untrained():
    falls_and_rises = [2.3 - 0.3 * t if t < 4 else 1.4 + 0.2 * (t - 4) for t in range(21)]
    text = disagreement(judged(DECAY, "train"), judged(falls_and_rises))
    assert "was lowest at snapshot 3, 1.4, and is 2.6 then: the network has overfitted" in text


def test_one_converged_and_the_other_not():
    falling = [2.3 - 0.1 * t for t in range(21)]
    text = disagreement(judged(DECAY, "train"), judged(falling))
    assert text.startswith("The training loss converged at snapshot 10, but the validation loss has not converged")
    text = disagreement(judged(falling, "train"), judged(DECAY))
    assert text.startswith("The validation loss converged at snapshot 10, but the training loss has not converged")


def test_points_far_apart():
    train = judged([0.6**t for t in range(60)], "train")
    slower = judged([0.85**t for t in range(60)])
    text = disagreement(train, slower)
    assert f"at snapshot {train.point}, the validation loss at snapshot {slower.point}" in text
    near = judged([0.68**t for t in range(60)])
    assert 0 < near.point - train.point <= 3
    assert disagreement(train, near) is None


def test_signals_of_different_runs_are_refused():
    with pytest.raises(ConvergenceError, match="21 training losses and 20 validation losses"):
        disagreement(judged(DECAY, "train"), judged(DECAY[:-1]))


# --- sequences that cannot be labelled -------------------------------------------------------------------------------
def test_assess_keeps_the_point_of_a_run_that_converged_too_soon():
    config = ConvergenceConfig(smoothing=0, window=1)
    losses = [2.0, 0.1, *[0.1] * 10]
    with pytest.raises(TooFewSnapshotsError) as raised:
        assess(losses, config, strict=True)
    found = assess(losses, config)
    assert (found.point, found.markers, found.fmcs, found.problem) == (2, None, None, str(raised.value))
    assert found.verdict() == found.problem and "--snapshots-per-epoch" in found.problem
    np.testing.assert_array_equal(found.cqi, cqi(losses, smoothing=0, window=1))
    again = Convergence.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.problem == found.problem and again.point == 2


def test_assess_of_a_frozen_module_and_of_good_and_broken_sequences():
    frozen = assess([0.0] * 6, signal="drift")
    assert not frozen.converged and np.isnan(frozen.cqi).all() and "nothing was learned" in frozen.verdict()
    assert assess(DECAY).to_dict() == assess(DECAY, strict=True).to_dict()
    with pytest.raises(NonFiniteLossError, match="snapshot 1"):
        assess([1.0, math.nan])


def test_neither_torch_nor_matplotlib_nor_mlflow_is_imported():
    code = (
        "import sys, fmce_mlflow.method.convergence.verdict; "
        "print([m for m in ('torch', 'matplotlib', 'mlflow', 'pandas') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
