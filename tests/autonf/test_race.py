"""The race: who is trained how long, and who wins."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from nfopt.autonf.options import options_of, spec_of
from nfopt.autonf.race import Raced, race
from nfopt.spec import FlowSpec, TrainSpec

from .toys import make_data

OPTIONS = options_of("affine-coupling,spline-coupling,planar,identity", 2, width=8, bins=4)
PATHS = [(3, 3), (2, 3), (0, 0), (1, 1), (1, 3)]
FLOWS = [spec_of(OPTIONS, path, 2) for path in PATHS]
TRAIN = TrainSpec(steps=40, batch_size=64, learning_rate=1e-2)


def test_the_better_are_trained_longer() -> None:
    told: list[tuple[float, list[int]]] = []

    def on_rung(rung: float, field) -> bool:
        told.append((rung, [each.position for each in field]))
        return False

    raced = race(FLOWS, TRAIN, make_data(), rungs=(0.5, 1.0), keep=(5, 2), on_rung=on_rung)
    assert [each.share for each in raced] == [1, 1, 0.5, 0.5, 0.5]
    assert [len(each.nlls) for each in raced] == [2, 2, 1, 1, 1]
    assert raced[0].nll <= raced[1].nll
    assert raced[0].nll == raced[0].nlls[-1]
    assert {raced[0].position, raced[1].position} == set(told[0][1][:2])
    assert [rung for rung, _ in told] == [0.5, 1.0]
    assert raced[-1].position == 0  # doing nothing is the worst
    assert all(each.seconds > 0 for each in raced)


def test_the_same_seed_gives_the_same_race() -> None:
    data = make_data()
    one, two = (race(FLOWS[2:4], TRAIN, data, rungs=(1.0,), keep=(2,)) for _ in range(2))
    assert [each.nll for each in one] == [each.nll for each in two]
    other = race(FLOWS[2:4], TRAIN, data, rungs=(1.0,), keep=(2,), seed=1)
    assert other[0].nll != one[0].nll


def test_cost_counts() -> None:
    data, penalties = make_data(), [0.0, 0.0, 0.0, 99.0, 99.0]
    raced = race(FLOWS, TRAIN, data, rungs=(0.5,), keep=(5,), penalties=penalties)
    assert {each.position for each in raced[-2:]} == {3, 4}
    assert raced[-1].loss == raced[-1].nll + 99


def test_a_flow_that_breaks_down_is_last_and_not_trained_again() -> None:
    data = make_data()
    broken = dataclasses.replace(data, val=torch.full_like(data.val, math.nan))
    raced = race(FLOWS[:2], TRAIN, broken, rungs=(0.5, 1.0), keep=(2, 2))
    assert [each.nll for each in raced] == [math.inf] * 2
    assert [each.share for each in raced] == [0.5] * 2


def test_a_race_can_end_early() -> None:
    data = make_data()
    ended = race(FLOWS, TRAIN, data, rungs=(0.5, 1.0), keep=(5, 2), on_rung=lambda *_: True)
    assert [each.share for each in ended] == [0.5] * 5
    stopped = race(FLOWS, TRAIN, data, should_stop=lambda: True)
    assert sorted(each.position for each in stopped) == list(range(5))
    assert {each.share for each in stopped if each.position} == {0.0}  # but for what needs no step


def test_time_is_shared() -> None:
    long = TrainSpec(steps=100_000, batch_size=64)
    raced = race(FLOWS[2:4], long, make_data(), rungs=(0.5, 1.0), keep=(2, 1), seconds=0.6)
    assert raced[0].share == 1.0
    assert sum(each.seconds for each in raced) < 3


def test_seconds_are_those_of_the_clock_that_is_given() -> None:
    """Processor time, say; trainings count by it too, not by the wall clock."""
    ticks: list[float] = []

    def clock() -> float:
        ticks.append(1.0)
        return float(len(ticks))

    raced = race(
        FLOWS[2:4],
        TrainSpec(steps=100_000, batch_size=64),
        make_data(),
        rungs=(0.5, 1.0),
        keep=(2, 1),
        seconds=300.0,
        clock=clock,
    )
    assert raced[0].share == 1.0
    assert 250 < len(ticks) < 400
    assert 200 < sum(each.seconds for each in raced) < 350


def test_dear_flows_race_in_smaller_numbers() -> None:
    """Five at half would cost 2.5 (and one of them in full 1, or 3 of the dear one)."""
    data = make_data()
    costs = [1.0, 1.0, 3.0, 1.0, 1.0]

    def shares(work: float, costs: list[float] | None = None) -> list[float]:
        raced = race(FLOWS, TRAIN, data, rungs=(0.5, 1.0), keep=(5, 3), costs=costs, work=work)
        return [each.share for each in sorted(raced, key=lambda one: one.position)]

    assert sorted(shares(5.5)) == [0.5, 0.5, 1, 1, 1]
    assert sorted(shares(3.6)) == [0.5, 0.5, 0.5, 0.5, 1]
    assert shares(3.6, costs)[2:] == [0, 0, 0]  # the dear one would need 5.5
    assert sorted(shares(0.1)) == [0, 0, 0, 0, 1]  # the most promising one in any case


def test_one_that_races_alone_is_trained_once_and_in_full() -> None:
    raced = race(FLOWS[2:], TRAIN, make_data(), rungs=(0.5, 1.0), keep=(3, 2), seconds=1e-3)
    assert [each.share for each in raced] == [1.0, 0.0, 0.0]
    assert raced[0].position == 0  # the most likely comes first
    assert len(raced[0].nlls) == 1


@pytest.mark.parametrize(
    ("specs", "more", "said"),
    [
        ([], {}, "`specs` must be at least one"),
        (FLOWS, {"rungs": (0.5, 1.0), "keep": (1,)}, "`keep` must be one number a rung"),
        (FLOWS, {"rungs": (1.0, 0.5), "keep": (2, 1)}, "`rungs` must rise"),
    ],
)
def test_wrong_arguments_are_said(specs: list[FlowSpec], more, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        race(specs, TRAIN, make_data(), **more)


def test_what_was_never_trained_is_worst() -> None:
    assert Raced(0, FLOWS[0]).loss == math.inf
