from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nfopt.evolution.pruned import Rungs


def test_a_pruned_trial_is_carried_on_by_what_the_others_gained() -> None:
    rungs = Rungs()
    for item, (at_rung, _) in enumerate([(5.0, 3.0), (6.0, 4.0), (9.0, 8.0)]):
        rungs.completed(item, {10: at_rung})
    rungs.pruned(3, {5: 99.0, 10: 7.0})
    items, values = rungs.estimates(np.array([3.0, 4.0, 8.0, np.nan]))
    assert items.tolist() == [3]
    assert values.tolist() == [5.0]


def test_a_pruned_trial_is_behind_those_that_were_ahead() -> None:
    rungs = Rungs()
    rungs.completed(0, {1: 2.0})  # ahead at the rung, and bad in the end
    rungs.completed(1, {1: 9.0})
    rungs.pruned(2, {1: 3.0})
    _, values = rungs.estimates(np.array([10.0, 1.0, np.nan]))
    assert values.tolist() == [10.0]


def test_pruned_where_no_completed_one_passed_counts_as_the_worst() -> None:
    rungs = Rungs()
    rungs.completed(0, {})
    rungs.completed(1, {})
    rungs.pruned(2, {1: -50.0})
    rungs.pruned(2, {})
    _, values = rungs.estimates(np.array([3.0, 7.0, np.nan]))
    assert values.tolist() == [7.0, 7.0]
    assert Rungs().any_pruned is False


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=8),
    st.lists(st.floats(-6, 6), min_size=1, max_size=5),
)
def test_a_pruned_trial_never_beats_one_that_was_ahead(
    completed: list[tuple[float, float]], pruned: list[float]
) -> None:
    rungs = Rungs()
    for item, (value, _) in enumerate(completed):
        rungs.completed(item, {3: value})
    for index, value in enumerate(pruned):
        rungs.pruned(len(completed) + index, {3: value})
    final = np.array([value for _, value in completed] + [np.nan] * len(pruned))
    items, values = rungs.estimates(final)
    assert items.tolist() == list(range(len(completed), len(final)))
    for value, estimate in zip(pruned, values, strict=True):
        ahead = [end for at_rung, end in completed if at_rung < value]
        assert estimate >= max(ahead, default=-np.inf)
        assert estimate <= max(final[: len(completed)])
