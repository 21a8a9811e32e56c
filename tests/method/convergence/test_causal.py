"""What can be said of a sequence by now, beside what can be said of it once it has ended."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmce_mlflow.errors import ConfigError, ConvergenceError
from fmce_mlflow.method.convergence.causal import PLATEAU, causal_cqi, converged_by_now, verdicts
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.labels import cqi
from fmce_mlflow.method.convergence.verdict import assess

PLAIN = ConvergenceConfig(smoothing=0, window=1, threshold=0.1)
numbers = st.one_of(st.floats(0, 10, width=32), st.sampled_from([math.nan, math.inf, -math.inf]))
finite = st.lists(st.floats(0, 10, width=32), min_size=1, max_size=40)
configs = st.builds(
    ConvergenceConfig,
    smoothing=st.sampled_from([0.0, 0.3, 0.5, 0.9]),
    window=st.integers(1, 12),
    threshold=st.sampled_from([0.003, 0.01, 0.05, 0.3]),
    aggregation=st.sampled_from(["mean", "mean-abs"]),
)


def options(config):
    return {"smoothing": config.smoothing, "window": config.window, "aggregation": config.aggregation}


# --- properties ------------------------------------------------------------------------------------------------------


@given(st.lists(numbers, max_size=30), st.lists(numbers, max_size=10), configs, st.integers(0, 5))
def test_the_future_changes_nothing(past, future, config, patience):
    whole, n = past + future, len(past)
    assert causal_cqi(past, **options(config)).tobytes() == causal_cqi(whole, **options(config))[:n].tobytes()
    found = verdicts(whole, config, patience=patience)
    assert found[:n].tolist() == verdicts(past, config, patience=patience).tolist()
    assert found.tolist() == [converged_by_now(whole[: t + 1], config, patience=patience) for t in range(len(whole))]


@given(finite, configs)
def test_it_is_the_cqi_of_the_sequence_that_ends_there(losses, config):
    found = causal_cqi(losses, **options(config))
    for t in range(len(losses)):
        so_far = losses[: t + 1]
        if max(so_far) - min(so_far) > PLATEAU * max(map(abs, so_far)):
            assert found[t] == pytest.approx(cqi(so_far, **options(config))[t], abs=1e-12)
        else:
            assert math.isnan(found[t])


@given(finite, configs, st.integers(0, 5))
def test_where_it_says_yes_the_training_that_ends_there_has_converged_in_hindsight_too(losses, config, patience):
    for t in np.flatnonzero(verdicts(losses, config, patience=patience)):
        ended = assess(losses[: t + 1], config)
        indicator = np.array(ended.cqi)
        close = np.abs(indicator[t - patience :] - config.threshold) < 1e-9  # two ways to sum
        assert close.any() or (indicator[t - patience :] < config.threshold).all()
        if not close.any() and ended.problem is None:
            assert ended.point is not None and ended.point <= t - patience


@given(finite, configs)
def test_more_patience_never_says_yes_sooner(losses, config):
    found = [verdicts(losses, config, patience=p) for p in range(4)]
    for less, more in itertools.pairwise(found):
        assert not (more & ~less).any()
        assert more[1:].tolist() == (less[1:] & less[:-1]).tolist() and not more[:1].any()


# --- numbers worked by hand ------------------------------------------------------------------------------------------


def test_hand_worked_values():
    # ranges so far: 0, 4, 6, 7, 7, 8; steps 4, 2, 1, 0, 1
    found = causal_cqi([8, 4, 2, 1, 1, 0], smoothing=0, window=1)
    assert math.isnan(found[0]) and found[1:].tolist() == [4 / 4, 2 / 6, 1 / 7, 0.0, 1 / 8]
    # window 2: the mean of two steps; the swing -2, +2 cancels in the mean and not in that of absolute values
    swing = [8, 4, 2, 4]
    assert causal_cqi(swing, smoothing=0, window=2)[1:].tolist() == [1.0, 3 / 6, 0.0]
    assert causal_cqi(swing, smoothing=0, window=2, aggregation="mean-abs")[3] == 2 / 6
    # smoothed by a half: 8, 6, 4; the range is that of the losses themselves
    assert causal_cqi([8, 4, 2], smoothing=0.5, window=1)[1:].tolist() == [2 / 4, 2 / 6]


def test_patience_is_counted_after_the_first_snapshot_below():
    losses = [10, 1, 1, 1, 1, 1]  # CQI: nan, 1, 0, 0, 0, 0
    for patience in range(4):
        assert np.flatnonzero(verdicts(losses, PLAIN, patience=patience)).tolist() == list(range(2 + patience, 6))
    assert not verdicts(losses, PLAIN, patience=4).any()


def test_a_loss_that_moves_again_takes_the_verdict_back_until_it_rests_for_as_long_again():
    losses = [10, 1, 1, 1, 5, 5, 5, 5]
    assert verdicts(losses, PLAIN, patience=1).tolist() == [False] * 3 + [True] + [False] * 2 + [True] * 2


# --- sequences that mislead ------------------------------------------------------------------------------------------


def test_a_plateau_at_the_start_is_no_convergence_and_the_fall_after_it_is_waited_for():
    plateau = [2.303, 2.302, 2.304, 2.303, 2.302, 2.303, 2.303, 2.303]
    falling = [1.6, 0.9, 0.5, 0.3, 0.2, 0.15, 0.12, 0.11, 0.105, 0.103, 0.102, 0.101, 0.101, 0.1]
    found = verdicts(plateau + falling, patience=2)
    first = int(np.argmax(found))
    assert found.any() and first > len(plateau) + 6
    assert not verdicts(plateau * 5, patience=0).any()


def test_a_plateau_after_a_first_fall_is_taken_for_the_end():
    """What no rule that looks at the past alone can know; the docs say so."""
    losses = [4.0, *[2.3] * 12, 1.0, 0.3, 0.1]
    assert verdicts(losses, patience=3)[10] and assess(losses).point is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_no_convergence_then_or_later(bad):
    losses = [2.3 * 0.4**t for t in range(20)]
    assert converged_by_now(losses)
    losses[5] = bad
    assert not verdicts(losses).any()
    assert np.isnan(causal_cqi(losses, smoothing=0.5, window=3)[5:]).all()
    assert np.isfinite(causal_cqi(losses, smoothing=0.5, window=3)[1:5]).all()
    assert not converged_by_now([bad] * 12)


@pytest.mark.parametrize("value", [0.0, 2.3, -1.0])
def test_a_constant_sequence_has_learned_nothing(value):
    assert not verdicts([value] * 30, patience=0).any()


@pytest.mark.parametrize("losses", [[], [2.3], [2.3, 0.1], [2.3, 0.1, 0.1], [2.3, 0.1, 0.1, 0.1]])
def test_a_few_snapshots_are_too_few(losses):
    assert not converged_by_now(losses, PLAIN, patience=3)


def test_what_is_no_sequence_is_refused():
    for wrong in ([[1.0, 2.0]], ["a"], 3.0):
        with pytest.raises(ConvergenceError, match="one number per snapshot"):
            converged_by_now(wrong)
    with pytest.raises(ConfigError, match="patience must be at least 0, got -1"):
        converged_by_now([1.0], patience=-1)
    with pytest.raises(ConfigError, match="window"):
        causal_cqi([1.0], smoothing=0, window=0)
