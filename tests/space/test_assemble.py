"""From parameters to a flow: masks, orders, parents and edges."""

from __future__ import annotations

import numpy as np
import pytest

from nfopt.masks import pack_bits, parse
from nfopt.space import Guide, SearchSpace
from nfopt.spec import Autoregressive, Coupling, Permutation

from .toys import data, make, trials


def test_every_second_mask_is_the_complement_of_the_one_before() -> None:
    space = SearchSpace.for_data(data(6), limits={"kind": "coupling", "depth": 4})
    for trial in trials(space, 5):
        flow = space.suggest(trial).flow
        masks = parse([x.mask for x in flow.layers if isinstance(x, Coupling)])
        assert ((masks[::2] == "T") == (masks[1::2] == "C")).all()


def test_commuting_couplings_are_put_in_order_where_nothing_mixes() -> None:
    limits = {"kind": "coupling", "idle": True, "depth": 4, "mixing": ["none", "lu"]}
    space = SearchSpace.for_data(data(4), limits=limits)
    params = space.params_of(space.suggest(trials(space, 1)[0]))

    def masks_of(rows: list[str], mixing: str) -> list[str]:
        masks = parse(rows)
        genes = {f"layer_{n}.mask": w for n, w in enumerate(pack_bits(masks == "T"), 1)}
        genes |= {f"layer_{n}.idle": w for n, w in enumerate(pack_bits(masks == "I"), 1)}
        flow = space.build(params | genes | {"mixing": mixing}).flow
        return [layer.mask for layer in flow.layers if isinstance(layer, Coupling)]

    rows = ["TCII", "CTII", "IITC", "IICT"]
    moved = ["IITC", "TCII", "IICT", "CTII"]
    assert masks_of(rows, "none") == masks_of(moved, "none")
    assert masks_of(rows, "lu") == rows
    assert masks_of(moved, "lu") == moved


def test_budget_and_ranking_choose_the_parents() -> None:
    strength = np.array([[0, 3, 1, 0], [3, 0, 2, 0], [1, 2, 0, 5], [0, 0, 5, 0]], dtype=float)
    guide = Guide.of(
        {"mutual_information": strength, "partial_correlation": strength[::-1, ::-1]}, 1
    )
    limits = {"kind": "adjacency", "depth": 1, "mixing": "none", "orders": ["given", "reverse"]}
    space = SearchSpace.create(4, 1000, limits=limits, guide=guide)
    params = space.params_of(space.suggest(trials(space, 1)[0]))
    chosen = {"layer_1.order": "given", "parents": 1, "measure": "mutual_information"}
    (layer,) = space.build(params | chosen).flow.layers
    assert isinstance(layer, Autoregressive)
    assert layer.parents == ((), (0,), (1,), (2,))
    (layer,) = space.build(params | chosen | {"layer_1.order": "reverse", "parents": 2}).flow.layers
    assert isinstance(layer, Autoregressive)
    assert layer.parents == ((1, 2), (2, 3), (3,), ())
    (layer,) = space.build(params | chosen | {"parents": 3}).flow.layers
    assert isinstance(layer, Autoregressive)
    assert layer.order == (0, 1, 2, 3)
    assert layer.parents is None


def test_parents_follow_their_features_through_permutations() -> None:
    limits = {"kind": "adjacency", "depth": 1, "mixing": ["none", "permutation"], "maps": "affine"}
    space = SearchSpace.for_data(data(6), limits=limits)
    params = space.params_of(space.suggest(trials(space, 1)[0]))
    chosen = {"layer_1.order": "dependence", "parents": 2}
    (plain,) = space.build(params | chosen | {"mixing": "none"}).flow.layers
    permutation, moved = space.build(params | chosen | {"mixing": "permutation"}).flow.layers
    assert isinstance(permutation, Permutation)
    assert isinstance(plain, Autoregressive)
    assert isinstance(moved, Autoregressive)
    place = list(permutation.order)
    assert np.array_equal(moved.adjacency(), plain.adjacency()[np.ix_(place, place)])


def test_edges_are_those_that_the_order_allows() -> None:
    limits = {"kind": "adjacency", "edges": True, "depth": 2, "mixing": "none"}
    space = SearchSpace.for_data(data(3), limits=limits)
    params = space.params_of(space.suggest(trials(space, 1)[0]))
    # feature 1 on 3, feature 2 on 1, feature 3 on 2: a circle, which each order cuts open
    chosen = {
        "feature_1.edges": 0b10, "feature_2.edges": 0b01, "feature_3.edges": 0b10,
        "layer_1.order": "given", "layer_2.order": "reverse",
    }  # fmt: skip
    first, second = space.build(params | chosen).flow.layers
    assert isinstance(first, Autoregressive)
    assert isinstance(second, Autoregressive)
    assert first.parents == ((), (0,), (1,))
    assert second.parents == ((2,), (), ())


def test_edges_follow_an_order_under_search_and_turn_round_backwards() -> None:
    limits = {"kind": "adjacency", "orders": ["searched", "searched_reverse"], "depth": 2}
    space = SearchSpace.for_data(data(3), limits=limits | {"mixing": "none"})
    params = space.params_of(space.suggest(trials(space, 1)[0]))
    # the order 2, 3, 1, as feature 1 comes last and equal places go by the index;
    # feature 1 on 3 is along it, feature 2 on 1 against it, feature 3 on 2 along it
    chosen = {
        "feature_1.place": 3, "feature_2.place": 1, "feature_3.place": 1,
        "feature_1.edges": 0b10, "feature_2.edges": 0b01, "feature_3.edges": 0b10,
        "layer_1.order": "searched", "layer_2.order": "searched_reverse",
    }  # fmt: skip
    first, second = space.build(params | chosen).flow.layers
    assert isinstance(first, Autoregressive)
    assert isinstance(second, Autoregressive)
    assert first.parents == ((2,), (), (1,))
    assert second.parents == ((), (2,), (0,))


def test_random_orders_never_change() -> None:
    limits = {"kind": "adjacency", "orders": ["random_1"], "depth": 1, "mixing": "none"}
    space = SearchSpace.for_data(data(6), limits=limits | {"parents": 5})
    (layer,) = space.suggest(trials(space, 1)[0]).flow.layers
    assert isinstance(layer, Autoregressive)
    assert layer.order == (2, 4, 5, 0, 3, 1)


def test_parameters_that_are_missing_or_out_of_range_are_named() -> None:
    space = make("coupling", 3)
    params = space.params_of(space.suggest(trials(space, 1)[0]))
    with pytest.raises(ValueError, match="width = 9999, the space 16 to 256"):
        space.build(params | {"width": 9999})
    del params["depth"]
    with pytest.raises(ValueError, match="no 'depth'"):
        space.build(params)
