"""Options, paths and the flows that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from nfopt.autonf.options import (
    KINDS,
    NOTHING,
    PRESETS,
    Option,
    check_options,
    options_of,
    path_of,
    spec_of,
)
from nfopt.recipes import autoregressive
from nfopt.space import SearchSpace
from nfopt.spec import LU, Coupling, Identity, Planar, Recipe, Reverse, TrainSpec


@pytest.mark.parametrize("features", [2, 5])
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_makes_a_flow_and_is_found_again(name: str, features: int) -> None:
    options = options_of(KINDS, features, width=4)
    number = list(KINDS).index(name)
    spec = spec_of(options, (number, number), features)
    assert len(spec.layers) in (0, 2, 6)
    back = path_of(options, spec, 3)
    idle = list(KINDS).index("identity")
    assert back == ((idle,) * 3 if name == "identity" else (number, number, idle))


@pytest.mark.parametrize("path", [(0, 0), (0, 2, 0)])
@pytest.mark.parametrize("features", [4, 5])
def test_couplings_swap_their_roles_from_place_to_place(features: int, path) -> None:
    spec = spec_of(options_of("affine-coupling,planar,identity", features), path, features)
    assert [type(x) for x in spec.layers] == [Reverse, LU, Coupling] * 2
    first, second = (x.mask for x in spec.layers if isinstance(x, Coupling))
    assert all(a != b for a, b in zip(first, reversed(second), strict=True))


def test_flows_mixed_by_lu_alone_are_in_every_space() -> None:
    data = np.random.default_rng(0).normal(size=(300, 5))
    space = SearchSpace.for_data(data, limits={"width": [8, 64]})
    options = options_of("types,identity", 5, width=16, mixing="lu")
    for path in ((1, 1, 0), (2, 3, 1), (1, 4, 3, 3), (0, 2)):
        spec = spec_of(options, path, 5)
        params = space.params_of(Recipe(spec, TrainSpec(batch_size=64)))
        rebuilt = space.build(params).flow
        assert rebuilt == spec


def test_presets_and_names_mix_and_come_once() -> None:
    names = [option.name for option in options_of("types, spline-coupling ,identity", 3)]
    assert names == [*PRESETS["types"], "identity"]


def test_what_does_nothing_leaves_no_layer() -> None:
    options = options_of("planar,identity", 2)
    assert spec_of(options, (1, 0, NOTHING), 2).layers == (Planar(),)
    assert options[1].idle
    assert not options[0].idle


def test_the_recipe_is_near_a_path_of_splines() -> None:
    options = options_of("types,identity", 4)
    assert path_of(options, autoregressive(4, depth=3), 5) == (1, 1, 1, 4, 4)
    assert path_of(options, autoregressive(4, depth=3), 2) == (1, 1)
    assert path_of(options_of("simple", 4), autoregressive(4, depth=1), 2) == (NOTHING, NOTHING)


@pytest.mark.parametrize(
    ("names", "features", "said"),
    [
        ("", 3, "got none"),
        ([], 3, "got none"),
        ("types,spine", 3, "'spine'"),
        ("types", 1, "needs at least 2 features; the data has 1"),
    ],
)
def test_wrong_names_are_said_in_a_line(names: str | list[str], features: int, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        options_of(names, features)
    assert "`options`" in str(error.value)
    assert "\n" not in str(error.value)


def test_wrong_options_are_said_in_a_line() -> None:
    mine = Option("mine", ((Coupling(mask="CT"),),))
    assert check_options([mine], 2) == (mine,)
    with pytest.raises(ValueError, match=r"'mine', which can't be built: .*2 features, not 3"):
        check_options([mine], 3)
    with pytest.raises(ValueError, match="different names"):
        check_options([mine, mine])
    with pytest.raises(ValueError, match="without variants"):
        check_options([Option("none", ())])
    assert check_options([Option("nothing", ((Identity(),),))])[0].idle
