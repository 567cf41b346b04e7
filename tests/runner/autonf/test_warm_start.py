"""First trials from a differentiable search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nfopt import attributes as names
from nfopt.autonf import options_of, spec_of
from nfopt.events import Notice
from nfopt.recipes import autoregressive
from nfopt.runner.autonf import warm_start as autonf_start
from nfopt.runner.autonf.warm_start import check_warm_start, warm_flows
from nfopt.space import SearchSpace
from nfopt.spec import FlowSpec, Recipe, TrainSpec
from nfopt.stored import recipe_of
from nfopt.study.dataset import Source
from nfopt.study.first_trials import holds
from nfopt.study.results import SearchResult
from nfopt.training import TrainData

RECIPE = Recipe(autoregressive(3, depth=2, width=8, bins=4), TrainSpec(steps=32, batch_size=64))


def test_a_study_gets_flows_of_its_space(source: Source) -> None:
    space = SearchSpace.for_data(source.data.train, limits={"depth": [1, 3]}, recipes=[RECIPE])
    told: list[Any] = []
    flows = warm_flows(
        TrainData.of(source.data), space, RECIPE, seed=0, count=3, on_event=told.append
    )
    assert 1 <= len(flows) <= 3
    assert len({each.flow.digest() for each in flows}) == len(flows)
    assert all(holds(space, each) for each in flows)
    assert told[0].text == f"`warm_start` adds {len(flows)} first trials"


def test_a_space_without_such_layers_gets_none(source: Source) -> None:
    space = SearchSpace.for_data(source.data.train, kind="layers", limits={"layers": "planar"})
    told: list[Any] = []
    rows = TrainData.of(source.data)
    assert warm_flows(rows, space, RECIPE, seed=0, on_event=told.append) == []
    assert "no flow that `space` has" in told[0].text


def test_only_what_the_space_has_is_searched(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A space of spline couplings: all that the search proposes is of them."""
    seen: list[str] = []
    true = autonf_start.search

    def look(options: Any, *arguments: Any, **more: Any) -> Any:
        seen.extend(option.name for option in options)
        return true(options, *arguments, **more)

    monkeypatch.setattr(autonf_start, "search", look)
    recipe = Recipe(coupled(), TrainSpec(steps=32, batch_size=64))
    limits = {"depth": [1, 3], "maps": "spline"}
    space = SearchSpace.for_data(
        source.data.train, kind="coupling", limits=limits, recipes=[recipe]
    )
    flows = warm_flows(TrainData.of(source.data), space, recipe, seed=0, count=2)
    assert seen == ["spline-coupling", "identity"]
    assert len(flows) == 2
    assert all(holds(space, each) for each in flows)


def coupled() -> FlowSpec:
    """Two spline couplings, each behind a linear layer."""
    (option,) = options_of("spline-coupling", 3, width=8, bins=4, mixing="lu")
    return spec_of((option,), (0, 0), 3)


def test_a_search_tries_them_after_the_recipe(
    search: Callable[..., SearchResult], events: list[Any]
) -> None:
    """From the argument to the study's trials; what is resumed is not warmed again."""
    train = TrainSpec(steps=40, batch_size=64)
    more = {
        "kind": None,
        "limits": {"depth": [1, 3], "width": [4, 8], "batch_size": [32, 64]},
        "recipes": [Recipe(coupled(), train)],
        "warm_start": "autonf",
        "members": 1,
    }
    result = search(4, **more)
    (said,) = [e.text for e in events if isinstance(e, Notice) and "warm_start" in e.text]
    count = int(said.split()[2])
    assert 1 <= count <= 4
    firsts = [t for t in result.study.trials if names.FIRST in t.user_attrs]
    assert len(firsts) == 1 + count or len(result.study.trials) == 4
    keys = [t.user_attrs[names.FIRST] for t in firsts]
    assert keys[0] == result.study.user_attrs[names.LEADER]  # the recipe comes first
    for trial in firsts:
        spec = recipe_of(trial).flow
        assert all(layer.kind in ("lu", "coupling", "autoregressive") for layer in spec.layers)
    events.clear()
    search(5, **more)
    assert not [e for e in events if isinstance(e, Notice) and "warm_start" in e.text]


def test_a_search_goes_on_where_nothing_of_it_fits(
    search: Callable[..., SearchResult], events: list[Any]
) -> None:
    """The small space of the tests has no linear layers, and every proposal has."""
    result = search(2, warm_start="autonf", members=1)
    told = [e.text for e in events if isinstance(e, Notice)]
    assert "`warm_start` found no flow that `space` has" in told
    assert result.trials == 2


def test_an_unknown_warm_start_is_said() -> None:
    check_warm_start("autonf")
    with pytest.raises(ValueError, match="`warm_start` must be one of autonf, got 'darts'"):
        check_warm_start("darts")
