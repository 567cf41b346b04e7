"""One contract over a table of spaces (toys.py), and how a space is made, stored and named."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nfopt.masks import is_valid, parse
from nfopt.space import Choice, Integer, SearchSpace
from nfopt.spec import LU, Coupling, FlowSpec, Normal, Permutation

from .toys import SPACES, coupling, data, make, trials


@pytest.mark.parametrize("D", [2, 3, 7, 40])
@pytest.mark.parametrize("name", SPACES)
def test_what_every_space_keeps(name: str, D: int) -> None:
    space = make(name, D)
    assert SearchSpace.from_json(space.to_json()) == space
    rebuilt = SearchSpace.from_json(space.to_json())
    assert rebuilt.to_json() == space.to_json()
    for trial in trials(space, 6):
        recipe = space.suggest(trial)
        flow = recipe.flow
        assert list(trial.params) == list(space.parameters)
        assert rebuilt.build(trial.params) == recipe
        masks = [layer.mask for layer in flow.layers if isinstance(layer, Coupling)]
        others = [x for x in flow.layers if not isinstance(x, Coupling | LU | Permutation)]
        others = [x for x in others if x.kind not in ("identity", "reverse")]
        assert is_valid(parse(masks, D), cover=not others)
        back = space.params_of(recipe)
        assert list(back) == list(space.parameters)
        assert space.build(back) == recipe
        assert space.genome(flow) == space.genome(space.build(back).flow)
        assert FlowSpec.from_json(flow.to_json()) == flow


@pytest.mark.parametrize("name", [name for name in SPACES if not name.startswith("coupling")])
def test_one_feature_has_no_couplings(name: str) -> None:
    limits = {k: v for k, v in SPACES[name].items() if k != "layers"}
    for context in (0, 2):
        space = SearchSpace.for_data(data(1), limits=limits, context_features=context)
        for trial in trials(space, 4):
            recipe = space.suggest(trial)
            assert not any(isinstance(layer, Coupling) for layer in recipe.flow.layers)
            assert space.build(space.params_of(recipe)) == recipe


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
    recipe = space.build(params)
    flow, train = recipe.flow, recipe.train
    for _ in range(4):
        other = {
            each: params[each] if each in space.shape_parameters else draw.draw(values_of(domain))
            for each, domain in space.parameters.items()
        }
        built = space.build(other)
        member, training = built.flow, built.train
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
    recipe = space.suggest(first)
    flow, train = recipe.flow, recipe.train
    held = {name: first.params[name] for name in space.shape_parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        free.sampler = optuna.samplers.PartialFixedSampler(held, free.sampler)
    members = [space.suggest(free.ask()) for _ in range(6)]
    assert {member.flow.shape_key() for member in members} == {flow.shape_key()}
    assert {member.train.batch_size for member in members} == {train.batch_size}
    assert len({member.train.learning_rate for member in members}) == 6


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
        recipe = space.suggest(trial)
        flow, train = recipe.flow, recipe.train
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


def test_the_genome_knows_equal_flows_across_encodings() -> None:
    limits = {"kind": "coupling", "depth": [1, 3]}
    packed = SearchSpace.for_data(data(5), limits=limits)
    bits = packed.encoded("bits")
    recipe = packed.suggest(trials(packed, 1)[0])
    assert bits.genome(bits.build(bits.params_of(recipe)).flow) == packed.genome(recipe.flow)
    pair = (coupling("CTCTC"), coupling("TCTCT"))
    flow = FlowSpec(features=5, layers=pair, base=Normal())
    assert packed.genome(flow) == "01" + "5000" + "01" + "a800" + "00"
    assert bytes.fromhex(packed.genome(flow))
