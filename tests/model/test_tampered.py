"""A model folder that somebody has changed: one line, before anything large is made of it."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from nfopt.data import ColumnHint, Preprocessing
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.model import flow as module
from nfopt.spec import (
    LU,
    Autoregressive,
    Coupling,
    Elementwise,
    FlowSpec,
    Permutation,
    Planar,
    Radial,
    SinhArcsinh,
    Spline,
    StudentT,
)

from .toys import NET, table

Place = tuple[str | int, ...]

LAYERS = (
    LU(),
    Coupling(mask="CTT", map=Spline(bins=3), conditioner=NET),
    Permutation(order=(1, 0, 2)),
    Autoregressive(parents=((), (0,), (0, 1)), map=SinhArcsinh(), conditioner=NET),
    Elementwise(),
    Planar(),
    Radial(),
)
SPECS = [
    FlowSpec(features=3, layers=LAYERS, context_features=1, base=StudentT()),
    FlowSpec(features=3, layers=(Autoregressive(order=(2, 0, 1)),), context_features=1),
]
ROWS = np.column_stack([np.rint(table()[:, 0]), table()[:, 1:]])
SEEN = np.random.default_rng(5).normal(3, 2, size=(300, 1))


def fitted() -> Preprocessing:
    """Maps of all kinds, bounds, and a grid."""
    hints = [ColumnHint(step=1.0), ColumnHint(low=0.0), ColumnHint(low=0.0, high=1.0)]
    kinds = ["standardise", "asinh", "quantile", "standardise"]
    names = {"columns": ("a", "b", "c"), "context_columns": ("d",), "context": SEEN}
    found = Preprocessing.fit(ROWS, hints=hints, marginals=kinds, **names)  # type: ignore[arg-type]
    plain = json.loads(found.to_json())
    plain["columns"][0]["ends"] = [30.0, 70.0]
    return Preprocessing.from_json(json.dumps(plain))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a flow with a field of each sort."""
    weights = [stack.weights(0) for stack in build(SPECS, torch.Generator().manual_seed(0))]
    info = {
        "name": "toy",
        "scores": {"validation_nll": 1.5},
        "table": {"columns": list("abcd"), "named": True, "left_out": []},
    }
    return Flow(SPECS, weights, fitted(), info).save(tmp_path_factory.mktemp("whole"))


def changed(home: Path, folder: Path, text: str) -> Path:
    """Give a copy of the model with another description, in both of its places."""
    folder.mkdir(exist_ok=True)
    tensors = load_file(home / "flow.safetensors")
    save_file(tensors, folder / "flow.safetensors", metadata={"flow.json": text})
    (folder / "flow.json").write_text(text)
    return folder


def refused(folder: Path, *words: str) -> None:
    """Say that it is refused in one short line, and that little memory was taken for it."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="can't be read as a flow") as caught:
            Flow.load(folder)
        assert tracemalloc.get_traced_memory()[1] < 150 << 20
    finally:
        tracemalloc.stop()
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 600
    assert repr(str(folder)) in line
    assert all(word in line for word in words), line


def put(plain: Any, place: Place, value: Any) -> None:
    for key in place[:-1]:
        plain = plain[key]
    plain[place[-1]] = value


COLUMN = ("preprocessing", 0, "columns")
WRONG: dict[str, tuple[Place, Any, str]] = {
    "a scale of zero": ((*COLUMN, 0, "map", "scale"), 0.0, "spread is 0"),
    "a negative scale": ((*COLUMN, 0, "map", "scale"), -1.0, "spread is -1"),
    "a width of zero": ((*COLUMN, 1, "map", "width"), 0.0, "spread is 0"),
    "bounds in the wrong order": ((*COLUMN, 2, "hint", "low"), 7.0, "`bounds` must rise"),
    "a step of zero": ((*COLUMN, 0, "hint", "step"), 0.0, "`step` must be positive"),
    "a step without end": ((*COLUMN, 0, "hint", "step"), 1e999, "can't be read"),
    "ends in the wrong order": ((*COLUMN, 0, "ends"), [70.0, 30.0], "`ends`"),
    "ends without a grid": ((*COLUMN, 1, "ends"), [30.0, 70.0], "`ends`"),
    "knots out of order": ((*COLUMN, 2, "map", "knots", 1), 1e9, "`knots` must rise"),
    "scores out of order": ((*COLUMN, 2, "map", "scores", 1), 1e9, "`scores` must rise"),
    "a flat knot": ((*COLUMN, 2, "map", "slopes", 1), 0.0, "spread is 0"),
    "a slope that turns the map round": ((*COLUMN, 2, "map", "slopes", 2), 7.0, "`slopes`"),
    "a knot short": ((*COLUMN, 2, "map", "slopes"), [1.0, 1.0], "of each alike"),
    "no knots": ((*COLUMN, 2, "map", "knots"), [], "of each alike"),
    "a name twice": ((*COLUMN, 1, "name"), "a", "twice"),
    "no members": (("members",), [], "`members`"),
    "no preprocessing": (("preprocessing",), [], "`preprocessing`"),
    "too many members": (("members",), [{"features": 3}] * 100_000, "`members`"),
    "members of few words": (("members",), [{"features": 3}] * 1000, "`maps`"),
    "maps of another": (("maps",), [0, 9], "`maps`"),
    "too many layers": (("members", 0, "layers"), [{"kind": "lu"}] * 500_000, "`layers`"),
    "layers without weights": (("members", 0, "layers"), [{"kind": "lu"}] * 500, "0.1 (lu)"),
    "a width of gigabytes": (
        ("members", 1, "layers", 0, "conditioner", "width"),
        65536,
        "numbers, not",
    ),
    "a depth of gigabytes": (
        ("members", 1, "layers", 0, "conditioner", "hidden_layers"),
        64,
        "numbers, not",
    ),
    "many features": (("members", 0), {"features": 1024, "layers": [{"kind": "lu"}] * 9}, "1024"),
    "a spline without a box": (("members", 0, "layers", 1, "map", "bound"), 1e-300, "`bound`"),
    "a base without tails": (("members", 0, "base", "df"), 1e-300, "`df`"),
    "long numbers": (("members", 0, "features"), 10**4000, "can't be read"),
    "a long mask": (("members", 0, "layers", 1, "mask"), "x" * 5_000_000, "`mask`"),
    "much to say": (("info", "more"), ["x" * 100] * 60_000, "`info`"),
    "many columns": (("preprocessing", 0, "context"), [0] * 200_000, "`columns`"),
    "other columns": (("preprocessing", 0, "columns"), [], "features"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_field_is_one_line(name: str, home: Path, tmp_path: Path) -> None:
    place, value, word = WRONG[name]
    plain = json.loads((home / "flow.json").read_text())
    put(plain, place, value)
    refused(changed(home, tmp_path / "model", json.dumps(plain)), word)


@pytest.mark.parametrize("depth", [100, 5_000, 1_000_000])
@pytest.mark.parametrize("field", ["info", "members", "preprocessing", "maps", "version"])
def test_nesting_is_one_line(field: str, depth: int, home: Path, tmp_path: Path) -> None:
    plain = json.loads((home / "flow.json").read_text())
    plain[field] = {"x": "HERE"} if field == "info" else ["HERE"]
    text = json.dumps(plain).replace('"HERE"', "[" * depth + "]" * depth)
    refused(changed(home, tmp_path / "model", text))


def test_a_description_without_end_is_not_read(home: Path, tmp_path: Path) -> None:
    folder = changed(home, tmp_path / "model", (home / "flow.json").read_text())
    with (folder / "flow.json").open("ab") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    refused(folder, "flow.json has")


def weights_of(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    def tamper(file: Path) -> None:
        tensors = load_file(file)
        tensors["0.0.matrix"] = change(tensors["0.0.matrix"].clone()).contiguous()
        save_file(tensors, file)

    return tamper


def more_weights(file: Path) -> None:
    save_file(load_file(file) | {"7.0.matrix": torch.zeros(3)}, file)


def long_header(file: Path) -> None:
    file.write_bytes((90 << 20).to_bytes(8, "little") + b" " * (90 << 20))


def empty_terabyte(file: Path) -> None:
    about = {"0.0.matrix": {"dtype": "F32", "shape": [1 << 38], "data_offsets": [0, 1 << 40]}}
    header = json.dumps(about).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with file.open("ab") as end:
        end.truncate(8 + len(header) + (1 << 40))


WEIGHTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "NaN": (weights_of(lambda w: w.fill_(torch.nan)), "not all finite"),
    "infinite": (weights_of(lambda w: w.index_fill_(0, torch.tensor(0), -torch.inf)), "finite"),
    "double": (weights_of(lambda w: w.double()), "F64, not F32"),
    "half": (weights_of(lambda w: w.half()), "F16, not F32"),
    "whole": (weights_of(lambda w: w.int()), "I32, not F32"),
    "a row more": (weights_of(lambda w: torch.cat([w, w])), "0.0 (lu) are 21 numbers, not 12"),
    "another shape": (weights_of(lambda w: w.reshape(1, 9)), "shape"),
    "another member": (more_weights, "belong to no layer"),
    "a long header": (long_header, "header"),
    "a terabyte of nothing": (empty_terabyte, "flow.safetensors: "),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_wrong_weights_are_one_line(name: str, home: Path, tmp_path: Path) -> None:
    tamper, word = WEIGHTS[name]
    folder = changed(home, tmp_path / "model", (home / "flow.json").read_text())
    tamper(folder / "flow.safetensors")
    refused(folder, word)


def test_nothing_is_built_of_a_spec_that_the_weights_do_not_have(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: Any, **named: Any) -> Any:
        raise AssertionError("built")

    monkeypatch.setattr(module, "build", never)
    plain = json.loads((home / "flow.json").read_text())
    plain["members"] = [{"features": 3, "context_features": 1, "layers": [{"kind": "lu"}] * 512}]
    plain["maps"] = [0]
    refused(changed(home, tmp_path / "model", json.dumps(plain)), "belong to no layer")


# --------------------------------------------------------------------------------- any field


def places(plain: Any, before: Place = ()) -> Iterator[Place]:
    """List where a value stands in a description: all fields, and all that holds fields."""
    if before:
        yield before
    if isinstance(plain, dict | list):
        for key in plain if isinstance(plain, dict) else range(len(plain)):
            yield from places(plain[key], (*before, key))


NUMBERS = st.sampled_from([0, -1, 1, 2, 3, 7, 64, 513, 1025, 65537, 2**31, 2**63, 2**64, 10**30])
FLOATS = st.sampled_from(
    [0.0, -0.0, 0.5, -1.5, 1e-300, 5e-324, 1e-9, 1e9, 1e38, 1e39, -1e39, 1.7e308, -1.7e308]
)
OTHERS = st.sampled_from(
    [None, True, "", "x", "1", "C" * 70, [], {}, [[]], [None], [1, 1], {"kind": "lu"}, "\x00\n"]
)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_field_is_refused_or_the_flow_works(data: st.DataObject, home: Path) -> None:
    plain = json.loads((home / "flow.json").read_text())
    whole = json.dumps(plain)
    place = data.draw(st.sampled_from(sorted(places(plain), key=str)))
    put(plain, place, data.draw(NUMBERS | FLOATS | OTHERS))
    folder = changed(home, home.parent / "any", json.dumps(plain))
    try:
        flow = Flow.load(folder)
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert "can't be read as a flow" in str(error)  # noqa: PT017
        assert json.dumps(plain) != whole
        return
    assert "\n" not in repr(flow)
    x = ROWS[:9]
    with np.errstate(all="ignore"):
        assert not np.isnan(flow.log_prob(x, SEEN[:9])).any()
        assert not np.isnan(flow.sample(9, seed=0, context=SEEN[:9])).any()
