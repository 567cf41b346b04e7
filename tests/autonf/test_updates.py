"""Prices, settings, and how logits move."""

from __future__ import annotations

import math

import pytest
import torch

from nfopt.autonf.options import options_of, spec_of
from nfopt.autonf.price import Fixed, Target, cheap_text, cost_of, relative
from nfopt.autonf.proposals import most_likely, random_paths
from nfopt.autonf.settings import Settings
from nfopt.autonf.updates import Adam, Logits, LogitUpdate

from .toys import seeded

OPTIONS = options_of("planar,radial,identity", 2)


def test_it_is_adam() -> None:
    """Also where a leaf has no gradient."""
    generator = seeded(0)
    start = [torch.randn(3, generator=generator), torch.randn(2, 4, generator=generator)]
    one, two = ([leaf.clone().requires_grad_() for leaf in start] for _ in range(2))
    ours, theirs = Adam(one, 0.02, (0.8, 0.99)), torch.optim.Adam(two, lr=0.02, betas=(0.8, 0.99))
    for step in range(20):
        for a, b in zip(one, two, strict=True):
            a.grad = None if step % 3 == len(a.shape) else torch.randn(a.shape, generator=generator)
            b.grad = None if a.grad is None else a.grad.clone()
        ours.rate = theirs.param_groups[0]["lr"] = 0.02 / (1 + step)
        ours.step()
        theirs.step()
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b)


def test_logits_follow_the_gradient_and_not_one_that_is_not_finite() -> None:
    logits = Logits(torch.zeros(2, 3))
    update = LogitUpdate(logits, 0.1)
    update.step(torch.nan * logits.values.sum())
    assert torch.equal(logits.values.detach(), torch.zeros(2, 3))
    for _ in range(50):
        update.step(-logits.weights().shape[0] * logits.now().log_softmax(1)[:, 1].sum())
    assert logits.weights().argmax(1).tolist() == [1, 1]


def test_the_heaviest_option_is_never_ruled_out() -> None:
    logits = Logits(torch.tensor([[0.0, 0.1, 0.0], [5.0, 0.0, 0.0]]))
    logits.drop(range(1), 0.9)
    assert logits.choices(0) == [1]
    assert logits.choices(1) == [0, 1, 2]
    assert logits.weights()[0].tolist() == [0, 1, 0]


def test_a_target_raises_its_price_until_it_is_met() -> None:
    price, cost = Target(3.0, stiffness=0.2), 6.0
    assert price.rate(2.0) == 0
    for _ in range(60):
        cost = 6 - 2 * price.rate(cost)  # a search that gives way to the price
        price.update(cost)
    assert cost == pytest.approx(3, abs=0.01)
    assert price.rate(cost) == pytest.approx(1.5, abs=0.01)
    assert Fixed(0.3).rate(99) == 0.3


def test_flows_within_a_target_come_before_dearer_ones() -> None:
    price = Target(4.0)
    assert price.penalty(4.0, 0.7) == price.penalty(1.0, 0.7) == 0
    assert price.penalty(6.0, 0.7) > price.penalty(5.0, 0.7) > 100
    assert price.excess(4.0) is None
    assert "the flow costs 5, above the target 4" in str(price.excess(5.0))
    assert Fixed(0.5).penalty(4.0, 0.5) == 2
    assert Fixed(0.5).excess(1e9) is None


def test_costs_are_relative_to_the_cheapest_that_does_something() -> None:
    assert relative(OPTIONS, [4.0, 2.0, 0.0]) == (2.0, 1.0, 0.0)
    assert relative(OPTIONS, None) == (1.0, 1.0, 0.0)
    assert cost_of((0, -1, 1, 2), (2.0, 1.0, 0.0)) == 3
    assert cheap_text(OPTIONS, (1, 1, 0, 2), (2.0, 1.0, 0.0)) is None
    assert "3 of 3 layers are radial" in str(cheap_text(OPTIONS, (1, 1, 1, 2), (2.0, 1.0, 0.0)))
    assert cheap_text(OPTIONS, (1, 1), (1.0, 1.0, 0.0)) is None  # nothing is cheaper


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Fixed(-1), "`price` must be at least 0"),
        (lambda: Fixed(math.nan), "`price` must be at least 0"),
        (lambda: Target(0), "`target_cost` must be positive"),
        (lambda: Settings(paths=1), "`paths` must be from 2"),
        (lambda: Settings(holdout=0), "`holdout` must be above 0"),
        (lambda: Settings(objective="mixture", estimator="sampled"), "`estimator` 'sampled' is"),
        (lambda: Settings(objective="lower"), "`objective` must be one of"),
        (lambda: Settings(warm_up=1.0), "`warm_up` must be from 0"),
        (lambda: Settings(clip=-1), "`clip` must be at least 0"),
        (lambda: Settings(temperature=0), "`temperature` must be above 0"),
    ],
)
def test_wrong_values_are_said_in_a_line(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_blocks_cover_all_layers() -> None:
    assert Settings(places=7, block=3).blocks == [range(3), range(3, 6), range(6, 7)]


def test_the_most_likely_flows_come_first_and_once() -> None:
    weights = torch.tensor([[0.5, 0.2, 0.3], [0.6, 0.1, 0.3]])
    paths = most_likely(OPTIONS, weights, 20)
    flows = [spec_of(OPTIONS, path, 2).digest() for path in paths]
    assert len(set(flows)) == len(flows) == 4 + 2 + 1
    assert paths[0] == (0, 0)
    every = sorted(
        (-float(weights[0, a] * weights[1, b]), (a, b)) for a in range(3) for b in range(3)
    )
    first_of: dict[str, tuple[int, int]] = {}
    for _, path in every:
        first_of.setdefault(spec_of(OPTIONS, path, 2).digest(), path)
    assert paths == list(first_of.values())
    assert most_likely(OPTIONS, weights, 2) == paths[:2]


def test_random_flows_are_different() -> None:
    paths = random_paths(OPTIONS, 2, 5, seeded(0))
    assert len({spec_of(OPTIONS, path, 2).digest() for path in paths}) == 5
    assert len(random_paths(OPTIONS, 2, 50, seeded(0))) == 7
