"""First trials from a differentiable search."""

from __future__ import annotations

from typing import Any

import pytest

from nfopt.recipes import autoregressive
from nfopt.space import SearchSpace
from nfopt.spec import TrainSpec
from nfopt.study import Source
from nfopt.study.autonf_start import check_warm_start, warm_flows
from nfopt.study.first import holds
from nfopt.training import TrainData

RECIPE = (autoregressive(3, depth=2, width=8, bins=4), TrainSpec(steps=32, batch_size=64))


def test_a_study_gets_flows_of_its_space(source: Source) -> None:
    space = SearchSpace.for_data(source.data.train, limits={"depth": [1, 3]}, recipes=[RECIPE])
    told: list[Any] = []
    flows = warm_flows(
        TrainData.of(source.data), space, RECIPE, seed=0, count=3, on_event=told.append
    )
    assert 1 <= len(flows) <= 3
    assert len({flow.digest() for flow, _ in flows}) == len(flows)
    assert all(holds(space, each) for each in flows)
    assert told[0].text == f"`warm_start` adds {len(flows)} first trials"


def test_a_space_without_such_layers_gets_none(source: Source) -> None:
    space = SearchSpace.for_data(source.data.train, kind="layers", limits={"layers": "planar"})
    told: list[Any] = []
    rows = TrainData.of(source.data)
    assert warm_flows(rows, space, RECIPE, seed=0, on_event=told.append) == []
    assert "no flow that `space` has" in told[0].text


def test_an_unknown_warm_start_is_said() -> None:
    check_warm_start("autonf")
    with pytest.raises(ValueError, match="`warm_start` must be one of autonf, got 'darts'"):
        check_warm_start("darts")
