from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfopt import designs, recipes
from nfopt.dependence import mutual_information
from nfopt.masks import is_valid, letters, pack_bits, parse
from nfopt.space import Choice, Guide, Integer, SearchSpace
from nfopt.spec import (
    LU,
    Affine,
    Autoregressive,
    Conditioner,
    Coupling,
    Elementwise,
    FlowSpec,
    Normal,
    Permutation,
    Spline,
    TrainSpec,
)

optuna.logging.set_verbosity(optuna.logging.WARNING)

EVERYTHING = ["coupling", "autoregressive", "elementwise", "planar", "radial", "identity"]
MIXING = ["none", "reverse", "permutation", "lu", "reverse_lu", "permutation_lu"]
MAPS = ["additive", "affine", "spline"]

# Each kind of space is one line; the contract below runs over all of them.
SPACES: dict[str, dict[str, Any]] = {
    "coupling": {"kind": "coupling"},
    "coupling, bits": {"kind": "coupling", "encoding": "bits", "depth": [1, 3]},
    "coupling, each mask its own": {"kind": "coupling", "pairs": False},
    "coupling, idle": {"kind": "coupling", "idle": True, "mixing": "none"},
    "coupling, idle, bits": {"kind": "coupling", "idle": True, "encoding": "bits", "depth": 2},
    "coupling, all mixing": {"kind": "coupling", "mixing": MIXING},
    "layers": {"kind": "layers"},
    "layers, all kinds": {"kind": "layers", "layers": EVERYTHING, "mixing": MIXING},
    "layers, all designs": {
        "kind": "layers",
        "masks": ["parity", "halves", "binary_code", "dependence"],
    },
    "adjacency": {"kind": "adjacency"},
    "adjacency, all mixing": {"kind": "adjacency", "mixing": MIXING},
    "adjacency, few parents": {"kind": "adjacency", "parents": [1, 2]},
    "adjacency, edges": {"kind": "adjacency", "edges": True, "mixing": MIXING},
    "adjacency, edges, bits": {"kind": "adjacency", "edges": True, "encoding": "bits"},
    "full": {},
    "full, all kinds": {"layers": EVERYTHING, "mixing": MIXING, "maps": MAPS},
    "full, idle and edges": {"idle": True, "edges": True, "mixing": ["none", "lu"]},
    "full, training": {
        "steps": [100, 1000],
        "clip": [1, 10],
        "patience": [0, 5],
        "optimiser": ["adam", "adamw"],
        "schedule": ["cosine", "one_cycle"],
        "base": ["normal", "student_t"],
        "bound": [3, 8],
    },
}


def data(D: int, n: int = 300) -> np.ndarray:
    rng = np.random.default_rng(D)
    return rng.normal(size=(n, D)) @ rng.normal(size=(D, D))


def make(name: str, D: int) -> SearchSpace:
    return SearchSpace.for_data(data(D), limits=SPACES[name])


def trials(space: SearchSpace, count: int, seed: int = 0) -> list[optuna.trial.Trial]:
    sampler = optuna.samplers.RandomSampler(seed=seed)
    study = optuna.create_study(sampler=sampler)
    return [study.ask() for _ in range(count)]


@pytest.mark.parametrize("D", [2, 3, 7, 40])
@pytest.mark.parametrize("name", SPACES)
def test_what_every_space_keeps(name: str, D: int) -> None:
    space = make(name, D)
    assert SearchSpace.from_json(space.to_json()) == space
    rebuilt = SearchSpace.from_json(space.to_json())
    assert rebuilt.to_json() == space.to_json()
    for trial in trials(space, 6):
        flow, train = space.suggest(trial)
        assert list(trial.params) == list(space.parameters)
        assert rebuilt.build(trial.params) == (flow, train)
        masks = [layer.mask for layer in flow.layers if isinstance(layer, Coupling)]
        others = [x for x in flow.layers if not isinstance(x, Coupling | LU | Permutation)]
        others = [x for x in others if x.kind not in ("identity", "reverse")]
        assert is_valid(parse(masks, D), cover=not others)
        back = space.params_of(flow, train)
        assert list(back) == list(space.parameters)
        assert space.build(back) == (flow, train)
        assert space.genome(flow) == space.genome(space.build(back)[0])
        assert FlowSpec.from_json(flow.to_json()) == flow


@pytest.mark.parametrize("name", [name for name in SPACES if not name.startswith("coupling")])
def test_one_feature_has_no_couplings(name: str) -> None:
    limits = {k: v for k, v in SPACES[name].items() if k != "layers"}
    for context in (0, 2):
        space = SearchSpace.for_data(data(1), limits=limits, context_features=context)
        for trial in trials(space, 4):
            flow, train = space.suggest(trial)
            assert not any(isinstance(layer, Coupling) for layer in flow.layers)
            assert space.build(space.params_of(flow, train)) == (flow, train)


def test_couplings_of_one_feature_are_refused() -> None:
    for limits in ({"kind": "coupling"}, {"layers": ["coupling"]}):
        with pytest.raises(ValueError, match="needs at least 2 features, not 1"):
            SearchSpace.for_data(data(1), limits=limits)


@settings(max_examples=40)
@given(st.sampled_from(sorted(SPACES)), st.integers(2, 6), st.data())
def test_equal_shape_parameters_stack(name: str, D: int, draw: st.DataObject) -> None:
    space = make(name, D)
    params = {
        each: draw.draw(values_of(domain), label=each) for each, domain in space.parameters.items()
    }
    flow, train = space.build(params)
    for _ in range(4):
        other = {
            each: params[each] if each in space.shape_parameters else draw.draw(values_of(domain))
            for each, domain in space.parameters.items()
        }
        member, training = space.build(other)
        assert member.shape_key() == flow.shape_key()
        assert (training.batch_size, training.steps) == (train.batch_size, train.steps)
        assert (training.optimiser, training.schedule) == (train.optimiser, train.schedule)


def values_of(domain: Any) -> st.SearchStrategy[Any]:
    if isinstance(domain, Choice):
        return st.sampled_from(domain.values)
    if isinstance(domain, Integer):
        return st.integers(domain.low, domain.high)
    return st.floats(domain.low, domain.high)


def test_a_population_with_its_shape_held_fixed_is_one_program() -> None:
    space = make("full", 5)
    free = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    first = free.ask()
    flow, train = space.suggest(first)
    held = {name: first.params[name] for name in space.shape_parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        free.sampler = optuna.samplers.PartialFixedSampler(held, free.sampler)
    members = [space.suggest(free.ask()) for _ in range(6)]
    assert {member.shape_key() for member, _ in members} == {flow.shape_key()}
    assert {training.batch_size for _, training in members} == {train.batch_size}
    assert len({training.learning_rate for _, training in members}) == 6


@pytest.mark.parametrize(
    "sampler",
    [
        optuna.samplers.RandomSampler(seed=0),
        optuna.samplers.TPESampler(seed=0, n_startup_trials=6),
        optuna.samplers.NSGAIISampler(seed=0, population_size=6),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
@pytest.mark.parametrize("name", ["coupling, bits", "full", "adjacency, edges"])
def test_every_sampler_runs_a_study(name: str, sampler: optuna.samplers.BaseSampler) -> None:
    space = make(name, 4)
    study = optuna.create_study(sampler=sampler)
    start = FlowSpec(features=4, layers=())

    def objective(trial: optuna.Trial) -> float:
        flow, train = space.suggest(trial)
        assert flow.features == start.features
        return flow.parameter_count() * train.learning_rate

    study.optimize(objective, n_trials=15)
    assert len({frozenset(trial.params) for trial in study.trials}) == 1
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.COMPLETE}


@pytest.mark.parametrize("name", SPACES)
def test_distributions_are_what_trials_are_asked_for(name: str) -> None:
    space = make(name, 3)
    trial = trials(space, 1)[0]
    space.suggest(trial)
    assert trial.distributions == space.distributions()


# ------------------------------------------------------------------------------- the parameters


def test_parameters_read_well() -> None:
    space = make("full", 3)
    named = list(SearchSpace.for_data(data(3), limits={"depth": [1, 2]}).parameters)
    assert named == [
        "depth", "mixing",
        "layer_1.kind", "layer_1.map", "layer_1.order",
        "layer_2.kind", "layer_2.map", "layer_2.order",
        "parents", "measure", "bins", "width", "hidden_layers", "activation", "residual",
        "layer_1.mask",
        "learning_rate", "batch_size", "weight_decay", "dropout",
    ]  # fmt: skip
    assert "layer_8.kind" in space.parameters
    assert list(make("coupling, bits", 2).plan.genes) == ["layer_1.mask", "layer_3.mask"]
    assert "layer_3.mask.2" in make("coupling, bits", 2).parameters
    assert "layer_1.mask_2" in make("coupling", 40).parameters
    assert "feature_3.edges" in make("adjacency, edges", 3).parameters


def test_no_integer_has_more_than_32_bits() -> None:
    for name in SPACES:
        for domain in make(name, 33).parameters.values():
            if isinstance(domain, Integer):
                assert domain.high < 2**32


def test_shape_parameters_are_those_that_shapes_follow_from() -> None:
    names = SearchSpace.for_data(data(3), limits={"depth": [1, 2]}).shape_parameters
    assert names == (
        "depth", "mixing", "layer_1.kind", "layer_1.map", "layer_2.kind", "layer_2.map",
        "bins", "width", "hidden_layers", "activation", "residual", "batch_size",
    )  # fmt: skip
    assert {"steps", "base", "bound"} <= set(make("full, training", 3).shape_parameters)


@pytest.mark.parametrize(
    ("name", "D", "bits"),
    [
        ("coupling", 8, 4 * 8),
        ("coupling, each mask its own", 8, 8 * 8),
        ("coupling, idle", 8, 2 * 8 * 8),
        ("layers", 8, 0),
        ("adjacency", 8, 0),
        ("adjacency, edges", 8, 8 * 7),
        ("full", 8, 4 * 8),
    ],
)
def test_mask_bits(name: str, D: int, bits: int) -> None:
    space = make(name, D)
    assert space.mask_bits == bits
    genes = [p for p in space.encoded("bits").parameters if ".mask" in p or ".idle" in p]
    edges = [p for p in space.encoded("bits").parameters if ".edges" in p]
    assert len(genes) + len(edges) == bits
    assert space.encoded("bits").encoded("packed") == space


def test_a_limit_with_one_value_is_no_parameter() -> None:
    limits = {"width": 32, "maps": "affine", "learning_rate": 1e-3, "depth": 2}
    space = SearchSpace.for_data(data(3), limits=limits)
    assert not {"width", "bins", "learning_rate", "depth", "layer_1.map"} & set(space.parameters)
    flow, train = space.suggest(trials(space, 1)[0])
    assert train.learning_rate == 1e-3
    nets = [x for x in flow.layers if isinstance(x, Coupling | Autoregressive)]
    assert {x.conditioner.width for x in nets} == {32}
    assert {x.map for x in nets} == {Affine()}
    assert len(nets) == 2


# ------------------------------------------------------------------------------------ structure


def test_every_second_mask_is_the_complement_of_the_one_before() -> None:
    space = SearchSpace.for_data(data(6), limits={"kind": "coupling", "depth": 4})
    for trial in trials(space, 5):
        flow, _ = space.suggest(trial)
        masks = parse([x.mask for x in flow.layers if isinstance(x, Coupling)])
        assert ((masks[::2] == "T") == (masks[1::2] == "C")).all()


def test_commuting_couplings_are_put_in_order_where_nothing_mixes() -> None:
    limits = {"kind": "coupling", "idle": True, "depth": 4, "mixing": ["none", "lu"]}
    space = SearchSpace.for_data(data(4), limits=limits)
    params = space.params_of(*space.suggest(trials(space, 1)[0]))

    def masks_of(rows: list[str], mixing: str) -> list[str]:
        masks = parse(rows)
        genes = {f"layer_{n}.mask": w for n, w in enumerate(pack_bits(masks == "T"), 1)}
        genes |= {f"layer_{n}.idle": w for n, w in enumerate(pack_bits(masks == "I"), 1)}
        flow, _ = space.build(params | genes | {"mixing": mixing})
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
    params = space.params_of(*space.suggest(trials(space, 1)[0]))
    chosen = {"layer_1.order": "given", "parents": 1, "measure": "mutual_information"}
    (layer,) = space.build(params | chosen)[0].layers
    assert isinstance(layer, Autoregressive)
    assert layer.parents == ((), (0,), (1,), (2,))
    (layer,) = space.build(params | chosen | {"layer_1.order": "reverse", "parents": 2})[0].layers
    assert isinstance(layer, Autoregressive)
    assert layer.parents == ((1, 2), (2, 3), (3,), ())
    (layer,) = space.build(params | chosen | {"parents": 3})[0].layers
    assert isinstance(layer, Autoregressive)
    assert layer.order == (0, 1, 2, 3)
    assert layer.parents is None


def test_parents_follow_their_features_through_permutations() -> None:
    limits = {"kind": "adjacency", "depth": 1, "mixing": ["none", "permutation"], "maps": "affine"}
    space = SearchSpace.for_data(data(6), limits=limits)
    params = space.params_of(*space.suggest(trials(space, 1)[0]))
    chosen = {"layer_1.order": "dependence", "parents": 2}
    (plain,) = space.build(params | chosen | {"mixing": "none"})[0].layers
    permutation, moved = space.build(params | chosen | {"mixing": "permutation"})[0].layers
    assert isinstance(permutation, Permutation)
    assert isinstance(plain, Autoregressive)
    assert isinstance(moved, Autoregressive)
    place = list(permutation.order)
    assert np.array_equal(moved.adjacency(), plain.adjacency()[np.ix_(place, place)])


def test_edges_are_those_that_the_order_allows() -> None:
    limits = {"kind": "adjacency", "edges": True, "depth": 2, "mixing": "none"}
    space = SearchSpace.for_data(data(3), limits=limits)
    params = space.params_of(*space.suggest(trials(space, 1)[0]))
    # feature 1 on 3, feature 2 on 1, feature 3 on 2: a circle, which each order cuts open
    chosen = {
        "feature_1.edges": 0b10, "feature_2.edges": 0b01, "feature_3.edges": 0b10,
        "layer_1.order": "given", "layer_2.order": "reverse",
    }  # fmt: skip
    first, second = space.build(params | chosen)[0].layers
    assert isinstance(first, Autoregressive)
    assert isinstance(second, Autoregressive)
    assert first.parents == ((), (0,), (1,))
    assert second.parents == ((2,), (), ())


def test_random_orders_never_change() -> None:
    limits = {"kind": "adjacency", "orders": ["random_1"], "depth": 1, "mixing": "none"}
    space = SearchSpace.for_data(data(6), limits=limits | {"parents": 5})
    (layer,) = space.suggest(trials(space, 1)[0])[0].layers
    assert isinstance(layer, Autoregressive)
    assert layer.order == (2, 4, 5, 0, 3, 1)


def test_the_guide_is_stored_as_far_as_it_is_needed() -> None:
    full = make("full", 6)
    assert full.guide is not None
    assert set(full.guide.ranks) == {"partial_correlation", "mutual_information"}
    coupling = make("coupling", 6)
    assert coupling.guide is not None
    assert not coupling.guide.ranks
    cuts = designs.dependence(8, 6, mutual_information(data(6)))
    assert coupling.guide.cuts == letters(cuts)


# --------------------------------------------------------------------------------------- recipes


NET = Conditioner(width=300, hidden_layers=2, activation="tanh")
RECIPE = FlowSpec(
    features=5,
    layers=(
        LU(),
        Autoregressive(order=(0, 1, 2, 3, 4), map=Spline(bins=20, bound=8.0), conditioner=NET),
        LU(),
        Autoregressive(order=(4, 3, 2, 1, 0), map=Spline(bins=20, bound=8.0), conditioner=NET),
    ),
)
FITTING = TrainSpec(batch_size=64)
TRAINING = TrainSpec(learning_rate=2e-2, batch_size=48, steps=777, clip=3.0, dropout=0.4)


def test_a_recipe_widens_the_defaults_and_is_found_again() -> None:
    space = SearchSpace.for_data(data(5), recipes=[(RECIPE, TRAINING)])
    flow, train = space.build(space.params_of(RECIPE, TRAINING))
    assert flow == RECIPE
    assert train == TrainSpec(
        learning_rate=2e-2, batch_size=48, steps=777, clip=3.0, dropout=0.4, weight_decay=1e-6
    )
    assert space.limits["steps"] == (777, 777)
    assert space.limits["width"] == (16, 300)
    assert space.limits["depth"] == (1, 8)


@pytest.mark.parametrize(
    ("D", "context", "device"),
    [(1, 0, "cpu"), (1, 2, "cpu"), (2, 0, "cpu"), (3, 2, "cuda"), (10, 0, "cpu"), (64, 0, "cpu")],
)
def test_first_trials_are_in_every_space_that_has_their_layers(
    D: int, context: int, device: str
) -> None:
    for rows in (50, 500, 1_000_000):
        tried = recipes.first_trials(D, rows, context_features=context, device=device)
        pairs = recipes.couplings(D, context_features=context) if D > 1 else None
        guide = Guide.measure(data(D), 8)
        for kind in ("full", "adjacency", "layers", "coupling"):
            if kind == "coupling" and D == 1:
                continue
            space = SearchSpace.create(
                D, rows, kind=kind, context_features=context, recipes=tried, guide=guide
            )
            flows = [flow for flow, _ in tried if kind != "coupling" or flow == pairs]
            if kind == "adjacency":
                flows = [flow for flow in flows if flow != pairs]
            for flow in flows:
                found, train = space.build(space.params_of(flow, tried[0][1]))
                assert found == flow
                assert train.steps == tried[0][1].steps
                assert train.batch_size == tried[0][1].batch_size


def test_a_users_limit_is_not_widened() -> None:
    limits = {"width": [16, 64]}
    space = SearchSpace.for_data(data(5), limits=limits, recipes=[(RECIPE, TRAINING)])
    assert space.limits["width"] == (16, 64)
    with pytest.raises(
        ValueError, match="`flow` is outside the space: width is 300, the space has 16"
    ):
        space.params_of(RECIPE, TRAINING)


def test_what_is_fixed_of_the_training_is_not_looked_at() -> None:
    space = SearchSpace.for_data(data(5), limits={"steps": 50}, recipes=[(RECIPE, TRAINING)])
    assert space.build(space.params_of(RECIPE, TRAINING))[1].steps == 50


def coupling(mask: str, **options: Any) -> Coupling:
    return Coupling(mask=mask, map=options.pop("map", Affine()), conditioner=Conditioner(**options))


OUTSIDE = {
    "features": (FlowSpec(features=3), "it has 3 features and 0 context features, the space 4"),
    "context": (FlowSpec(features=4, context_features=1), "1 context features"),
    "depth": (
        FlowSpec(features=4, layers=(coupling("CTCT"),) * 3),
        "depth is 3, the space has 1 to 2",
    ),
    "no layer": (FlowSpec(features=4), "depth is 0"),
    "kind": (FlowSpec(features=4, layers=(Elementwise(),)), "layer 1 is elementwise"),
    "mixing last": (FlowSpec(features=4, layers=(coupling("CTCT"), LU())), "its last layer is lu"),
    "mixing once": (
        FlowSpec(features=4, layers=(coupling("CTCT"), LU(), coupling("TCTC"))),
        "mixing is lu in one layer and none in another",
    ),
    "mixing": (FlowSpec(features=4, layers=(LU(), LU(), coupling("CTCT"))), "mixing is lu_lu"),
    "width": (
        FlowSpec(features=4, layers=(coupling("CTCT", width=64), coupling("TCTC", width=32))),
        "width is 32 in one layer and 64 in another",
    ),
    "not a pair": (
        FlowSpec(features=4, layers=(coupling("CTCT"), coupling("TTCC"))),
        'layer 1 is {"kind":"coupling","mask":"TTCC"',
    ),
    "idle": (
        FlowSpec(features=4, layers=(coupling("CTCI"),)),
        'layer 0 is {"kind":"coupling","mask":"CTCI"',
    ),
    "map": (
        FlowSpec(features=4, layers=(coupling("CTCT"), coupling("TCTC", map=Spline()))),
        'layer 1 is {"kind":"coupling","mask":"TCTC","map":{"kind":"spline"',
    ),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_what_is_outside_is_named(case: str) -> None:
    flow, says = OUTSIDE[case]
    space = SearchSpace.for_data(data(4), kind="coupling", limits={"depth": [1, 2]})
    with pytest.raises(ValueError, match="`flow` is outside the space: ") as caught:
        space.params_of(flow, FITTING)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_training_and_orders_outside_are_named() -> None:
    limits = {"orders": ["given", "reverse"]}
    space = SearchSpace.for_data(data(4), kind="adjacency", limits=limits)
    layer = Autoregressive(order=(2, 0, 3, 1), conditioner=Conditioner())
    with pytest.raises(ValueError, match=r"the order of layer 1, .* are none that the space has"):
        space.params_of(FlowSpec(features=4, layers=(layer,)), FITTING)
    layer = Autoregressive(order=(0, 1, 2, 3), conditioner=Conditioner())
    with pytest.raises(ValueError, match=r"`train` is outside the space: learning_rate is 0\.5"):
        space.params_of(FlowSpec(features=4, layers=(layer,)), TrainSpec(learning_rate=0.5))


# ---------------------------------------------------------------------------------------- making


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"kind": "full", "limits": {"kind": "coupling"}}, "`kind` is 'full', but the limits say"),
        ({"kind": "ful"}, "did you mean full"),
        ({"limits": {"dept": 2}}, "did you mean `depth`"),
        (
            {"limits": {"parents": [9, 20]}},
            r"`parents` is an empty range for 4 features: \[9, 20\]",
        ),
        ({"limits": {"idle": True, "pairs": True}}, "`pairs` can't be true where `idle` is"),
        ({"limits": {"depth": [3, 2]}}, "`depth` is an empty range"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SearchSpace.for_data(data(4), **arguments)


def test_a_missing_guide_is_named() -> None:
    with pytest.raises(ValueError, match="`guide` must be given for `orders` by dependence"):
        SearchSpace.create(4, 500)
    with pytest.raises(ValueError, match="`guide` must be given to rank parents"):
        SearchSpace.create(4, 500, limits={"orders": "given"})
    with pytest.raises(ValueError, match="`guide` is for 3 features, the space has 4"):
        SearchSpace.create(4, 500, guide=Guide.measure(data(3), 2))
    with pytest.raises(ValueError, match="`guide` must have the measure 'partial_correlation'"):
        SearchSpace.create(4, 500, guide=Guide.of({"mutual_information": np.ones((4, 4))}, 2))
    with pytest.raises(ValueError, match="`strengths` must be of"):
        Guide.of({}, 2)
    assert SearchSpace.create(4, 500, kind="coupling").guide is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "can't be read"),
        ("[]", "`version` None"),
        ('{"version":9}', "`version` 9 of a SearchSpace is not known"),
        ('{"version":1,"colour":2}', "can't be read: "),
    ],
)
def test_json_that_cannot_be_read_is_named(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SearchSpace.from_json(text)


def test_json_with_limits_that_are_missing_or_wrong_is_refused() -> None:
    text = make("coupling", 3).to_json()
    with pytest.raises(ValueError, match="`dept` is no limit; did you mean `depth`"):
        SearchSpace.from_json(text.replace('"depth"', '"dept"'))
    with pytest.raises(ValueError, match="no limit `idle`"):
        SearchSpace.from_json(text.replace('"idle":[false],', ""))


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        (10, (16,)),
        (500, (32, 64, 128)),
        (2_000, (128, 256, 512)),
        (1_000_000, (128, 256, 512, 1024)),
    ],
)
def test_small_tables_have_small_batches(rows: int, sizes: tuple[int, ...]) -> None:
    space = SearchSpace.create(4, rows, kind="layers")
    assert space.limits["batch_size"] == sizes


def test_parameters_that_are_missing_or_out_of_range_are_named() -> None:
    space = make("coupling", 3)
    params = space.params_of(*space.suggest(trials(space, 1)[0]))
    with pytest.raises(ValueError, match="width = 9999, the space 16 to 256"):
        space.build(params | {"width": 9999})
    del params["depth"]
    with pytest.raises(ValueError, match="no 'depth'"):
        space.build(params)


def test_the_genome_knows_equal_flows_across_encodings() -> None:
    limits = {"kind": "coupling", "depth": [1, 3]}
    packed = SearchSpace.for_data(data(5), limits=limits)
    bits = packed.encoded("bits")
    flow, train = packed.suggest(trials(packed, 1)[0])
    assert bits.genome(bits.build(bits.params_of(flow, train))[0]) == packed.genome(flow)
    pair = (coupling("CTCTC"), coupling("TCTCT"))
    flow = FlowSpec(features=5, layers=pair, base=Normal())
    assert packed.genome(flow) == "01" + "5000" + "01" + "a800" + "00"
    assert bytes.fromhex(packed.genome(flow))
