"""What is proposed: the best after a while alone, and what differs from it in one layer."""

from __future__ import annotations

import itertools
import time

import pytest
import torch

from nfopt.autonf.options import options_of
from nfopt.autonf.price import Fixed
from nfopt.autonf.proposals import Proposer
from nfopt.autonf.search import ArchitectureSearch
from nfopt.autonf.settings import Settings

from .toys import make_data

OPTIONS = options_of("affine-coupling,spline-coupling,identity", 2, width=8, bins=4)
COSTS = (1.0, 2.0, 0.0)


def searched(price: float = 0.0, places: int = 2, **changes: object) -> ArchitectureSearch:
    given = {"estimator": "sampled", "steps": 40, "batch_size": 64, "pool": 3, "tune": 0.5}
    settings = Settings(places=places, block=places, **(given | changes))
    one = ArchitectureSearch(OPTIONS, make_data(), settings, COSTS, Fixed(price), seed=0)
    one.run()
    return one


def weights_of(one: ArchitectureSearch) -> list[torch.Tensor]:
    return [theta.detach().clone() for theta in one.net.parameters()]


def test_shared_weights_stay_as_they_were() -> None:
    one = searched()
    before = weights_of(one)
    found = one.proposer().propose(one.logits.weights())
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(one), strict=True))
    assert len(found) == len({tuple(sorted(path)) if 2 in path else path for path in found})


def test_each_is_better_alone_and_the_order_is_that_of_the_losses_alone() -> None:
    one = searched()
    proposer = one.proposer()
    paths = [(0, 0), (1, 1), (0, 1)]
    batches = [one.rows[0].take() for _ in range(30)]
    shared = proposer.losses(paths)
    alone = [proposer._alone(path, batches, ends=float("inf")) for path in paths]
    assert all(new is not None and new < old for new, old in zip(alone, shared, strict=True))
    found = proposer.tuned(paths)
    assert found[0] != (2, 2)  # doing nothing is not the best
    assert len(found) > len(paths)
    first, *others = found[: len(paths)]
    assert all(sum(a != b for a, b in zip(first, path, strict=True)) for path in others)


def test_what_differs_from_the_best_in_one_layer_is_tuned_too() -> None:
    one = searched(pool=9)
    proposer = one.proposer()
    near = proposer.near((0, 1), [(0, 1), (1, 1)])
    # (0, 2) and (2, 0) are one flow
    assert {tuple(sorted(path)) if 2 in path else path for path in near} == {
        (0, 0),
        (0, 2),
        (1, 2),
    }
    losses = proposer.losses(near)
    assert losses == sorted(losses)
    assert len(searched(pool=1).proposer().near((0, 1), [])) == 1


def test_cost_counts() -> None:
    found = searched(price=50.0).proposer()
    assert found.tuned([(1, 1), (0, 0), (2, 2)])[0] == (2, 2)


def test_all_paths_are_compared_where_they_are_few_and_likely_ones_where_not() -> None:
    one = searched(pool=50)
    flows = {tuple(k for k in path if k != 2) for path in itertools.product(range(3), repeat=2)}
    assert len(one.proposer().pool(one.logits.weights())) == len(flows)
    assert len(searched(pool=1).proposer().pool(one.logits.weights())) <= 3 + 1
    deep = searched(places=7, steps=4, pool=5)
    pool = deep.proposer().pool(deep.logits.weights())
    assert pool[:2] == [(0,) * 7, (1,) * 7]  # what one would take without a search
    assert 5 <= len(pool) <= 5 + 3


@pytest.mark.parametrize("seconds", [0.0, 1e-6])
def test_without_time_the_order_stays(seconds: float) -> None:
    one = searched()
    paths = [(0, 0), (1, 1), (0, 1)]
    assert one.proposer().tuned(paths, seconds) == paths


def test_it_can_be_stopped() -> None:
    one = searched()
    proposer = one.proposer()
    stopped = Proposer(**{**vars(proposer), "should_stop": lambda: True})
    began = time.monotonic()
    assert stopped.tuned([(0, 0), (1, 1)]) == [(0, 0), (1, 1)]
    assert time.monotonic() - began < 5


def test_a_path_that_breaks_down_is_last() -> None:
    one = searched()
    stack = one.net.stacks[0][1]
    assert stack is not None
    with torch.no_grad():
        stack.theta.fill_(float("nan"))
    assert one.proposer().tuned([(1, 0), (0, 0)])[-1] in {(1, 0), (1, 1), (1, 2)}


def test_where_time_is_short_all_take_fewer_steps() -> None:
    """A look at the clock is a second: one step of each of three flows takes a few."""
    one = searched(steps=1000, pool=3)
    ticks: list[int] = []

    def clock() -> float:
        ticks.append(1)
        return float(len(ticks))

    proposer = Proposer(**{**vars(one.proposer()), "clock": clock})
    paths = [(0, 0), (1, 1), (0, 1)]
    few = proposer._affordable(paths, 100, 60.0)
    more = proposer._affordable(paths, 100, 600.0)
    assert 1 <= few < more <= 100
    assert proposer._affordable(paths, 100, 1e6) == 100
    assert proposer._affordable(paths, 100, 0.5) == 1
    tuned: list[tuple[int, ...]] = []
    alone = Proposer._alone

    def watched(self: Proposer, path: tuple[int, ...], *more: object) -> float | None:
        loss = alone(self, path, *more)  # type: ignore[arg-type]
        if loss is not None:
            tuned.append(path)
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Proposer, "_alone", watched)
        proposer.tuned(paths, 200.0)
    assert set(tuned[len(paths) :]) >= set(paths)  # after a step of each, all of them
