"""The search: what it finds on small data, and that it keeps to its own rows."""

from __future__ import annotations

import dataclasses
import math
import sys
from functools import cache
from typing import Any

import pytest
import torch

from nfopt.autonf.history import Found, History
from nfopt.autonf.options import options_of, spec_of
from nfopt.autonf.price import Fixed, Target
from nfopt.autonf.rows import Minibatch, carve
from nfopt.autonf.search import search
from nfopt.autonf.settings import Settings
from nfopt.autonf.supernet import Supernet, exact_steps
from nfopt.errors import NfoptError

from .toys import make_data, make_net, rows, seeded, settings

FEW = options_of("affine-coupling,spline-coupling,identity", 2, width=8, hidden_layers=1, bins=4)


def run(options=FEW, data=None, seed: int = 0, given: Settings | None = None, **more: Any) -> Found:
    return search(options, data or make_data(), given or settings(), seed=seed, **more)


@cache
def plain() -> Found:
    """A search that several tests look at."""
    return run()


@pytest.mark.parametrize(
    "changes",
    [
        {"estimator": "sampled", "steps": 80},
        {"objective": "mixture"},
        {"block": 1, "passes": 2, "steps": 60},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())) or "exact",
)
def test_a_search_prefers_layers_that_help(changes: dict[str, object]) -> None:
    found = run(given=settings(**changes))
    assert max(row[2] for row in found.weights) < 0.5  # doing nothing is not the choice
    best = found.candidates[0]
    assert 2 not in best
    assert found.history.records[-1].upper_bound is not None
    assert [r.step for r in found.history.records][-1] <= settings(**changes).steps


def test_the_same_seed_gives_the_same_search() -> None:
    one, two, other = plain(), run(), run(seed=1)
    assert dataclasses.replace(one, seconds=0) == dataclasses.replace(two, seconds=0)
    assert one.weights != other.weights


def test_validation_rows_are_not_looked_at() -> None:
    data = make_data()
    spoilt = dataclasses.replace(data, val=torch.full_like(data.val, math.nan))
    assert run(data=spoilt).weights == plain().weights


def test_weights_and_logits_learn_from_different_rows() -> None:
    data = make_data(100)
    first, second = carve(data, 0.25, 64, seeded(0))
    assert sorted([*first.index.tolist(), *second.index.tolist()]) == list(range(100))
    assert len(second.index) == 25
    assert len(second.take().x) == 25  # a batch is never larger than the part
    first, second = carve(data, 0.0, 64, seeded(0))
    assert sorted(first.index.tolist()) == sorted(second.index.tolist()) == list(range(100))
    with pytest.raises(ValueError, match=r"`holdout` 0\.001 of 100"):
        carve(data, 0.001, 64, seeded(0))


def test_logits_wait_for_the_warm_up() -> None:
    found = run(given=settings(warm_up=0.5, drop=0.0))
    early = [r for r in found.history.records if r.phase == "warm-up"]
    late = [r for r in found.history.records if r.phase == "search"]
    assert early[-1].step == 20
    assert all(w == pytest.approx(1 / 3, abs=1e-6) for row in early[-1].weights for w in row)
    assert sum(late[-1].entropy) < sum(early[-1].entropy) - 0.3
    assert late[-1].temperature < 0.55 < early[-1].temperature


def test_an_option_that_is_light_is_ruled_out_for_good() -> None:
    found = run(given=settings(drop=0.3))
    gone: set[tuple[int, int]] = set()
    for record in found.history.records:
        now = {(p, k) for p, row in enumerate(record.weights) for k in range(3) if row[k] == 0}
        assert gone <= now
        gone = now
    assert gone


def test_grow_freezes_what_it_has_and_block_goes_on() -> None:
    """The first block's weights at its end are those at the end of all, or they are not."""
    for passes, frozen in ((1, True), (2, False)):
        seen: list[torch.Tensor] = []
        nets: list[Any] = []
        given = settings(block=1, passes=passes, steps=12)

        def look(record, seen=seen, nets=nets) -> None:
            if record.places == (1, 2) and not seen:
                seen.extend(t.detach().clone() for t in nets[0].parameters([0]))

        class Kept(Supernet):
            def __init__(self, *args: Any, nets=nets, **named: Any) -> None:
                super().__init__(*args, **named)
                nets.append(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys.modules[search.__module__], "Supernet", Kept)
            run(given=given, on_record=look)
        same = [torch.equal(a, b) for a, b in zip(seen, nets[0].parameters([0]), strict=True)]
        assert all(same) == frozen


def test_block_stops_when_a_pass_changes_nothing() -> None:
    costs = (1.0, 9.0, 9.0)  # one type is so much cheaper that nothing else is ever chosen
    found = run(given=settings(block=1, passes=10, steps=200), costs=costs, price=lambda: Fixed(9))
    assert found.history.records[-1].sweep < 9


def test_a_price_turns_the_choice() -> None:
    dear = run(costs=(1, 2, 0), price=lambda: Fixed(50.0))
    assert dear.candidates[0] == (2, 2)
    assert spec_of(FEW, dear.candidates[0], 2).layers == ()
    assert dear.history.records[-1].expected_cost < 0.5


@pytest.mark.slow
def test_a_target_is_met_with_the_price_that_it_needs() -> None:
    given = settings(steps=300, warm_up=0.2, temperature=0.99, drop=0.0)
    free = run(given=given, costs=(1, 2, 0))
    bound = run(given=given, costs=(1, 2, 0), price=lambda: Target(1.0, stiffness=1.0))
    end = bound.history.records[-1]
    assert free.history.records[-1].expected_cost > 1.5
    assert end.expected_cost < 1.25
    assert end.price > 0


def test_collapse_to_the_cheapest_type_is_said() -> None:
    found = run(FEW[:2], costs=(1, 9), price=lambda: Fixed(9.0), given=settings(steps=20))
    assert found.warnings == (
        "2 of 2 layers are affine-coupling, the cheapest type: try a lower `price`",
    )
    assert plain().warnings == ()


def test_an_architecture_can_be_what_it_begins_with() -> None:
    first: list[Any] = []
    run(initial=(1, 0), given=settings(steps=10), on_record=first.append)
    assert [max(range(3), key=row.__getitem__) for row in first[0].weights] == [1, 0]
    with pytest.raises(ValueError, match="`initial` must have 2 layers, got 1"):
        run(initial=(1,))


def test_time_ends_a_search_and_shares_it_among_blocks() -> None:
    now = iter(range(10_000))
    given = settings(block=1, steps=10_000)
    found = run(given=given, seconds=40.0, clock=lambda: float(next(now)))
    places = [record.places for record in found.history.records]
    assert set(places) == {(0, 1), (1, 2)}
    assert found.history.records[-1].step < 45


def test_a_search_can_be_stopped() -> None:
    found = run(given=settings(steps=1000), should_stop=lambda: True)
    assert found.stopped
    assert len(found.candidates) > 1


def test_a_history_is_json_both_ways_and_can_be_short() -> None:
    history = plain().history
    assert History.from_json(history.to_json()) == history
    short = history.brief(5)
    assert len(short["records"]) == 5
    assert short["records"][-1]["step"] == history.records[-1].step
    assert len(history.brief(10_000)["records"]) == len(history.records)
    with pytest.raises(ValueError, match="`history` can't be read"):
        History.from_json("{}")


def test_rows_that_break_every_path_are_said() -> None:
    data = make_data()
    with pytest.raises(NfoptError, match="no finite likelihood"):
        run(
            data=dataclasses.replace(data, x=torch.full_like(data.x, 1e30)),
            given=settings(steps=200, estimator="sampled", paths=2),
        )


@pytest.mark.slow
def test_context_and_row_weights_are_used() -> None:
    data = make_data()
    context = data.x[:, :1] + 0.1 * torch.randn(len(data.x), 1, generator=seeded(1))
    given = dataclasses.replace(
        data,
        context=context,
        val_context=data.val[:, :1],
        weights=torch.ones(len(data.x)),
        val_weights=torch.ones(len(data.val)),
    )
    knows, blind = run(data=given), run(data=data)
    bound = [found.history.records[-1].upper_bound or 0.0 for found in (knows, blind)]
    assert bound[0] < bound[1] - 0.2


@pytest.mark.parametrize(
    ("options", "changes", "said"),
    [
        (FEW[:1], {}, "`options` has one option, 'affine-coupling'"),
        (
            FEW,
            {"block": 6, "places": 6},
            "3\\^6 = 729 paths .* 'sampled', or a `block` of at most 5",
        ),
    ],
)
def test_what_can_t_be_searched_is_said(options, changes, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        run(options, given=settings(**changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("costs", [(1, -1, 0), (1, 1), (1, math.nan, 0)])
def test_wrong_costs_are_said(costs) -> None:
    with pytest.raises(ValueError, match="`costs` must be"):
        run(costs=costs)


def test_an_exact_step_is_measured() -> None:
    net = make_net("types", dtype=torch.float32)
    ratio = exact_steps(net, range(2), Minibatch(rows(), None, None))
    assert 1 < ratio < 40
    found = run(given=settings(estimator="auto", steps=4))
    assert found.history.estimator in ("exact", "sampled")
