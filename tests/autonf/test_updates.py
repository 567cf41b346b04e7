"""Prices, settings, and how logits move."""

from __future__ import annotations

import math

import pytest
import torch

from nfopt.autonf.candidates import most_likely, random_paths
from nfopt.autonf.objective import draw_paths, enumerate_paths, path_log_weights
from nfopt.autonf.options import options_of, spec_of
from nfopt.autonf.price import Fixed, Target, cheap_text, cost_of, relative
from nfopt.autonf.settings import Settings
from nfopt.autonf.updates import Logits, NaturalUpdate

from .toys import seeded

OPTIONS = options_of("planar,radial,identity", 2)


@pytest.mark.parametrize("exact", [True, False])
def test_the_natural_gradient_finds_the_best_path_in_noise(exact: bool) -> None:
    logits, generator = Logits(torch.zeros(3, 4)), seeded(0)
    update = NaturalUpdate(logits, range(3))
    table = torch.rand(3, 4, generator=seeded(1))
    paths = enumerate_paths([range(4)] * 3)
    for _ in range(300):
        if not exact:
            paths = draw_paths(logits.now(), 4, generator)
        values = table.gather(1, paths.T).sum(0)
        values = values + 0.2 * torch.randn(len(values), generator=generator)
        shares = torch.full((len(paths),), 1 / len(paths))
        if exact:
            shares = path_log_weights(logits.now().detach(), paths).exp()
        update.step(paths, shares, values)
    assert logits.weights().argmax(1).tolist() == table.argmin(1).tolist()
    assert float(logits.weights().amax(1).min()) > 0.6


def test_the_natural_step_shrinks_in_pure_noise() -> None:
    logits, generator = Logits(torch.zeros(3, 4)), seeded(0)
    update = NaturalUpdate(logits, range(3), first=0.5)
    for _ in range(300):
        paths = draw_paths(torch.zeros(3, 4), 4, generator)
        values = torch.randn(4, generator=generator)
        update.step(paths, torch.full((4,), 0.25), values)
    assert update.length < 0.25


def test_the_step_is_that_of_the_publication() -> None:
    """Against Akimoto et al. 2019, algorithm 1, written out for the first m - 1 weights a layer.

    There the Fisher matrix of a layer is diag(1 / w) + 1 / w_m, and its square root is taken by an
    eigendecomposition.
    """
    generator, layers, options, alpha = seeded(3), 2, 3, 1.5
    table = torch.rand(layers, options, generator=generator).double()
    logits = Logits(torch.zeros(layers, options, dtype=torch.float64))
    update = NaturalUpdate(logits, range(layers), threshold=alpha, first=0.1)
    theta = torch.full((layers, options - 1), 1 / options, dtype=torch.float64)
    free = layers * (options - 1)
    signal, power, delta = torch.zeros(free, dtype=torch.float64), 0.0, 0.1
    for _ in range(40):
        paths = draw_paths(logits.now(), 4, generator)
        values = table.gather(1, paths.T).sum(0)
        values = values + 0.1 * torch.randn(4, generator=generator).double()
        update.step(paths, torch.full((4,), 0.25, dtype=torch.float64), values)
        chosen = torch.nn.functional.one_hot(paths, options)[..., :-1].double()
        gradient = ((values.mean() - values)[:, None, None] * (chosen - theta)).mean(0)
        if float(gradient.abs().max()) == 0:
            continue
        scaled = []
        for w, g in zip(theta, gradient, strict=True):
            fisher = torch.diag(1 / w) + 1 / (1 - w.sum())
            size, vectors = torch.linalg.eigh(fisher)
            scaled.append(vectors @ torch.diag(size.sqrt()) @ vectors.T @ g)
        step = torch.cat(scaled)
        beta = delta / free**0.5
        theta = theta + delta * gradient / step.norm()
        signal = (1 - beta) * signal + (beta * (2 - beta)) ** 0.5 * step / step.norm()
        power = (1 - beta) ** 2 * power + beta * (2 - beta)
        delta *= math.exp(beta * (float(signal @ signal) / alpha - power))
        if float(theta.min()) < 0.01 or float(theta.sum(1).max()) > 0.99:
            break  # from here on the edges of the simplex count
        torch.testing.assert_close(logits.weights()[:, :-1], theta, rtol=0.02, atol=1e-3)
        # roots of the Fisher matrix differ by a rotation, which changes a little with the weights
        assert update.length == pytest.approx(delta, rel=0.05)
    assert delta != 0.1


def test_options_that_are_ruled_out_are_not_counted() -> None:
    """A layer of four options of which two are left adapts as one of two."""
    values, lengths = torch.tensor([1.0, 2.0]), []
    for options in (2, 4):
        logits = Logits(torch.zeros(1, options))
        logits.live[0, 2:] = False
        update = NaturalUpdate(logits, range(1))
        for _ in range(3):
            update.step(torch.tensor([[0], [1]]), torch.tensor([0.5, 0.5]), values)
        lengths.append(update.length)
    assert lengths[0] == pytest.approx(lengths[1])
    assert lengths[0] > 0.2


def test_values_that_do_not_differ_move_nothing() -> None:
    logits = Logits(torch.zeros(2, 3))
    NaturalUpdate(logits, range(2)).step(
        torch.tensor([[0, 1], [1, 2]]), torch.tensor([0.5, 0.5]), torch.ones(2)
    )
    assert torch.equal(logits.values.detach(), torch.zeros(2, 3))


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
        (lambda: Settings(objective="mixture", update="natural"), "`update` 'natural' needs"),
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
