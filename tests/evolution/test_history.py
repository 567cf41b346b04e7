from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import Integer
from nfopt.evolution.history import FAILED, LATEST, History
from nfopt.evolution.records import Record

LAYOUT = Layout((Integer(0, 99),))


def run(number: int, gene: int, value: float | None = None, **other: object) -> Record:
    """A record of the genome (gene,)."""
    state = other.pop("state", "complete" if value is not None else "running")
    values = None if value is None else (value,)
    return Record(number, Genome((gene,)), state, values, **other)  # type: ignore[arg-type]


def test_a_number_is_told_once() -> None:
    history = History(1)
    assert history.tell(run(0, 5, 1.0)) == 0
    assert history.tell(run(0, 5, 9.0)) is None
    assert history.tell(run(0, 5)) is None
    assert history.finished == 1
    assert history.view().raw[0, 0] == 1.0


def test_what_runs_is_known_and_ends() -> None:
    history = History(1)
    history.tell(run(0, 5))
    assert history.seen(Genome((5,)).key)
    assert history.running == [0]
    assert not history.view().ranked.any()
    history.tell(run(0, 5, 2.0))
    assert history.running == []
    assert history.distinct == 1
    assert history.view().runs.tolist() == [1]


def test_a_run_that_ends_without_a_word_is_forgotten() -> None:
    history = History(1)
    history.tell(run(0, 5))
    history.forget(0)
    history.forget(0)
    assert not history.seen(Genome((5,)).key)
    assert history.distinct == 0
    assert history.tell(run(0, 5, 2.0)) == 0


def test_runs_of_one_genome_are_pooled() -> None:
    history = History(1, shrink=False)
    history.tell(run(0, 5, 1.0))
    history.tell(run(1, 5, 3.0))
    history.tell(run(2, 6, 8.0))
    view = history.view()
    assert view.raw[:, 0].tolist() == [2.0, 8.0]
    assert view.runs.tolist() == [2, 1]
    assert history.distinct == 2


def test_failed_counts_as_worst() -> None:
    history = History(1, shrink=False)
    for number, value in enumerate([1.0, 2.0, 6.0]):
        history.tell(run(number, number, value))
    history.tell(run(3, 3, state="failed"))
    history.tell(run(4, 0, state="failed"))
    history.tell(run(5, 5, float("nan")))
    view = history.view()
    assert view.violation.tolist() == [0, 0, 0, FAILED, FAILED]
    assert view.raw[:3, 0].tolist() == [3.5, 2.0, 6.0]


def test_the_share_of_runs_that_were_run_again_is_of_the_latest_only() -> None:
    history = History(1)
    for number in range(LATEST):
        history.tell(run(number, number, 1.0))
    assert history.again == 0.0
    history.tell(run(LATEST, 3))
    history.tell(run(LATEST, 3, 1.0))
    assert history.again == 1 / LATEST


def test_violations_are_averaged() -> None:
    history = History(1)
    history.tell(run(0, 1, 1.0, violation=1.0))
    history.tell(run(1, 1, 1.0, violation=3.0))
    history.tell(run(2, 2, 1.0, violation=-5.0))
    assert history.view().violation.tolist() == [2.0, 0.0]


def test_pruned_where_nothing_completed_takes_its_place_among_the_completed() -> None:
    history = History(1, shrink=False)
    for number, value in enumerate([1.0, 2.0, 3.0]):
        history.tell(run(number, number, value, rungs={10: value + 5}))
    history.tell(run(3, 3, state="pruned", rungs={10: 7.5}))
    history.tell(run(4, 0, state="pruned", rungs={10: 7.9}))
    view = history.view()
    assert view.raw[:, 0].tolist() == [1.0, 2.0, 3.0, 2.5]
    assert view.runs.tolist() == [1, 1, 1, 0]
    assert view.ranked.all()


def test_the_posterior_in_full() -> None:
    history = History(1)
    values = np.array([0.0, 2.0, 4.0, 10.0, 6.0])
    for number, value in enumerate(values):
        history.tell(run(number, number, float(value)))
    history.tell(run(5, 0, 2.0))
    view = history.view()
    means = np.array([1.0, 2.0, 4.0, 10.0, 6.0])
    prior = means.mean()
    between = ((means - prior) ** 2).mean()
    noise = (2.0 + 0.09 * between) / 2
    spread = between - noise * (0.5 + 4) / 5
    runs = np.array([2, 1, 1, 1, 1])
    weight = runs / (runs + noise / spread)
    assert view.noise[0] == pytest.approx(noise)
    assert view.spread[0] == pytest.approx(spread)
    assert view.means[:, 0] == pytest.approx(weight * means + (1 - weight) * prior)
    assert view.sds[0, 0] == pytest.approx(np.sqrt(noise / (2 + noise / spread)))


RECORDS = st.lists(
    st.builds(
        lambda gene, value, state, rung: (gene, value, state, rung),
        st.integers(0, 6),
        st.floats(-1e6, 1e6) | st.just(float("nan")),
        st.sampled_from(["complete", "complete", "pruned", "failed", "running"]),
        st.integers(1, 2),
    ),
    max_size=25,
)


@given(RECORDS, st.randoms(use_true_random=False))
def test_the_order_of_tells_changes_no_mean(rows: list[tuple], random: object) -> None:
    records = [
        run(number, gene, value if state == "complete" else None, state=state,
            rungs={} if state == "failed" else {rung: value})
        for number, (gene, value, state, rung) in enumerate(rows)
    ]  # fmt: skip
    shuffled = list(records)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, two = History(1, shrink=False), History(1, shrink=False)
    for record in records:
        one.tell(record)
    for record in [*shuffled, *records]:
        two.tell(record)
    first, second = one.view(), two.view()
    assert one.finished == two.finished
    assert one.distinct == two.distinct
    for history, view in ((one, first), (two, second)):
        assert np.isfinite(view.means).all()
        assert len(history.genomes) == len(view.means)
    for item, genome in enumerate(one.genomes):
        other = two.genomes.index(genome)
        assert second.raw[other, 0] == pytest.approx(first.raw[item, 0], rel=1e-9, abs=1e-6)
        assert second.violation[other] == first.violation[item]
        assert sorted(one.completed[item]) == sorted(two.completed[other])
