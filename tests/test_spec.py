"""Specs: JSON both ways, errors in one line, what stacks with what."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfopt.layers import MAPS
from nfopt.spec import (
    LU,
    Autoregressive,
    Conditioner,
    Coupling,
    Elementwise,
    FlowSpec,
    Identity,
    Layer,
    Normal,
    Permutation,
    Planar,
    Radial,
    Reverse,
    Spline,
    StudentT,
    TrainSpec,
)

maps = st.one_of(
    st.sampled_from([spec() for spec in MAPS.values()]),
    st.builds(Spline, bins=st.integers(2, 32), bound=st.floats(0.5, 50) | st.integers(1, 9)),
)
conditioners = st.builds(
    Conditioner,
    width=st.integers(1, 512),
    hidden_layers=st.integers(1, 4),
    activation=st.sampled_from(["relu", "elu", "silu", "gelu", "tanh"]),
    residual=st.booleans(),
)


@st.composite
def parents(draw: st.DrawFn, features: int) -> tuple[tuple[int, ...], ...]:
    order = draw(st.permutations(range(features)))
    chosen: list[tuple[int, ...]] = [()] * features
    for k, feature in enumerate(order):
        before = order[:k]
        chosen[feature] = tuple(draw(st.lists(st.sampled_from(before), unique=True)) if k else ())
    return tuple(chosen)


@st.composite
def masks(draw: st.DrawFn, features: int) -> str:
    letters = draw(st.lists(st.sampled_from("CTI"), min_size=features, max_size=features))
    first, second = draw(st.permutations(range(features)))[:2]
    letters[first], letters[second] = "C", "T"
    return "".join(letters)


@st.composite
def specs(draw: st.DrawFn) -> FlowSpec:
    features = draw(st.integers(1, 6))
    orders = st.permutations(range(features)).map(tuple)
    kinds: list[st.SearchStrategy[Layer]] = [
        st.builds(Autoregressive, order=orders, map=maps, conditioner=conditioners),
        st.builds(Autoregressive, parents=parents(features), map=maps, conditioner=conditioners),
        st.builds(Permutation, order=orders),
        st.builds(Elementwise, map=maps),
        st.sampled_from([Planar(), Radial(), Reverse(), LU(), Identity()]),
    ]
    if features > 1:
        kinds.append(st.builds(Coupling, mask=masks(features), map=maps, conditioner=conditioners))
    return FlowSpec(
        features=features,
        layers=tuple(draw(st.lists(st.one_of(kinds), max_size=5))),
        context_features=draw(st.integers(0, 3)),
        base=draw(
            st.just(Normal()) | st.builds(StudentT, df=st.floats(1, 30) | st.integers(1, 30))
        ),
    )


@given(specs())
def test_a_flow_spec_survives_json(spec: FlowSpec) -> None:
    text = spec.to_json()
    back = FlowSpec.from_json(text)
    assert back == spec
    assert hash(back) == hash(spec)
    assert back.to_json() == text
    assert back.digest() == spec.digest()
    assert json.loads(text)["version"] == 1
    assert FlowSpec.from_json(text.encode()) == spec


@given(
    st.builds(
        TrainSpec,
        optimiser=st.sampled_from(["adam", "adamw", "muon"]),
        schedule=st.sampled_from(["cosine", "one_cycle", "constant", "trapezoid"]),
        average=st.floats(0, 0.999),
        learning_rate=st.floats(1e-6, 1) | st.just(1),
        batch_size=st.integers(1, 1 << 20),
        dropout=st.floats(0, 0.9) | st.just(0),
        steps=st.integers(0, 10**6),
        clip=st.integers(0, 9) | st.floats(0, 9),
    )
)
def test_a_train_spec_survives_json(spec: TrainSpec) -> None:
    assert TrainSpec.from_json(spec.to_json()) == spec
    assert TrainSpec.from_json(spec.to_json()).to_json() == spec.to_json()


def test_without_an_average_the_json_is_that_of_0_1() -> None:
    old = (
        '{"batch_size":512,"clip":5.0,"dropout":0.0,"learning_rate":0.002,"optimiser":"adamw",'
        '"patience":0,"schedule":"cosine","steps":4000,"weight_decay":0.0}'
    )
    assert TrainSpec().to_json() == old
    assert TrainSpec.from_json(old) == TrainSpec()
    assert json.loads(TrainSpec(average=0.9).to_json())["average"] == 0.9


def test_equal_specs_have_equal_json() -> None:
    written = FlowSpec(
        features=3,
        layers=(
            Permutation(order=(2, 0, 1)),
            Autoregressive(parents=((), (0, 2), (0,)), map=Spline(bound=4.0)),
        ),
        base=StudentT(df=3.0),
    )
    computed = FlowSpec(
        features=3,
        layers=[  # type: ignore[arg-type]
            Permutation(order=np.array([2, 0, 1])),  # type: ignore[arg-type]
            Autoregressive(parents=[[], [2, 0, 2], np.array([0])], map=Spline(bound=4)),  # type: ignore[arg-type]
        ],
        base=StudentT(df=3),
    )
    assert written == computed
    assert hash(written) == hash(computed)
    assert written.digest() == computed.digest()


def test_the_digest_sees_every_part() -> None:
    plain = FlowSpec(features=2, layers=(Coupling(mask="CT"),))
    others = [
        FlowSpec(features=2, layers=(Coupling(mask="TC"),)),
        FlowSpec(features=2, layers=(Coupling(mask="CT", map=Spline()),)),
        FlowSpec(features=2, layers=(Coupling(mask="CT"), Reverse())),
        FlowSpec(features=2, layers=(Coupling(mask="CT"),), base=StudentT()),
        FlowSpec(features=2, layers=(Coupling(mask="CT"),), context_features=1),
    ]
    assert len({spec.digest() for spec in [plain, *others]}) == 6


WRONG_JSON = {
    "version 2 and its fields": ('{"features":2,"depth":3,"version":2}', "`version` 2"),
    "no version": ('{"features":2,"version":null}', "`version` None"),
    "unknown field": ('{"features":2,"depth":3}', "`depth`"),
    "unknown field in a layer": (
        '{"features":2,"layers":[{"kind":"lu","depth":3}]}',
        "`depth` - at `$.layers[0]`",
    ),
    "unknown kind": ('{"features":2,"layers":[{"kind":"glow"}]}', "'glow'"),
    "unknown map": (
        '{"features":2,"layers":[{"kind":"coupling","mask":"CT","map":{"kind":"cubic"}}]}',
        "'cubic'",
    ),
    "no kind": ('{"features":2,"layers":[{"mask":"CT"}]}', "`kind`"),
    "no features": ('{"layers":[]}', "`features`"),
    "wrong type": ('{"features":"2"}', "`$.features`"),
    "wrong mask": ('{"features":2,"layers":[{"kind":"coupling","mask":"CX"}]}', "'CX'"),
    "cycle": ('{"features":2,"layers":[{"kind":"autoregressive","parents":[[1],[0]]}]}', "cycle"),
    "too wide": ('{"features":3,"layers":[{"kind":"coupling","mask":"CT"}]}', "2 features, not 3"),
    "not JSON": ("features: 2", "can't be read"),
    "cut off": ('{"features":2', "can't be read"),
    "no text": (b"\xff\xfe", "can't be read"),
    "a list": ("[]", "Expected `object`"),
}


@pytest.mark.parametrize("case", WRONG_JSON)
def test_wrong_json_is_one_line(case: str) -> None:
    text, named = WRONG_JSON[case]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        FlowSpec.from_json(text)
    assert named in str(error.value)
    assert "\n" not in str(error.value)


WRONG_VALUES = [
    ("`features`", lambda: FlowSpec(features=0)),
    ("`features`", lambda: FlowSpec(features=1025)),
    ("`context_features`", lambda: FlowSpec(features=2, context_features=-1)),
    ("`version`", lambda: FlowSpec(features=2, version=7)),
    ("`layers` 1", lambda: FlowSpec(features=2, layers=(LU(), Permutation(order=(0, 2, 1))))),
    ("`mask`", lambda: Coupling(mask="TTT")),
    ("`mask`", lambda: Coupling(mask="CCI")),
    ("`mask`", lambda: Coupling(mask="ctct")),
    ("`order`", lambda: Permutation(order=(0, 0, 1))),
    ("`order`", lambda: Autoregressive(order=(1, 2, 3))),
    ("`parents`", lambda: Autoregressive(parents=((), (2,)))),
    ("`parents`", lambda: Autoregressive(parents=((0,), ()))),
    ("`order` or `parents`", lambda: Autoregressive()),
    ("`order` or `parents`", lambda: Autoregressive(order=(0,), parents=((),))),
    ("`bins`", lambda: Spline(bins=1)),
    ("`bins`", lambda: Spline(bins=33)),
    ("`bound`", lambda: Spline(bound=0.0)),
    ("`bound`", lambda: Spline(bound=float("nan"))),
    ("`df`", lambda: StudentT(df=float("inf"))),
    ("`width`", lambda: Conditioner(width=0)),
    ("`hidden_layers`", lambda: Conditioner(hidden_layers=0)),
    ("`activation`", lambda: Conditioner(activation="softplus")),  # type: ignore[arg-type]
    ("`learning_rate`", lambda: TrainSpec(learning_rate=0.0)),
    ("`batch_size`", lambda: TrainSpec(batch_size=0)),
    ("`dropout`", lambda: TrainSpec(dropout=1.0)),
    ("`steps`", lambda: TrainSpec(steps=-1)),
    ("`patience`", lambda: TrainSpec(patience=-1)),
    ("`weight_decay`", lambda: TrainSpec(weight_decay=float("nan"))),
    ("`clip`", lambda: TrainSpec(clip=-1.0)),
    ("`average`", lambda: TrainSpec(average=1.0)),
    ("`optimiser`", lambda: TrainSpec(optimiser="sgd")),  # type: ignore[arg-type]
    ("`schedule`", lambda: TrainSpec(schedule="step")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("named", "make"), WRONG_VALUES)
def test_wrong_values_are_named_in_one_line(named: str, make: Callable[[], object]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        make()
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_what_stacks() -> None:
    def key(*layers: Layer, features: int = 3) -> str:
        return FlowSpec(features=features, layers=layers).shape_key()

    assert key(Coupling(mask="CTT")) == key(Coupling(mask="TCI"))
    assert key(Autoregressive(order=(0, 1, 2))) == key(Autoregressive(parents=((), (), (0,))))
    assert key(Reverse()) == key(Permutation(order=(1, 0, 2)))
    assert key(Coupling(mask="CTT")) != key(Coupling(mask="CTT", map=Spline()))
    assert key(Spline8()) != key(Spline8(bins=9))
    assert key(Coupling(mask="CTT")) != key(Coupling(mask="CTT", conditioner=Conditioner(width=32)))
    assert key(LU()) != key(LU(), LU())
    assert key(LU()) != key(LU(), features=4)


def Spline8(bins: int = 8) -> Elementwise:
    return Elementwise(map=Spline(bins=bins))


PARAMETERS = {
    # by hand: (inputs + context + 1) * width + inner layers + (width + 1) * outputs
    "coupling": (Coupling(mask="CTTI", conditioner=Conditioner(width=8)), 0, 8 * 2 + 72 + 9 * 4),
    "coupling, context": (
        Coupling(mask="CTTI", conditioner=Conditioner(width=8)),
        3,
        8 * 5 + 72 + 9 * 4,
    ),
    "spline": (
        Coupling(mask="CCTT", map=Spline(bins=4), conditioner=Conditioner(width=5)),
        0,
        5 * 3 + 30 + 6 * 2 * 11,
    ),
    "one hidden layer": (
        Coupling(mask="CCTT", conditioner=Conditioner(width=5, hidden_layers=1)),
        0,
        5 * 3 + 6 * 4,
    ),
    # MADE with 3 units of degree 1, 2, 3: 6 + 3 inputs and biases, 6 + 3, (0 + 1 + 2 + 3) + 4 twice
    "order": (Autoregressive(order=(0, 1, 2, 3), conditioner=Conditioner(width=3)), 0, 9 + 9 + 20),
    "no parents": (Autoregressive(parents=((), (), (), ())), 0, 8),
    "planar": (Planar(), 0, 9),
    "radial": (Radial(), 0, 6),
    "lu": (LU(), 0, 20),
    "elementwise": (Elementwise(map=Spline(bins=4)), 0, 44),
    "identity": (Identity(), 0, 0),
    "permutation": (Permutation(order=(3, 1, 2, 0)), 0, 0),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_parameter_counts_by_hand(case: str) -> None:
    layer, context, wanted = PARAMETERS[case]
    spec = FlowSpec(features=4, layers=(layer,), context_features=context)
    assert spec.parameter_count() == wanted


def test_the_summary_counts_neighbours() -> None:
    spec = FlowSpec(features=4, layers=(LU(), Coupling(mask="CTCT"), Coupling(mask="TCTC")))
    assert spec.summary() == "lu, 2 x affine coupling (2x64) on 4 features"
    assert FlowSpec(features=1).summary() == "no layers on 1 features"
