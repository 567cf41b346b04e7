"""What a comparison says of its rivals, with rivals that fit in no time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from nfopt.compare import run
from nfopt.compare.rival import Clock, Fitted, Rival
from nfopt.compare.run import RIVALS, Row, chosen, compare, difference, passed_after
from nfopt.compare.table import HEAD, cells, passed, to_dict
from nfopt.data import Part, Prepared

from .toys import ABSENT, BROKEN, normal, rival, table

OURS = rival("own", ours=True)
FAR = rival("far", shift=0.5)
HOLES = rival("holes", shift=-2.0, holes=3)


@pytest.fixture(scope="module")
def data() -> Prepared:
    return table()


@pytest.fixture(scope="module")
def rows(data: Prepared) -> list[Row]:
    return list(compare(data, [FAR, ABSENT, HOLES, BROKEN, OURS], seconds=1.0))


def test_scores_are_of_the_test_rows_on_the_scale_of_the_data(
    data: Prepared, rows: list[Row]
) -> None:
    own = rows[-1]
    expected = normal(data).log_prob(data.part("test"))
    assert own.scores == pytest.approx(expected)
    assert own.test == pytest.approx(expected.mean())
    assert own.test_2se == pytest.approx(2 * expected.std(ddof=1) / math.sqrt(len(expected)))
    assert own.validation == pytest.approx(np.mean(normal(data).log_prob(data.part("val"))))
    assert own.score_seconds > 0
    assert own.sample_seconds is not None


def test_what_is_timed_are_a_thousand_rows_however_many_there_are(data: Prepared) -> None:
    lengths = []

    def fit(rows: Prepared, clock: Clock, seed: int) -> Fitted:
        fitted = normal(rows)

        def log_prob(part: Part) -> np.ndarray:
            lengths.append(len(part))
            return fitted.log_prob(part)

        return replace(fitted, log_prob=log_prob)

    list(compare(data, [Rival("a", "", fit)], seconds=1.0))
    assert lengths == [len(data.val), len(data.test), 1000]


def test_rows_of_density_0_are_counted_and_left_out_of_the_mean(rows: list[Row]) -> None:
    far, _, holes, _, own = rows
    assert holes.without == 3
    assert np.isfinite(holes.test)
    assert holes.validation == -math.inf, "who gives a validation row no density is not the best"
    gain, error = difference(own, holes)
    both = own.scores[3:] - holes.scores[3:]
    assert (gain, error) == pytest.approx(
        (both.mean(), 2 * both.std(ddof=1) / math.sqrt(len(both)))
    )
    assert far.without == 0


def test_a_peer_that_is_absent_or_fails_is_named_and_the_others_go_on(rows: list[Row]) -> None:
    said = {row.rival.name: row.failed for row in rows}
    assert said == {
        "far": "",
        "absent": "not installed: no_such_package_anywhere",
        "holes": "",
        "broken": "no luck",
        "own": "",
    }


def test_what_fails_in_nfopt_itself_is_not_hidden(data: Prepared) -> None:
    ours = Rival("own", "", BROKEN.fit, ours=True)
    with pytest.raises(RuntimeError, match="no luck"):
        list(compare(data, [ours], seconds=1.0))


def test_everyone_gets_the_same_rows_seconds_and_seed(data: Prepared) -> None:
    seen = []

    def fit(rows: Prepared, clock: Clock, seed: int) -> Fitted:
        seen.append((rows, clock.seconds, clock.now(), seed))
        return normal(rows)

    begun: list[str] = []
    two = [Rival("a", "", fit), Rival("b", "", fit)]
    list(
        compare(
            data,
            two,
            seconds=7.0,
            seed=3,
            on_begin=lambda one: begun.append(one.name),
            clock=lambda: 5.0,
        )
    )
    assert seen == [(data, 7.0, 5.0, 3)] * 2
    assert begun == ["a", "b"]


def test_a_clock_counts_from_its_start() -> None:
    times = iter([10.0, 12.0, 13.0, 99.0])
    clock = Clock(4.0, lambda: next(times))
    assert clock.gone() == 2.0
    assert clock.left() == 1.0
    assert clock.share() == 1.0


def test_the_table_has_the_best_first_and_what_failed_last(rows: list[Row]) -> None:
    lines = cells(rows)
    assert [line[0] for line in lines] == ["own", "far", "holes", "absent", "broken"]
    assert all(len(line) == len(HEAD) for line in lines)
    assert lines[0][2] == "-", "nobody is behind himself"
    gain, error = difference(rows[-1], rows[0])
    assert lines[1][2] == f"{gain:.3f} ({error:.3f})"
    assert lines[2][-1].startswith("3 rows have density 0")
    assert lines[3][-1] == "not installed: no_such_package_anywhere"


def test_the_plain_data_has_all_of_it(rows: list[Row]) -> None:
    found = to_dict(rows, "toy", 1.0)
    assert (found["best"], found["best_peer"]) == ("own", "far")
    assert "foundation models" in found["not_compared"]
    far, absent, holes, _, own = found["rows"]
    assert absent.keys() == {"method", "about", "failed"}
    assert far["behind"] == pytest.approx(own["test"] - far["test"])
    assert holes["rows_without_density"] == 3
    assert "behind" not in own
    assert own["parameters"] == 6
    assert own["seconds_to_pass_best_peer"] == 1.0
    assert "seconds_to_pass_best_peer" not in far


def test_when_the_best_peer_was_passed(rows: list[Row]) -> None:
    own = rows[-1]
    last = -own.curve[-1][1]
    assert passed_after(own, last - 1.5) == 0.5
    assert passed_after(own, last) is None, "level is not ahead"
    (line,) = passed(rows)
    assert line.endswith("own passed it after 1.0 s")
    assert passed([own]) == [], "there is no peer"


def test_rivals_are_chosen_by_name() -> None:
    assert [one.name for one in chosen(None)] == [one.name for one in RIVALS]
    assert [one.name for one in chosen(["vine", "fit"])] == ["fit", "vine"]
    with pytest.raises(ValueError, match=r"`methods` must be among fit, search.*'vines'"):
        chosen(["vines"])


def test_a_rival_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "RIVALS", (*RIVALS, FAR))
    assert chosen(["far"]) == [FAR]
