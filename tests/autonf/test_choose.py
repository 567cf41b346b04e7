"""Search and race together, and the front over prices."""

from __future__ import annotations

import math

import pytest

from nfopt.autonf import Fixed, RacePlan, Target, choose, front, options_of
from nfopt.autonf.choose import RACES
from nfopt.spec import TrainSpec

from .toys import make_data, settings

OPTIONS = options_of("affine-coupling,spline-coupling,identity", 2, width=8, bins=4)
TRAIN = TrainSpec(steps=20, batch_size=64, learning_rate=1e-2)
PLAN = RacePlan(rungs=(0.5, 1.0), keep=(3, 1))


@pytest.mark.parametrize("method", RACES)
def test_both_methods_end_in_a_race(method) -> None:
    choice = choose(OPTIONS, make_data(), TRAIN, settings(steps=10), method=method, plan=PLAN)
    assert math.isfinite(choice.best.nll)
    assert choice.best.share == 1.0
    assert sum(each.share > 0 for each in choice.raced) == 3
    assert (choice.found is None) == (method == "halving")
    assert choice.path == choice.paths[choice.best.position]


def test_prices_give_a_front_from_dear_to_cheap() -> None:
    data = make_data()

    def run(price):
        return choose(
            OPTIONS,
            data,
            TRAIN,
            settings(steps=10),
            costs=(1, 3, 0),
            price=price,
            plan=PLAN,
        )

    choices = [run(lambda nats=nats: Fixed(nats)) for nats in (0.0, 99.0)]
    assert [choice.price for choice in choices] == [0.0, 99.0]
    assert choices[0].cost > choices[1].cost == 1  # a flow has a layer at least
    points = [(choice.cost, choice.best.nll) for choice in choices]
    assert front(points) == [1, 0]


def test_a_winner_of_the_cheapest_type_alone_is_said() -> None:
    choice = choose(
        OPTIONS,
        make_data(),
        TRAIN,
        settings(steps=10),
        method="halving",
        costs=(1, 900, 1),
        price=lambda: Fixed(9.0),
        plan=RacePlan(rungs=(1.0,), keep=(8,)),
    )
    assert "affine-coupling, the cheapest type" in "".join(choice.warnings) or choice.cost < 2


@pytest.mark.parametrize("method", RACES)
def test_a_target_is_kept_whatever_is_better_above_it(method) -> None:
    given = {"method": method, "costs": (1, 3, 0), "plan": PLAN}
    for target, most in ((1.0, 1), (3.5, 3)):
        choice = choose(
            OPTIONS,
            make_data(),
            TRAIN,
            settings(steps=10),
            price=lambda t=target: Target(t),
            **given,
        )
        assert 0 < choice.cost <= most
        assert not [text for text in choice.warnings if "target" in text]


def test_a_target_that_nothing_meets_is_said() -> None:
    choice = choose(
        OPTIONS,
        make_data(),
        TRAIN,
        settings(steps=10),
        costs=(1, 3, 0),
        price=lambda: Target(0.5),
        plan=PLAN,
    )
    assert choice.cost == 1
    assert "the flow costs 1, above the target 0.5: none was found below" in choice.warnings


def test_an_unknown_method_is_said() -> None:
    with pytest.raises(ValueError, match="`method` must be one of"):
        choose(OPTIONS, make_data(), TRAIN, settings(), method="magic")
