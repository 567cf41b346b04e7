"""The figures of a study: which numbers are in them, and that they stay small."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from nfopt import attributes as names
from nfopt.attributes import KIN as BEGAN_FROM
from nfopt.report import figures
from nfopt.report.rows import Row, best_of, front, improvements, rows_of
from nfopt.spec import LU, Autoregressive, Coupling, FlowSpec, Permutation, Reverse

PIECES = 6  # of 2,045 characters, that a figure of any study may take


def rows(*nlls: float | None) -> list[Row]:
    return [
        Row(number, "PRUNED" if nll is None else "COMPLETE", nll, 100 * (number + 1), 2.0)
        for number, nll in enumerate(nlls)
    ]


def test_the_best_so_far_and_the_front() -> None:
    found = rows(5.0, None, 4.0, 4.5, 3.0)
    assert [row.number for row in improvements(found)] == [0, 2, 4]
    best = best_of(found)
    assert best is not None
    assert best.number == 4
    assert best_of(rows(None)) is None
    sized = [Row(0, "COMPLETE", 5.0, 10, 1), Row(1, "COMPLETE", 6.0, 20, 1),
             Row(2, "COMPLETE", 4.0, 40, 1), Row(3, "COMPLETE", 4.5, 10, 1)]  # fmt: skip
    assert [row.number for row in front(sized)] == [3, 2]


def test_trials_are_read_in_the_order_in_which_they_ended() -> None:
    began = datetime(2026, 1, 1)

    def trial(number: int, minutes: int, state: TrialState, **more: object) -> FrozenTrial:
        found = create_trial(state=state, user_attrs={names.SECONDS: 3.0}, **more)  # type: ignore[arg-type]
        found.number = number
        found.datetime_complete = began + timedelta(minutes=minutes)
        return found

    trials = [
        trial(0, 5, TrialState.COMPLETE, values=[3.0, 10.0]),
        trial(1, 2, TrialState.COMPLETE, values=[2.0, float("inf")]),
        trial(2, 3, TrialState.PRUNED),
        create_trial(state=TrialState.RUNNING),
        trial(4, 6, TrialState.COMPLETE, values=[1.0, 1.0]),
    ]
    trials[-1].set_user_attr(BEGAN_FROM, "warm")
    found = rows_of(trials, ["parameters", "nll"])
    assert [(r.number, r.nll) for r in found] == [(1, None), (2, None), (0, 10.0), (4, None)]


def test_the_figures_hold_the_numbers() -> None:
    found = rows(5.0, None, 4.0, 4.5)
    by_trials, by_seconds = figures.best_by_trials(found), figures.best_by_seconds(found)
    assert list(by_trials.data[1].x) == [1, 3, 4]
    assert list(by_trials.data[1].y) == [5.0, 4.0, 4.0]
    assert list(by_seconds.data[1].x) == [2.0, 6.0, 8.0]
    assert list(by_trials.data[0].customdata) == [0, 2, 3]
    assert list(figures.pareto(found).data[0].x) == [100, 300, 400]
    assert by_seconds.layout.xaxis.title.text == "seconds of training, all workers together"
    for figure in (figures.best_by_trials([]), figures.best_by_seconds([]), figures.pareto([])):
        assert len(figure.to_json()) > 100


def test_a_thousand_trials_make_small_figures() -> None:
    rng = np.random.default_rng(0)
    found = rows(*rng.gamma(2.0, size=1000))
    for draw in (figures.best_by_trials, figures.best_by_seconds, figures.pareto):
        assert len(draw(found).to_json()) < PIECES * 2045


def test_coverage_follows_permutations_back_to_the_columns() -> None:
    coupling = Coupling(mask="TCC")  # the first place is mapped, seeing the others
    plain = figures.coverage_of(FlowSpec(features=3, layers=(coupling,)))
    assert plain.tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    turned = FlowSpec(features=3, layers=(Reverse(), coupling, LU(), Reverse(), coupling))
    assert figures.coverage_of(turned).tolist() == [[0, 1, 1], [0, 0, 0], [1, 1, 0]]
    shifted = FlowSpec(features=3, layers=(Permutation(order=(1, 2, 0)), coupling))
    assert figures.coverage_of(shifted).tolist() == [[0, 0, 0], [1, 0, 1], [0, 0, 0]]
    ordered = FlowSpec(features=3, layers=(Autoregressive(order=(2, 0, 1)),))
    assert figures.coverage_of(ordered).tolist() == [[0, 0, 1], [1, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("features", [3, 64, 1000])
def test_a_coverage_matrix_of_any_size_is_small(features: int) -> None:
    mask = ("CT" * features)[:features]
    spec = FlowSpec(features=features, layers=(Coupling(mask=mask),))
    columns = [f"<b>{place}" for place in range(features)]
    figure = figures.coverage(spec, columns, title="x")
    side = len(figure.data[0].z)
    assert side == min(features, figures.MAX_CELLS)
    assert np.mean(figure.data[0].z) == pytest.approx(figures.coverage_of(spec).mean(), rel=0.02)
    assert len(figure.to_json()) < 12 * 2045
    assert "<b>" not in "".join(figure.data[0].x)
