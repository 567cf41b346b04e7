"""Who ends at a rung."""

from __future__ import annotations

import math

from nfopt.runner.pruning import to_prune


def test_the_better_half_goes_on() -> None:
    assert to_prune({0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}, []) == {2, 3}
    assert to_prune({0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0, 4: 5.0}, []) == {3, 4}


def test_history_counts() -> None:
    values = {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}
    assert to_prune(values, [0.1, 0.2, 0.3, 0.4]) == {0, 1, 2, 3}
    assert to_prune(values, [10.0, 20.0, 30.0, 40.0]) == set()


def test_too_little_is_known() -> None:
    assert to_prune({0: 1.0, 1: 2.0}, [5.0]) == set()


def test_not_finite_always_ends() -> None:
    assert to_prune({0: math.inf, 1: math.nan, 2: 1.0}, [], spare=[0]) == {0, 1}
    assert to_prune({0: 1.0, 1: 2.0}, [math.inf, math.nan, 3.0, 4.0]) == set()


def test_spared_members_go_on() -> None:
    assert to_prune({0: 9.0, 1: 1.0, 2: 2.0, 3: 3.0}, [], spare=[0]) == {3}


def test_equal_values_go_on_together() -> None:
    assert to_prune(dict.fromkeys(range(6), 1.0), [1.0]) == set()
