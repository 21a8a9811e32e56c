"""A module's label on hand-made runs: what moved, when, and what the losses did meanwhile."""

from __future__ import annotations

import numpy as np
import pytest

from fmce_mlflow.errors import ConvergenceError, NonFiniteLossError
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.drift import drift_sequence
from fmce_mlflow.method.convergence.moving import MOVED, how_it_moved, label_module
from fmce_mlflow.method.convergence.verdict import assess

PLAIN = ConvergenceConfig(smoothing=0, window=1, threshold=0.02, levels=3)
FALLING = [2.3 * 0.65**t for t in range(21)]  # T = 8 by PLAIN, the first step below 2 % of the range
STILL, MOVES = 0.0, 0.01


def changes(*moving: range, of: int = 21) -> list[float]:
    """Moves at the snapshots of some ranges, and is still at the others."""
    return [MOVES if any(t in one for one in moving) else STILL for t in range(of)]


def test_a_module_that_moves_all_the_time_has_the_label_of_the_loss():
    run = assess(FALLING, PLAIN)
    found = label_module(FALLING, changes(range(1, 21)), PLAIN)
    assert run.point == 8 and run.markers == (0, 4, 8)
    assert found.fmcs.tolist() == run.fmcs.tolist() and found.judged.point == 8
    assert {t: k for t, k in enumerate(found.levels) if k is not None} == {0: 0, 4: 1, 8: 2}
    assert (found.moved_from, found.moved_until, found.story, found.problem) == (0, 20, "", None)


def test_nothing_known_of_the_weights_leaves_the_label_of_the_loss():
    found = label_module(FALLING, None, PLAIN)
    assert found.fmcs.tolist() == assess(FALLING, PLAIN).fmcs.tolist()
    assert (found.moved_from, found.moved_until, found.story) == (None, None, "")
    flat = label_module([1.0] * 9, None, PLAIN)
    assert not flat.labelled and "nothing was learned" in flat.problem


@pytest.mark.parametrize(
    "losses", [FALLING, [1.0] * 21, [float("nan")] * 21, [2.0 - t / 10 for t in range(21)]],
    ids=["converged", "constant", "NaN", "still falling"],
)  # fmt: skip
def test_a_module_that_never_moves_has_0_whatever_the_loss_does(losses):
    found = label_module(losses, changes(), PLAIN)
    assert found.fmcs.tolist() == [0.0] * 21 and found.levels == (0,) * 21
    assert (found.moved_from, found.moved_until, found.story) == (None, 0, "never moved")
    assert found.problem is None


def test_rounding_is_no_movement_and_what_is_not_known_is_one():
    assert label_module(FALLING, [MOVED] * 21, PLAIN).moved_until == 0
    assert label_module(FALLING, [2 * MOVED] * 21, PLAIN).moved_from == 0
    unknown = changes()
    unknown[6] = float("nan")
    found = label_module(FALLING, unknown, PLAIN)
    assert (found.moved_from, found.moved_until) == (5, 6)


def test_a_change_at_snapshot_0_means_nothing():
    for first in (MOVES, float("nan")):
        assert label_module(FALLING, [first, *changes()[1:]], PLAIN).moved_until == 0


def test_a_late_thaw_is_judged_by_the_losses_from_there_on():
    losses = [3.0, 2.0, 1.5, 1.4, 1.4, 1.4, *(1.4 * 0.65**t for t in range(1, 16))]
    found = label_module(losses, changes(range(6, 21)), PLAIN)
    own = assess(losses[5:], PLAIN)
    assert own.point == 8 and found.judged.point == 13 and found.judged.markers == (5, 9, 13)
    assert found.fmcs[:6].tolist() == [0.0] * 6 and found.fmcs[5:].tolist() == own.fmcs.tolist()
    assert found.levels[:6] == (0,) * 6 and {t: k for t, k in enumerate(found.levels) if k} == {9: 1, 13: 2}
    assert (found.moved_from, found.moved_until, found.story) == (5, 20, "moved from snapshot 5 on")
    assert assess(losses, PLAIN).fmcs[7] > found.fmcs[7], "the loss of the head before the thaw counts no more"
    np.testing.assert_array_equal(found.judged.losses, losses)
    assert found.judged.verdict().startswith("Converged at snapshot 13 of 20")


def test_a_late_thaw_without_a_point_of_its_own_has_no_label_and_says_why():
    losses = [*FALLING[:15], *(FALLING[15] * 2 - t / 1e4 for t in range(6))]
    assert assess(losses, PLAIN).point == 8
    found = label_module(losses, changes(range(15, 21)), PLAIN)
    assert found.fmcs[:15].tolist() == [0.0] * 15 and np.isnan(found.fmcs[15:]).all()
    assert found.levels == (0,) * 15 + (None,) * 6 and found.labelled
    assert found.problem.startswith("Its weights moved from snapshot 14 on, and the training loss from there says: Not")


def test_a_thaw_too_late_for_its_levels_says_from_where_it_counts():
    found = label_module(
        [1.0] * 6 + [0.9, *[0.1] * 14], changes(range(6, 21)), ConvergenceConfig(smoothing=0, window=1)
    )
    assert np.isnan(found.fmcs[6:]).all() and found.judged.point == 8
    assert "converged at snapshot 3" in found.problem and "Snapshots are counted from 5 here." in found.problem


def test_a_module_frozen_from_the_middle_on_keeps_the_label_that_it_had():
    run = assess(FALLING, PLAIN)
    found = label_module(FALLING, changes(range(1, 6)), PLAIN)
    assert found.fmcs.tolist() == [*run.fmcs[:6], *[run.fmcs[5]] * 15] and run.fmcs[5] == 0.625
    assert {t: k for t, k in enumerate(found.levels) if k is not None} == {0: 0, 4: 1}, "it never came to level 2"
    assert (found.moved_from, found.moved_until, found.story) == (0, 5, "did not move after snapshot 5")


def test_a_module_frozen_after_t_stays_at_1():
    found = label_module(FALLING, changes(range(1, 10)), PLAIN)
    assert found.fmcs.tolist() == assess(FALLING, PLAIN).fmcs.tolist()


def test_a_break_holds_the_label_and_the_clock_of_the_loss_goes_on():
    run = assess(FALLING, PLAIN)
    found = label_module(FALLING, changes(range(1, 3), range(6, 21)), PLAIN)
    assert found.fmcs.tolist() == [*run.fmcs[:3], *[run.fmcs[2]] * 3, *run.fmcs[6:]]
    assert {t: k for t, k in enumerate(found.levels) if k is not None} == {0: 0, 8: 2}, "marker 4 was in the break"
    assert (found.moved_from, found.moved_until, found.story) == (0, 20, "")


def test_thawed_late_and_frozen_again():
    losses = [3.0, 2.0, 1.5, 1.4, 1.4, 1.4, *(1.4 * 0.65**t for t in range(1, 16))]
    found, own = label_module(losses, changes(range(6, 11)), PLAIN), assess(losses[5:], PLAIN)
    assert found.fmcs.tolist() == [*[0.0] * 5, *own.fmcs[:6], *[own.fmcs[5]] * 10]
    assert found.story == "moved from snapshot 5 to snapshot 10 alone"


def test_a_module_judged_by_its_drift_is_not_judged_by_that_of_before_it_moved():
    """BatchNorm's statistics settle at first; the drift from the first movement on stands for its snapshot 0."""
    drifts = [0.3, 0.01, 0.0, 0.0, *(0.5 * 0.65**t for t in range(16))]
    found = label_module(drift_sequence(drifts), changes(range(5, 21)), PLAIN, signal="drift")
    own = assess(drift_sequence(drifts[4:]), PLAIN, signal="drift")
    assert found.fmcs[4:].tolist() == own.fmcs.tolist() and found.fmcs[:5].tolist() == [0.0] * 5
    still = label_module(drift_sequence([0.3, 0.01, *[0.0] * 18]), changes(), PLAIN, signal="drift")
    assert not still.fmcs.any()


def test_trained_weights_have_no_label_before_t_and_1_from_there():
    found = label_module(FALLING, changes(range(1, 21)), PLAIN, starts_trained=True)
    assert np.isnan(found.fmcs[:8]).all() and (found.fmcs[8:] == 1).all()
    assert [t for t, k in enumerate(found.levels) if k is not None] == [8] and found.levels[8] == 2
    assert "began with trained weights" in found.problem
    soon = label_module([2.0, 0.1, *[0.05] * 9], None, PLAIN, starts_trained=True)
    assert soon.judged.markers is not None and soon.fmcs[soon.judged.point] == 1


def test_trained_weights_need_no_room_for_levels():
    losses = [2.0, *[0.05] * 9]
    assert assess(losses, PLAIN).point == 2
    found = label_module(losses, None, ConvergenceConfig(smoothing=0, window=1, levels=5), starts_trained=True)
    assert np.isnan(found.fmcs[:2]).all() and (found.fmcs[2:] == 1).all()


def test_trained_weights_that_stay_or_stop_before_t_have_no_label():
    never = label_module(FALLING, changes(), PLAIN, starts_trained=True)
    assert not never.labelled and "how far they had come is not known" in never.problem
    early = label_module(FALLING, changes(range(1, 6)), PLAIN, starts_trained=True)
    assert not early.labelled and early.moved_until == 5
    thawed = label_module(FALLING, changes(range(4, 21)), PLAIN, starts_trained=True)
    assert np.isnan(thawed.fmcs[: thawed.judged.point]).all() and thawed.fmcs[-1] == 1


def test_a_loss_that_is_not_finite_is_named_where_the_module_moves():
    losses = [*FALLING[:12], float("inf"), *FALLING[13:]]
    for moving in (range(1, 21), range(5, 21)):
        with pytest.raises(NonFiniteLossError, match="snapshot 12") as caught:
            label_module(losses, changes(moving), PLAIN)
        assert caught.value.snapshot == 12
    losses = [float("nan"), *FALLING[:20]]
    assert label_module(losses, changes(range(2, 21)), PLAIN).judged.point == 9, "it had not moved yet"


def test_changes_of_other_snapshots_are_refused():
    with pytest.raises(ConvergenceError, match=r"expected shape \(21,\)"):
        label_module(FALLING, changes(of=20), PLAIN)


def test_how_it_moved_says_nothing_of_the_usual():
    assert [how_it_moved(a, b, 9) for a, b in ((0, 9), (None, None))] == ["", ""]
