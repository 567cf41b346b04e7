"""Columns go by name where there are names; where names and positions disagree, it is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from nfopt.data import Preprocessing
from nfopt.flows import build
from nfopt.model import Flow

from .toys import COLUMNS, affine, make_flow, table

X = table(5)
NAMES = list(COLUMNS)
FRAME = pd.DataFrame(X, columns=NAMES)
MOVED = FRAME[["share", "mass", "width"]]
GIVEN = np.column_stack([np.linspace(1, 2, 5), np.linspace(5, 4, 5)])
HOURS = pd.DataFrame({"place": GIVEN[:, 1], "hour": GIVEN[:, 0]})


class Subclass(pd.DataFrame):
    """A DataFrame of somebody else's module."""


def _nameless(context: int = 0, **info: Any) -> Flow:
    (stack,) = build([affine(context)], torch.Generator().manual_seed(0))
    names = ["x0", "x1", "x2"]
    if not context:
        return Flow.of(stack, Preprocessing.fit(table(), names), info)
    seen = np.random.default_rng(0).normal(size=(300, 2))
    fitted = Preprocessing.fit(table(), names, context=seen, context_columns=["x3", "x4"])
    return Flow.of(stack, fitted, info)


ORDERS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "frame": lambda frame: frame,
    "subclass": Subclass,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame),
    "records": lambda frame: frame.to_records(index=False),
    "dict": lambda frame: {name: frame[name].to_numpy() for name in frame},
    "dict of tensors": lambda frame: {name: torch.tensor(frame[name].array) for name in frame},
    "list of dicts": lambda frame: frame.to_dict("records"),
}


@pytest.mark.parametrize("kind", list(ORDERS))
def test_an_order_of_columns_does_not_matter(kind: str) -> None:
    flow = make_flow([affine()])
    np.testing.assert_allclose(flow.log_prob(ORDERS[kind](MOVED)), flow.log_prob(X))
    nameless = _nameless()
    swapped = FRAME.set_axis(["x0", "x1", "x2"], axis=1)[["x2", "x0", "x1"]]
    np.testing.assert_allclose(nameless.log_prob(ORDERS[kind](swapped)), nameless.log_prob(X))
    conditional = make_flow([affine(2)])
    expected = conditional.log_prob(X, GIVEN)
    np.testing.assert_allclose(conditional.log_prob(X, ORDERS[kind](HOURS)), expected)


def test_one_row_of_context_by_name() -> None:
    flow = make_flow([affine(2)])
    expected = flow.log_prob(X, [1.0, 7.0])
    for row in (
        pd.Series({"place": 7.0, "hour": 1.0}),
        {"place": 7.0, "hour": 1.0},
        pd.DataFrame({"place": [7.0], "hour": [1.0]}).iloc[0],
        np.array([(7.0, 1.0)], dtype=[("place", "f8"), ("hour", "f8")])[0],
        torch.tensor([1.0, 7.0]),
        pd.Series([1.0, 7.0]),
    ):
        np.testing.assert_allclose(flow.log_prob(X, row), expected)
        np.testing.assert_allclose(
            flow.sample(3, seed=0, context=row), flow.sample(3, seed=0, context=[1.0, 7.0])
        )
    for wrong in (
        pd.Series({"place": 7.0, "minute": 1.0}),
        pd.Series({"minute": 7.0, "second": 1.0}),
    ):
        with pytest.raises(ValueError, match="the row lacks column"):
            flow.log_prob(X, wrong)
    with pytest.raises(ValueError, match="`context` lacks columns 'hour', 'place'"):
        flow.log_prob(X, pd.Series(GIVEN[:, 0], name="minute"))


def test_numbers_in_names_that_contradict_positions() -> None:
    flow = _nameless()
    plain = FRAME.set_axis(range(3), axis=1)
    np.testing.assert_allclose(flow.log_prob(plain), flow.log_prob(X))
    by_column = FRAME.set_axis([f"column_{at}" for at in range(3)], axis=1)
    np.testing.assert_allclose(flow.log_prob(by_column), flow.log_prob(X))
    for wrong in (plain[[2, 0, 1]], by_column[["column_1", "column_0", "column_2"]]):
        with pytest.raises(ValueError, match="`x` lacks columns 'x0', 'x1', 'x2'"):
            flow.log_prob(wrong)
    with pytest.raises(ValueError, match="lacks column 'x2'"):
        flow.log_prob(FRAME.set_axis(["x0", "x1", "q"], axis=1))


def test_an_array_that_could_be_read_in_two_orders() -> None:
    table_of = {"columns": ["x3", "x0", "x1", "x2", "x4"], "named": False, "left_out": []}
    flow = _nameless(2, table=table_of)
    both = np.hstack([X, GIVEN])
    with pytest.raises(ValueError, match="no column names and could be read in two orders"):
        flow.log_prob(both)
    flow.info["table"] = {**table_of, "columns": [f"x{at}" for at in range(5)]}
    np.testing.assert_allclose(flow.log_prob(both), flow.log_prob(X, GIVEN))
    flow.info["table"] = "nonsense"
    np.testing.assert_allclose(flow.log_prob(X, GIVEN), flow.log_prob(both))


LOADS_AND_SCORES: dict[str, Any] = {
    "bfloat16": torch.tensor(X).bfloat16(),
    "float8": torch.tensor(X).to(torch.float8_e5m2),
    "half": X.astype(np.float16),
    "big endian": X.astype(">f8"),
    "a gradient": torch.tensor(X, requires_grad=True),
    "records": FRAME.to_records(index=False),
}
REFUSED: dict[str, tuple[Any, str]] = {
    "complex": (X + 1j, "complex"),
    "complex tensor": (torch.tensor(X).to(torch.complex64), "complex"),
    "complex and masked": (np.ma.array(X + 1j, mask=False), "complex"),
    "masked": (np.ma.array(X, mask=np.eye(5, 3, dtype=bool), fill_value=3.0), "NaN"),
    "times": (X.astype("datetime64[s]"), "times"),
    "words": (X.astype(str).astype(object) + "x", "not numeric"),
}


def test_what_loads_scores_and_what_does_not_does_not() -> None:
    from nfopt.data import load
    from nfopt.errors import DataError

    flow = make_flow([affine()])
    for name, rows in LOADS_AND_SCORES.items():
        assert np.isfinite(flow.log_prob(rows)).any(), name
    for name, (rows, message) in REFUSED.items():
        with pytest.raises(DataError, match=message):
            flow.log_prob(rows)
        many = rows if isinstance(rows, torch.Tensor) else np.ma.concatenate([rows] * 12)
        many = torch.cat([rows] * 12) if isinstance(rows, torch.Tensor) else many
        with pytest.raises(DataError, match=message):
            load(many)
        assert name


def test_raw_errors_of_torch_and_numpy_are_ours() -> None:
    flow = make_flow([affine()])
    for call, message in (
        (lambda: flow.sample(2, seed=-1), "`seed` must be a whole number of at least 0, got -1"),
        (lambda: flow.sample(2, seed="a"), "`seed` must be"),  # type: ignore[arg-type]
        (lambda: flow.sample(2, dtype="floaty"), "`dtype` must be float32 or float64"),
        (lambda: flow.to("abacus"), "`device` 'abacus' can't be used"),
        (lambda: flow.to("meta"), "`device` 'meta' can't be used"),
        (lambda: Flow.load("nix", device="cuda:99"), "`device` 'cuda:99' can't be used"),
        (lambda: Flow.load("nix", device=3), "`device` must be a name"),  # type: ignore[arg-type]
        (lambda: Flow.load(3), "`path` must be"),  # type: ignore[arg-type]
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            call()
    assert flow.sample(1, seed=np.int64(3), dtype=torch.float64).shape == (1, 3)
