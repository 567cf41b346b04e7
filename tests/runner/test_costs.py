"""What scoring and sampling 1,000 rows cost, by a clock that knows what work takes."""

from __future__ import annotations

import pytest

from nfopt.runner.costs import seconds_of


class Work:
    """Takes a while to begin, and as long for each row; and is its clock."""

    def __init__(self, begin: float, each: float) -> None:
        self.begin, self.each = begin, each
        self.now = 0.0
        self.asked: list[int] = []

    def __call__(self, rows: int) -> None:
        self.asked.append(rows)
        self.now += self.begin + rows * self.each

    def clock(self) -> float:
        return self.now


def test_what_is_cheap_is_measured_itself() -> None:
    work = Work(0.1, 1e-4)
    assert seconds_of(work, 1000, 2.0, work.clock) == pytest.approx(0.2)
    assert work.asked == [100, 1000]


def test_what_is_dear_is_told_from_few_rows_and_what_a_call_takes_counts_once() -> None:
    work = Work(10.0, 0.01)
    assert seconds_of(work, 1000, 2.0, work.clock) == pytest.approx(20.0)
    assert sum(work.asked) == 300


def test_few_rows_are_all_that_is_measured() -> None:
    work = Work(1.0, 0.0)
    assert seconds_of(work, 50, 2.0, work.clock) == 1.0
    assert work.asked == [50]
